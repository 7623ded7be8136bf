/* SPDX-License-Identifier: MIT */
/* Pods whose egress is steered: one steering for the listeners of TCP and of UDP together. */
#ifndef VZFWD_ACCEPT_EGRESS_H
#define VZFWD_ACCEPT_EGRESS_H

#include <sys/queue.h>

#include "lib/loop.h"
#include "steer.h"

struct egress;
LIST_HEAD(egresses, egress);

/* The netns's, held once more; it is steered from the first one on. 0, or a negative number with *err: see steer_start(). */
int egress_hold(struct egresses *all, struct loop *loop, struct netns *ns, struct egress **out,
		struct error *err);
void egress_release(struct egress *egress); /* NULL is harmless */

/* A descriptor of its own of such a socket; -1: there is none. */
int egress_socket(const struct egress *egress, enum steer_socket which);

/* True for one of their sockets. `inode` is what the kernel numbers sockets by. */
bool egresses_own(const struct egresses *all, uint64_t inode);

/* An address of ours has come to the netns, and is not steered (or it has gone). 0 or a negative number with *err. */
int egress_pass(const struct egresses *all, struct netns_id ns, const struct address *addr,
		bool pass, struct error *err);

#endif
