/* SPDX-License-Identifier: MIT */
/*
 * A SOCKS 5 and HTTP proxy whose hosts are pods: listeners, and the clients that came by them.
 */
#ifndef VZFWD_PROXY_H
#define VZFWD_PROXY_H

#include "lib/acceptor.h"
#include "lib/bind.h"
#include "lib/events.h"
#include "lib/traffic.h"
#include "lib/connection.h"
#include "auth.h"

struct client;
TAILQ_HEAD(clients, client);

/* How many clients may not have said yet what they want. One more takes the place of the oldest. */
#define CLIENTS_ASKING_MAX 512

struct proxy_config {
	/* All borrowed: they outlive the proxy. */
	struct loop *loop;
	const char *pods_dir;        /* of the pods that are asked for by name */
	const char *own_pods_dir;    /* of pod_arg, as in struct route */
	const char *own_pod;         /* where localhost and addresses lead, or NULL */
	const struct policy *policy; /* netns:, pid: only */
	int timeout_ms;
	struct auth auth; /* count 0: anybody may */
	const struct forward_spec *spec;
	struct accept_limit *limit;
	uint64_t *last_id;
	struct events *events; /* --events, or NULL */
	/* A client wants to have a target ("web:80"). */
	void (*asked)(const char *label, void *arg);
	/* It is gone, and the limit has its place again. */
	void (*gone)(void *arg);
	void *arg;
};

struct proxy {
	struct proxy_config config;
	struct bound *bound;
	size_t bound_count;
	struct acceptor **acceptors; /* as many; NULL after proxy_stop() */
	struct clients asking,
		others; /* by whether they may still say what they want; oldest first */
	size_t asking_count;
	struct event_source source;
	struct traffic traffic; /* of clients that are gone */
};

/* Binds everything or nothing: see forward_new() for the rules and errors. proxy_clear() in either case. */
int proxy_init(struct proxy *proxy, const struct proxy_config *config, struct error *err);

/* Stops listening, and ends what there is; called again, at once. They are gone when gone() was called for the last. */
void proxy_stop(struct proxy *proxy);

/* The proxy as a forward, to every pod: see forward_to_json(). New reference. */
json_t *proxy_to_json(const struct proxy *proxy);

void proxy_clear(struct proxy *proxy); /* only when no client is left */

#endif
