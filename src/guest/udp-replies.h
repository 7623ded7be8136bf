/* SPDX-License-Identifier: MIT */
/* The sockets that answers of egress leave by: one for each destination that flows have, as steer_udp_reply() makes it. */
#ifndef VZFWD_UDP_REPLIES_H
#define VZFWD_UDP_REPLIES_H

#include <sys/queue.h>

#include "netns.h"

struct udp_replies;

struct udp_reply {
	LIST_ENTRY(udp_reply) by_destination, by_inode;
	struct udp_replies *all;
	struct address destination;
	int fd;
	uint64_t inode;
	unsigned users;
};

struct udp_replies *udp_replies_new(struct netns *ns); /* borrowed */
void udp_replies_free(struct udp_replies *all);        /* none may be in use; NULL is harmless */

/* The destination's, used once more; NULL and *err as steer_udp_reply(). */
struct udp_reply *udp_reply_get(struct udp_replies *all, const struct address *destination,
				struct error *err);
void udp_reply_put(struct udp_reply *reply); /* NULL is harmless */

/* True for one of their sockets. `inode` is what the kernel numbers sockets by. */
bool udp_replies_own(const struct udp_replies *all, uint64_t inode);

#endif
