/* SPDX-License-Identifier: MIT */
/*
 * A pod that goes and comes back. All connections to one pod share what is known of it: while it is lost, they wait
 * instead of dialing, one probe asks for it now and then, and when it is back they go on. One line tells that it is
 * lost, one that it is back.
 */
#ifndef VZFWD_RETRY_H
#define VZFWD_RETRY_H

#include "events.h"
#include "loop.h"

#define RETRY_MS_DEFAULT 5000

struct retry;

/* Which pod, and which netns of it: as in struct route; and who is told (the loop's, or NULL). */
struct retry_pod {
	const char *pods_dir, *pod_arg, *handle, *container_id;
	struct events *events;
};

/* The loop's one of this pod, which is made (from copies) if it is missing. Each has to be put back. */
struct retry *retry_get(struct loop *loop, const struct retry_pod *pod);
void retry_put(
	struct retry *retry); /* NULL is harmless; nobody may wait for this holder any more */

/*
 * True for what says that the pod is not there, and may be again: its file, container or netns is missing, or its
 * dialer can't be reached. Not what the dialer, which is there then, says of a target.
 */
bool retry_is_loss(const struct error *err);

/* What became of a dial. The error is a loss, or the pod is there. */
void retry_lost(struct retry *retry, const struct error *err);
void retry_found(struct retry *retry);

/* A stream was cut: asks whether the pod is still there. False if that is done already, or known. */
bool retry_doubt(struct retry *retry);

struct retry_waiter {
	TAILQ_ENTRY(retry_waiter) next;
	struct retry *retry; /* NULL: it doesn't wait */
	struct loop_task deadline;
	/* It waits no more: the pod is there (err NULL), or the time is up (err: the last one that was met). */
	void (*done)(struct retry_waiter *waiter, const struct error *err);
};

/*
 * Queues a waiter if the pod is lost, or in doubt; `until` is a now_ms(), INT64_MAX: for ever. False: it
 * isn't, nothing is done. done() never comes before this has returned.
 */
bool retry_wait(struct retry *retry, struct retry_waiter *waiter, int64_t until);
void retry_leave(struct retry_waiter *waiter); /* harmless if it doesn't wait */

#endif
