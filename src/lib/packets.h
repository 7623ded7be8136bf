/* SPDX-License-Identifier: MIT */
/* A queue of whole datagrams, each with what has to stand before it, that a slow peer has not taken yet. */
#ifndef VZFWD_PACKETS_H
#define VZFWD_PACKETS_H

#include <sys/queue.h>
#include <sys/uio.h>

#include "util.h"

struct packet {
	STAILQ_ENTRY(packet) next;
	size_t size, sent; /* of data: all of it; what was taken already */
	uint8_t data[];
};

struct packets {
	STAILQ_HEAD(, packet) list;
	size_t size; /* memory, so that empty datagrams count too */
};

void packets_init(struct packets *packets);

/* Copies `head` (may be empty) and `data` into one packet, of which `sent` bytes are out already. */
void packets_put(struct packets *packets, const void *head, size_t head_size, const void *data,
		 size_t size, size_t sent);

/* True if there is room for one more of that size under `max` bytes of memory. */
bool packets_fit(const struct packets *packets, size_t size, size_t max);

/* What is left of the first ones, at most `count` of them: how many. */
int packets_peek(const struct packets *packets, struct iovec *iov, int count);
/* So many bytes of these were taken. Packets of nothing go with those before them. */
void packets_took(struct packets *packets, size_t size);

/* The first one goes to the caller, who frees it; NULL if there is none. */
struct packet *packets_take(struct packets *packets);
void packets_clear(struct packets *packets);

static inline bool packets_are_gone(const struct packets *packets)
{
	return STAILQ_EMPTY(&packets->list);
}

#endif
