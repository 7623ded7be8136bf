/* SPDX-License-Identifier: MIT */
/* The UDP sockets of a listener in a pod, and the flows that they are shared by: one for each client (and, for egress, destination). */
#ifndef VZFWD_ACCEPT_UDP_H
#define VZFWD_ACCEPT_UDP_H

#include "lib/loop.h"
#include "netns.h"

struct accept_listener;
struct accept_udp;

/* `ns` is borrowed: sockets are made in it. `egress`: what comes was sent to addresses that are none of the pod's. */
struct accept_udp *accept_udp_new(struct loop *loop, struct accept_listener *listener,
				  struct netns *ns, bool egress);

/* Takes a bound socket over in every case: 0, or a negative number with *err. */
int accept_udp_add(struct accept_udp *udp, int fd, struct error *err);

/* A link waits for a client again. NULL is harmless, here and below. */
void accept_udp_go_on(struct accept_udp *udp);
void accept_udp_free(struct accept_udp *udp);

#endif
