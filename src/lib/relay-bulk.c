/* SPDX-License-Identifier: MIT */
/*
 * Threads of their own for the relays that move much.
 *
 * In one thread a byte would wait for the turns of all that copy before it, and, what takes longer, for the
 * scheduler: who computes all the time has used up its share when something comes in, and
 * a thread that mostly sleeps is woken at once. Measured on two cores, the round trip of a byte
 * beside a bulk transfer both ways: 870 us (p99 2.1 ms) in one thread, 60 us (0.33 ms) in two.
 *
 * One such thread does for as long as it keeps up. One that computes for half of the time gives every other of its relays
 * to the next, which is started then, up to one a processor and THREADS_MAX, and fewer where there are few descriptors. Two cores that copy in memory as fast as they can
 * are better off with one (up x8: 1.12 of haproxy's throughput, with two threads a hop 0.87), so what counts is what
 * it gets of a processor: one that wants more, and does not get it, would not by a second thread.
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
#define RELAY_AWAY_BYTES (256 * 1024)
#define RELAY_AWAY_MS 50
#endif
/* Home: less than this moved between two looks. */
#define HOME_BYTES (1024 * 1024)
#define HOME_MS 500

/* Between two looks a thread has computed for so much of the time: it is crowded. */
#ifndef RELAY_CROWD_PERCENT
#define RELAY_CROWD_PERCENT 50
#define RELAY_CROWD_MS 100
#endif

/*
 * What is moved at a time: a system call is not interrupted for another thread, and a peer with much to
 * read keeps its processor. So it is less while the home has something to do. Always large, p99
 * of that round trip was 1.4 ms; always small, a gigabyte took 0.53 s of CPU in place of 0.32.
 */
#define BITE_LARGE (1024 * 1024)
#define BITE_SMALL (128 * 1024)
#define ALONE_MS 20

#define THREADS_MAX 4
#define DESCRIPTORS_A_THREAD 256

struct bulk_thread {
	struct loop *home;
	bool runs;
	pthread_t thread;
	size_t count; /* the home's: of relays that it has sent here and does not have back */
	struct loop_task look, stop; /* posted by the home */
	atomic_bool gives;           /* if it is crowded: another one has, or would have, fewer */
	/* The thread's own. */
	struct loop loop;
	TAILQ_HEAD(, relay) relays;
	struct loop_task scan, crowd;
	int64_t cpu_ms, crowd_ms; /* at the last look: what it had computed, and now_ms() */
};

struct bulk {
	size_t count, open; /* open: so many of them are made use of */
	struct bulk_thread threads[];
};

static void thread_scan(void *arg);
static void thread_look_at_crowd(void *arg);

struct loop *relay_loop(const struct relay *r)
{
	return r->away != NULL ? &r->away->loop : r->home;
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

/* The one with the fewest relays; of those, the first. */
static struct bulk_thread *quietest(struct bulk *bulk)
{
	struct bulk_thread *t = &bulk->threads[0];

