/* SPDX-License-Identifier: MIT */
/*
 * The clients of a forward's UDP sockets. UDP knows no connections: a flow is what comes from one
 * client's address and port, and goes back there, over a link of its own, until both are silent.
 */
#ifndef VZFWD_FLOWS_H
#define VZFWD_FLOWS_H

#include "acceptor.h"
#include "connection.h"

/* At most so many flows; the least recently used one makes room for another. */
#define FLOWS_MAX 1024

struct flows;

struct flows_config {
	/* Borrowed. Its event() tells of flows as of connections, from within flows_stop() too. */
	struct route *route;
	struct accept_limit *limit; /* a place for each flow is taken, and released by event() */
	uint64_t *last_id;
	int idle_ms;                 /* flows end after this much silence */
	void (*accepted)(void *arg); /* there is a new one */
	void *arg;
};

struct flows *flows_new(const struct flows_config *config);

/* Takes a bound UDP socket over in every case: 0 or -errno. */
int flows_add(struct flows *flows, int fd);

/* Closes the sockets and ends the flows, in order as far as their links take that at once. */
void flows_stop(struct flows *flows);
void flows_free(struct flows *flows); /* NULL is harmless */

#endif
