/* SPDX-License-Identifier: MIT */
/* The first bytes of TLS (RFC 8446, RFC 6066) and of HTTP/1 (RFC 9112). */
#include "config.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "peek.h"
#include "proxy/http.h"

#define RECORD_HEADER 5
#define RECORD_MAX 16384
#define HANDSHAKE_HEADER 4

enum { CONTENT_HANDSHAKE = 22, CLIENT_HELLO = 1, EXTENSION_SERVER_NAME = 0, NAME_HOST = 0 };

/* What is left of a structure; once less is there than was asked for, `bad`. */
struct cursor {
	const uint8_t *at;
	size_t left;
	bool bad;
};

static const uint8_t *take(struct cursor *c, size_t size)
{
	const uint8_t *at = c->at;

	if (c->bad || size > c->left) {
		c->bad = true;
		c->left = 0;
		return NULL;
	}
	c->at += size;
	c->left -= size;
	return at;
}

/* A big-endian number of `size` bytes; 0 if it isn't there. */
static size_t take_number(struct cursor *c, size_t size)
{
	const uint8_t *at = take(c, size);
	size_t n = 0;

	for (size_t i = 0; at != NULL && i < size; i++)
		n = n << 8 | at[i];
	return n;
}

/* What follows its length, a number of `size` bytes. */
static struct cursor take_vector(struct cursor *c, size_t size)
{
	size_t length = take_number(c, size);
	const uint8_t *at = take(c, length);

	return (struct cursor){ at, at != NULL ? length : 0, c->bad };
}

/* A host as a client writes it, without the port. */
static enum peek tell(const char *host, size_t size, char name[DOMAIN_NAME_MAX + 1])
{
	char text[INET6_ADDRSTRLEN];
	struct in_addr v4;

	if (size == 0 || *host == '[')
		return PEEK_NONE;
	if (size < sizeof(text)) {
		memcpy(text, host, size);
		text[size] = '\0';
		if (strlen(text) == size && inet_pton(AF_INET, text, &v4) == 1)
			return PEEK_NONE;
	}
	if (host_name_parse(name, host, size) == 0)
		return PEEK_NAME;
	*name = '\0';
	return PEEK_BAD;
}

/* One name, of the one type there is. */
static enum peek peek_server_name(struct cursor extension, char *name)
{
	struct cursor list = take_vector(&extension, 2);
	size_t type = take_number(&list, 1);
	struct cursor host = take_vector(&list, 2);

	if (host.bad || extension.left > 0 || list.left > 0 || type != NAME_HOST || host.left == 0)
		return PEEK_BAD;
	return tell((const char *)host.at, host.left, name);
}

static enum peek peek_extensions(struct cursor extensions, char *name)
{
	struct cursor found = { 0 };

	while (extensions.left > 0) {
		size_t type = take_number(&extensions, 2);
		struct cursor extension = take_vector(&extensions, 2);

		if (extension.bad || (type == EXTENSION_SERVER_NAME && found.at != NULL))
			return PEEK_BAD;
		if (type == EXTENSION_SERVER_NAME)
			found = extension;
	}
	return found.at != NULL ? peek_server_name(found, name) : PEEK_NONE;
}

/* Version, random, session, ciphers, compression, extensions. */
static enum peek peek_hello(struct cursor hello, char *name)
{
	struct cursor extensions;

	take(&hello, 2 + 32);
	take_vector(&hello, 1);
	take_vector(&hello, 2);
	take_vector(&hello, 1);
	if (hello.bad)
		return PEEK_BAD;
	if (hello.left == 0)
		return PEEK_NONE;
	extensions = take_vector(&hello, 2);
	if (extensions.bad || hello.left > 0)
		return PEEK_BAD;
	return peek_extensions(extensions, name);
}

/* Puts the handshake together that the records are parts of, as far as the ClientHello needs it. */
static enum peek peek_tls(const uint8_t *data, size_t size, char *name)
{
	uint8_t handshake[PEEK_MAX];
	size_t have = 0, want = HANDSHAKE_HEADER;
	struct cursor records = { data, size, false };

