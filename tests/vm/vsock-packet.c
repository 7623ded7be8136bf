/* SPDX-License-Identifier: MIT */
/* Headers, credit, and packets without payload that wait for the guest. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "vsock-packet.h"

struct virtio_vsock_hdr channel_header(struct channel *channel, uint16_t op)
{
	channel->told = channel->taken;
	return (struct virtio_vsock_hdr){
		.src_cid = HOST_CID,
		.dst_cid = channel->guest_cid,
		.src_port = channel->host_port,
		.dst_port = channel->guest_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = BUFFER_SIZE,
		.fwd_cnt = channel->taken,
	};
}

void channel_heard(struct channel *channel, const struct virtio_vsock_hdr *packet)
{
	channel->guest_alloc = packet->buf_alloc;
	channel->guest_taken = packet->fwd_cnt;
}

size_t channel_credit(const struct channel *channel)
{
	uint32_t under_way = channel->sent - channel->guest_taken;

	return under_way < channel->guest_alloc ? channel->guest_alloc - under_way : 0;
}

void channel_took(struct channel *channel, struct outbox *outbox, size_t n)
{
	channel->taken += (uint32_t)n;
	if (channel->taken - channel->told >= BUFFER_SIZE / 4)
		outbox_tell(outbox, channel, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
}

static void add(struct outbox *o, const struct virtio_vsock_hdr *packet)
{
	if (o->first > 0 && o->first + o->count == o->size) {
		memmove(o->packets, o->packets + o->first, o->count * sizeof(*o->packets));
		o->first = 0;
	}
	if (o->count == o->size) {
		o->size = o->size ? o->size * 2 : 64;
		o->packets = realloc(o->packets, o->size * sizeof(*o->packets));
		if (o->packets == NULL)
			abort();
	}
	o->packets[o->first + o->count++] = *packet;
}

void outbox_tell(struct outbox *outbox, struct channel *channel, uint16_t op, uint32_t flags)
{
	struct virtio_vsock_hdr packet = channel_header(channel, op);

	packet.flags = flags;
	add(outbox, &packet);
}

void outbox_refuse(struct outbox *outbox, const struct virtio_vsock_hdr *p)
{
	if (p->op != VIRTIO_VSOCK_OP_RST)
		add(outbox, &(struct virtio_vsock_hdr){ .src_cid = p->dst_cid,
							.dst_cid = p->src_cid,
							.src_port = p->dst_port,
							.dst_port = p->src_port,
							.type = p->type,
							.op = VIRTIO_VSOCK_OP_RST });
}

bool outbox_send(struct outbox *o, struct vhost_user *vu, struct virtqueue *rx)
{
	struct chain chain;

	while (o->count > 0) {
		int rc = vq_pop(vu, rx, &chain);

		if (rc == 0)
			return false;
		if (rc < 0 || !chain_write(&chain, &o->packets[o->first], PACKET_SIZE))
			continue;
		vq_push(rx, &chain, PACKET_SIZE);
		o->first++;
		o->count--;
	}
	o->first = 0;
	return true;
}

void outbox_clear(struct outbox *outbox)
{
	outbox->first = outbox->count = 0;
}
