/* SPDX-License-Identifier: MIT */
/* SOCKS 5: sizes, messages and replies as RFC 1928 and RFC 1929 have them. */
#include "config.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "socks.h"

enum { ATYP_IPV4 = 1, ATYP_NAME = 3, ATYP_IPV6 = 4 };

#define AUTH_VERSION 1
#define PORT_SIZE 2

static_assert(2 + 255 + 1 + 255 == SOCKS_MESSAGE_MAX, "the longest message");

/* VER NMETHODS METHODS */
static size_t greeting_size(const uint8_t *data, size_t have)
{
	return have < 2 ? 2 : 2 + (size_t)data[1];
}

/* VER ULEN UNAME PLEN PASSWD */
static size_t auth_size(const uint8_t *data, size_t have)
{
	size_t user = have < 2 ? 0 : data[1];

	return have < 2 + user + 1 ? 2 + user + 1 : 2 + user + 1 + data[2 + user];
}

/* VER CMD RSV ATYP DST.ADDR DST.PORT. One of an unknown type ends, for us, where that is known. */
static size_t request_size(const uint8_t *data, size_t have)
{
	if (have < SOCKS_REQUEST_HEAD)
		return SOCKS_REQUEST_HEAD;
	switch (data[3]) {
	case ATYP_IPV4:
		return SOCKS_REQUEST_HEAD + 4 + PORT_SIZE;
	case ATYP_IPV6:
		return SOCKS_REQUEST_HEAD + 16 + PORT_SIZE;
	case ATYP_NAME:
		return SOCKS_REQUEST_HEAD + 1 +
		       (have > SOCKS_REQUEST_HEAD ? data[4] + (size_t)PORT_SIZE : 0);
	default:
		return SOCKS_REQUEST_HEAD;
	}
}

size_t socks_size(enum socks_message message, const uint8_t *data, size_t have)
{
	static size_t (*const sizes[])(const uint8_t *, size_t) = {
		[SOCKS_GREETING] = greeting_size,
		[SOCKS_AUTH] = auth_size,
		[SOCKS_REQUEST] = request_size,
	};
	static_assert(ARRAY_SIZE(sizes) == SOCKS_MESSAGE_COUNT, "a size for each");

	return sizes[message](data, have);
}

uint8_t socks_choose(const uint8_t *greeting, bool password)
{
	uint8_t wanted = password ? SOCKS_METHOD_PASSWORD : SOCKS_METHOD_NONE;

	return memchr(greeting + 2, wanted, greeting[1]) != NULL ? wanted
								 : SOCKS_METHOD_UNACCEPTABLE;
}

char *socks_credentials(const uint8_t *auth)
{
	const uint8_t *user = auth + 2, *password = user + auth[1] + 1;
	size_t user_size = auth[1], password_size = password[-1];
	char *text;

	if (auth[0] != AUTH_VERSION || memchr(user, '\0', user_size) != NULL ||
	    memchr(password, '\0', password_size) != NULL)
		return NULL;
	text = xmalloc(user_size + 1 + password_size + 1);
	memcpy(text, user, user_size);
	text[user_size] = ':';
	memcpy(text + user_size + 1, password, password_size);
	text[user_size + 1 + password_size] = '\0';
	return text;
}

/* The address after ATYP, as text; where the port begins, or NULL. */
static const uint8_t *parse_host(const uint8_t *data, char host[SOCKS_HOST_MAX + 1])
{
	const uint8_t *at = data + SOCKS_REQUEST_HEAD;

	switch (data[3]) {
	case ATYP_IPV4:
		inet_ntop(AF_INET, at, host, SOCKS_HOST_MAX + 1);
		return at + 4;
	case ATYP_IPV6:
		inet_ntop(AF_INET6, at, host, SOCKS_HOST_MAX + 1);
		return at + 16;
	case ATYP_NAME:
		memcpy(host, at + 1, at[0]);
		host[at[0]] = '\0';
		return at + 1 + at[0];
	default:
		return NULL;
	}
}

/* Host and port of a whole request; what is wrong with them. */
static enum socks_reply parse_target(const uint8_t *data, struct socks_request *request,
				     struct error *err)
{
	const uint8_t *port = parse_host(data, request->host);

	if (port == NULL) {
		error_set(err, REASON_UNSUPPORTED, 0, "unknown SOCKS address type %u", data[3]);
		return SOCKS_ADDRESS_UNSUPPORTED;
	}
	request->port = (uint16_t)(port[0] << 8 | port[1]);
	if (data[3] == ATYP_NAME && (data[4] == 0 || strlen(request->host) != data[4])) {
		error_set(err, REASON_INVALID, EINVAL, "not a name");
		return SOCKS_FAILURE;
	}
	return SOCKS_SUCCEEDED;
}

enum socks_reply socks_parse_request(const uint8_t *data, struct socks_request *request,
				     struct error *err)
{
	request->command = data[1];
	if (data[0] != SOCKS_VERSION) {
		error_set(err, REASON_INVALID, EINVAL, "not a SOCKS 5 request");
		return SOCKS_FAILURE;
	}
	return parse_target(data, request, err);
}

