/* SPDX-License-Identifier: MIT */
/*
 * Parses what `vzfwd listen` takes: FORWARD arguments and --address items.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "endpoint.h"

#define UNIX_PREFIX "unix:"

/* Enough for BIND, LOCAL, HOST, REMOTE and one to tell that there are too many. */
#define FIELDS_MAX 5

struct fields {
	char *text[FIELDS_MAX];
	size_t count;
};

static bool is_unix(const char *text)
{
	return !strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX));
}

/* Splits in place at each ':' outside brackets; what is too much stays in the last field. */
static void split_fields(char *text, struct fields *fields)
{
	int depth = 0;

	fields->text[0] = text;
	fields->count = 1;
	for (; *text; text++) {
		if (*text == '[')
			depth++;
		else if (*text == ']' && depth > 0)
			depth--;
		else if (*text == ':' && depth == 0 && fields->count < FIELDS_MAX) {
			*text = '\0';
			fields->text[fields->count++] = text + 1;
		}
	}
}

/* Cuts a "/tcp" or "/udp" off the end. */
static int cut_protocol(char *text, enum network *network, struct error *err)
{
	char *slash = strrchr(text, '/');

	*network = NETWORK_TCP;
	if (!slash)
		return 0;
	if (!strcmp(slash, "/udp"))
		*network = NETWORK_UDP;
	else if (strcmp(slash, "/tcp") != 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "a port may be followed by /tcp or /udp, not by %s", slash);
	*slash = '\0';
	return 0;
}

/* "" and "0" are a free port. */
static int parse_local(struct forward_spec *spec, const char *text, struct error *err)
{
	uint64_t port = 0;

	if (*text && parse_uint(text, UINT16_MAX, &port) < 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "local port must be between 0 and 65535, got %s", text);
	spec->local_port = (uint16_t)port;
	return 0;
}

/* `host` may be NULL: the pod's loopback. */
static int parse_remote(struct forward_spec *spec, const char *host, const char *text,
			struct error *err)
{
	uint64_t port;

	if (!*text)
		return error_set(err, REASON_INVALID, EINVAL, "the pod's port is missing");
	if (parse_uint(text, UINT16_MAX, &port) < 0 || port == 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "the pod's port must be between 1 and 65535, got %s", text);
	spec->remote.port = (uint16_t)port;
	if (!host)
		return 0;
	if (!*host)
		return error_set(err, REASON_INVALID, EINVAL, "the host before port %s is missing",
				 text);
	return address_parse_host(&spec->remote, host, err);
}

int bind_parse(enum bind_type *type, struct address *bind, const char *text, struct error *err)
{
	memset(bind, 0, sizeof(*bind));
	if (!strcmp(text, "localhost")) {
		*type = BIND_LOCALHOST;
		return 0;
	}
	if (!strcmp(text, "*")) {
		*type = BIND_ALL;
		return 0;
	}
	*type = BIND_ADDRESS;
	if (!*text || address_parse_host(bind, text, NULL) < 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "an address to listen on must be an IP address, localhost or *, "
				 "got %s",
				 *text ? text : "\"\"");
	return 0;
}

static int set_path(char **out, const char *path, struct error *err)
{
	const struct sockaddr_un *sun = NULL;

	if (!*path)
		return error_set(err, REASON_INVALID, EINVAL, "the path behind unix: is missing");
	if (strlen(path) >= sizeof(sun->sun_path))
		return error_set(err, REASON_INVALID, ENAMETOOLONG,
				 "a socket's path may be %zu bytes long: %s",
				 sizeof(sun->sun_path) - 1, path);
	*out = xstrdup(path);
	return 0;
}

/* unix:PATH in the pod. All of the rest is the path, also what looks like a protocol. */
static int parse_remote_unix(struct forward_spec *spec, const char *text, struct error *err)
{
	const char *path = text + strlen(UNIX_PREFIX);
	int ret = target_path_check(path, err);

	if (ret < 0)
		return ret;
	spec->network = NETWORK_UNIX;
	spec->remote_path = xstrdup(path);
	return 0;
}

/* unix:PATH:PORT, unix:PATH:HOST:PORT, unix:PATH:unix:PATH. */
static int parse_local_unix(struct forward_spec *spec, char *text, struct error *err)
{
	char *path = text + strlen(UNIX_PREFIX);
	char *rest = strchr(path, ':');
	struct fields fields;
	int ret;

	if (!rest)
		return error_set(err, REASON_INVALID, EINVAL, "the pod's port is missing");
	*rest++ = '\0';
	spec->bind_type = BIND_UNIX;
	ret = set_path(&spec->local_path, path, err);
	if (ret < 0)
		return ret;
	if (is_unix(rest))
		return parse_remote_unix(spec, rest, err);
	ret = cut_protocol(rest, &spec->network, err);
	if (ret < 0)
		return ret;
	if (spec->network == NETWORK_UDP)
		return error_set(err, REASON_INVALID, EINVAL,
				 "a Unix socket cannot be forwarded to udp");
	split_fields(rest, &fields);
	if (fields.count == 1)
		return parse_remote(spec, NULL, fields.text[0], err);
	if (fields.count == 2)
		return parse_remote(spec, fields.text[0], fields.text[1], err);
	return error_set(err, REASON_INVALID, EINVAL, "too many fields behind unix:%s",
			 spec->local_path);
}

