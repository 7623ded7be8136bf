/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <assert.h>
#include <string.h>

#include "packets.h"

void packets_init(struct packets *packets)
{
	STAILQ_INIT(&packets->list);
	packets->size = 0;
}

void packets_put(struct packets *packets, const void *head, size_t head_size, const void *data,
		 size_t size, size_t sent)
{
	struct packet *packet = xmalloc(sizeof(*packet) + head_size + size);

	packet->size = head_size + size;
	packet->sent = sent;
	if (head_size > 0)
		memcpy(packet->data, head, head_size);
	if (size > 0)
		memcpy(packet->data + head_size, data, size);
	STAILQ_INSERT_TAIL(&packets->list, packet, next);
	packets->size += sizeof(*packet) + packet->size;
}

bool packets_fit(const struct packets *packets, size_t size, size_t max)
{
	return packets->size + sizeof(struct packet) + size <= max;
}

int packets_peek(const struct packets *packets, struct iovec *iov, int count)
{
	struct packet *packet;
	int n = 0;

	STAILQ_FOREACH(packet, &packets->list, next)
	{
		if (n == count)
			break;
		iov[n].iov_base = packet->data + packet->sent;
		iov[n++].iov_len = packet->size - packet->sent;
	}
	return n;
}

struct packet *packets_take(struct packets *packets)
{
	struct packet *packet = STAILQ_FIRST(&packets->list);

	if (packet == NULL)
		return NULL;
	STAILQ_REMOVE_HEAD(&packets->list, next);
	packets->size -= sizeof(*packet) + packet->size;
	return packet;
}

void packets_took(struct packets *packets, size_t size)
{
	struct packet *packet;

	while ((packet = STAILQ_FIRST(&packets->list)) != NULL) {
		size_t left = packet->size - packet->sent;

		if (size < left) {
			packet->sent += size;
			return;
		}
		size -= left;
		free(packets_take(packets));
	}
	assert(size == 0);
}

void packets_clear(struct packets *packets)
{
	struct packet *packet;

	while ((packet = packets_take(packets)) != NULL)
		free(packet);
}
