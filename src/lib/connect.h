/* SPDX-License-Identifier: MIT */
/* A connected socket: one of a few addresses, tried one after the other under one deadline. */
#ifndef VZFWD_CONNECT_H
#define VZFWD_CONNECT_H

#include "endpoint.h"
#include "loop.h"

#define CONNECT_MAX 8 /* addresses */

struct connecting;

/* The connected socket, taken over by the callback, and its two ends; or NULL and the error, of all that were tried. */
struct connected {
	int fd;
	struct address remote, local;
};
typedef void (*connect_cb)(const struct connected *connected, const struct error *err, void *arg);

struct connect_config {
	int type; /* SOCK_STREAM, SOCK_DGRAM */
	struct address addrs[CONNECT_MAX];
	size_t count; /* at least one */
	int timeout_ms;
	/*
	 * Makes a socket (non-blocking, close-on-exec); `last`: there won't be another. fd, or a negative number with *err.
	 * NULL: sock_new().
	 */
	int (*make)(sa_family_t family, int type, bool last, struct error *err, void *arg);
	connect_cb done;
	void *arg;
};

/*
 * The callback comes later, or at once: then NULL is returned; else what connect_cancel() ends without a callback. The
 * socket is tuned (sock_tune_tcp(), sock_tune_udp()) by then.
 */
struct connecting *connect_start(struct loop *loop, const struct connect_config *config);
void connect_cancel(struct connecting *connecting);

/* The addresses that a loopback address without a family (AF_UNSPEC) means: 127.0.0.1 or ::1. */
void address_set_loopback(struct address *addr, sa_family_t family);

#endif
