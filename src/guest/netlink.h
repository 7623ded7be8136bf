/* SPDX-License-Identifier: MIT */
/*
 * Questions over a netlink socket: one request, all messages of its answer; and requests that change
 * something.
 */
#ifndef VZFWD_NETLINK_H
#define VZFWD_NETLINK_H

#include <linux/netlink.h>

#include "util.h"

/*
 * One message, with `length` bytes of payload behind its header. Not 0 is what the request returns,
 * and no more messages are told.
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

/*
 * A request that changes something, with flags as NLM_F_CREATE beside those of every request. 0 when the
 * kernel has done it, or -errno as above.
 */
int netlink_change(int fd, uint16_t type, uint16_t flags, const void *payload, size_t length);

/* A payload that is being made up: the header of its type, then attributes. */
struct netlink_payload {
	size_t length;
	_Alignas(NLMSG_ALIGNTO) char data[256];
};
void netlink_payload_init(struct netlink_payload *payload, const void *header, size_t length);
void netlink_payload_put(struct netlink_payload *payload, uint16_t type, const void *data,
			 size_t length);

/*
 * The parts: one datagram of the kernel's into buf, of NETLINK_BUFFER_SIZE: its size, 0 for one that
 * somebody else sent, or -errno. And what an NLMSG_ERROR or NLMSG_DONE says: 0 or -errno.
 */
#define NETLINK_BUFFER_SIZE (64u * 1024) /* the kernel fills at most 32 KiB at a time */
ssize_t netlink_receive(int fd, void *buf);
int netlink_message_errno(const struct nlmsghdr *header);

/* Those above have this sequence number: others who write to the same socket take larger ones. */
#define NETLINK_SEQ 1

#endif
