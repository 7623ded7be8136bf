/* SPDX-License-Identifier: MIT */
/*
 * A thread of their own for the relays that move much.
 *
 * In one thread a byte would wait for the turns of all that copy before it, and, what takes longer, for the
 * scheduler: who computes all the time has used up its share when something comes in, and
 * a thread that mostly sleeps is woken at once. Measured on two cores, the round trip of a byte
 * beside a bulk transfer both ways: 870 us (p99 2.1 ms) in one thread, 60 us (0.33 ms) in two.
 *
 * A relay is made and ends in its home's thread, and is one thread's at a time: whoever has it posts it to the
 * other, stopped, and does not touch it again. The home alone writes relay->away, when it sends it away and when it has it back,
 * and so knows by that whether it may touch it. All that it wants of one that is away is to abort it: a counter
 * in the relay, which both look at when it arrives, and the other also when it is told to look.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>

#include "relay-flow.h"

/* Away: as much as this moved, and it took no longer than this. */
#ifndef RELAY_AWAY_BYTES
#define RELAY_AWAY_BYTES (1024 * 1024)
#define RELAY_AWAY_MS 50
#endif
/* Home: less than this moved between two looks. */
#define HOME_BYTES (4 * 1024 * 1024)
#define HOME_MS 500

/*
 * What is moved at a time: a system call is not interrupted for another thread, and a peer with much to
 * read keeps its processor. So it is less while the home has something to do. Always large, p99
 * of that round trip was 1.4 ms; always small, a gigabyte took 0.53 s of CPU in place of 0.32.
 */
#define BITE_LARGE (1024 * 1024)
#define BITE_SMALL (128 * 1024)
#define ALONE_MS 20

struct bulk {
	struct loop *home;
	bool runs;
	pthread_t thread;
	struct loop_task look, stop; /* posted by the home */
	/* The thread's own. */
	struct loop loop;
	TAILQ_HEAD(, relay) relays;
	struct loop_task scan;
};

static void bulk_scan(void *arg);

struct loop *relay_loop(const struct relay *r)
{
	return r->away ? &r->home->bulk->loop : r->home;
}

static uint64_t relay_total(const struct relay *r)
{
	return end_payload(&r->end[0]) + end_payload(&r->end[1]);
}

/* In the thread that it was posted to. */
static void relay_arrived(struct relay *r, struct loop *loop)
{
	struct error err;
	int rc = end_join(&r->end[0], loop), other = end_join(&r->end[1], loop);

	if (rc == 0)
		rc = other;
	r->mark_bytes = relay_total(r);
	r->mark_ms = now_ms();
	if (rc < 0) {
		error_set(&err, REASON_BROKEN, -rc, "%s", errno_text(-rc));
		relay_reset(r, -1, RELAY_LOCAL, &err);
	}
	relay_take_aborts(r);
	if (r->state < RELAY_CLOSED)
		relay_pump(r);
}

static void relay_came_home(void *arg)
{
	struct relay *r = arg;

	r->away = false;
	relay_arrived(r, r->home);
}

static void relay_went_away(void *arg)
{
	struct relay *r = arg;
	struct bulk *bulk = r->home->bulk;

	if (TAILQ_EMPTY(&bulk->relays))
		loop_later(&bulk->loop, &bulk->scan, HOME_MS, bulk_scan, bulk);
	TAILQ_INSERT_TAIL(&bulk->relays, r, next);
	relay_arrived(r, &bulk->loop);
}

/* One that is ending, is looked on at, or has two descriptors at an end, stays where it is. */
static bool is_movable(const struct relay *r)
{
	return r->state == RELAY_OPEN && r->doom == NULL && r->tap == NULL &&
	       r->end[0].rfd == r->end[0].wfd && r->end[1].rfd == r->end[1].wfd;
}

static void relay_post(struct relay *r, struct loop *from, struct loop *to, void (*arrive)(void *))
{
	end_leave(&r->end[0], from);
	end_leave(&r->end[1], from);
	loop_cancel(&r->work);
	loop_post(to, &r->work, arrive, r);
}

