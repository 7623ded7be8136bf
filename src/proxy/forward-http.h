/* SPDX-License-Identifier: MIT */
/*
 * What an HTTP proxy changes in the messages that it passes on (RFC 9110, section 7.6; RFC 9112): one request a
 * connection, so that no later one, which may be for another pod, reaches the target of the first. Pure text, no I/O.
 */
#ifndef VZFWD_FORWARD_HTTP_H
#define VZFWD_FORWARD_HTTP_H

#include "http.h"

/* How much of what follows a request's head belongs to it. */
struct http_body {
	enum http_body_state {
		HTTP_BODY_LENGTH, /* `left` bytes */
		HTTP_CHUNK_SIZE,  /* digits of it, then the rest of their line */
		HTTP_CHUNK_EXTENSION,
		HTTP_CHUNK_DATA, /* `left` bytes, then an end of line */
		HTTP_CHUNK_END,
		HTTP_TRAILER, /* the begin of a line, and the rest of it */
		HTTP_TRAILER_LINE,
		HTTP_TRAILER_END, /* a \r was its begin */
		HTTP_BODY_DONE
	} state;
	uint64_t left;
	unsigned digits;
};

/*
 * The head that goes to the target, owned by the caller, for a request in absolute form; and what its body is.
 * NULL: REASON_INVALID, if it can't be told where that ends.
 */
char *http_forward(const struct http_request *request, struct http_body *body, struct error *err);

/* How many of the bytes belong to the body; -EPROTO where it is none. It ends in HTTP_BODY_DONE. */
ssize_t http_body_feed(struct http_body *body, const char *data, size_t size);

/* The status of an answer by its head; 0 if it is none of HTTP/1. */
unsigned http_status_of(const char *head, size_t size);

/* The head of an answer, but that it says that the connection ends with it. Fresh memory of *out_size bytes. */
char *http_answer_forward(const char *head, size_t size, size_t *out_size);

#endif
