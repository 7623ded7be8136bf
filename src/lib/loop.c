/* SPDX-License-Identifier: MIT */
/*
 * The event loop and its sweep. What has to run at once goes to one list, deadlines to
 * another, unsorted; a single timer is armed for the earliest. Deadlines here are coarse
 * (seconds) and rarely reached, so queueing and cancelling in O(1) and a look through
 * the list when the timer fires beat a timer for each connection.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/util.h>
#include <fcntl.h>
#include <unistd.h>

#include "pipes.h"
#include "watch.h"

#define NEVER INT64_MAX
#define DESCRIPTORS 6 /* of a base, and of watch.c */

static const struct timeval at_once;

/* Arms the timer for `due` if that is earlier than what it is armed for. */
static void sweep_arm(struct loop *loop, int64_t due)
{
	int64_t wait = due - now_ms();
	struct timeval tv;

	if (due >= loop->wakes)
		return;
	loop->wakes = due;
	if (!TAILQ_EMPTY(&loop->at_once))
		return; /* armed for now already; that sweep arms it anew */
	if (wait < 0)
		wait = 0;
	tv.tv_sec = (time_t)(wait / 1000);
	tv.tv_usec = (suseconds_t)(wait % 1000 * 1000);
	event_add(loop->sweep, &tv);
}

static void list_move(struct loop_tasks *to, struct loop_task *task)
{
	if (task->list != NULL)
		TAILQ_REMOVE(task->list, task, next);
	task->list = to;
	if (to != NULL)
		TAILQ_INSERT_TAIL(to, task, next);
}

/* A task may queue, move, cancel or free any other: so one at a time, off the list first. */
static void run_all(struct loop_tasks *list)
{
	struct loop_task *task;

	while ((task = TAILQ_FIRST(list)) != NULL) {
		list_move(NULL, task);
		task->run(task->arg);
	}
}

static void sweep_cb(evutil_socket_t fd, short what, void *arg)
{
	struct loop *loop = arg;
	struct loop_tasks run = TAILQ_HEAD_INITIALIZER(run);
	struct loop_task *task, *next;
	int64_t now = now_ms(), earliest = NEVER;

	(void)fd;
	(void)what;
	while ((task = TAILQ_FIRST(&loop->at_once)) != NULL)
		list_move(&run, task);
	if (now >= loop->wakes) {
		for (task = TAILQ_FIRST(&loop->later); task != NULL; task = next) {
			next = TAILQ_NEXT(task, next);
			if (task->due <= now)
				list_move(&run, task);
			else if (task->due < earliest)
				earliest = task->due;
		}
	} else {
		earliest = loop->wakes; /* woken for loop->at_once alone */
	}
	loop->wakes = NEVER;
	if (earliest != NEVER)
		sweep_arm(loop, earliest);
	run_all(&run);
}

/* libevent ends the process when it can't have the descriptors of a base. 0 or -errno. */
static int descriptors_check(void)
{
	int fds[DESCRIPTORS], rc = 0;
	size_t count = 0;

	while (count < DESCRIPTORS && rc == 0) {
		fds[count] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
		if (fds[count] < 0)
			rc = -errno;
		else
			count++;
	}
	while (count > 0)
		close(fds[--count]);
	return rc;
}

int loop_init(struct loop *loop)
{
	int rc;

	*loop = (struct loop){ .wakes = NEVER };
	TAILQ_INIT(&loop->at_once);
	TAILQ_INIT(&loop->later);
	TAILQ_INIT(&loop->after);
	TAILQ_INIT(&loop->posted);
	LIST_INIT(&loop->retries);
	rc = descriptors_check();
	if (rc < 0)
		return rc;
	loop->base = event_base_new();
	if (loop->base == NULL)
		return -EMFILE;
	loop->sweep = evtimer_new(loop->base, sweep_cb, loop);
	loop->scratch = xmalloc(LOOP_SCRATCH_SIZE);
	return loop->sweep != NULL ? watch_init(loop) : -ENOMEM;
}

void loop_clear(struct loop *loop)
{
	loop_unshare(loop);
	watch_clear(loop);
	pipes_clear(loop);
	if (loop->sweep != NULL)
		event_free(loop->sweep);
	if (loop->base != NULL)
		event_base_free(loop->base);
	free(loop->scratch);
	*loop = (struct loop){ 0 };
}

