/* SPDX-License-Identifier: MIT */
/*
 * The heads of HTTP/1 requests as a proxy gets them (RFC 9112), and the answers of the proxy itself.
 * Pure text, no I/O.
 */
#ifndef VZFWD_HTTP_H
#define VZFWD_HTTP_H

#include "error.h"

#define HTTP_HEAD_MAX (16u * 1024)
#define HTTP_FIELDS_MAX 100
#define HTTP_HOST_MAX 255

/* RFC 9112, section 3.2. */
enum http_form {
	HTTP_ORIGIN,    /* GET /proxy.pac: meant for us */
	HTTP_ABSOLUTE,  /* GET http://web/index.html */
	HTTP_AUTHORITY, /* CONNECT web:443 */
};

struct http_field {
	const char *name, *value;
};

/* All texts are in the head that was parsed. */
struct http_request {
	const char *method;
	enum http_form form;
	const char *authority;        /* "web:8443", with the brackets of an IPv6 address */
	char host[HTTP_HOST_MAX + 1]; /* of it, without the port */
	uint16_t port;
	const char *path;    /* "/index.html?a=b"; NULL for HTTP_AUTHORITY */
	const char *version; /* "HTTP/1.1" */
	struct http_field fields[HTTP_FIELDS_MAX];
	size_t count;
};

/*
 * How many of the bytes are the head, up to the empty line; 0 while that has not come. `from` bytes were looked
 * at before.
 */
size_t http_head_size(const char *data, size_t have, size_t from);

/*
 * Takes apart a whole head (data[length] is the caller's too: it becomes a NUL), in place. REASON_INVALID for all that is
 * not plainly well-formed: bare carriage returns, folded lines, spaces before a colon are how
 * requests are smuggled.
 */
int http_parse(char *data, size_t length, struct http_request *request, struct error *err);

/* The value of a field that is there once; NULL if it isn't, or is there more often. */
const char *http_field(const struct http_request *request, const char *name);

/*
 * "USER:PASSWORD" of a Proxy-Authorization field (Basic, RFC 7617), owned by the caller; NULL if there is none
 * that can be read, or has a NUL in it.
 */
char *http_credentials(const struct http_request *request);

/* The value of a field with "USER:PASSWORD" in it. Owned by the caller. */
char *http_put_credentials(const char *credentials);

/* The status that a connection that could not be had is answered with. */
unsigned http_status_to(const struct error *err);

/*
 * A whole answer, after which the connection ends. `fields` are lines with their \r\n, or "". Owned by the
 * caller.
 */
char *http_answer(unsigned status, const char *fields, const char *type, const char *body);

/* The head of the answer to CONNECT that the target's bytes follow. */
#define HTTP_CONNECTED "HTTP/1.1 200 Connection established\r\n\r\n"

#endif
