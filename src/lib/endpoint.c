/* SPDX-License-Identifier: MIT */
/*
 * Parses and prints endpoints, networks and addresses.
 */
#include "config.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "endpoint.h"

/* The highest port and CID; the value above it means "any". */
#define VSOCK_NUMBER_MAX (UINT32_MAX - 1)

static const char *const schemes[] = {
	[ENDPOINT_VSOCK] = "vsock", [ENDPOINT_HVSOCK] = "hvsock", [ENDPOINT_UNIX] = "unix",
	[ENDPOINT_EXEC] = "exec",   [ENDPOINT_FD] = "fd",         [ENDPOINT_NETNS] = "netns",
	[ENDPOINT_PID] = "pid",
};
static_assert(ARRAY_SIZE(schemes) == ENDPOINT_TYPE_COUNT, "a scheme for each endpoint type");

/* Finds the scheme that the text starts with; returns what follows its colon, or NULL. */
static const char *scheme_split(const char *text, enum endpoint_type *type)
{
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		size_t length = strlen(schemes[i]);

		if (!strncmp(text, schemes[i], length) && text[length] == ':') {
			*type = (enum endpoint_type)i;
			return text + length + 1;
		}
	}
	return NULL;
}

bool endpoint_is_endpoint(const char *text)
{
	enum endpoint_type type;

	return scheme_split(text, &type) != NULL;
}

/* What follows "//", or NULL with *err. */
static const char *skip_slashes(const char *rest, const char *usage, struct error *err)
{
	if (rest[0] == '/' && rest[1] == '/')
		return rest + 2;
	error_set(err, REASON_INVALID, EINVAL, "endpoint: must be %s", usage);
	return NULL;
}

/* A number between `min` and `max` in a field called `what`. */
static int parse_number(const char *what, const char *text, uint64_t min, uint64_t max,
			uint64_t *out, struct error *err)
{
	if (parse_uint(text, max, out) < 0 || *out < min)
		return error_set(err, REASON_INVALID, EINVAL,
				 "endpoint: %s must be between %" PRIu64 " and %" PRIu64 ", got %s",
				 what, min, max, text);
	return 0;
}

/* CID[:PORT]; "any" is a CID where `listen` says so. */
static int parse_vsock(struct endpoint *ep, const char *rest, bool listen, struct error *err)
{
	const char *text = skip_slashes(rest, "vsock://CID[:PORT]", err);
	const char *colon = text ? strchr(text, ':') : NULL;
	_cleanup_free_ char *cid = NULL;
	uint64_t number;

	if (!text)
		return -EINVAL;
	cid = colon ? xstrndup(text, (size_t)(colon - text)) : xstrdup(text);
	if (listen && !strcmp(cid, "any")) {
		ep->cid = VSOCK_CID_ANY;
	} else {
		if (parse_number("CID", cid, 1, VSOCK_NUMBER_MAX, &number, err) < 0)
			return -EINVAL;
		ep->cid = (uint32_t)number;
	}
	ep->port = VSOCK_DEFAULT_PORT;
	if (colon) {
		if (parse_number("port", colon + 1, 1, VSOCK_NUMBER_MAX, &number, err) < 0)
			return -EINVAL;
		ep->port = (uint32_t)number;
	}
	return 0;
}

/* Takes the path over into ep->text if it is absolute and (`socket`) fits a sockaddr_un. */
static int set_path(struct endpoint *ep, char *path, bool socket, struct error *err)
{
	const struct sockaddr_un *sun = NULL;

	if (path[0] != '/' || path[1] == '\0') {
		error_set(err, REASON_INVALID, EINVAL, "endpoint: must have an absolute path: %s",
			  path);
		free(path);
		return -EINVAL;
	}
	if (socket && strlen(path) >= sizeof(sun->sun_path)) {
		error_set(err, REASON_INVALID, ENAMETOOLONG,
			  "endpoint: a socket's path may be %zu bytes long: %s",
			  sizeof(sun->sun_path) - 1, path);
		free(path);
		return -ENAMETOOLONG;
	}
	ep->text = path;
	return 0;
}

/* Where the ":PORT" begins that a hvsock text ends in, or NULL. */
static const char *hvsock_port(const char *text)
{
	const char *colon = strrchr(text, ':');

	if (!colon || !colon[1] || colon[1 + strspn(colon + 1, "0123456789")])
		return NULL;
	return colon;
}

static int parse_hvsock(struct endpoint *ep, const char *rest, struct error *err)
{
	const char *text = skip_slashes(rest, "hvsock:///PATH[:PORT]", err);
	const char *colon = text ? hvsock_port(text) : NULL;
	uint64_t number = VSOCK_DEFAULT_PORT;

	if (!text)
		return -EINVAL;
	if (colon && parse_number("port", colon + 1, 1, VSOCK_NUMBER_MAX, &number, err) < 0)
		return -EINVAL;
	ep->port = (uint32_t)number;
	return set_path(ep, colon ? xstrndup(text, (size_t)(colon - text)) : xstrdup(text), true,
			err);
}

