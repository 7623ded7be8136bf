/* SPDX-License-Identifier: MIT */
/*
 * A forward: local listeners and where in a pod they lead. Each accepted
 * client becomes a connection (connection.h).
 */
#ifndef VZFWD_FORWARD_H
#define VZFWD_FORWARD_H

#include "acceptor.h"
#include "connection.h"
#include "flows.h"

struct forward;

struct forward_config {
	/* All borrowed: they outlive the forward. */
	const char *pods_dir;        /* NULL if pod_arg is an endpoint */
	const char *pod_arg;         /* a name or an endpoint; read anew for each connection */
	const char *handle;          /* --handle, or NULL: the pod's */
	const char *container_id;    /* --container, or NULL */
	const struct policy *policy; /* netns:, pid: only; may be NULL */
	int timeout_ms;
	int udp_idle_ms; /* a client's flow ends after this much silence; 0: DATAGRAMS_IDLE_MS */
	int retry_ms;    /* as in struct route */
	const struct forward_spec *spec;
	/*
	 * NULL, or one that listens, with forward_spec_same_local() (not kept): its listeners become this one's too,
	 * without a moment in which nobody listens. Each of the two can stop without the other.
	 */
	const struct forward *predecessor;
	struct accept_limit *limit;
	struct events *events;   /* --events, or NULL */
	struct capture *capture; /* --capture, or NULL */
	uint64_t *last_id;       /* a connection's number in the log; shared like the log */
	/*
	 * A client was accepted ("Handling connection for 8080"), or a flow begun; what became of it. Both may be
	 * NULL.
	 */
	void (*accepted)(struct forward *forward, void *arg);
	void (*event)(struct forward *forward, const struct connection_event *event, void *arg);
	void *arg;
};

/*
 * How many connections there can be, `wanted` or (0) as many as the descriptors are enough for: two
 * each, beside those that are open and `spare` more. Raises the descriptor limit; warns if fewer than wanted.
 */
size_t forward_connections_max(uint64_t wanted, size_t spare);

/* Where to listen for a spec without a BIND of its own: what --address says. */
struct forward_bind {
	enum bind_type type; /* BIND_LOCALHOST, BIND_ALL or BIND_ADDRESS */
	struct address address;
};

/*
 * Binds everything or nothing; an error names the address and port: REASON_EXHAUSTED (in
 * use), REASON_DENIED, REASON_INVALID (no such address, udp behind a Unix socket), REASON_UNSUPPORTED (tcp of one
 * family). localhost needs one of its two families, and so does "*" where the system lacks the
 * other; a free port is the same in all of a forward's listeners. A bind that other
 * machines can reach is warned about.
 */
struct forward *forward_new(struct loop *loop, const struct forward_config *config,
			    const struct forward_bind *binds, size_t bind_count, struct error *err);

/* Listener i as it is printed, "127.0.0.1:8080", "[::1]:8080", "unix:PATH"; NULL when there are no more. */
const char *forward_listener(const struct forward *forward, size_t i);
json_t *forward_listeners(const struct forward *forward); /* all of them. New reference */
/* A forward and its traffic, as forward.list tells of it: vzfwd-serve(7). New reference. */
json_t *forward_to_json(const struct forward *forward);
const char *forward_local(const struct forward *forward); /* "8080", or the Unix socket's path */
const char *forward_remote(
	const struct forward *forward); /* "80", "10.0.0.5:80", "53/udp", "unix:/run/app.sock" */

struct traffic forward_traffic(const struct forward *forward); /* up to now */

/* Stops listening (and removes a Unix socket); connections go on, but flows of udp are ended, since their socket is. */
void forward_stop(struct forward *forward);
/*
 * Resets every connection that is left, called again at once (see relay_abort()); they are gone
 * when CONNECTION_CLOSED or _FAILED was told of the last.
 */
void forward_abort(struct forward *forward);
/* The same for those whose client has nothing to say: see connections_abort_silent(). */
void forward_abort_silent(struct forward *forward);
void forward_free(struct forward *forward); /* only when no connection is left */

#endif
