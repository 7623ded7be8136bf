/* SPDX-License-Identifier: MIT */
/* UDP sockets in pods: what connect(2) does not tell, whether somebody is there; and connected ones for one client each. */
#ifndef VZFWD_UDP_H
#define VZFWD_UDP_H

#include "netns.h"

/*
 * The family of the loopback address that a UDP port without a host means: AF_INET6 if ::1 has a receiver in the
 * netns and 127.0.0.1 has none, else AF_INET; so also where the kernel can't tell (no udp_diag).
 */
sa_family_t udp_loopback(struct netns *ns, uint16_t port);

/* True, and errno says so, if somebody is bound to it. */
bool udp_is_taken(struct netns *ns, const struct address *at);

/*
 * Of the sockets that are bound to an address (SO_REUSEPORT) and not connected, that one gets all that was bound first; otherwise the
 * kernel spreads it over them. For that one (SO_ATTACH_REUSEPORT_CBPF, socket(7)). 0 or -errno.
 */
int udp_keep_all(int fd);

/*
 * A socket in the netns that is bound to `at`, where others of ours are (SO_REUSEPORT), and connected to the client: what that
 * sends there comes to it alone. fd, or a negative number with *err.
 */
int udp_connected(struct netns *ns, const struct address *at, const struct address *client,
		  struct error *err);

/*
 * For a socket that is connected to the client by now: from here on it takes nothing from others. The kernel may have
 * given it what was on its way while connect(2) was at work, by an address and port that were not compared any more
 * (udp4_lib_lookup2() reads sk_state after the score); that is still to be read. 0 or -errno.
 */
int udp_keep_to(int fd, const struct address *client);

#endif