static int parse_unix(struct endpoint *ep, const char *rest, struct error *err)
{
	const char *path = skip_slashes(rest, "unix:///PATH", err);

	return path ? set_path(ep, xstrdup(path), true, err) : -EINVAL;
}

static int parse_exec(struct endpoint *ep, const char *command, struct error *err)
{
	if (!command[strspn(command, " \t\n")])
		return error_set(err, REASON_INVALID, EINVAL, "endpoint: must be exec:COMMAND");
	ep->text = xstrdup(command);
	return 0;
}

int endpoint_parse(struct endpoint *ep, const char *text, struct error *err)
{
	const char *rest;
	uint64_t number;

	memset(ep, 0, sizeof(*ep));
	rest = scheme_split(text, &ep->type);
	if (!rest)
		return error_set(err, REASON_INVALID, EINVAL,
				 "endpoint: must begin with vsock:, hvsock:, unix:, exec:, fd:, "
				 "netns: or pid:, got %s",
				 text);
	switch (ep->type) {
	case ENDPOINT_VSOCK:
		return parse_vsock(ep, rest, false, err);
	case ENDPOINT_HVSOCK:
		return parse_hvsock(ep, rest, err);
	case ENDPOINT_UNIX:
		return parse_unix(ep, rest, err);
	case ENDPOINT_EXEC:
		return parse_exec(ep, rest, err);
	case ENDPOINT_NETNS:
		return set_path(ep, xstrdup(rest), false, err);
	case ENDPOINT_FD:
		if (parse_number("descriptor", rest, 0, INT_MAX, &number, err) < 0)
			return -EINVAL;
		ep->fd = (int)number;
		return 0;
	case ENDPOINT_PID:
		if (parse_number("pid", rest, 1, INT_MAX, &number, err) < 0)
			return -EINVAL;
		ep->pid = (pid_t)number;
		return 0;
	case ENDPOINT_TYPE_COUNT:
		break;
	}
	abort();
}

int endpoint_parse_listen(struct endpoint *ep, const char *text, struct error *err)
{
	const char *rest;

	memset(ep, 0, sizeof(*ep));
	rest = scheme_split(text, &ep->type);
	if (rest && ep->type == ENDPOINT_VSOCK)
		return parse_vsock(ep, rest, true, err);
	if (rest && ep->type == ENDPOINT_UNIX)
		return parse_unix(ep, rest, err);
	return error_set(err, REASON_INVALID, EINVAL,
			 "endpoint: must be vsock://any[:PORT], vsock://CID[:PORT] or "
			 "unix:///PATH, got %s",
			 text);
}

char *endpoint_format(const struct endpoint *ep)
{
	_cleanup_free_ char *port = NULL;

	/* A path that ends like a port needs the port behind it, or it would be taken for one. */
	if (ep->port == VSOCK_DEFAULT_PORT &&
	    !(ep->type == ENDPOINT_HVSOCK && hvsock_port(ep->text)))
		port = xstrdup("");
	else
		port = xasprintf(":%" PRIu32, ep->port);
	switch (ep->type) {
	case ENDPOINT_VSOCK:
		if (ep->cid == VSOCK_CID_ANY)
			return xasprintf("vsock://any%s", port);
		return xasprintf("vsock://%" PRIu32 "%s", ep->cid, port);
	case ENDPOINT_HVSOCK:
		return xasprintf("hvsock://%s%s", ep->text, port);
	case ENDPOINT_UNIX:
		return xasprintf("unix://%s", ep->text);
	case ENDPOINT_EXEC:
	case ENDPOINT_NETNS:
		return xasprintf("%s:%s", schemes[ep->type], ep->text);
	case ENDPOINT_FD:
		return xasprintf("fd:%d", ep->fd);
	case ENDPOINT_PID:
		return xasprintf("pid:%jd", (intmax_t)ep->pid);
	case ENDPOINT_TYPE_COUNT:
		break;
	}
	abort();
}

void endpoint_clear(struct endpoint *ep)
{
	free(ep->text);
	memset(ep, 0, sizeof(*ep));
}

static const char *const network_names[] = {
	[NETWORK_TCP] = "tcp",   [NETWORK_TCP4] = "tcp4", [NETWORK_TCP6] = "tcp6",
	[NETWORK_UDP] = "udp",   [NETWORK_UDP4] = "udp4", [NETWORK_UDP6] = "udp6",
	[NETWORK_UNIX] = "unix",
};
static_assert(ARRAY_SIZE(network_names) == NETWORK_COUNT, "a name for each network");

const char *network_name(enum network network)
{
	return network_names[network];
}

int network_from_name(const char *name, enum network *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(network_names); i++) {
		if (!strcmp(name, network_names[i])) {
			*out = (enum network)i;
			return 0;
		}
	}
	return -ENOENT;
}

