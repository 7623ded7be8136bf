/* SPDX-License-Identifier: MIT */
/*
 * How the tests' vsock device tells a guest: by a call that shows whether it was read, as user-mode
 * Linux's does, and by one that does not.
 */
#include "config.h"

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../vm/vhost-user.h"
#include "tap.h"

#define NUM 4
#define HOUR INT64_C(3600000000) /* us */

struct rings {
	struct virtqueue q;
	struct vring_desc desc[NUM];
	_Alignas(4) uint8_t avail[sizeof(struct vring_avail) + NUM * sizeof(uint16_t)];
	_Alignas(4) uint8_t used[sizeof(struct vring_used) + NUM * sizeof(struct vring_used_elem)];
};

static void rings_init(struct rings *r, int call)
{
	memset(r, 0, sizeof(*r));
	r->q = (struct virtqueue){ .num = NUM, .kick = -1, .call = -1, .started = true };
	r->q.desc = r->desc;
	r->q.avail = (struct vring_avail *)r->avail;
	r->q.used = (struct vring_used *)r->used;
	vq_set_call(&r->q, call);
}

static bool tell(struct rings *r)
{
	vq_push(&r->q, &(struct chain){ 0 }, 0);
	return vq_notify(&r->q);
}

static int unread(int fd)
{
	int n = -1;

	ioctl(fd, FIONREAD, &n);
	return n / 8;
}

static void test_socket(void)
{
	struct rings r;
	uint64_t calls[4];
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) < 0)
		abort();
	rings_init(&r, sv[0]);
	ok(!vq_notify(&r.q), "there is nothing to tell");
	ok(tell(&r), "told, and nobody has read it");
	r.q.called += HOUR;
	ok(vq_notify(&r.q), "nor at once");
	is_int(unread(sv[1]), 1, "which is not told again at once");
	r.q.called -= HOUR + VQ_AGAIN_US;
	ok(vq_notify(&r.q), "nor after a while");
	is_int(unread(sv[1]), 2, "told once more");
	is_int(read(sv[1], calls, sizeof(calls)), 16, "read");
	r.q.called -= VQ_AGAIN_US;
	ok(!vq_notify(&r.q), "that is seen");
	is_int(unread(sv[1]), 0, "and not told again");
	r.q.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	ok(!tell(&r), "who wants to hear nothing");
	is_int(unread(sv[1]), 0, "is told nothing");
	vq_set_call(&r.q, -1);
	close(sv[1]);
}

static void test_eventfd(void)
{
	struct rings r;
	uint64_t count = 0;
	int fd = eventfd(0, EFD_NONBLOCK);

	rings_init(&r, fd);
	ok(!tell(&r), "an eventfd does not show whether it was read");
	ok(!vq_notify(&r.q), "nor later");
	ok(read(fd, &count, sizeof(count)) == sizeof(count) && count == 1, "told once");
	vq_set_call(&r.q, -1);
	ok(!tell(&r), "without a call nobody is told");
}

int main(void)
{
	test_socket();
	test_eventfd();
	return done_testing();
}
