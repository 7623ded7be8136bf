/* SPDX-License-Identifier: MIT */
/*
 * Watches, on an epoll instance of the loop's own that libevent waits for like for any
 * descriptor. Where there is no epoll, each watch is an event of libevent.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdatomic.h>
#ifdef HAVE_EPOLL
#include <sys/epoll.h>
#endif

#include "watch.h"

#ifdef HAVE_EPOLL

#define BATCH 64

/* The events of one epoll_wait(2). Watches that are stopped meanwhile are taken out of it. */
struct watch_batch {
	struct epoll_event events[BATCH];
	int next, count;
};

static unsigned watch_ready(uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP))
		return WATCH_READ | WATCH_WRITE | WATCH_END | WATCH_HANGUP;
	return (events & (EPOLLIN | EPOLLRDHUP) ? WATCH_READ : 0u) |
	       (events & EPOLLOUT ? WATCH_WRITE : 0u) | (events & EPOLLRDHUP ? WATCH_END : 0u);
}

static void watch_event(evutil_socket_t fd, short what, void *arg)
{
	struct loop *loop = arg;
	struct watch_batch batch;

	(void)what;
	batch.count = epoll_wait(fd, batch.events, BATCH, 0);
	atomic_store(&loop->busy_ms, now_ms());
	loop->watch_batch = &batch;
	for (batch.next = 0; batch.next < batch.count;) {
		const struct epoll_event *event = &batch.events[batch.next++];
		struct watch *watch = event->data.ptr;

		if (watch != NULL)
			watch->cb(watch, watch_ready(event->events));
	}
	loop->watch_batch = NULL;
	loop_run_after(loop);
}

/* What is still to be reported goes to another watch, or (NULL) to nobody. */
static void batch_replace(struct loop *loop, const struct watch *from, struct watch *to)
{
	struct watch_batch *batch = loop->watch_batch;

	for (int i = batch != NULL ? batch->next : 0; batch != NULL && i < batch->count; i++)
		if (batch->events[i].data.ptr == from)
			batch->events[i].data.ptr = to;
}

static int watch_ctl(struct loop *loop, int op, struct watch *watch, unsigned what)
{
	struct epoll_event event = { .events = EPOLLET | EPOLLRDHUP, .data.ptr = watch };

	event.events |= what & WATCH_READ ? EPOLLIN : 0;
	event.events |= what & WATCH_WRITE ? EPOLLOUT : 0;
	return epoll_ctl(loop->watch_fd, op, watch->fd, &event) < 0 ? -errno : 0;
}

int watch_start(struct loop *loop, struct watch *watch, int fd, unsigned what, watch_cb cb)
{
	int rc;

	assert(watch->cb == NULL);
	watch->fd = fd;
	rc = watch_ctl(loop, EPOLL_CTL_ADD, watch, what);
	if (rc < 0)
		return rc;
	watch->cb = cb;
	if (loop->watches++ == 0)
		event_add(loop->watch_event, NULL);
	return 0;
}

void watch_change(struct loop *loop, struct watch *watch, unsigned what)
{
	if (watch_ctl(loop, EPOLL_CTL_MOD, watch, what) < 0)
		abort();
}

void watch_move(struct loop *loop, struct watch *from, struct watch *to, unsigned what, watch_cb cb)
{
	to->fd = from->fd;
	to->cb = cb;
	from->cb = NULL;
	batch_replace(loop, from, to);
	watch_change(loop, to, what);
}

void watch_stop(struct loop *loop, struct watch *watch)
{
	if (watch->cb == NULL)
		return;
	watch->cb = NULL;
	batch_replace(loop, watch, NULL);
	epoll_ctl(loop->watch_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	if (--loop->watches == 0)
		event_del(loop->watch_event); /* so that it does not keep the loop alive */
}

int watch_init(struct loop *loop)
{
	loop->watch_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->watch_fd < 0)
		return -errno;
	loop->watch_event =
		event_new(loop->base, loop->watch_fd, EV_READ | EV_PERSIST, watch_event, loop);
	return loop->watch_event != NULL ? 0 : -ENOMEM;
}

void watch_clear(struct loop *loop)
{
	if (loop->watch_event != NULL)
		event_free(loop->watch_event);
	if (loop->base != NULL && loop->watch_fd >= 0)
		close(loop->watch_fd);
}

#else

static void watch_event(evutil_socket_t fd, short what, void *arg)
{
	struct watch *watch = arg;

	(void)fd;
	atomic_store(&watch->loop->busy_ms, now_ms());
	/* Hang-ups are not told apart, so every event may be one. */
	watch->cb(watch, (what & EV_READ ? WATCH_READ : 0u) | (what & EV_WRITE ? WATCH_WRITE : 0u) |
				 WATCH_END | WATCH_HANGUP);
}

int watch_start(struct loop *loop, struct watch *watch, int fd, unsigned what, watch_cb cb)
{
	short events = EV_ET | EV_PERSIST;

	assert(watch->cb == NULL);
	watch->fd = fd;
	watch->loop = loop;
	/* Who asks for nothing is told of hang-ups all the same, and here these are read. */
	events |= what != WATCH_WRITE ? EV_READ : 0;
	events |= what & WATCH_WRITE ? EV_WRITE : 0;
	watch->event = event_new(loop->base, fd, events, watch_event, watch);
	if (watch->event == NULL || event_add(watch->event, NULL) < 0) {
		int rc = -errno;

		if (watch->event != NULL)
			event_free(watch->event);
		return rc < 0 ? rc : -ENOMEM;
	}
	watch->cb = cb;
	return 0;
}

void watch_stop(struct loop *loop, struct watch *watch)
{
	(void)loop;
	if (watch->cb == NULL)
		return;
	watch->cb = NULL;
	event_free(watch->event);
}

void watch_change(struct loop *loop, struct watch *watch, unsigned what)
{
	watch_cb cb = watch->cb;

	watch_stop(loop, watch);
	if (watch_start(loop, watch, watch->fd, what, cb) < 0)
		abort();
}

void watch_move(struct loop *loop, struct watch *from, struct watch *to, unsigned what, watch_cb cb)
{
	watch_stop(loop, from);
	if (watch_start(loop, to, from->fd, what, cb) < 0)
		abort();
}

int watch_init(struct loop *loop)
{
	(void)loop;
	return 0;
}

void watch_clear(struct loop *loop)
{
	(void)loop;
}

#endif
