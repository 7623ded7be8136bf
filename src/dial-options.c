/* SPDX-License-Identifier: MIT */
/* Options that dial and listen share. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "dial-options.h"

static int seconds(const char *name, const char *value, int least_ms, int *ms, struct error *err)
{
	_cleanup_free_ char *whole = xstrdup(value);
	char *point = strchr(whole, '.');
	uint64_t whole_seconds = 0, part = 0, all;
	size_t digits = 0;

	if (point != NULL) {
		*point++ = '\0';
		digits = strlen(point);
	}
	if (parse_uint(whole, TIMEOUT_MS_MAX / 1000, &whole_seconds) < 0 || digits > 3 ||
	    (point != NULL && parse_uint(point, 999, &part) < 0))
		goto bad;
	for (; digits < 3; digits++)
		part *= 10;
	all = whole_seconds * 1000 + part;
	if (all < (uint64_t)least_ms || all > TIMEOUT_MS_MAX)
		goto bad;
	*ms = (int)all;
	return 0;
bad:
	return error_set(err, REASON_INVALID, EINVAL,
			 "--%s: \"%s\" is not a number of seconds from %s to %d", name, value,
			 least_ms > 0 ? "0.001" : "0", TIMEOUT_MS_MAX / 1000);
}

int dial_seconds(const char *name, const char *value, int *ms, struct error *err)
{
	return seconds(name, value, 1, ms, err);
}

int retry_for_option(const char *value, int *ms, struct error *err)
{
	return seconds("retry-for", value, 0, ms, err);
}

int dial_option(struct dial_options *options, int id, const char *value, struct error *err)
{
	switch (id) {
	case DIAL_HANDLE:
		options->handle = value;
		return 0;
	case DIAL_CONTAINER:
		options->container = value;
		return 0;
	case DIAL_ALLOW:
		return policy_allow(&options->policy, value, err);
	case DIAL_ALLOW_UNIX:
		return policy_allow_unix(&options->policy, value, err);
	case DIAL_RETRY_FOR:
		return retry_for_option(value, &options->retry_ms, err);
	default:
		return dial_seconds("timeout", value, &options->timeout_ms, err);
	}
}

int capture_option(struct capture_options *options, int id, const char *value, struct error *err)
{
	if (id == CAPTURE_LIMIT)
		return capture_limit_parse(value, &options->limit, err);
	options->file = value;
	return 0;
}

int capture_start(const struct capture_options *options, struct loop *loop,
		  struct capture **capture, struct error *err)
{
	*capture = NULL;
	if (options->file == NULL && options->limit > 0)
		return error_set(err, REASON_INVALID, EINVAL, "--capture-limit is for --capture");
	if (options->file == NULL)
		return 0;
	*capture = capture_open(loop, options->file,
				options->limit > 0 ? options->limit : CAPTURE_LIMIT_DEFAULT, err);
	return *capture != NULL ? 0 : -EPROTO;
}
