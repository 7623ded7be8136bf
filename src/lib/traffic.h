/* SPDX-License-Identifier: MIT */
/* What has come of connections: how many, and how much they carried. */
#ifndef VZFWD_TRAFFIC_H
#define VZFWD_TRAFFIC_H

#include <jansson.h>

#include "error.h"

struct traffic {
	uint64_t open;                 /* or in the making */
	uint64_t total;                /* those that there ever were */
	uint64_t failed[REASON_COUNT]; /* that never had a target, by why */
	uint64_t bytes_in, bytes_out;  /* from targets; to them */
};

void traffic_add(struct traffic *sum, const struct traffic *more);
uint64_t traffic_failed(const struct traffic *traffic); /* for all reasons */

/* Members of a JSON object: connections, total, failed, failures (by reason), bytesIn, bytesOut. */
void traffic_put(json_t *object, const struct traffic *traffic);

#endif