/* RSV RSV FRAG ATYP DST.ADDR DST.PORT: from ATYP on as in a request. */
ssize_t socks_parse_datagram(const uint8_t *data, size_t size, struct socks_request *request)
{
	size_t head = request_size(data, size);

	request->command = 0;
	if (head > size || data[2] != 0 || parse_target(data, request, NULL) != SOCKS_SUCCEEDED)
		return -EPROTO;
	return (ssize_t)head;
}

enum socks_reply socks_reply_to(const struct error *err)
{
	switch (err->reason) {
	case REASON_NOT_FOUND:
	case REASON_NOT_RUNNING:
		return SOCKS_HOST_UNREACHABLE;
	case REASON_REFUSED:
		return SOCKS_REFUSED;
	case REASON_UNREACHABLE:
		return err->sys_errno == EHOSTUNREACH ? SOCKS_HOST_UNREACHABLE
						      : SOCKS_NETWORK_UNREACHABLE;
	case REASON_TIMEOUT:
		return SOCKS_TTL_EXPIRED;
	case REASON_DENIED:
		return SOCKS_NOT_ALLOWED;
	default:
		return SOCKS_FAILURE;
	}
}

size_t socks_put_reply(uint8_t out[SOCKS_REPLY_MAX], enum socks_reply reply,
		       const struct address *bound)
{
	bool v6 = bound != NULL && bound->family == AF_INET6;
	size_t size = v6 ? 16 : 4;

	memset(out, 0, SOCKS_REPLY_MAX);
	out[0] = SOCKS_VERSION;
	out[1] = (uint8_t)reply;
	out[3] = v6 ? ATYP_IPV6 : ATYP_IPV4;
	if (bound != NULL && bound->family != AF_UNSPEC) {
		memcpy(out + SOCKS_REQUEST_HEAD, &bound->v6,
		       size); /* or v4: they share their place */
		out[SOCKS_REQUEST_HEAD + size] = (uint8_t)(bound->port >> 8);
		out[SOCKS_REQUEST_HEAD + size + 1] = (uint8_t)bound->port;
	}
	return SOCKS_REQUEST_HEAD + size + PORT_SIZE;
}

size_t socks_put_greeting(uint8_t out[SOCKS_MESSAGE_MAX], bool password)
{
	out[0] = SOCKS_VERSION;
	out[1] = password ? 2 : 1;
	out[2] = SOCKS_METHOD_NONE;
	out[3] = SOCKS_METHOD_PASSWORD;
	return password ? 4 : 3;
}

size_t socks_put_auth(uint8_t out[SOCKS_MESSAGE_MAX], const char *user, size_t user_size,
		      const char *password)
{
	size_t password_size = strlen(password);

	out[0] = AUTH_VERSION;
	out[1] = (uint8_t)user_size;
	memcpy(out + 2, user, user_size);
	out[2 + user_size] = (uint8_t)password_size;
	memcpy(out + 2 + user_size + 1, password, password_size);
	return 2 + user_size + 1 + password_size;
}

size_t socks_put_connect(uint8_t out[SOCKS_MESSAGE_MAX], const char *name,
			 const struct address *addr)
{
	size_t size = name != NULL ? strlen(name) : addr->family == AF_INET6 ? 16 : 4;
	uint8_t *at = out + SOCKS_REQUEST_HEAD;

	out[0] = SOCKS_VERSION;
	out[1] = SOCKS_CONNECT;
	out[2] = 0;
	if (name != NULL) {
		out[3] = ATYP_NAME;
		*at++ = (uint8_t)size;
		memcpy(at, name, size);
	} else {
		out[3] = addr->family == AF_INET6 ? ATYP_IPV6 : ATYP_IPV4;
		memcpy(at, &addr->v6, size);
	}
	at[size] = (uint8_t)(addr->port >> 8);
	at[size + 1] = (uint8_t)addr->port;
	return (size_t)(at + size + PORT_SIZE - out);
}

int socks_reply_error(uint8_t reply, struct error *err)
{
	static const struct {
		enum reason reason;
		int sys_errno;
		const char *text;
	} replies[] = {
		[SOCKS_FAILURE] = { REASON_UNREACHABLE, 0, "general failure" },
		[SOCKS_NOT_ALLOWED] = { REASON_DENIED, EACCES, "not allowed" },
		[SOCKS_NETWORK_UNREACHABLE] = { REASON_UNREACHABLE, ENETUNREACH,
						"network unreachable" },
		[SOCKS_HOST_UNREACHABLE] = { REASON_UNREACHABLE, EHOSTUNREACH, "host unreachable" },
		[SOCKS_REFUSED] = { REASON_REFUSED, ECONNREFUSED, "connection refused" },
		[SOCKS_TTL_EXPIRED] = { REASON_TIMEOUT, ETIMEDOUT, "TTL expired" },
		[SOCKS_COMMAND_UNSUPPORTED] = { REASON_UNSUPPORTED, 0, "command not supported" },
		[SOCKS_ADDRESS_UNSUPPORTED] = { REASON_UNSUPPORTED, 0,
						"address type not supported" },
	};

	if (reply >= ARRAY_SIZE(replies) || replies[reply].text == NULL)
		return error_set(err, REASON_UNREACHABLE, 0, "the proxy answered code %u", reply);
	return error_set(err, replies[reply].reason, replies[reply].sys_errno,
			 "the proxy answered: %s", replies[reply].text);
}
