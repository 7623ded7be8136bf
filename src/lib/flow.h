/* SPDX-License-Identifier: MIT */
/*
 * Flows: what comes from one client for one target, and goes back, over a link of its own until both are silent;
 * and tables of them. Whoever has the client's socket makes them (flows.c, and a proxy).
 */
#ifndef VZFWD_FLOW_H
#define VZFWD_FLOW_H

#include "acceptor.h"
#include "connection.h"
#include "datagrams.h"
#include "packets.h"

enum flow_state {
	FLOW_DIALING,
	FLOW_OPEN,
	FLOW_HELD, /* it has failed, and was told: what still comes is lost, for a while */
	FLOW_STATE_COUNT
};

struct flow;

struct flow_ops {
	/* One for the client. */
	void (*reply)(struct flow *flow, const uint8_t *data, size_t size);
	/* It is over, and told of. */
	void (*free)(struct flow *flow);
};

/* All zero but for what flow_table_add() is given with it. */
struct flow {
	struct datagrams_client client;
	TAILQ_ENTRY(flow) by_use;
	LIST_ENTRY(flow) in_bucket; /* of whoever looks for it */
	struct flow_table *table;
	const struct flow_ops *ops;
	struct route *route; /* its event() tells of flows as of connections */
	uint64_t id;
	int64_t due; /* now_ms(): it ends then */
	enum flow_state state;
	struct dialing *dialing;
	struct packets waiting; /* for the link */
	uint64_t dropped;       /* before there was one */
	struct datagrams *datagrams;
	struct event_client *who; /* NULL without --events */
	struct capture_stream *captured;
	pid_t child;
	struct loop_task failed; /* the dial could not begin, which is told from the loop: */
	struct error *err;
};

/* Flows by their last use, so the first is the one that is least recently used. */
struct flow_table {
	struct loop *loop;
	struct accept_limit
		*limit; /* a place is taken for each flow, and released by its route's event() */
	uint64_t *last_id;
	int idle_ms; /* they end after this much silence */
	size_t max, count;
	TAILQ_HEAD(, flow) by_use;
	struct loop_task sweep;
};

/* Makes room for one more; false if there may be none: its datagram is lost. */
bool flow_table_room(struct flow_table *table);

/* Takes a flow in, which has its ops, its route and its place in a bucket. */
void flow_table_add(struct flow_table *table, struct flow *flow);

/* Ends all of them. */
void flow_table_clear(struct flow_table *table, const char *why);

/* There was a sign of life; it ends after so much time, whatever comes; it is over: flow_end(), now. */
void flow_used(struct flow *flow);
void flow_expire(struct flow *flow, int ms);
void flow_drop(struct flow *flow, const char *why);

/* flow.c: begins, with its first datagram, once it is in the table. */
void flow_start(struct flow *flow, const uint8_t *data, size_t size);
void flow_put(struct flow *flow, const uint8_t *data, size_t size);
/* For the table alone, when it is in it no more: ends what there is of it, tells of it unless that was done, and frees it. */
void flow_end(struct flow *flow, const char *why);

#endif
