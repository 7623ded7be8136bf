/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "hosts-options.h"

static int add_name(struct hosts_options *options, const char *name, struct error *err)
{
	if (!host_name_is_valid(name) || strcmp(name, "localhost") == 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "--host-name must be a host name, got \"%s\"", name);
	options->names =
		xrealloc(options->names, (options->name_count + 1) * sizeof(*options->names));
	options->names[options->name_count++] = name;
	return 0;
}

int hosts_option(struct hosts_options *options, int id, const char *value, struct error *err)
{
	switch ((enum hosts_option)id) {
	case HOSTS_WANTED:
		if (options->path == NULL)
			options->path = HOSTS_PATH;
		return 0;
	case HOSTS_FILE:
		if (*value != '/')
			return error_set(err, REASON_INVALID, EINVAL,
					 "--hosts-file must be an absolute path, got \"%s\"",
					 value);
		options->path = value;
		return 0;
	case HOSTS_NAME:
		return add_name(options, value, err);
	}
	return 0;
}

int hosts_options_check(const struct hosts_options *options, struct error *err)
{
	if (options->name_count > 0 && options->path == NULL)
		return error_set(err, REASON_INVALID, EINVAL, "--host-name is for --hosts");
	return 0;
}

void hosts_options_clear(struct hosts_options *options)
{
	free(options->names);
}

char *hosts_tag(const struct hosts_tagged *what)
{
	const char *const parts[] = { what->operand, what->pod, what->handle, what->container };
	char address[INET6_ADDRSTRLEN] = "";
	char *tag = xstrdup(what->command), *longer;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (parts[i] == NULL)
			continue;
		longer = xasprintf("%s-%.*s", tag, HOSTS_TAG_PART, parts[i]);
		free(tag);
		tag = longer;
	}
	inet_ntop(what->alias->family, &what->alias->v6, address, sizeof(address));
	longer = xasprintf("%s-%s", tag, address);
	free(tag);
	for (char *at = longer; *at != '\0'; at++) {
		if ((*at < 'a' || *at > 'z') && (*at < 'A' || *at > 'Z') &&
		    (*at < '0' || *at > '9') && *at != '.')
			*at = '-';
	}
	return longer;
}
