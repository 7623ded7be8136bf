/* SPDX-License-Identifier: MIT */
/*
 * The device's side of vhost-user: a VMM (the front end) hands over the guest's memory and the
 * virtqueues of one device, and this process serves them.
 *
 * Sources: "Vhost-user Protocol" (QEMU, docs/interop/vhost-user.rst), and VIRTIO 1.2, 2.7 (split virtqueues).
 */
#ifndef VZFWD_VHOST_USER_H
#define VZFWD_VHOST_USER_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define VHOST_REGIONS_MAX 8
#define VHOST_QUEUES_MAX 4
#define CHAIN_MAX 64
#define VQ_AGAIN_US 200

/* A piece of the guest's memory, as it is mapped here. */
struct region {
	uint64_t guest, user, size; /* its address for the guest, and for the front end */
	uint8_t *base;
	void *map;
	size_t map_size;
};

struct virtqueue {
	uint32_t num;
	uint64_t desc_user, avail_user, used_user; /* addresses of the front end's */
	struct vring_desc *desc;                   /* NULL: not known, so there is nothing in it */
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t next;  /* of the available ones */
	int kick, call; /* eventfds, or -1 */
	bool started, enabled;
	bool pushed;     /* since the last vq_notify() */
	bool call_shows; /* whether it was read */
	int64_t called;  /* us; 0: it was read, or does not show it */
};

/* Buffers of the guest's that belong together, in our memory. */
struct chain {
	uint16_t head;
	int count;
	struct iovec iov[CHAIN_MAX];
};

struct vhost_user {
	int fd;         /* to the front end; -1: there is none */
	int backend_fd; /* for requests of ours; there are none, but a front end takes its end for ours */
	const void *config;
	size_t config_size;
	size_t queue_count;
	struct virtqueue queues[VHOST_QUEUES_MAX];
	struct region regions[VHOST_REGIONS_MAX];
	size_t region_count;
};

/* Before the first front end; the members below backend_fd are set by then. */
void vhost_user_init(struct vhost_user *vu);

/* For a front end that has connected; takes fd. */
void vhost_user_start(struct vhost_user *vu, int fd);

/* Unmaps and closes all; a VMM that is gone can come again. */
void vhost_user_stop(struct vhost_user *vu);

/*
 * Reads one message and does what it says; blocks until it is there. 0, or -errno if the front end
 * is gone or nothing that we understand: stop it then. The queues' eventfds may be other ones afterwards.
 */
int vhost_user_handle(struct vhost_user *vu);

/* Where an area is that the guest calls by this address; NULL if it is not all in one region. */
void *vhost_user_memory(const struct vhost_user *vu, uint64_t address, uint64_t size);

/* Virtqueues (virtqueue.c) */

/* Takes the descriptor by which the guest is told, or -1, in place of the one before. */
void vq_set_call(struct virtqueue *q, int call);

/* The next chain: 1, 0 if there is none; -EPROTO if the guest has put nonsense there, which is used up. */
int vq_pop(struct vhost_user *vu, struct virtqueue *q, struct chain *chain);
bool vq_is_empty(const struct virtqueue *q);

/* The last one popped was not needed: the next one will be the same. */
void vq_unpop(struct virtqueue *q);

/* Gives a chain back, with so many bytes written into it; the guest is told by vq_notify(). */
void vq_push(struct virtqueue *q, const struct chain *chain, size_t written);

/* True if the guest has not heard yet: to be called again in VQ_AGAIN_US, which tells it once more. */
bool vq_notify(struct virtqueue *q);

size_t chain_size(const struct chain *chain);

/* A part of the chain's buffers, from `offset` for `length` bytes at most, as pieces; how many. */
int chain_slice(const struct chain *chain, size_t offset, size_t length,
		struct iovec out[CHAIN_MAX]);

/* Copies to and from the start of the chain. False if that is shorter. */
bool chain_read(const struct chain *chain, void *to, size_t length);
bool chain_write(const struct chain *chain, const void *from, size_t length);

#endif