/* LOCAL or BIND:LOCAL. */
static int parse_listener(struct forward_spec *spec, char **fields, size_t count, struct error *err)
{
	if (count == 2) {
		int ret = bind_parse(&spec->bind_type, &spec->bind, fields[0], err);

		if (ret < 0)
			return ret;
	}
	return parse_local(spec, fields[count - 1], err);
}

static bool is_local_port(const char *text)
{
	return text[strspn(text, "0123456789")] == '\0';
}

/* PORT, LOCAL:REMOTE, LOCAL:HOST:REMOTE, BIND:LOCAL:REMOTE, BIND:LOCAL:HOST:REMOTE. */
static int parse_fields(struct forward_spec *spec, struct fields *f, struct error *err)
{
	size_t listener = f->count - 1;
	const char *host = NULL;
	int ret;

	if (f->count == FIELDS_MAX)
		return error_set(err, REASON_INVALID, EINVAL,
				 "at most [BIND:]LOCAL:HOST:REMOTE (IPv6 addresses in brackets)");
	if (f->count == 1)
		listener = 1;
	if (f->count == 4 || (f->count == 3 && is_local_port(f->text[0]))) {
		listener = f->count - 2;
		host = f->text[listener];
	}
	ret = parse_remote(spec, host, f->text[f->count - 1], err);
	if (ret < 0)
		return ret;
	return parse_listener(spec, f->text, listener, err);
}

/* Where unix:PATH begins as REMOTE, behind a ':', or NULL. */
static char *find_remote_unix(char *text)
{
	char *found = strstr(text, ":" UNIX_PREFIX);

	return found ? found + 1 : NULL;
}

static int parse_text(struct forward_spec *spec, char *text, struct error *err)
{
	char *path = find_remote_unix(text);
	struct fields fields;
	int ret;

	if (is_unix(text))
		return parse_local_unix(spec, text, err);
	if (path) {
		ret = parse_remote_unix(spec, path, err);
		if (ret < 0)
			return ret;
		path[-1] = '\0';
		split_fields(text, &fields);
		if (fields.count > 2)
			return error_set(err, REASON_INVALID, EINVAL,
					 "at most [BIND:]LOCAL:unix:PATH");
		return parse_listener(spec, fields.text, fields.count, err);
	}
	ret = cut_protocol(text, &spec->network, err);
	if (ret < 0)
		return ret;
	split_fields(text, &fields);
	return parse_fields(spec, &fields, err);
}

int forward_spec_parse(struct forward_spec *spec, const char *text, struct error *err)
{
	_cleanup_free_ char *copy = xstrdup(text);
	int ret;

	memset(spec, 0, sizeof(*spec));
	ret = parse_text(spec, copy, err);
	if (ret < 0) {
		forward_spec_clear(spec);
		error_prefix(err, "forward %s", text);
	}
	return ret;
}

bool forward_spec_same_local(const struct forward_spec *a, const struct forward_spec *b)
{
	char texts[2][ADDRESS_TEXT_MAX];

	/* What comes to an UDP socket belongs to flows that began there. */
	if (a->bind_type != b->bind_type || a->local_port != b->local_port ||
	    network_is_udp(a->network) || network_is_udp(b->network))
		return false;
	if (a->bind_type == BIND_UNIX)
		return strcmp(a->local_path, b->local_path) == 0;
	if (a->bind_type == BIND_ADDRESS &&
	    strcmp(address_format(&a->bind, texts[0]), address_format(&b->bind, texts[1])) != 0)
		return false;
	return a->local_port != 0;
}

char *forward_spec_remote(const struct forward_spec *spec)
{
	char text[ADDRESS_TEXT_MAX];

	if (spec->network == NETWORK_UNIX)
		return xasprintf(UNIX_PREFIX "%s", spec->remote_path);
	if (spec->remote.family == AF_UNSPEC)
		put_uint(text, spec->remote.port);
	else
		address_format(&spec->remote, text);
	return xasprintf("%s%s", text, network_is_udp(spec->network) ? "/udp" : "");
}

int listener_parse(struct forward_spec *spec, const char *text, struct error *err)
{
	_cleanup_free_ char *copy = xstrdup(text);
	struct fields fields;
	bool no_host;
	int ret;

	if (is_unix(text)) {
		spec->bind_type = BIND_UNIX;
		ret = set_path(&spec->local_path, text + strlen(UNIX_PREFIX), err);
		if (ret == 0 && *spec->local_path != '/')
			ret = error_set(err, REASON_INVALID, EINVAL,
					"the path to listen on must be absolute, got %s",
					spec->local_path);
		return ret;
	}
	split_fields(copy, &fields);
	if (fields.count > 2)
		return error_set(err, REASON_INVALID, EINVAL,
				 "where to listen must be HOST:PORT, a port or unix:PATH, got %s",
				 text);
	no_host = fields.count == 2 && *fields.text[0] == '\0';
	return parse_listener(spec, fields.text + no_host, fields.count - no_host, err);
}

void forward_spec_clear(struct forward_spec *spec)
{
	free(spec->local_path);
	free(spec->remote_path);
	memset(spec, 0, sizeof(*spec));
}
