/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "lib/pods.h"
#include "spec.h"

#define UNIX_PREFIX "unix:"
#define POD_PREFIX "pod:"

static bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Cuts the first field off, at a ':' outside brackets; the rest, or NULL. */
static char *cut(char *text)
{
	int depth = 0;

	for (; *text; text++) {
		if (*text == '[')
			depth++;
		else if (*text == ']')
			depth--;
		else if (*text == ':' && depth == 0) {
			*text = '\0';
			return text + 1;
		}
	}
	return NULL;
}

static bool is_number(const char *text)
{
	return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

static int parse_port(const char *text, uint16_t *port, struct error *err)
{
	uint64_t number;

	if (parse_uint(text, UINT16_MAX, &number) < 0 || number == 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "a port must be between 1 and 65535, got %s",
				 *text ? text : "\"\"");
	*port = (uint16_t)number;
	return 0;
}

static bool parse_at(struct address *at, const char *text)
{
	return *text != '\0' && strcmp(text, "localhost") != 0 &&
	       address_parse_host(at, text, NULL) == 0;
}

/* A name, an address to listen on, or NAME=IP. */
static int parse_name(struct expose_spec *spec, char *text, struct error *err)
{
	char *at = strchr(text, '=');

	if (at == NULL && parse_at(&spec->at, text))
		return 0;
	if (at != NULL) {
		*at++ = '\0';
		if (!parse_at(&spec->at, at))
			return error_set(err, REASON_INVALID, EINVAL,
					 "\"%s\" is not an address to listen on", at);
	}
	if (!host_name_is_valid(text) || strcmp(text, "localhost") == 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "\"%s\" is neither a host name nor an address to listen on", text);
	spec->name = xstrdup(text);
	return 0;
}

static int parse_path(char **out, const char *path, struct error *err)
{
	const struct sockaddr_un *sun = NULL;

	if (*path != '/')
		return error_set(err, REASON_INVALID, EINVAL,
				 "the path behind unix: must be absolute, got \"%s\"", path);
	if (strlen(path) >= sizeof(sun->sun_path))
		return error_set(err, REASON_INVALID, ENAMETOOLONG,
				 "a socket's path may be %zu bytes long: %s",
				 sizeof(sun->sun_path) - 1, path);
	*out = xstrdup(path);
	return 0;
}

/* [HOST:]PORT. */
static int parse_host(struct expose_spec *spec, char *text, struct error *err)
{
	char *port = cut(text);

	if (port == NULL)
		return parse_port(text, &spec->host.port, err);
	if (cut(port) != NULL)
		return error_set(err, REASON_INVALID, EINVAL,
				 "too many fields (IPv6 addresses go in brackets)");
	if (*text == '\0')
		return error_set(err, REASON_INVALID, EINVAL, "the host before port %s is missing",
				 port);
	if (address_parse_host(&spec->host, text, NULL) < 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "the service's host must be an IP address or localhost, got %s",
				 text);
	return parse_port(port, &spec->host.port, err);
}

static int parse_target(struct expose_spec *spec, char *text, struct error *err)
{
	char *rest;

	if (has_prefix(text, UNIX_PREFIX)) {
		spec->target = EXPOSE_UNIX;
		if (spec->network == NETWORK_UDP)
			return error_set(err, REASON_INVALID, EINVAL,
					 "udp cannot lead to a Unix socket");
		return parse_path(&spec->path, text + strlen(UNIX_PREFIX), err);
	}
	if (!has_prefix(text, POD_PREFIX))
		return parse_host(spec, text, err);
	spec->target = EXPOSE_POD;
	text += strlen(POD_PREFIX);
	rest = cut(text);
	if (!name_is_valid(text))
		return error_set(err, REASON_INVALID, EINVAL, "\"%s\" is not a pod's name", text);
	if (rest == NULL)
		return error_set(err, REASON_INVALID, EINVAL, "the port of pod %s is missing",
				 text);
	spec->pod = xstrdup(text);
	return parse_host(spec, rest, err);
}

static int cut_protocol(char *text, enum network *network, struct error *err)
{
	char *slash = strrchr(text, '/');

	*network = NETWORK_TCP;
	if (slash == NULL)
		return 0;
	if (strcmp(slash, "/udp") == 0)
		*network = NETWORK_UDP;
	else if (strcmp(slash, "/tcp") != 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "a port may be followed by /tcp or /udp, not by %s", slash);
	*slash = '\0';
	return 0;
}

/* unix:PATH:SERVICE. */
static int parse_unix(struct expose_spec *spec, char *text, struct error *err)
{
	char *path = text + strlen(UNIX_PREFIX), *rest = cut(path);

	spec->network = NETWORK_UNIX;
	if (target_path_check(path, err) < 0)
		return -EINVAL;
	spec->at_path = xstrdup(path);
	if (rest == NULL)
		return error_set(err, REASON_INVALID, EINVAL, "the service behind %s is missing",
				 text);
	return parse_target(spec, rest, err);
}

static int parse_text(struct expose_spec *spec, char *text, struct error *err)
{
	char *unix_target = strstr(text, ":" UNIX_PREFIX), *rest;
	int rc = 0;

	if (has_prefix(text, UNIX_PREFIX))
		return parse_unix(spec, text, err);
	if (unix_target == NULL)
		rc = cut_protocol(text, &spec->network, err);
	rest = cut(text);
	if (rc == 0 && !is_number(text)) {
		rc = parse_name(spec, text, err);
		text = rest;
		if (rc == 0 && text == NULL)
			rc = error_set(err, REASON_INVALID, EINVAL, "the port is missing");
		rest = rc == 0 ? cut(text) : NULL;
	}
	if (rc == 0)
		rc = parse_port(text, &spec->at.port, err);
	spec->host.port = spec->at.port;
	if (rc == 0 && rest != NULL)
		rc = parse_target(spec, rest, err);
	return rc;
}

int expose_spec_parse(struct expose_spec *spec, const char *text, struct error *err)
{
	_cleanup_free_ char *copy = xstrdup(text);
	int rc;

	memset(spec, 0, sizeof(*spec));
	spec->network = NETWORK_TCP;
	rc = parse_text(spec, copy, err);
	if (rc < 0) {
		expose_spec_clear(spec);
		error_prefix(err, "expose %s", text);
	}
	return rc;
}

bool expose_spec_same_place(const struct expose_spec *a, const struct expose_spec *b,
			    const struct address *alias)
{
	const struct address *at = a->at.family != AF_UNSPEC ? &a->at : alias,
			     *bt = b->at.family != AF_UNSPEC ? &b->at : alias;

	if (a->network != b->network)
		return false;
	if (a->network == NETWORK_UNIX)
		return strcmp(a->at_path, b->at_path) == 0;
	return a->at.port == b->at.port && address_same_host(at, bt);
}

void expose_spec_clear(struct expose_spec *spec)
{
	free(spec->name);
	free(spec->at_path);
	free(spec->path);
	free(spec->pod);
	memset(spec, 0, sizeof(*spec));
}

char *expose_spec_target(const struct expose_spec *spec)
{
	const char *udp = spec->network == NETWORK_UDP ? "/udp" : "";
	struct address host = spec->host;
	char text[ADDRESS_TEXT_MAX];

	if (spec->target == EXPOSE_UNIX)
		return xasprintf(UNIX_PREFIX "%s", spec->path);
	if (spec->target == EXPOSE_POD && host.family == AF_UNSPEC)
		return xasprintf(POD_PREFIX "%s:%u%s", spec->pod, host.port, udp);
	return xasprintf("%s%s%s%s%s", spec->target == EXPOSE_POD ? POD_PREFIX : "",
			 spec->target == EXPOSE_POD ? spec->pod : "",
			 spec->target == EXPOSE_POD ? ":" : "", address_format(&host, text), udp);
}