	for (size_t i = 1; i < bulk->open; i++) {
		if (bulk->threads[i].count < t->count)
			t = &bulk->threads[i];
	}
	return t;
}

/* At home: whose it is now; NULL: the home's. */
static void relay_moved(struct relay *r, struct bulk_thread *to)
{
	struct bulk *bulk = r->home->bulk;
	size_t least;

	if (r->away != NULL)
		r->away->count--;
	if (to != NULL)
		to->count++;
	r->away = to;
	while (bulk->open > 1 && bulk->threads[bulk->open - 1].count == 0)
		bulk->open--;
	least = quietest(bulk)->count;
	for (size_t i = 0; i < bulk->open; i++) {
		struct bulk_thread *t = &bulk->threads[i];

		atomic_store(&t->gives,
			     t->count > 1 && (bulk->open < bulk->count || t->count >= least + 2));
	}
}

static void relay_came_home(void *arg)
{
	struct relay *r = arg;

	relay_moved(r, NULL);
	relay_arrived(r, r->home);
}

static void relay_ended_away(void *arg)
{
	struct relay *r = arg;

	relay_moved(r, NULL);
	relay_finished(r);
}

static int64_t thread_cpu_ms(void)
{
	struct timespec ts = { 0 };

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void thread_mark(struct bulk_thread *t)
{
	t->crowd_ms = now_ms();
	t->cpu_ms = thread_cpu_ms();
	loop_later(&t->loop, &t->crowd, RELAY_CROWD_MS, thread_look_at_crowd, t);
}

static void relay_went_away(void *arg)
{
	struct relay *r = arg;
	struct bulk_thread *t = r->away;

	if (TAILQ_EMPTY(&t->relays)) {
		loop_later(&t->loop, &t->scan, HOME_MS, thread_scan, t);
		thread_mark(t);
	}
	TAILQ_INSERT_TAIL(&t->relays, r, next);
	relay_arrived(r, &t->loop);
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
static void thread_scan(void *arg)
{
	struct bulk_thread *t = arg;
	struct relay *r, *next;

	for (r = TAILQ_FIRST(&t->relays); r != NULL; r = next) {
		uint64_t total = relay_total(r);

		next = TAILQ_NEXT(r, next);
		if (now_ms() - r->mark_ms < HOME_MS - LOOP_SWEEP_MS)
			continue; /* it has just come */
		if (total - r->mark_bytes < HOME_BYTES && is_movable(r)) {
			TAILQ_REMOVE(&t->relays, r, next);
			relay_post(r, &t->loop, t->home, relay_came_home);
		} else {
			r->mark_bytes = total;
		}
	}
	if (!TAILQ_EMPTY(&t->relays))
		loop_later(&t->loop, &t->scan, HOME_MS, thread_scan, t);
}

static void thread_take_aborts(void *arg)
{
	struct bulk_thread *t = arg;
	struct relay *r, *next;

	for (r = TAILQ_FIRST(&t->relays); r != NULL; r = next) {
		next = TAILQ_NEXT(r, next);
		relay_take_aborts(r);
	}
}

static void thread_stop(void *arg)
{
	struct bulk_thread *t = arg;

	loop_stop(&t->loop);
}

static void *thread_run(void *arg)
{
	struct bulk_thread *t = arg;

	if (loop_run(&t->loop) < 0)
		abort();
	return NULL;
}

/* Signals are for the home, whose loop waits for them. */
static int thread_create(struct bulk_thread *t)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&t->thread, NULL, thread_run, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -rc;
}

static int thread_start(struct bulk_thread *t)
{
	int rc;

	if (t->runs)
		return 0;
	rc = loop_init(&t->loop);
	if (rc == 0)
		rc = loop_share(&t->loop);
	if (rc == 0)
		rc = loop_share(t->home);
	if (rc == 0)
		rc = thread_create(t);
	if (rc < 0)
		loop_clear(&t->loop);
	t->runs = rc == 0;
	return rc;
}

/* At home, on the way from a crowded thread to another. */
static void relay_left_crowd(void *arg)
{
	struct relay *r = arg;
	struct bulk *bulk = r->home->bulk;
	struct bulk_thread *to = quietest(bulk);

	if (to->count + 1 >= r->away->count && bulk->open < bulk->count)
		to = &bulk->threads[bulk->open++];
	else if (to->count + 1 >= r->away->count)
		to = r->away; /* others have left it meanwhile */
	if (thread_start(to) < 0) {
		log_debug(&r->name, "no more threads");
		bulk->count = --bulk->open;
		to = r->away;
	}
	relay_moved(r, to);
	loop_post(&to->loop, &r->work, relay_went_away, r);
}

static bool is_crowded(const struct bulk_thread *t)
{
	int64_t cpu = thread_cpu_ms() - t->cpu_ms, passed = now_ms() - t->crowd_ms;

	return atomic_load(&t->gives) && 100 * cpu >= RELAY_CROWD_PERCENT * passed;
}

/* Every other one goes. */
static void thread_look_at_crowd(void *arg)
{
	struct bulk_thread *t = arg;
	struct relay *r, *next;
	bool goes = false;

	for (r = is_crowded(t) ? TAILQ_FIRST(&t->relays) : NULL; r != NULL; r = next) {
		next = TAILQ_NEXT(r, next);
		if (goes && is_movable(r)) {
			TAILQ_REMOVE(&t->relays, r, next);
			relay_post(r, &t->loop, t->home, relay_left_crowd);
		}
		goes = !goes;
	}
	if (!TAILQ_EMPTY(&t->relays))
		thread_mark(t);
}

bool bulk_move(struct relay *r)
{
	struct bulk *bulk = r->home->bulk;
	uint64_t total = relay_total(r);
	struct bulk_thread *t;
	int64_t now;
	bool much;
	int rc;

	if (bulk == NULL || r->away != NULL || total < r->mark_bytes + RELAY_AWAY_BYTES)
		return false;
	now = now_ms();
	much = now - r->mark_ms <= RELAY_AWAY_MS;
	r->mark_bytes = total;
	r->mark_ms = now;
	if (!much || !is_movable(r))
		return false;
	t = quietest(bulk);
	rc = thread_start(t);
	if (rc < 0) {
		log_debug(&r->name, "no thread of its own: %s", errno_text(-rc));
		return false;
	}
	relay_moved(r, t);
	relay_post(r, r->home, &t->loop, relay_went_away);
	return true;
}

size_t bulk_bite(const struct relay *r)
{
	bool alone = r->home->bulk == NULL ||
		     (r->away != NULL && now_ms() - atomic_load(&r->home->busy_ms) > ALONE_MS);

	return alone ? BITE_LARGE : BITE_SMALL;
}

void bulk_closed(void *arg)
{
	struct relay *r = arg;

	TAILQ_REMOVE(&r->away->relays, r, next);
	loop_post(r->home, &r->work, relay_ended_away, r);
}

void bulk_look(struct relay *r)
{
	struct bulk_thread *t = r->away;

	loop_post(&t->loop, &t->look, thread_take_aborts, t);
}

/* One a processor; and where there are few descriptors they are for connections. */
static size_t threads_max(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	long max = sysconf(_SC_OPEN_MAX) / DESCRIPTORS_A_THREAD;

	max = max < THREADS_MAX ? max : THREADS_MAX;
	max = max < processors ? max : processors;
	return max < 1 ? 1 : (size_t)max;
}

/* Pipes of all loops, and what the others are made of: two epolls, libevent's pair, and one to post by, which the first one has too. */
size_t relay_bulk_descriptors(void)
{
	size_t threads = threads_max();

	return 2 * (1 + threads) * pipes_max() + 6 * threads + 2;
}

void relay_bulk_init(struct loop *home)
{
	size_t count = threads_max();
	struct bulk *bulk = xcalloc(1, sizeof(*bulk) + count * sizeof(bulk->threads[0]));

	bulk->count = count;
	bulk->open = 1;
	for (size_t i = 0; i < count; i++) {
		bulk->threads[i].home = home;
		TAILQ_INIT(&bulk->threads[i].relays);
	}
	home->bulk = bulk;
}

void relay_bulk_clear(struct loop *home)
{
	struct bulk *bulk = home->bulk;

	if (bulk == NULL)
		return;
	for (size_t i = 0; i < bulk->count; i++) {
		struct bulk_thread *t = &bulk->threads[i];

		if (!t->runs)
			continue;
		loop_post(&t->loop, &t->stop, thread_stop, t);
		pthread_join(t->thread, NULL);
		loop_clear(&t->loop);
	}
	loop_unshare(home);
	free(bulk);
	home->bulk = NULL;
}
