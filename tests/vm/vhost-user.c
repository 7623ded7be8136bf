/* SPDX-License-Identifier: MIT */
/* vhost-user messages and the guest's memory. x86-64: little-endian, as virtio is. */
#include "config.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost-user.h"

enum request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	SET_VRING_ERR = 14,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
	SET_BACKEND_REQ_FD = 21,
	GET_CONFIG = 24,
};

#define MESSAGE_VERSION 1u
#define FLAG_REPLY 4u
#define FLAG_NEED_REPLY 8u
#define FEATURE_PROTOCOL (UINT64_C(1) << 30)
#define PROTOCOL_REPLY_ACK (UINT64_C(1) << 3)
#define PROTOCOL_BACKEND_REQ (UINT64_C(1) << 5) /* front ends want it for CONFIG; we never ask */
#define PROTOCOL_CONFIG (UINT64_C(1) << 9)
#define NO_FD 0x100u
#define CONFIG_MAX 256

struct message {
	uint32_t request, flags, size;
	union {
		uint64_t u64;
		struct {
			uint32_t index, num;
		} state;
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail, log;
		} addr;
		struct {
			uint32_t count, padding;
			struct {
				uint64_t guest, size, user, offset;
			} regions[VHOST_REGIONS_MAX];
		} memory;
		struct {
			uint32_t offset, size, flags;
			uint8_t bytes[CONFIG_MAX];
		} config;
	};
} __attribute__((packed));

#define HEADER_SIZE offsetof(struct message, u64)

struct fds {
	int fd[VHOST_REGIONS_MAX];
	size_t count;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int take_fd(struct fds *fds)
{
	int fd = fds->fd[0];

	fds->fd[0] = -1;
	return fds->count > 0 ? fd : -1;
}

/* The guest's memory */

static void memory_unmap(struct vhost_user *vu)
{
	for (size_t i = 0; i < vu->region_count; i++)
		munmap(vu->regions[i].map, vu->regions[i].map_size);
	vu->region_count = 0;
}

/* Where an area that the guest, or the front end, calls by this address is; NULL if it is not all in one region. */
static void *memory_at(const struct vhost_user *vu, uint64_t address, uint64_t size, bool guest)
{
	for (size_t i = 0; i < vu->region_count; i++) {
		const struct region *r = &vu->regions[i];
		uint64_t start = guest ? r->guest : r->user;

		if (address >= start && address - start < r->size &&
		    size <= r->size - (address - start))
			return r->base + (address - start);
	}
	return NULL;
}

void *vhost_user_memory(const struct vhost_user *vu, uint64_t address, uint64_t size)
{
	return memory_at(vu, address, size, true);
}

static void ring_locate(const struct vhost_user *vu, struct virtqueue *q)
{
	q->desc = memory_at(vu, q->desc_user, q->num * sizeof(*q->desc), false);
	q->avail =
		memory_at(vu, q->avail_user, sizeof(*q->avail) + q->num * sizeof(uint16_t), false);
	q->used = memory_at(vu, q->used_user,
			    sizeof(*q->used) + q->num * sizeof(struct vring_used_elem), false);
	if (q->num == 0 || q->avail == NULL || q->used == NULL)
		q->desc = NULL;
}

static int memory_map(struct vhost_user *vu, const struct message *m, const struct fds *fds)
{
	memory_unmap(vu);
	if (m->memory.count > VHOST_REGIONS_MAX || m->memory.count > fds->count)
		return -EPROTO;
	for (size_t i = 0; i < m->memory.count; i++) {
		struct region *r = &vu->regions[i];
		uint64_t offset = m->memory.regions[i].offset;

		*r = (struct region){ .guest = m->memory.regions[i].guest,
				      .user = m->memory.regions[i].user,
				      .size = m->memory.regions[i].size };
		if (__builtin_add_overflow(r->size, offset, &r->map_size))
			return -EPROTO;
		r->map = mmap(NULL, r->map_size, PROT_READ | PROT_WRITE, MAP_SHARED, fds->fd[i], 0);
		if (r->map == MAP_FAILED)
			return -errno;
		r->base = (uint8_t *)r->map + offset;
		vu->region_count++;
	}
	for (size_t i = 0; i < vu->queue_count; i++)
		ring_locate(vu, &vu->queues[i]);
	return 0;
}

/* Messages */

static int message_receive(int fd, struct message *m, struct fds *fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(fds->fd))];
	} control;
	struct iovec iov = { m, HEADER_SIZE };
	struct msghdr header = { .msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &header, MSG_WAITALL | MSG_CMSG_CLOEXEC);

	fds->count = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); n > 0 && c != NULL;
	     c = CMSG_NXTHDR(&header, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		fds->count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds->fd, CMSG_DATA(c), fds->count * sizeof(int));
	}
	if (n != (ssize_t)HEADER_SIZE)
		return n < 0 ? -errno : -ECONNRESET;
	if (m->size > sizeof(*m) - HEADER_SIZE)
		return -EPROTO;
	memset(&m->u64, 0, sizeof(*m) - HEADER_SIZE);
	/* For nothing at all recv() would wait, too. */
	n = m->size > 0 ? recv(fd, &m->u64, m->size, MSG_WAITALL) : 0;
	return n == (ssize_t)m->size ? 0 : -ECONNRESET;
}

