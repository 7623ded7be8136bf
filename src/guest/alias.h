/* SPDX-License-Identifier: MIT */
/* Addresses of ours on pods' loopback devices, at which pods reach what is exposed to them. */
#ifndef VZFWD_ALIAS_H
#define VZFWD_ALIAS_H

#include "netns.h"

/* All of a dialer. */
struct aliases;

struct aliases *aliases_new(void);
void aliases_free(struct aliases *aliases); /* takes off what is left */

/*
 * Puts the address (IPv4 or IPv6; its port does not matter) on the lo of the netns, and sets that up.
 * Counted: each success takes one alias_release(), and the last one takes the address off, unless somebody still
 * listens there. One that the netns holds without us is left alone. 0, or a negative number with *err: REASON_DENIED without
 * CAP_NET_ADMIN there.
 */
int alias_hold(struct aliases *aliases, struct netns *ns, const struct address *addr,
	       struct error *err);
void alias_release(struct aliases *aliases, struct netns_id ns, const struct address *addr);

/* True if the netns has the address from us. */
bool aliases_have(const struct aliases *aliases, const struct netns *ns,
		  const struct address *addr);

#endif
