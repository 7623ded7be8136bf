/* SPDX-License-Identifier: MIT */
/* Listening in a pod, by TCP or UDP. */
#ifndef VZFWD_ACCEPT_BIND_H
#define VZFWD_ACCEPT_BIND_H

#include "netns.h"

/*
 * A socket in the netns, bound to the address, which nobody else is bound to, and listening if it is NETWORK_TCP's. fd, or a
 * negative number with *err: REASON_EXHAUSTED with EADDRINUSE.
 */
int accept_bind(struct netns *ns, enum network network, const struct address *addr,
		struct error *err);

#endif
