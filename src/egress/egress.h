/* SPDX-License-Identifier: MIT */
/*
 * What leaves a pod: each connection and each UDP flow, wherever it was meant to go, comes by a parked link, and is led on if the
 * rules allow it. DNS in the pod is answered here too, so that it is known what the pod takes its addresses for.
 */
#ifndef VZFWD_EGRESS_H
#define VZFWD_EGRESS_H

#include "dns/responder.h"
#include "lib/backward.h"
#include "rules.h"
#include "upstream.h"

struct egress;

struct egress_config {
	struct park_config park;              /* as in struct responder_config */
	const struct rules *rules;            /* borrowed; may change at any time */
	const struct upstream *upstream;      /* borrowed; NULL: none */
	const struct address *upstream_addrs; /* where that is */
	size_t upstream_count;
	bool dns; /* with a responder at port 53 of: */
	struct address alias;
	const struct zones *zones;   /* borrowed */
	int timeout_ms, udp_idle_ms; /* 0: DATAGRAMS_IDLE_MS */
	uint64_t *last_id;
	/* As those of struct park_config, of a place: "egress/udp", "192.168.127.254:53". */
	void (*listening)(const char *place, void *arg);
	void (*failed)(const char *place, const struct error *err, void *arg);
	void (*gone)(void *arg); /* somebody is; see egress_is_idle() */
	void *arg;
};

struct egress *egress_new(const struct egress_config *config);
json_t *egress_to_json(
	const struct egress *egress);             /* as forward.list has forwards. New reference */
void egress_go_on(struct egress *egress);         /* there is room for more clients */
void egress_rules_changed(struct egress *egress); /* what was denied may be allowed now */
void egress_stop(struct egress *egress);          /* nothing leaves the pod any more */
void egress_abort(struct egress *egress); /* and what does is reset; called again: at once */
bool egress_is_idle(const struct egress *egress);
void egress_free(struct egress *egress); /* when it is stopped and idle; NULL is harmless */

#endif
