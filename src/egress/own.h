/* SPDX-License-Identifier: MIT */
/* The host's own addresses, which rules keep pods from. */
#ifndef VZFWD_EGRESS_OWN_H
#define VZFWD_EGRESS_OWN_H

#include "rules.h"

/* Tells the rules which addresses the host has now: 1 if they are others, 0, or -errno. */
int own_addresses(struct rules *rules);

#endif
