/* SPDX-License-Identifier: MIT */
/* One client's flow of a forward, and the table that it is in. For flow.c and flows.c alone. */
#ifndef VZFWD_FLOW_H
#define VZFWD_FLOW_H

#include <assert.h>

#include "datagrams.h"
#include "flows.h"
#include "packets.h"

/* Who sent it, and to which address of ours. IPv4 addresses are in the first four bytes. All of it counts: no padding. */
struct flow_key {
	uint16_t socket; /* its number */
	uint16_t port;   /* of the client, as on the wire */
	uint32_t scope;  /* of the client's link-local address */
	struct in6_addr client;
	struct in6_addr local;    /* zero if the socket has one address only */
	uint32_t local_interface; /* of a link-local one */
};
static_assert(sizeof(struct flow_key) == 44, "compared as bytes");

enum flow_state {
	FLOW_DIALING,
	FLOW_OPEN,
	FLOW_HELD, /* it has failed, and was told: what still comes is lost, for a while */
	FLOW_STATE_COUNT
};

struct flow {
	TAILQ_ENTRY(flow) by_use;
	LIST_ENTRY(flow) in_bucket;
	struct flows *flows;
	struct flow_key key;
	uint64_t id;
	int64_t due; /* now_ms(): it ends then */
	enum flow_state state;
	struct dialing *dialing;
	struct packets waiting; /* for the link */
	uint64_t dropped;       /* before there was one */
	struct datagrams *datagrams;
	struct event_client *who; /* NULL without --events */
	pid_t child;
	struct loop_task failed; /* the dial could not begin, which is told from the loop: */
	struct error *err;
};

/* flow.c. The flow is the caller's, who has put it into the table; `data` is its first datagram. */
void flow_start(struct flow *flow, const uint8_t *data, size_t size);
void flow_put(struct flow *flow, const uint8_t *data, size_t size);
/* Ends what there is of it, tells of it unless that was done, and frees it. It is in no table any more. */
void flow_end(struct flow *flow, const char *why);

/* flows.c, of a flow: there was a sign of life, */
void flow_used(struct flow *flow);
/* it ends after so much time, whatever comes, */
void flow_expire(struct flow *flow, int ms);
/* one for the client, */
void flow_reply(struct flow *flow, const uint8_t *data, size_t size);
/* it is over: flow_end(), now. */
void flow_drop(struct flow *flow, const char *why);
struct route *flow_route(const struct flow *flow);

#endif