	while (have < want) {
		size_t part, length;

		if (records.left < RECORD_HEADER)
			return PEEK_MORE;
		if (records.at[0] != CONTENT_HANDSHAKE || records.at[1] != 3)
			return PEEK_BAD;
		length = (size_t)records.at[3] << 8 | records.at[4];
		if (length == 0 || length > RECORD_MAX)
			return PEEK_BAD;
		take(&records, RECORD_HEADER);
		part = length < records.left ? length : records.left;
		memcpy(handshake + have, take(&records, part), part);
		have += part;
		if (have > 0 && handshake[0] != CLIENT_HELLO)
			return PEEK_BAD;
		if (have >= HANDSHAKE_HEADER)
			want = HANDSHAKE_HEADER + ((size_t)handshake[1] << 16 |
						   (size_t)handshake[2] << 8 | handshake[3]);
		if (want > PEEK_MAX)
			return PEEK_BAD;
		if (have < want && part < length)
			return PEEK_MORE;
	}
	return peek_hello((struct cursor){ handshake + HANDSHAKE_HEADER, want - HANDSHAKE_HEADER,
					   false },
			  name);
}

/* Cuts the port off: the length of what is before it. */
static size_t without_port(const char *host)
{
	const char *end = *host == '[' ? strchr(host, ']') : NULL;

	return end != NULL ? (size_t)(end + 1 - host) : strcspn(host, ":");
}

/* RFC 9110, section 7.2: a port is digits, and may be none. */
static bool is_port(const char *text)
{
	return *text == '\0' || (*text == ':' && text[1 + strspn(text + 1, "0123456789")] == '\0');
}

static enum peek peek_host(const char *host, char *name)
{
	size_t size = without_port(host);

	return is_port(host + size) ? tell(host, size, name) : PEEK_BAD;
}

/* The Host field, which is there once at most, and the target's host if it has one; they agree. */
static enum peek peek_request(const struct http_request *request, char *name)
{
	char named[DOMAIN_NAME_MAX + 1] = "";
	enum peek peek = PEEK_NONE, target;
	size_t hosts = 0;

	for (size_t i = 0; i < request->count; i++) {
		if (strcasecmp(request->fields[i].name, "Host") != 0)
			continue;
		peek = hosts++ == 0 ? peek_host(request->fields[i].value, name) : PEEK_BAD;
	}
	if (peek == PEEK_BAD || request->form == HTTP_ORIGIN)
		return peek;
	target = peek_host(request->host, named);
	if (target == PEEK_BAD || (hosts > 0 && (target != peek || strcmp(named, name) != 0)))
		return PEEK_BAD;
	memcpy(name, named, sizeof(named));
	return target;
}

/* True if the bytes can be, or begin, a request's method and what follows it. */
static bool is_method(const char *data, size_t size)
{
	size_t length = 0;

	while (length < size && strchr(" \t\r\n", data[length]) == NULL) {
		unsigned char c = (unsigned char)data[length]; /* as char is on ARM */

		if (c < '!' || c > '~')
			return false;
		length++;
	}
	return size == 0 || length > 0;
}

static enum peek peek_http(const char *data, size_t size, char *name)
{
	struct http_request request;
	char text[PEEK_MAX + 1];
	const char *end;
	size_t head;

	/* RFC 9112, section 2.2: servers skip empty lines before a request. */
	while (size > 0 && (*data == '\r' || *data == '\n')) {
		data++;
		size--;
	}
	if (!is_method(data, size))
		return PEEK_NONE;
	end = memchr(data, '\n', size);
	if (end == NULL)
		return PEEK_MORE;
	/* Whoever takes a line that is not as it should be may find a request in it. */
	if (memmem(data, (size_t)(end - data), "HTTP/1.", strlen("HTTP/1.")) == NULL)
		return PEEK_NONE;
	head = http_head_size(data, size, 0);
	if (head == 0)
		return PEEK_MORE;
	memcpy(text, data, head);
	if (http_parse(text, head, &request, NULL) < 0)
		return PEEK_BAD;
	return peek_request(&request, name);
}

enum peek peek_name(const uint8_t *data, size_t size, char name[DOMAIN_NAME_MAX + 1])
{
	size_t have = size < PEEK_MAX ? size : PEEK_MAX;
	enum peek peek = PEEK_MORE;

	*name = '\0';
	if (have > 1 && data[0] == CONTENT_HANDSHAKE && data[1] == 3)
		peek = peek_tls(data, have, name);
	else if (have > 0 && !(have == 1 && data[0] == CONTENT_HANDSHAKE))
		peek = peek_http((const char *)data, have, name);
	if (peek == PEEK_MORE && have == PEEK_MAX)
		peek = PEEK_BAD;
	if (peek != PEEK_NAME)
		*name = '\0';
	return peek;
}
