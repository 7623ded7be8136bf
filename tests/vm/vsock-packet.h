/* SPDX-License-Identifier: MIT */
/*
 * What both ends of a vsock connection tell each other beside its bytes: headers with ports and credit, and those that
 * wait for the guest to take them.
 *
 * Source: VIRTIO 1.2, 5.10.6 (socket device, device operation).
 */
#ifndef VZFWD_VSOCK_PACKET_H
#define VZFWD_VSOCK_PACKET_H

#include <linux/virtio_vsock.h>

#include "vhost-user.h"

#define HOST_CID 2
#define PACKET_SIZE sizeof(struct virtio_vsock_hdr) /* without payload */
#define BUFFER_SIZE (256u << 10)                    /* what the guest may send ahead of the host */

/* Who talks to whom, and how much each may send. */
struct channel {
	uint64_t guest_cid;
	uint32_t host_port, guest_port;
	uint32_t sent, guest_alloc, guest_taken; /* to the guest: the credit it gives */
	uint32_t taken,
		told; /* from the guest: what the host took, and what the guest knows of it */
};

/* Packets without payload, to the guest. */
struct outbox {
	struct virtio_vsock_hdr *packets;
	size_t first, count, size;
};

/* A header from the host; with it the guest knows what was taken. */
struct virtio_vsock_hdr channel_header(struct channel *channel, uint16_t op);

/* A packet of the channel has come: its credit. */
void channel_heard(struct channel *channel, const struct virtio_vsock_hdr *packet);

/* How many bytes the guest has room for. */
size_t channel_credit(const struct channel *channel);

/* The host took so many bytes: tells the guest, if it is time to. */
void channel_took(struct channel *channel, struct outbox *outbox, size_t n);

/* Queues a packet: one of the channel's, or the answer to one that belongs to none. */
void outbox_tell(struct outbox *outbox, struct channel *channel, uint16_t op, uint32_t flags);
void outbox_refuse(struct outbox *outbox, const struct virtio_vsock_hdr *packet);

/* Puts them into the guest's buffers. False if it has no more of these while there are packets. */
bool outbox_send(struct outbox *outbox, struct vhost_user *vu, struct virtqueue *rx);

void outbox_clear(struct outbox *outbox);

#endif
