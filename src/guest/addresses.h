/* SPDX-License-Identifier: MIT */
/* The addresses that a netns holds (RTM_GETADDR), and those that we give it. */
#ifndef VZFWD_ADDRESSES_H
#define VZFWD_ADDRESSES_H

#include "endpoint.h"

#define LOOPBACK_IFINDEX 1 /* of lo, in every netns */

struct held_address {
	struct address addr; /* port 0 */
	unsigned device;     /* its ifindex */
	uint8_t protocol;    /* who put it there (IFA_PROTO); 0 where the kernel doesn't know */
};

/* Not 0 is what the dump returns, and no more addresses are told. */
typedef int (*addresses_cb)(const struct held_address *held, void *arg);

/*
 * Tells all addresses of the family (AF_UNSPEC: of both) in the netns that the NETLINK_ROUTE socket was
 * made in. 0, the callback's number, or -errno.
 */
int addresses_dump(int fd, sa_family_t family, addresses_cb cb, void *arg);

/*
 * Adds the address to lo as /32 or /128, marked with the protocol number (Linux 5.18), or takes it off. What was added can be
 * connected to at once. 0 or -errno: -EEXIST, -EADDRNOTAVAIL if it is there already or not.
 */
int address_add(int fd, const struct address *addr, uint8_t protocol);
int address_remove(int fd, const struct address *addr);

/* Sets lo up if it is down: 0 or -errno. */
int loopback_up(int fd);

#endif
