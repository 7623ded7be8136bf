/* SPDX-License-Identifier: MIT */
/* Heads as they are passed on, and the end of a request's body. */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "forward-http.h"

/* What is between one peer and the next, or for the proxy alone; Host is written anew. */
static const char *const own_fields[] = { "Connection",       "Host",
					  "Keep-Alive",       "Proxy-Authorization",
					  "Proxy-Connection", "TE",
					  "Upgrade" };

/* What no Connection field can take away: where a body ends is for both sides to know. */
static const char *const framing_fields[] = { "Content-Length", "Transfer-Encoding" };

#define ADDED "Via: 1.1 vzfwd\r\nConnection: close\r\n\r\n"

static bool is_among(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcasecmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

/* True if a list, "close, X-Trace", has the name. */
static bool list_has(const char *list, const char *name)
{
	size_t length = strlen(name);

	while (*list != '\0') {
		size_t item;

		list += strspn(list, ", \t");
		item = strcspn(list, ", \t");
		if (item == length && strncasecmp(list, name, length) == 0)
			return true;
		list += item;
	}
	return false;
}

static bool is_dropped(const struct http_request *request, const char *name)
{
	if (is_among(name, own_fields, ARRAY_SIZE(own_fields)))
		return true;
	if (is_among(name, framing_fields, ARRAY_SIZE(framing_fields)))
		return false;
	for (size_t i = 0; i < request->count; i++) {
		if (strcasecmp(request->fields[i].name, "Connection") == 0 &&
		    list_has(request->fields[i].value, name))
			return true;
	}
	return false;
}

static size_t field_count(const struct http_request *request, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < request->count; i++)
		count += strcasecmp(request->fields[i].name, name) == 0;
	return count;
}

/* RFC 9112, section 6.3, for requests. */
static int find_body(const struct http_request *request, struct http_body *body, struct error *err)
{
	size_t lengths = field_count(request, "Content-Length");
	size_t codings = field_count(request, "Transfer-Encoding");

	*body = (struct http_body){ .state = HTTP_BODY_DONE };
	if (lengths + codings == 0)
		return 0;
	if (lengths + codings > 1)
		return error_set(err, REASON_INVALID, EINVAL, "two ends of the request's body");
	if (codings == 1) {
		if (strcasecmp(http_field(request, "Transfer-Encoding"), "chunked") != 0)
			return error_set(err, REASON_INVALID, EINVAL, "an unknown transfer coding");
		body->state = HTTP_CHUNK_SIZE;
		return 0;
	}
	if (parse_uint(http_field(request, "Content-Length"), INT64_MAX, &body->left) < 0)
		return error_set(err, REASON_INVALID, EINVAL, "not a length");
	if (body->left > 0)
		body->state = HTTP_BODY_LENGTH;
	return 0;
}

/* Room for a head with all its fields, and what comes to it. */
static size_t head_room(const struct http_request *request)
{
	size_t size = strlen(request->method) + strlen(request->path) + strlen(request->version) +
		      strlen(request->authority) + sizeof("  \r\nHost: \r\n" ADDED);

	for (size_t i = 0; i < request->count; i++)
		size += strlen(request->fields[i].name) + strlen(request->fields[i].value) +
			strlen(": \r\n");
	return size;
}

static char *put(char *at, const char *a, const char *b, const char *c, const char *d)
{
	return stpcpy(stpcpy(stpcpy(stpcpy(at, a), b), c), d);
}

char *http_forward(const struct http_request *request, struct http_body *body, struct error *err)
{
	char *head, *at;

	if (find_body(request, body, err) < 0)
		return NULL;
	head = xmalloc(head_room(request));
	at = put(head, request->method, " ", request->path, " ");
	at = put(at, request->version, "\r\n", "", "");
	at = put(at, "Host: ", request->authority, "\r\n", "");
	for (size_t i = 0; i < request->count; i++) {
		const struct http_field *field = &request->fields[i];

		if (!is_dropped(request, field->name))
			at = put(at, field->name, ": ", field->value, "\r\n");
	}
	stpcpy(at, ADDED);
	return head;
}

