/* SPDX-License-Identifier: MIT */
/* All links and relays of a vzfwd-guest: how many there are and may be, and their end. */
#ifndef VZFWD_SERVER_H
#define VZFWD_SERVER_H

#include "acceptor.h"
#include "dialer.h"
#include "streams.h"

struct accept_listener;

struct server_config {
	struct loop *loop;
	struct dialer *dialer;
	struct accept_limit
		*handshakes; /* released for each link that leaves the handshake; may be NULL */
	size_t max_connections;
	void (*idle)(void *arg); /* the last link and the last relay are gone */
	void *arg;
};

struct server {
	struct server_config config;
	TAILQ_HEAD(, guest_link) links; /* in the handshake */
	TAILQ_HEAD(, guest_link) spare; /* memory for the next ones, as handshake.c says */
	size_t spare_count;
	struct streams streams;
	size_t connections; /* pod.portDial under way, and relays */
	int64_t refused_at; /* now_ms() when it was last told that a pod's client was refused */
	uint64_t last_id;
	int exit_code; /* what the last link ended with: 0, or its error's */
};

void server_init(struct server *server, const struct server_config *config);
void server_clear(struct server *server); /* nothing may be left */

/*
 * Starts the relay, or the copy of datagrams, of a link whose handshake is over: streams_add(). `listener` (or NULL) is
 * where its client was accepted: accept_release() follows.
 */
void server_add_stream(struct server *server, struct relay_config *config,
		       struct accept_listener *listener);
void server_add_datagrams(struct server *server, struct datagrams_config *config,
			  struct accept_listener *listener);

/* Calls idle() if nothing is left. */
void server_check_idle(struct server *server);

/* Ends all: links are closed, relays reset. idle() follows, at once or when the last is gone. */
void server_stop(struct server *server);

#endif
