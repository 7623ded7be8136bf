/* SPDX-License-Identifier: MIT */
/* One socket connected to a target in a netns: is it allowed, then connect, 127.0.0.1 before ::1. */
#ifndef VZFWD_DIAL_H
#define VZFWD_DIAL_H

#include "lib/connect.h"
#include "netns.h"
#include "policy.h"

/*
 * Settles what `addr` means for the network: its normal form, and for those of one family the one
 * loopback address. A literal of the other family is REASON_INVALID.
 */
int dial_resolve(struct address *addr, enum network network, struct error *err);

/* REASON_DENIED unless addr (resolved) is loopback, the netns's own, or allowed by a rule. */
int dial_allowed(const struct policy *policy, struct netns *ns, const struct address *addr,
		 struct error *err);

struct dial;

/*
 * Connects to addr (resolved) over TCP or UDP; takes ns over. The callback comes later, or at once:
 * then NULL is returned; else a dial that dial_cancel() ends without a callback.
 */
struct dial *dial_start(struct loop *loop, struct netns *ns, enum network network,
			const struct address *addr, int timeout_ms, connect_cb cb, void *arg);
void dial_cancel(struct dial *dial);

#endif
