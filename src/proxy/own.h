/* SPDX-License-Identifier: MIT */
/* What the proxy itself has for whoever sends it a plain HTTP request: /proxy.pac. */
#ifndef VZFWD_PROXY_OWN_H
#define VZFWD_PROXY_OWN_H

#include "http.h"
#include "proxy.h"

/* The answer to a request in origin form that came by this socket, owned by the caller. */
char *own_answer(const struct proxy *proxy, int fd, const struct http_request *request);

/* An answer that is a line of text: what a person reads when a connection could not be had. */
char *own_error(unsigned status, const char *fields, const char *text);

#endif
