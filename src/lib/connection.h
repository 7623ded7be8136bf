/* SPDX-License-Identifier: MIT */
/*
 * One client's connection into a pod: from its accepted socket by a link of its own to the target,
 * and the relay between both. Each reads the pod's file anew. A client whose target can't be had is reset,
 * unless whoever gave it wants to have a word with it.
 */
#ifndef VZFWD_CONNECTION_H
#define VZFWD_CONNECTION_H

#include "capture.h"
#include "events.h"
#include "link.h"
#include "relay.h"
#include "retry.h"
#include "traffic.h"

struct connection;

enum connection_event_type {
	/* The target is connected, and nothing of it was passed on: what is written to the client comes first. */
	CONNECTION_OPENED,
	/* It is gone, and was freed: the stream has ended (result), … */
	CONNECTION_CLOSED,
	/* … or never began (err: REASON_BROKEN if the client did not wait for it). */
	CONNECTION_FAILED,
};

struct connection_event {
	enum connection_event_type type;
	uint64_t id;
	/*
	 * OPENED: its socket, borrowed; steal_fd() takes it back, and the target is reset (CONNECTION_FAILED).
	 * FAILED: the same, or it is reset. Else -1.
	 */
	int *client;
	const struct port_dialed *dialed; /* CONNECTION_OPENED */
	const struct relay_result
		*result;         /* CONNECTION_CLOSED: its bytes_out has all of the client's */
	const struct error *err; /* CONNECTION_FAILED */
};

/* Where connections lead, and those that there are. All texts are borrowed and outlive them. */
struct route {
	struct loop *loop;
	const char *pods_dir;        /* NULL if pod_arg is an endpoint */
	const char *pod_arg;         /* a name or an endpoint; read anew for each connection */
	const char *handle;          /* NULL: the pod's */
	const char *container_id;    /* or NULL */
	const struct policy *policy; /* netns:, pid: only; may be NULL */
	enum network network;
	const char *address; /* what the dialer is asked for */
	int timeout_ms;
	struct retry *
		retry; /* shared with the pod's others; NULL: nothing is known of it, and nobody waits */
	int retry_ms;      /* how long a client may wait for the pod to be there; 0: not at all */
	const char *label; /* in the log: "web:80" */
	struct event_source source; /* of --events */
	struct capture *capture;    /* of --capture; NULL: none */
	/* CLOSED or FAILED comes once for each, and last. */
	void (*event)(const struct connection_event *event, void *arg);
	void *arg;
	TAILQ_HEAD(, connection) connections; /* TAILQ_INIT()ed by its owner */
	struct traffic traffic; /* without the bytes of streams that go on: connections_traffic() */
};

/*
 * link_dial() to where the route leads, with the rest of the options filled in; NULL and *err if the pod is not
 * known.
 */
struct dialing *route_dial(struct route *route, struct link_options *options, link_dialed_cb cb,
			   void *arg, struct error *err);

/* What such a dial has shown of the pod (err NULL: a target). True if it is lost, of which was told once for all. */
bool route_learn(struct route *route, const struct error *err);

/*
 * Takes the client's socket over and begins to dial; no event comes before this has returned. Where it is one end of a pair that
 * stands for the client's, `who` is that one, borrowed for the call; else the same.
 */
void connection_new(struct route *route, int fd, int who, uint64_t id);

/* What came of them up to now. */
struct traffic connections_traffic(const struct route *route);

/*
 * Resets all of a route's connections. Those that wait for a target are gone when it returns, relays as
 * relay_abort() says; called again, these too at once.
 */
void connections_abort(struct route *route);

/*
 * The same for those whose client has sent nothing that is still to be read, not even its end: of clients who have gone,
 * none is among them. Called again and again, it leaves them the time to be heard out.
 */
void connections_abort_silent(struct route *route);

#endif
