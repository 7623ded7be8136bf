/* SPDX-License-Identifier: MIT */
/*
 * Accepting connections. Where none can be taken now, the listening event is taken off
 * and the clients wait in the kernel's backlog: until a connection ends (the
 * shared limit), or for a moment (out of descriptors).
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>

#include "acceptor.h"
#include "sock.h"

#define BATCH 64
#define PAUSE_MS 100

struct acceptor {
	struct loop *loop;
	int fd;
	struct event *event;
	struct accept_limit *limit;
	struct loop_task resume;
	TAILQ_ENTRY(acceptor) next; /* in limit->waiting */
	bool waiting;               /* has stopped at the limit, and had no go since */
	uint64_t served;            /* limit->served when it accepted last */
	bool starved; /* out of descriptors: said once, until a connection is accepted again */
	const char *label;
	accept_cb cb;
	void *arg;
};

void accept_limit_init(struct accept_limit *limit, size_t max)
{
	limit->count = 0;
	limit->max = max;
	limit->served = 0;
	TAILQ_INIT(&limit->waiting);
}

static void acceptor_resume(void *arg)
{
	struct acceptor *a = arg;

	event_add(a->event, NULL);
}

void accept_limit_release(struct accept_limit *limit)
{
	struct acceptor *a;

	limit->count--;
	if (limit->count >= limit->max)
		return;
	TAILQ_FOREACH (a, &limit->waiting, next)
		acceptor_resume(a);
}

static bool somebody_waits(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

/* AF_VSOCK's accept() sleeps for a tick where nobody waits, also if it is not to block (Linux before 7.1). */
static bool asking_sleeps(const struct sockaddr_storage *peer)
{
#ifdef HAVE_VSOCK
	return peer->ss_family == AF_VSOCK;
#else
	(void)peer;
	return false;
#endif
}

bool accept_limit_wanted(const struct accept_limit *limit)
{
	const struct acceptor *a;

	TAILQ_FOREACH (a, &limit->waiting, next) {
		if (somebody_waits(a->fd))
			return true;
	}
	return false;
}

static void acceptor_leave(struct acceptor *a)
{
	if (a->waiting)
		TAILQ_REMOVE(&a->limit->waiting, a, next);
	a->waiting = false;
}

/* Whoever was served longest ago has the next turn, so that no listener can starve another. */
static void acceptor_wait(struct acceptor *a)
{
	struct acceptor *later = TAILQ_FIRST(&a->limit->waiting);

	event_del(a->event);
	while (later != NULL && later->served <= a->served)
		later = TAILQ_NEXT(later, next);
	if (later != NULL)
		TAILQ_INSERT_BEFORE(later, a, next);
	else
		TAILQ_INSERT_TAIL(&a->limit->waiting, a, next);
	a->waiting = true;
	log_debug(&(struct log_name){ a->label, 0 }, "%zu connections: no more until one ends",
		  a->limit->count);
}

/* Out of descriptors or memory; anything unheard of is met in the same way, without spinning. */
static void acceptor_starve(struct acceptor *a, int rc)
{
	if (!a->starved)
		log_warning(&(struct log_name){ a->label, 0 }, "accepting pauses: %s",
			    errno_text(-rc));
	a->starved = true;
	event_del(a->event);
	loop_later(a->loop, &a->resume, PAUSE_MS, acceptor_resume, a);
}

static void acceptor_event(evutil_socket_t fd, short what, void *arg)
{
	struct acceptor *a = arg;

	(void)what;
	acceptor_leave(a);
	for (int i = 0; i < BATCH; i++) {
		struct sockaddr_storage peer = { 0 };
		socklen_t len = sizeof(peer);
		int client;

		if (a->limit->count >= a->limit->max) {
			acceptor_wait(a);
			return;
		}
		client = sock_accept(fd, &peer, &len);
		if (client == -EAGAIN || client == -EWOULDBLOCK)
			return;
		if (client == -ECONNABORTED || client == -EPROTO || client == -EINTR)
			continue; /* the client's own trouble */
		if (client < 0) {
			acceptor_starve(a, client);
			return;
		}
		a->starved = false;
		a->served = ++a->limit->served;
		a->limit->count++;
		a->cb(client, &peer, a->arg);
		if (asking_sleeps(&peer) && !somebody_waits(fd))
			return;
	}
}

struct acceptor *acceptor_new(struct loop *loop, int fd, struct accept_limit *limit,
			      const char *label, accept_cb cb, void *arg)
{
	struct acceptor *a = xcalloc(1, sizeof(*a));

	*a = (struct acceptor){
		.loop = loop, .fd = fd, .limit = limit, .label = label, .cb = cb, .arg = arg
	};
	a->event = event_new(loop->base, fd, EV_READ | EV_PERSIST, acceptor_event, a);
	if (a->event == NULL || event_add(a->event, NULL) < 0)
		abort();
	return a;
}

int acceptor_fd(const struct acceptor *a)
{
	return a->fd;
}

void acceptor_free(struct acceptor *a)
{
	if (a == NULL)
		return;
	event_free(a->event);
	loop_cancel(&a->resume);
	acceptor_leave(a);
	close(a->fd);
	free(a);
}
