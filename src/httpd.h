/* SPDX-License-Identifier: MIT */
/* Answers GET requests for one path, by libevent's evhttp, for few clients at a time and in little time each. */
#ifndef VZFWD_HTTPD_H
#define VZFWD_HTTPD_H

#include "lib/error.h"
#include "lib/loop.h"

/* Descriptors that it has at most. */
#define HTTPD_CLIENTS_MAX 16
#define HTTPD_FDS_MAX (HTTPD_CLIENTS_MAX + 2)

struct evbuffer;
struct httpd;

struct httpd_page {
	const char *path; /* "/metrics" */
	const char *type; /* its Content-Type */
	void (*write)(struct evbuffer *out, void *arg);
	void *arg;
};

/*
 * Listens at `where`, as listener_parse() has it; a Unix socket is REASON_INVALID. For the other errors, and the warning where other
 * machines can reach it, see forward_new(). On loopback addresses it asks that it was called by an address or as localhost: a name
 * that leads there is a web page's (DNS rebinding). The page is borrowed.
 */
struct httpd *httpd_open(struct loop *loop, const char *where, const struct httpd_page *page,
			 struct error *err);

/* Listener i as it is printed; NULL when there are no more. */
const char *httpd_listener(const struct httpd *httpd, size_t i);

void httpd_close(struct httpd *httpd); /* NULL is harmless */

#endif
