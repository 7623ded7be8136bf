/* SPDX-License-Identifier: MIT */
/*
 * `listen --auto`: a forward for each port that listens in the pod, for as long as it does. While the pod can't be
 * asked, the forwards stay as they are.
 */
#ifndef VZFWD_AUTO_H
#define VZFWD_AUTO_H

#include "forwarding.h"
#include "port-ranges.h"

struct auto_config {
	struct forwarding *forwarding;
	struct forward_config forward; /* as forwarding_add() takes it */
	const struct forward_bind *binds;
	size_t bind_count;
	/* Empty: all ports, but for those of UDP that are taken at random; none. */
	const struct port_ranges *include, *exclude;
};

struct auto_forwards;

/* How many descriptors its listeners may take: forwarding_limit() has to leave that many. */
size_t auto_descriptors(void);

/* What the config leads to is borrowed until auto_stop(). */
struct auto_forwards *auto_start(const struct auto_config *config);

/* Follows the pod no more; the forwards remain. NULL is harmless. */
void auto_stop(struct auto_forwards *autos);

#endif
