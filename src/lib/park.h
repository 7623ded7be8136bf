/* SPDX-License-Identifier: MIT */
/*
 * Parked links: for one listener in a pod, a few links that wait there for the pod's clients. Each is given one; others are
 * opened in its place.
 */
#ifndef VZFWD_PARK_H
#define VZFWD_PARK_H

#include "events.h"
#include "link.h"

#define PARK_DEFAULT 4
#define PARK_MAX_DEFAULT 64
#define PARK_RATE_DEFAULT 10000

struct park;

/* A client of the pod's, and its stream, given away. */
struct park_client {
	enum network network;               /* NETWORK_TCP, NETWORK_UDP or NETWORK_UNIX */
	int fd;                             /* -1, if there is: */
	struct datagrams_client *datagrams; /* as from link_take_datagrams() */
	enum framing framing;               /* raw: the client's own socket, or datagrams */
	pid_t child;         /* of an exec: endpoint, to be ended with the stream; 0: none */
	struct watch *watch; /* fd's, for a relay to take over in the callback; NULL: none */
	struct port_accepted told;
	struct accept_listener *listener; /* as from link_take_listener() */
};

struct park_config {
	struct loop *loop;
	/* All borrowed, and outlive it: as in struct route. */
	const char *pods_dir, *pod_arg, *handle, *container_id;
	const struct policy *policy;
	enum network network;
	const char *listen;    /* an address, a path, ACCEPT_EGRESS */
	const char *label;     /* in the log */
	struct events *events; /* who is told when the pod is lost and back; NULL: nobody */
	unsigned min, max;     /* how many links are parked: at first, and under load */
	unsigned rate;         /* clients a second at most */
	/*
	 * How many clients there may still be: less by each. Who has it adds them again, and calls park_go_on(). Below
	 * zero where several parks have it, by those that were on their way when it became 0.
	 */
	int64_t *room;
	/* The listener is up: at first, and again after it was lost. */
	void (*listening)(void *arg);
	/* From the loop. Must not free the park. */
	void (*accepted)(const struct park_client *client, void *arg);
	/*
	 * There is none, and never was. It is tried again until park_free(), which may be called from here. Later failures are
	 * logged.
	 */
	void (*failed)(const struct error *err, void *arg);
	void *arg;
};

struct park *park_new(const struct park_config *config);

/* There may be more room, which is seen to from the loop. */
void park_go_on(struct park *park);
void park_free(struct park *park); /* closes the links that wait; NULL is harmless */

#endif
