/* SPDX-License-Identifier: MIT */
/* Questions over a netlink socket: one request, all messages of its answer. */
#ifndef VZFWD_NETLINK_H
#define VZFWD_NETLINK_H

#include <linux/netlink.h>

#include "util.h"

/*
 * One message, with `length` bytes of payload behind its header. Not 0 ends the dump and is
 * returned.
 */
typedef int (*netlink_cb)(const struct nlmsghdr *header, const void *payload, size_t length,
			  void *arg);

/*
 * Sends a dump request of `type` with `payload` and hands over what comes back. 0 when all was
 * said, the callback's number, or -errno (the kernel's own, or -EPROTO, -ETIMEDOUT, -EMSGSIZE).
 */
int netlink_dump(int fd, uint16_t type, const void *payload, size_t length, netlink_cb cb,
		 void *arg);

/* The same for a request that is answered by one message. -ENOENT: there is no such thing. */
int netlink_get(int fd, uint16_t type, const void *payload, size_t length, netlink_cb cb,
		void *arg);

#endif
