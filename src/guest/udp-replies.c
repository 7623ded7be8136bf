/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <sys/stat.h>

#include "addresses.h"
#include "steer.h"
#include "udp-replies.h"

#define BUCKETS 256

LIST_HEAD(reply_list, udp_reply);

struct udp_replies {
	struct netns *ns;
	struct reply_list by_destination[BUCKETS], by_inode[BUCKETS];
};

struct udp_replies *udp_replies_new(struct netns *ns)
{
	struct udp_replies *all = xcalloc(1, sizeof(*all));

	all->ns = ns;
	return all;
}

void udp_replies_free(struct udp_replies *all)
{
	free(all);
}

static size_t destination_bucket(const struct address *destination)
{
	uint32_t hash = hash_bytes(HASH_START, &destination->v6, sizeof(destination->v6));

	return hash_bits(hash_bytes(hash, &destination->port, sizeof(destination->port))) % BUCKETS;
}

struct udp_reply *udp_reply_get(struct udp_replies *all, const struct address *destination,
				struct error *err)
{
	struct reply_list *list = &all->by_destination[destination_bucket(destination)];
	struct udp_reply *reply;
	struct stat st;
	int fd;

	LIST_FOREACH (reply, list, by_destination) {
		if (address_same(&reply->destination, destination)) {
			reply->users++;
			return reply;
		}
	}
	fd = steer_udp_reply(all->ns, destination, err);
	if (fd < 0)
		return NULL;
	reply = xcalloc(1, sizeof(*reply));
	reply->all = all;
	reply->destination = *destination;
	reply->fd = fd;
	reply->users = 1;
	reply->inode = fstat(fd, &st) == 0 ? st.st_ino : 0;
	LIST_INSERT_HEAD(list, reply, by_destination);
	LIST_INSERT_HEAD(&all->by_inode[reply->inode % BUCKETS], reply, by_inode);
	return reply;
}

void udp_reply_put(struct udp_reply *reply)
{
	if (reply == NULL || --reply->users > 0)
		return;
	LIST_REMOVE(reply, by_destination);
	LIST_REMOVE(reply, by_inode);
	close(reply->fd);
	free(reply);
}

bool udp_replies_own(const struct udp_replies *all, uint64_t inode)
{
	const struct udp_reply *reply;

	LIST_FOREACH (reply, &all->by_inode[inode % BUCKETS], by_inode) {
		if (reply->inode == inode)
			return true;
	}
	return false;
}
