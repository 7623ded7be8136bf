/* SPDX-License-Identifier: MIT */
/* UDP sockets in pods: whether somebody is there, which connect(2) does not tell; and those that send to many. */
#ifndef VZFWD_UDP_H
#define VZFWD_UDP_H

#include "netns.h"

/*
 * The family of the loopback address that a UDP port without a host means: AF_INET6 if ::1 has a receiver in the
 * netns (NULL: our own) and 127.0.0.1 has none, else AF_INET; so also where the kernel can't tell (no udp_diag).
 */
sa_family_t udp_loopback(struct netns *ns, uint16_t port);

/* Where what recvmsg(2) has brought was sent to, by IP_RECVORIGDSTADDR; AF_UNSPEC: that is not told. */
void udp_destination(struct msghdr *msg, struct address *addr);

/*
 * For a socket that sends to many: keeps what ICMP says of what it has sent (IP_RECVERR, ip(7)) for udp_take_error(). Each
 * such error also fails one of the next calls.
 */
void udp_hear_errors(int fd, sa_family_t family);

/*
 * The next of them, an errno: to whom that was sent, and from which address of ours (without its port; AF_UNSPEC if the
 * socket has no IP_RECVORIGDSTADDR, or ICMP does not quote enough). 0: none is left.
 */
int udp_take_error(int fd, struct address *to, struct address *from);

/* Sends one, whatever an earlier one has met: false if that is not possible. */
bool udp_send(int fd, const struct address *to, const uint8_t *data, size_t size);

/* Sends one as if by the UDP socket at `from`: by steer_udp_replies() of its family. False if that is not possible. */
bool udp_send_as(int fd, const struct address *from, const struct address *to, const uint8_t *data,
		 size_t size);

#endif