int address_parse_host(struct address *addr, const char *host, struct error *err)
{
	char text[INET6_ADDRSTRLEN];
	size_t length = strlen(host);
	bool brackets = length >= 2 && host[0] == '[' && host[length - 1] == ']';

	if (length == 0 || !strcmp(host, "localhost")) {
		addr->family = AF_UNSPEC;
		memset(&addr->v6, 0, sizeof(addr->v6));
		return 0;
	}
	if (brackets) {
		host++;
		length -= 2;
	}
	if (length < sizeof(text)) {
		struct in6_addr v6;
		struct in_addr v4;

		memcpy(text, host, length);
		text[length] = '\0';
		if (inet_pton(AF_INET6, text, &v6) == 1) {
			addr->family = AF_INET6;
			addr->v6 = v6;
			return 0;
		}
		if (!brackets && inet_pton(AF_INET, text, &v4) == 1) {
			addr->family = AF_INET;
			memset(&addr->v6, 0, sizeof(addr->v6));
			addr->v4 = v4;
			return 0;
		}
	}
	return error_set(err, REASON_INVALID, EINVAL,
			 "host must be an IP address or localhost, no names are resolved, got %.*s",
			 (int)length, host);
}

int address_parse(struct address *addr, const char *text, struct error *err)
{
	const char *colon = strrchr(text, ':');
	_cleanup_free_ char *host = NULL;
	uint64_t port;

	memset(addr, 0, sizeof(*addr));
	if (!colon || text[strlen(text) - 1] == ']')
		return error_set(err, REASON_INVALID, EINVAL,
				 "address must be HOST:PORT or :PORT, got %s", text);
	host = xstrndup(text, (size_t)(colon - text));
	if (host[0] != '[' && strchr(host, ':'))
		return error_set(err, REASON_INVALID, EINVAL,
				 "address must have its IPv6 host in brackets ([::1]:80), got %s",
				 text);
	if (parse_uint(colon + 1, UINT16_MAX, &port) < 0 || port == 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "port must be between 1 and 65535, got %s",
				 colon[1] ? colon + 1 : "\"\"");
	if (address_parse_host(addr, host, err) < 0)
		return -EINVAL;
	addr->port = (uint16_t)port;
	return 0;
}

bool address_same_host(const struct address *a, const struct address *b)
{
	size_t size = a->family == AF_INET ? sizeof(a->v4) : sizeof(a->v6);

	return a->family == b->family && memcmp(&a->v6, &b->v6, size) == 0;
}

bool address_same(const struct address *a, const struct address *b)
{
	return a->port == b->port && address_same_host(a, b);
}

char *address_format(const struct address *addr, char buf[ADDRESS_TEXT_MAX])
{
	char host[INET6_ADDRSTRLEN];
	char *at = buf;

	if (addr->family == AF_INET) {
		uint32_t v4 = ntohl(addr->v4.s_addr);

		for (int shift = 24; shift >= 0; shift -= 8)
			at = stpcpy(put_uint(at, v4 >> shift & 0xff), shift > 0 ? "." : "");
	} else if (addr->family == AF_INET6) {
		inet_ntop(AF_INET6, &addr->v6, host, sizeof(host));
		at = stpcpy(stpcpy(stpcpy(at, "["), host), "]");
	} else {
		at = stpcpy(at, "localhost");
	}
	put_uint(stpcpy(at, ":"), addr->port);
	return buf;
}

int target_path_check(const char *path, struct error *err)
{
	if (*path != '/')
		return error_set(err, REASON_INVALID, EINVAL,
				 "a socket's path in the pod must be absolute, got %s",
				 *path ? path : "\"\"");
	if (strlen(path) >= PATH_MAX)
		return error_set(err, REASON_INVALID, ENAMETOOLONG,
				 "a socket's path in the pod may be %d bytes long", PATH_MAX - 1);
	return 0;
}

socklen_t address_to_sockaddr(const struct address *addr, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof(*ss));
	if (addr->family == AF_INET) {
		struct sockaddr_in *sin = (struct sockaddr_in *)ss;

		sin->sin_family = AF_INET;
		sin->sin_port = htons(addr->port);
		sin->sin_addr = addr->v4;
		return sizeof(*sin);
	} else {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ss;

		assert(addr->family == AF_INET6);
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(addr->port);
		sin6->sin6_addr = addr->v6;
		return sizeof(*sin6);
	}
}

int address_from_sockaddr(struct address *addr, const struct sockaddr *sa)
{
	memset(addr, 0, sizeof(*addr));
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *sin = (const struct sockaddr_in *)sa;

		addr->port = ntohs(sin->sin_port);
		addr->v4 = sin->sin_addr;
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)sa;

		addr->port = ntohs(sin6->sin6_port);
		addr->v6 = sin6->sin6_addr;
	} else {
		return -EAFNOSUPPORT;
	}
	addr->family = sa->sa_family;
	return 0;
}