static int reply(struct vhost_user *vu, struct message *m, uint32_t size)
{
	ssize_t length = (ssize_t)(HEADER_SIZE + size);

	m->flags = MESSAGE_VERSION | FLAG_REPLY;
	m->size = size;
	return send(vu->fd, m, (size_t)length, MSG_NOSIGNAL) == length ? 0 : -ECONNRESET;
}

static int reply_u64(struct vhost_user *vu, struct message *m, uint64_t value)
{
	m->u64 = value;
	return reply(vu, m, sizeof(value));
}

static int get_config(struct vhost_user *vu, struct message *m)
{
	uint32_t offset = m->config.offset, size = m->config.size;

	if (size > CONFIG_MAX)
		return -EPROTO;
	memset(m->config.bytes, 0, size);
	if (offset < vu->config_size) {
		size_t left = vu->config_size - offset;

		memcpy(m->config.bytes, (const uint8_t *)vu->config + offset,
		       size < left ? size : left);
	}
	return reply(vu, m, (uint32_t)offsetof(struct message, config.bytes) - HEADER_SIZE + size);
}

/* The queue a message is about; its index is in the low byte, also where flags or a number are behind it. */
static struct virtqueue *queue_of(struct vhost_user *vu, const struct message *m)
{
	size_t index = m->u64 & 0xff;

	return index < vu->queue_count ? &vu->queues[index] : NULL;
}

static int set_queue(struct vhost_user *vu, struct message *m, struct fds *fds)
{
	struct virtqueue *q = queue_of(vu, m);

	if (q == NULL)
		return -EPROTO;
	switch ((enum request)m->request) {
	case SET_VRING_NUM:
		q->num = m->state.num;
		break;
	case SET_VRING_BASE:
		q->next = (uint16_t)m->state.num;
		break;
	case SET_VRING_ADDR:
		q->desc_user = m->addr.desc;
		q->avail_user = m->addr.avail;
		q->used_user = m->addr.used;
		ring_locate(vu, q);
		return q->desc != NULL ? 0 : -EPROTO;
	case SET_VRING_KICK:
		close_fd(&q->kick);
		q->kick = take_fd(fds);
		q->started = true;
		break;
	case SET_VRING_CALL:
		vq_set_call(q, take_fd(fds));
		break;
	case SET_VRING_ENABLE:
		q->enabled = m->state.num != 0;
		break;
	default:
		break;
	}
	return 0;
}

static int handle(struct vhost_user *vu, struct message *m, struct fds *fds)
{
	struct virtqueue *q;
	int rc;

	switch ((enum request)m->request) {
	case GET_FEATURES:
		return reply_u64(vu, m, FEATURE_PROTOCOL | UINT64_C(1) << VIRTIO_F_VERSION_1);
	case GET_PROTOCOL_FEATURES:
		return reply_u64(vu, m,
				 PROTOCOL_REPLY_ACK | PROTOCOL_BACKEND_REQ | PROTOCOL_CONFIG);
	case GET_QUEUE_NUM:
		return reply_u64(vu, m, vu->queue_count);
	case GET_CONFIG:
		return get_config(vu, m);
	case GET_VRING_BASE:
		q = queue_of(vu, m);
		if (q == NULL)
			return -EPROTO;
		q->started = false;
		m->state.num = q->next;
		return reply(vu, m, sizeof(m->state));
	case SET_MEM_TABLE:
		rc = memory_map(vu, m, fds);
		break;
	case SET_VRING_NUM:
	case SET_VRING_ADDR:
	case SET_VRING_BASE:
	case SET_VRING_KICK:
	case SET_VRING_CALL:
	case SET_VRING_ERR:
	case SET_VRING_ENABLE:
		rc = set_queue(vu, m, fds);
		break;
	case SET_BACKEND_REQ_FD:
		close_fd(&vu->backend_fd);
		vu->backend_fd = take_fd(fds);
		rc = 0;
		break;
	default: /* SET_FEATURES, SET_OWNER and others have nothing for us */
		rc = 0;
	}
	if (rc == 0 && (m->flags & FLAG_NEED_REPLY))
		rc = reply_u64(vu, m, 0);
	return rc;
}

void vhost_user_init(struct vhost_user *vu)
{
	vu->fd = vu->backend_fd = -1;
	for (size_t i = 0; i < vu->queue_count; i++)
		vu->queues[i] = (struct virtqueue){ .kick = -1, .call = -1, .enabled = true };
}

void vhost_user_start(struct vhost_user *vu, int fd)
{
	vu->fd = fd;
}

void vhost_user_stop(struct vhost_user *vu)
{
	for (size_t i = 0; i < vu->queue_count; i++) {
		close_fd(&vu->queues[i].kick);
		close_fd(&vu->queues[i].call);
	}
	memory_unmap(vu);
	close_fd(&vu->backend_fd);
	close_fd(&vu->fd);
	vhost_user_init(vu);
}

int vhost_user_handle(struct vhost_user *vu)
{
	struct message m;
	struct fds fds;
	int rc = message_receive(vu->fd, &m, &fds);

	if (rc == 0)
		rc = handle(vu, &m, &fds);
	for (size_t i = 0; i < fds.count; i++)
		close_fd(&fds.fd[i]);
	return rc;
}
