/* SPDX-License-Identifier: MIT */
/* UDP sockets in pods: what connect(2) does not tell, whether somebody is there. */
#ifndef VZFWD_UDP_H
#define VZFWD_UDP_H

#include "netns.h"

/*
 * The family of the loopback address that a UDP port without a host means: AF_INET6 if ::1 has a receiver in the
 * netns and 127.0.0.1 has none, else AF_INET; so also where the kernel can't tell (no udp_diag).
 */
sa_family_t udp_loopback(struct netns *ns, uint16_t port);

#endif
