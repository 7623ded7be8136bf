/* SPDX-License-Identifier: MIT */
/*
 * The way back of one client of a pod's: from the link that it was given, or its own socket, to a service of the host's or
 * of another pod's, and the copy between both. One that gets no service is reset.
 */
#ifndef VZFWD_BACKWARD_H
#define VZFWD_BACKWARD_H

#include "connect.h"
#include "datagrams.h"
#include "events.h"
#include "park.h"
#include "traffic.h"

/* Flows of udp in a group: the least recently used one makes room for another. */
#define BACKWARD_FLOWS_MAX 1024
/* And of those that were denied, which have descriptors and no place. */
#define BACKWARD_HELD_MAX 64

struct backward;

/* Those of one listener, or of one pod. */
struct backwards {
	struct loop *loop;
	TAILQ_HEAD(, backward) list;
	size_t flows, denied;   /* of them: all, and those that are held */
	struct traffic traffic; /* without the bytes of streams that go on */
	int udp_idle_ms;
	int64_t logging_since;   /* now_ms() when the second began that lines are counted in */
	unsigned logged;         /* so many of what became of clients, also those left out */
	int64_t *room;           /* the park's: each takes a place there, but those that are held */
	void (*gone)(void *arg); /* a place is free, or one is gone */
	void *arg;
};
void backwards_init(struct backwards *all, struct loop *loop, int64_t *room,
		    void (*gone)(void *arg), void *arg);

/* Resets all; called again, at once. gone() follows for each. */
void backwards_abort(struct backwards *all);
/* What may be decided otherwise now: flows that were denied, to these addresses (NULL: to any), are new ones with their next datagram. */
void backwards_forgive(struct backwards *all, const struct address *to, size_t count);
struct traffic backwards_traffic(const struct backwards *all); /* up to now */

/*
 * Takes a client over. The label and the source's texts are borrowed until it is gone, but for source.target and .name, which are
 * copied. What it leads to is said by one of the functions below, now or later.
 */
struct backward_config {
	struct backwards *all;
	uint64_t id;
	const char *label;
	struct event_source source;
	/* Until then: something came from the client, which is not to be read. May be NULL. */
	void (*readable)(void *arg);
	/* It has its service, or is gone: nothing more may be said of it. May be NULL. */
	void (*over)(void *arg);
	void *arg; /* of both */
};
struct backward *backward_new(const struct backward_config *config,
			      const struct park_client *client);

/* The host's name that it is for. */
void backward_set_name(struct backward *b, const char *name);

/* Its socket, or link, to be looked at; its framing. */
int backward_fd(const struct backward *b);
enum framing backward_framing(const struct backward *b);
const struct port_accepted *backward_told(const struct backward *b);
bool backward_is_udp(const struct backward *b);

/* To one of these addresses, by TCP, or by UDP where the client's network is that. */
void backward_connect(struct backward *b, const struct address *addrs, size_t count,
		      int timeout_ms);
/* To a Unix socket. */
void backward_connect_unix(struct backward *b, const char *path);
/* To what is dialed in another pod. `pods_dir` and the rest are borrowed until this returns. */
void backward_dial(struct backward *b, const char *pods_dir, const char *pod_arg,
		   const struct policy *policy, enum network network, const char *address,
		   int timeout_ms);
/* To what is connected already, which is given away. */
void backward_join(struct backward *b, int fd);
/*
 * To nothing: it could not be had, or (REASON_DENIED, by this rule) may not. A flow of UDP that is denied is told of once, and held until
 * it is idle or backwards_forgive(); of more than BACKWARD_HELD_MAX the one that was quiet for longest is not.
 */
void backward_fail(struct backward *b, const struct error *err);
void backward_deny(struct backward *b, const char *rule, const struct error *err);

#endif
