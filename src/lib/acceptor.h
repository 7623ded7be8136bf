/* SPDX-License-Identifier: MIT */
/*
 * Accepts on a listening socket, in batches, up to a limit that several
 * acceptors may share; out of descriptors or at the limit it pauses and resumes, and neither spins
 * nor dies.
 */
#ifndef VZFWD_ACCEPTOR_H
#define VZFWD_ACCEPTOR_H

#include <sys/socket.h>

#include "log.h"
#include "loop.h"

/* How many connections there are and may be; the rest is the acceptors' own. */
struct accept_limit {
	size_t count, max;
	uint64_t served;
	TAILQ_HEAD(, acceptor) waiting;
};
void accept_limit_init(struct accept_limit *limit, size_t max);
void accept_limit_release(
	struct accept_limit *limit); /* one connection is gone: who paused goes on */
/* True if clients wait, at the limit or since a moment for a place that is free now. */
bool accept_limit_wanted(const struct accept_limit *limit);

struct acceptor;

/* Takes fd over. The limit was already taken once for it: accept_limit_release() when it is gone. */
typedef void (*accept_cb)(int fd, const struct sockaddr_storage *peer, void *arg);

/* Takes the listening fd over. */
struct acceptor *acceptor_new(struct loop *loop, int fd, struct accept_limit *limit,
			      const char *label, accept_cb cb, void *arg);
int acceptor_fd(const struct acceptor *acceptor); /* the listener, borrowed */
void acceptor_free(struct acceptor *acceptor);    /* closes the listener; NULL is harmless */

#endif