/* Sends those home that have become quiet. */
static void bulk_scan(void *arg)
{
	struct bulk *bulk = arg;
	struct relay *r, *next;

	for (r = TAILQ_FIRST(&bulk->relays); r != NULL; r = next) {
		uint64_t total = relay_total(r);

		next = TAILQ_NEXT(r, next);
		if (total - r->mark_bytes < HOME_BYTES && is_movable(r)) {
			TAILQ_REMOVE(&bulk->relays, r, next);
			relay_post(r, &bulk->loop, bulk->home, relay_came_home);
		} else {
			r->mark_bytes = total;
		}
	}
	if (!TAILQ_EMPTY(&bulk->relays))
		loop_later(&bulk->loop, &bulk->scan, HOME_MS, bulk_scan, bulk);
}

static void bulk_take_aborts(void *arg)
{
	struct bulk *bulk = arg;
	struct relay *r, *next;

	for (r = TAILQ_FIRST(&bulk->relays); r != NULL; r = next) {
		next = TAILQ_NEXT(r, next);
		relay_take_aborts(r);
	}
}

static void bulk_stop(void *arg)
{
	struct bulk *bulk = arg;

	loop_stop(&bulk->loop);
}

static void *bulk_thread(void *arg)
{
	struct bulk *bulk = arg;

	if (loop_run(&bulk->loop) < 0)
		abort();
	return NULL;
}

/* Signals are for the home, whose loop waits for them. */
static int thread_start(struct bulk *bulk)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&bulk->thread, NULL, bulk_thread, bulk);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -rc;
}

static int bulk_start(struct bulk *bulk)
{
	int rc = loop_init(&bulk->loop);

	if (rc == 0)
		rc = loop_share(&bulk->loop);
	if (rc == 0)
		rc = loop_share(bulk->home);
	if (rc == 0)
		rc = thread_start(bulk);
	if (rc < 0) {
		loop_unshare(bulk->home);
		loop_clear(&bulk->loop);
		return rc;
	}
	bulk->runs = true;
	return 0;
}

bool bulk_move(struct relay *r)
{
	struct bulk *bulk = r->home->bulk;
	uint64_t total = relay_total(r);
	int64_t now;
	bool much;
	int rc;

	if (bulk == NULL || r->away || total < r->mark_bytes + RELAY_AWAY_BYTES)
		return false;
	now = now_ms();
	much = now - r->mark_ms <= RELAY_AWAY_MS;
	r->mark_bytes = total;
	r->mark_ms = now;
	if (!much || !is_movable(r))
		return false;
	rc = bulk->runs ? 0 : bulk_start(bulk);
	if (rc < 0) {
		log_debug(&r->name, "no thread of its own: %s", errno_text(-rc));
		return false;
	}
	r->away = true;
	relay_post(r, r->home, &bulk->loop, relay_went_away);
	return true;
}

size_t bulk_bite(const struct relay *r)
{
	bool alone = r->home->bulk == NULL ||
		     (r->away && now_ms() - atomic_load(&r->home->busy_ms) > ALONE_MS);

	return alone ? BITE_LARGE : BITE_SMALL;
}

void bulk_closed(void *arg)
{
	struct relay *r = arg;

	TAILQ_REMOVE(&r->home->bulk->relays, r, next);
	loop_post(r->home, &r->work, relay_finished, r);
}

void bulk_look(struct loop *home)
{
	loop_post(&home->bulk->loop, &home->bulk->look, bulk_take_aborts, home->bulk);
}

/* Pipes of both loops, and what the second one is made of. */
size_t relay_bulk_descriptors(void)
{
	return 2 * 2 * pipes_max() + 6;
}

void relay_bulk_init(struct loop *home)
{
	struct bulk *bulk = xcalloc(1, sizeof(*bulk));

	bulk->home = home;
	TAILQ_INIT(&bulk->relays);
	home->bulk = bulk;
}

void relay_bulk_clear(struct loop *home)
{
	struct bulk *bulk = home->bulk;

	if (bulk == NULL)
		return;
	if (bulk->runs) {
		loop_post(&bulk->loop, &bulk->stop, bulk_stop, bulk);
		pthread_join(bulk->thread, NULL);
		loop_unshare(home);
		loop_clear(&bulk->loop);
	}
	free(bulk);
	home->bulk = NULL;
}
