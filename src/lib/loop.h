/* SPDX-License-Identifier: MIT */
/*
 * The event loop of a thread: a libevent base, the scratch buffer that all its
 * relays share, and tasks that run later (deadlines, and freeing what a callback
 * must not free).
 */
#ifndef VZFWD_LOOP_H
#define VZFWD_LOOP_H

#include <pthread.h>
#include <sys/queue.h>

#include "util.h"

struct accepts;
struct bulk;
struct event;
struct event_base;
struct hosts_blocks;
struct pipe;
struct watch_batch;

#define LOOP_SCRATCH_SIZE (256u * 1024 + 16) /* a record and a header */

TAILQ_HEAD(loop_tasks, loop_task);

/* Zero-initialise. */
struct loop_task {
	TAILQ_ENTRY(loop_task) next;
	struct loop_tasks *list; /* the one it is queued in; NULL if in none */
	int64_t due;             /* now_ms() of the deadline */
	void (*run)(void *arg);
	void *arg;
};

struct loop {
	struct event_base *base;
	uint8_t *scratch; /* LOOP_SCRATCH_SIZE bytes, valid for one callback */
	struct event *sweep;
	int64_t wakes; /* when the sweep's timer fires */
	struct loop_tasks at_once, later, after;
	/* Tasks from other threads, and what wakes this one. */
	pthread_mutex_t lock;
	struct loop_tasks posted;
	struct event *post_event; /* NULL: not shared */
	int post_fd[2];
	struct bulk *bulk;          /* relay-bulk.c: NULL if there is none */
	LIST_HEAD(, retry) retries; /* retry.c */
	struct accepts *accepts;    /* guest/accept.c: NULL if there are none */
	struct hosts_blocks *hosts; /* guest/hosts-block.c: NULL if there are none */
	/* pipes.c */
	struct pipe *pipes; /* those that nobody uses */
	unsigned pipe_count, pipes_kept;
	/* watch.c */
	int watch_fd;
	size_t watches;
	struct event *watch_event;
	struct watch_batch *watch_batch; /* while it is worked through */
	_Atomic int64_t busy_ms;         /* now_ms() of the last event that a watch reported */
};

/* 0 or -errno. fork(2) before this, or call event_reinit(). */
int loop_init(struct loop *loop);
void loop_clear(struct loop *loop);

/*
 * Runs until loop_stop(), or until no event and no task is left. 0 or -errno. A program whose own
 * events are gone runs it once more at its end, for the tasks that are left.
 */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/*
 * Runs `run(arg)` once, delay_ms from now (0: after the callback that runs
 * now), as soon as the sweep comes by: up to LOOP_SWEEP_MS late. Queued already: moved.
 * The task is the caller's memory; it may be freed by its own run().
 */
#define LOOP_SWEEP_MS 20
void loop_later(struct loop *loop, struct loop_task *task, int64_t delay_ms, void (*run)(void *arg),
		void *arg);

/* The same, as soon as the events are through that came with the one that is handled now. */
void loop_after(struct loop *loop, struct loop_task *task, void (*run)(void *arg), void *arg);
void loop_cancel(struct loop_task *task); /* harmless if not queued */

/* For watch.c: the events are through. */
void loop_run_after(struct loop *loop);

/*
 * For the loops of other threads. A loop that is shared, 0 or -errno, takes tasks from them, and is not
 * out of events until it is unshared, which drops what nobody ran. Once more is harmless.
 */
int loop_share(struct loop *loop);
void loop_unshare(struct loop *loop);

/* Runs `run(arg)` in the thread of a shared loop. From any thread; posted already: nothing changes. */
void loop_post(struct loop *loop, struct loop_task *task, void (*run)(void *arg), void *arg);

#endif
