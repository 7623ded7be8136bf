/* SPDX-License-Identifier: MIT */
/* Egress steering: whatever leaves a netns, to whatever address, comes to sockets of ours. */
#ifndef VZFWD_STEER_H
#define VZFWD_STEER_H

#include "netns.h"

enum steer_socket { STEER_TCP4, STEER_TCP6, STEER_UDP4, STEER_UDP6, STEER_SOCKETS };

/*
 * The sockets that get it all; -1 where there is none (no IPv6). The TCP ones listen, and
 * getsockname(2) of what is accepted is where the client meant to go. The UDP ones tell that by
 * IP_ORIGDSTADDR and IPV6_ORIGDSTADDR beside each datagram. Who takes one over leaves -1 behind; with
 * the last descriptor of it, what it got is refused.
 */
struct steer {
	int sockets[STEER_SOCKETS];
	int changes; /* is readable when addresses of the netns have come or gone: steer_look() */
	struct steering *steering;
};

/*
 * Steers a netns, until steer_stop(). What goes to (and what comes from elsewhere than) 127.0.0.0/8,
 * ::1 and the addresses that the netns holds is let pass. 0, or a negative number
 * with *err: REASON_EXHAUSTED with EEXIST if it is steered already, by whatever process; REASON_DENIED
 * without CAP_NET_ADMIN and CAP_BPF; REASON_UNSUPPORTED: the kernel can't (it takes Linux 5.9).
 */
int steer_start(struct netns *ns, struct steer **out, struct error *err);
void steer_stop(struct steer *steer);

/* What the netns holds now is let pass, and what it holds no more isn't. Errors are logged. */
void steer_look(struct steer *steer);

/* Lets an address pass at once that is about to come, as an alias, or (unless the netns has it still) no more. 0 or a negative number with *err. */
int steer_pass(struct steer *steer, const struct address *addr, bool pass, struct error *err);

/*
 * A socket for the answers to what UDP clients have sent, whatever the destination: for udp_send_as(), in the steered netns. It is a
 * raw(7) one, since it has no port: whatever it sends as, the pod may have that port itself, now or later. The
 * fd, or a negative number with *err: REASON_DENIED without CAP_NET_RAW.
 */
int steer_udp_replies(struct netns *ns, sa_family_t family, struct error *err);

#endif