static enum http_body_state after_chunk_size(const struct http_body *body)
{
	return body->left > 0 ? HTTP_CHUNK_DATA : HTTP_TRAILER;
}

static int chunk_size(struct http_body *body, char c)
{
	if (isxdigit((unsigned char)c) && body->digits < 15) {
		body->left = body->left * 16 +
			     (uint64_t)(isdigit((unsigned char)c)
						? c - '0'
						: tolower((unsigned char)c) - 'a' + 10);
		body->digits++;
		return 0;
	}
	if (body->digits == 0 || isxdigit((unsigned char)c))
		return -EPROTO;
	body->state = c == '\n' ? after_chunk_size(body) : HTTP_CHUNK_EXTENSION;
	return c == '\n' || c == '\r' || c == ';' || c == ' ' || c == '\t' ? 0 : -EPROTO;
}

/* One byte of what is around chunks. */
static int chunk_byte(struct http_body *body, char c)
{
	switch (body->state) {
	case HTTP_CHUNK_SIZE:
		return chunk_size(body, c);
	case HTTP_CHUNK_EXTENSION:
		if (c == '\n')
			body->state = after_chunk_size(body);
		return 0;
	case HTTP_CHUNK_END:
		if (c == '\n') {
			body->state = HTTP_CHUNK_SIZE;
			body->digits = 0;
		}
		return c == '\n' || c == '\r' ? 0 : -EPROTO;
	case HTTP_TRAILER:
		body->state = c == '\n'   ? HTTP_BODY_DONE
			      : c == '\r' ? HTTP_TRAILER_END
					  : HTTP_TRAILER_LINE;
		return 0;
	case HTTP_TRAILER_LINE:
		if (c == '\n')
			body->state = HTTP_TRAILER;
		return 0;
	default: /* HTTP_TRAILER_END */
		body->state = HTTP_BODY_DONE;
		return c == '\n' ? 0 : -EPROTO;
	}
}

ssize_t http_body_feed(struct http_body *body, const char *data, size_t size)
{
	size_t at = 0;

	while (at < size && body->state != HTTP_BODY_DONE) {
		if (body->state == HTTP_BODY_LENGTH || body->state == HTTP_CHUNK_DATA) {
			size_t n = size - at < body->left ? size - at : (size_t)body->left;

			at += n;
			body->left -= n;
			if (body->left == 0)
				body->state = body->state == HTTP_CHUNK_DATA ? HTTP_CHUNK_END
									     : HTTP_BODY_DONE;
		} else if (chunk_byte(body, data[at++]) < 0) {
			return -EPROTO;
		}
	}
	return (ssize_t)at;
}

unsigned http_status_of(const char *head, size_t size)
{
	if (size < strlen("HTTP/1.1 200") || memcmp(head, "HTTP/1.", 7) != 0 || head[8] != ' ' ||
	    !isdigit((unsigned char)head[9]) || !isdigit((unsigned char)head[10]) ||
	    !isdigit((unsigned char)head[11]))
		return 0;
	return (unsigned)((head[9] - '0') * 100 + (head[10] - '0') * 10 + (head[11] - '0'));
}

static bool is_connection_field(const char *line, size_t length)
{
	static const char *const names[] = { "Connection:", "Keep-Alive:", "Proxy-Connection:" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t n = strlen(names[i]);

		if (length >= n && strncasecmp(line, names[i], n) == 0)
			return true;
	}
	return false;
}

char *http_answer_forward(const char *head, size_t size, size_t *out_size)
{
	char *out = xmalloc(size + sizeof(ADDED)), *at = out;
	const char *line = head, *end = head + size;
	bool dropped = false;

	while (line < end && *line != '\n' && *line != '\r') {
		size_t length =
			(size_t)((const char *)memchr(line, '\n', (size_t)(end - line)) + 1 - line);

		/* A folded line belongs to the one before. */
		if (*line != ' ' && *line != '\t')
			dropped = is_connection_field(line, length);
		if (!dropped) {
			memcpy(at, line, length);
			at += length;
		}
		line += length;
	}
	*out_size = (size_t)(stpcpy(at, ADDED) - out);
	return out;
}
