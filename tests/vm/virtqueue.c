/* SPDX-License-Identifier: MIT */
/* Split virtqueues. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "vhost-user.h"

/* The guest writes them while we read: each value is read once, and checked. */

static bool ring_usable(const struct virtqueue *q)
{
	return q->started && q->enabled && q->desc != NULL;
}

bool vq_is_empty(const struct virtqueue *q)
{
	return !ring_usable(q) || __atomic_load_n(&q->avail->idx, __ATOMIC_ACQUIRE) == q->next;
}

int vq_pop(struct vhost_user *vu, struct virtqueue *q, struct chain *chain)
{
	unsigned i;

	if (vq_is_empty(q))
		return 0;
	i = chain->head = q->avail->ring[q->next++ % q->num];
	for (chain->count = 0; chain->count < CHAIN_MAX && i < q->num;) {
		struct vring_desc desc = *(volatile struct vring_desc *)&q->desc[i];
		void *base = vhost_user_memory(vu, desc.addr, desc.len);

		if (base == NULL)
			break;
		chain->iov[chain->count++] = (struct iovec){ base, desc.len };
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return 1;
		i = desc.next;
	}
	chain->count = 0;
	vq_push(q, chain, 0);
	return -EPROTO;
}

void vq_unpop(struct virtqueue *q)
{
	q->next--;
}

void vq_push(struct virtqueue *q, const struct chain *chain, size_t written)
{
	uint16_t index = q->used->idx;

	q->used->ring[index % q->num] =
		(struct vring_used_elem){ .id = chain->head, .len = (uint32_t)written };
	__atomic_store_n(&q->used->idx, (uint16_t)(index + 1), __ATOMIC_RELEASE);
	q->pushed = true;
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/*
 * User-mode Linux sleeps through an interrupt that comes between its last look for work and its sleep:
 * until its next timer, a tick or many (os_idle_sleep() in arch/um/os-Linux/time.c). Its call is a socket, of which
 * one sees whether it was read, and another signal wakes it. Other front ends give an eventfd, which does not show that: -1.
 */
static int call_unread(int call)
{
	int unread;

	return ioctl(call, SIOCOUTQ, &unread) == 0 ? unread : -1;
}

void vq_set_call(struct virtqueue *q, int call)
{
	if (q->call >= 0)
		close(q->call);
	q->call = call;
	q->called = 0;
	q->call_shows = call_unread(call) >= 0;
	if (q->call_shows)
		fcntl(call, F_SETFL, O_NONBLOCK); /* nobody may ever read it */
}

static void vq_call(struct virtqueue *q)
{
	const uint64_t one = 1;

	if (q->call_shows)
		q->called = now_us();
	if (q->call >= 0 && write(q->call, &one, sizeof(one)) < 0)
		return; /* the front end is gone, which its socket tells, or it has enough to read */
}

bool vq_notify(struct virtqueue *q)
{
	if (q->pushed) {
		q->pushed = false;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (!(q->avail->flags & VRING_AVAIL_F_NO_INTERRUPT))
			vq_call(q);
	} else if (q->called != 0 && call_unread(q->call) <= 0) {
		q->called = 0;
	} else if (q->called != 0 && now_us() - q->called >= VQ_AGAIN_US) {
		vq_call(q);
	}
	return q->called != 0;
}

size_t chain_size(const struct chain *chain)
{
	size_t size = 0;

	for (int i = 0; i < chain->count; i++)
		size += chain->iov[i].iov_len;
	return size;
}

int chain_slice(const struct chain *chain, size_t offset, size_t length,
		struct iovec out[CHAIN_MAX])
{
	int n = 0;

	for (int i = 0; i < chain->count && length > 0; i++) {
		struct iovec piece = chain->iov[i];

		if (offset >= piece.iov_len) {
			offset -= piece.iov_len;
			continue;
		}
		piece.iov_base = (uint8_t *)piece.iov_base + offset;
		piece.iov_len -= offset;
		offset = 0;
		if (piece.iov_len > length)
			piece.iov_len = length;
		length -= piece.iov_len;
		out[n++] = piece;
	}
	return n;
}

bool chain_read(const struct chain *chain, void *to, size_t length)
{
	struct iovec pieces[CHAIN_MAX];
	int n = chain_slice(chain, 0, length, pieces);
	uint8_t *p = to;

	if (chain_size(chain) < length)
		return false;
	for (int i = 0; i < n; p += pieces[i++].iov_len)
		memcpy(p, pieces[i].iov_base, pieces[i].iov_len);
	return true;
}

bool chain_write(const struct chain *chain, const void *from, size_t length)
{
	struct iovec pieces[CHAIN_MAX];
	int n = chain_slice(chain, 0, length, pieces);
	const uint8_t *p = from;

	if (chain_size(chain) < length)
		return false;
	for (int i = 0; i < n; p += pieces[i++].iov_len)
		memcpy(pieces[i].iov_base, p, pieces[i].iov_len);
	return true;
}