int loop_run(struct loop *loop)
{
	struct loop_task *task;

	/* A timer left behind by tasks that were cancelled must not keep the loop alive. */
	event_del(loop->sweep);
	loop->wakes = NEVER;
	TAILQ_FOREACH (task, &loop->later, next)
		sweep_arm(loop, task->due);
	if (!TAILQ_EMPTY(&loop->at_once))
		event_add(loop->sweep, &at_once);
	return event_base_dispatch(loop->base) < 0 ? -EIO : 0;
}

void loop_stop(struct loop *loop)
{
	event_base_loopbreak(loop->base);
}

void loop_later(struct loop *loop, struct loop_task *task, int64_t delay_ms, void (*run)(void *arg),
		void *arg)
{
	task->run = run;
	task->arg = arg;
	if (delay_ms <= 0) {
		/* By the timer, not event_active(): descriptors get their turn in between. */
		list_move(&loop->at_once, task);
		event_add(loop->sweep, &at_once);
		return;
	}
	/* Rounded up to the tick, so that a crowd of deadlines wakes the loop once a tick. */
	task->due = (now_ms() + delay_ms + LOOP_SWEEP_MS - 1) / LOOP_SWEEP_MS * LOOP_SWEEP_MS;
	list_move(&loop->later, task);
	sweep_arm(loop, task->due);
}

void loop_after(struct loop *loop, struct loop_task *task, void (*run)(void *arg), void *arg)
{
	if (loop->watch_batch == NULL) {
		loop_later(loop, task, 0, run, arg);
		return;
	}
	task->run = run;
	task->arg = arg;
	list_move(&loop->after, task);
}

void loop_run_after(struct loop *loop)
{
	run_all(&loop->after);
}

void loop_cancel(struct loop_task *task)
{
	list_move(NULL, task);
}

/* The other end of the pair is written to by loop_post(). */
static void posted_cb(evutil_socket_t fd, short what, void *arg)
{
	struct loop *loop = arg;
	struct loop_tasks run = TAILQ_HEAD_INITIALIZER(run);
	struct loop_task *task;
	char bytes[64];

	(void)what;
	while (read(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes))
		;
	pthread_mutex_lock(&loop->lock);
	while ((task = TAILQ_FIRST(&loop->posted)) != NULL)
		list_move(&run, task);
	pthread_mutex_unlock(&loop->lock);
	while ((task = TAILQ_FIRST(&run)) != NULL) {
		void (*task_run)(void *) = task->run;
		void *task_arg = task->arg;

		pthread_mutex_lock(&loop->lock);
		list_move(NULL, task);
		pthread_mutex_unlock(&loop->lock);
		task_run(task_arg);
	}
}

int loop_share(struct loop *loop)
{
	if (loop->post_event != NULL)
		return 0;
	if (evutil_socketpair(AF_UNIX, SOCK_STREAM, 0, loop->post_fd) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		evutil_make_socket_nonblocking(loop->post_fd[i]);
		evutil_make_socket_closeonexec(loop->post_fd[i]);
	}
	loop->post_event =
		event_new(loop->base, loop->post_fd[0], EV_READ | EV_PERSIST, posted_cb, loop);
	if (loop->post_event == NULL || event_add(loop->post_event, NULL) < 0)
		abort();
	pthread_mutex_init(&loop->lock, NULL);
	return 0;
}

void loop_unshare(struct loop *loop)
{
	if (loop->post_event == NULL)
		return;
	event_free(loop->post_event);
	loop->post_event = NULL;
	close(loop->post_fd[0]);
	close(loop->post_fd[1]);
	pthread_mutex_destroy(&loop->lock);
}

void loop_post(struct loop *loop, struct loop_task *task, void (*run)(void *arg), void *arg)
{
	bool wake = false;

	pthread_mutex_lock(&loop->lock);
	if (task->list == NULL) {
		task->run = run;
		task->arg = arg;
		wake = TAILQ_EMPTY(&loop->posted);
		list_move(&loop->posted, task);
	}
	pthread_mutex_unlock(&loop->lock);
	/* A full pair has woken it already. */
	if (wake && write(loop->post_fd[1], "", 1) < 0)
		assert(errno == EAGAIN);
}
