/* SPDX-License-Identifier: MIT */
/* What has come of a server's connections, in Prometheus' text format. */
#ifndef VZFWD_METRICS_H
#define VZFWD_METRICS_H

#include "serve.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct evbuffer;

/* Of all there is in a `struct serve`: for struct httpd_page. */
void metrics_write(struct evbuffer *out, void *serve);

#endif
