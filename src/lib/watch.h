/* SPDX-License-Identifier: MIT */
/*
 * Waits for descriptors to become readable or writable, edge-triggered: a watch reports once when it
 * starts or changes, and then whenever something new happens. What was reported holds
 * until a read or a write says EAGAIN.
 *
 * libevent's event for the same needs 170 bytes, a watch 16, and one system call moves it to another
 * owner; so relays and handshakes use this, and everything else libevent.
 */
#ifndef VZFWD_WATCH_H
#define VZFWD_WATCH_H

#include "loop.h"

struct watch;

enum watch_what {
	WATCH_READ = 1,
	WATCH_WRITE = 2,
	/* Reported only, asked for or not: an end may be there to be read; */
	WATCH_END = 4,
	/* an error, or both directions have ended. */
	WATCH_HANGUP = 8,
};

/*
 * `ready` is of WATCH_*. With WATCH_HANGUP come all others too
 * (where there is no epoll: those that are asked for, and every event may be a hang-up). May stop, move and free
 * any watch of its loop, its own too.
 */
typedef void (*watch_cb)(struct watch *watch, unsigned ready);

/* Zero-initialise. In the caller's memory, which stays where it is until the watch is stopped. */
struct watch {
	watch_cb cb; /* NULL: stopped */
	int fd;      /* borrowed; stop the watch before closing it */
#ifndef HAVE_EPOLL
	struct event *event;
	struct loop *loop;
#endif
};

/* 0 or -errno: -EPERM for a descriptor that is always ready (a regular file). */
int watch_start(struct loop *loop, struct watch *watch, int fd, unsigned what, watch_cb cb);

/* Waits for something else from now on. */
void watch_change(struct loop *loop, struct watch *watch, unsigned what);

/* `to` goes on in place of `from`, which is stopped. */
void watch_move(struct loop *loop, struct watch *from, struct watch *to, unsigned what,
		watch_cb cb);

void watch_stop(struct loop *loop, struct watch *watch); /* harmless when stopped */

/* For loop.c alone. */
int watch_init(struct loop *loop); /* 0 or -errno */
void watch_clear(struct loop *loop);

#endif
