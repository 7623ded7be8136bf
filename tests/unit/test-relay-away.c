/* SPDX-License-Identifier: MIT */
/*
 * Relays that move much are another thread's for as long as they do: they go, come back, and end, in every
 * way, and it is always the first thread that is told. What a relay is in the middle of is looked at by
 * its home alone (relay->away); ThreadSanitizer sees to the rest.
 */
#include "config.h"

#include <unistd.h>

#include "relay-ways.h"

/* Where every relay goes away at once, none is seen at home. */
#ifdef RELAY_AWAY_BYTES
#define COMES_HOME false
#else
#define COMES_HOME true
#endif

/* Where every thread is crowded as soon as it has two. */
#ifdef RELAY_CROWD_PERCENT
#define SHARES true
#else
#define SHARES false
#endif

static bool is_away(const struct fixture *f)
{
	return f->relay != NULL && f->relay->away;
}

/* Moves much until it is; says whether it is, and all was right. */
static bool goes_away(struct fixture *f, struct way *w, size_t count)
{
	int64_t since = now_ms();

	do {
		for (size_t i = 0; i < count; i++)
			w[i].put = w[i].got = 0;
		if (!ways_arrive(w, count))
			return false;
	} while (!is_away(f) && turn(since));
	return is_away(f);
}

static bool comes_home(const struct fixture *f)
{
	int64_t since = now_ms();

	while (COMES_HOME && is_away(f) && turn(since))
		;
	return !COMES_HOME || !is_away(f);
}

static void start(struct fixture *f, struct way w[2])
{
	fixture_init(f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(f);
	way_up(&w[0], f, 2 * MIB);
	way_down(&w[1], f, 2 * MIB, RECORD_PAYLOAD_MAX);
}

static void is_over(struct fixture *f, struct way w[2], enum relay_outcome outcome,
		    const char *name)
{
	fixture_check(f, outcome, name);
	ok(pthread_equal(f->thread, pthread_self()), "%s: told by the thread it came from", name);
	way_clear(&w[0]);
	way_clear(&w[1]);
}

static void end_in_order(struct fixture *f)
{
	shutdown(f->near_w, SHUT_WR);
	put_record(f->far_w, RECORD_EOF, NULL, 0);
}

/* The bytes of a relay that goes on, wherever it is: so many after whole ways of 2 MiB, and some of these. */
static bool is_counted(const struct fixture *f, unsigned up, unsigned down)
{
	int64_t since = now_ms();
	uint64_t in, out;

	do {
		relay_bytes(f->relay, &in, &out);
		if (out > up && in > down && out % (2 * MIB) == up && in % (2 * MIB) == down)
			return true;
	} while (turn(since));
	return false;
}

static void test_there_and_back(void)
{
	struct fixture f;
	struct way w[2];
	char buf[16];
	int end;

	start(&f, w);
	for (int i = 0; i < 3; i++) {
		ok(goes_away(&f, w, 2), "moves much: away");
		ok(is_counted(&f, 2 * (unsigned)i, 4 * (unsigned)i), "moves much: counted");
		ok(comes_home(&f), "quiet: home");
		put(f.near_w, "up", 2);
		is_record(f.far_r, RECORD_DATA, "up", 2, "quiet");
		put_record(f.far_w, RECORD_DATA, "down", 4);
		is_int((long long)get(f.near_r, buf, 4, &end), 4, "quiet: and back");
	}
	ok(is_counted(&f, 6, 12), "at home again: counted before it ends");
	end_in_order(&f);
	is_over(&f, w, RELAY_EOF, "at home again");
	ok(f.result.bytes_out % (2 * MIB) == 6 && f.result.bytes_in % (2 * MIB) == 12,
	   "at home again: counted all the time");

	/* What it held when it went home. */
	start(&f, w);
	ok(goes_away(&f, w, 2), "stalled: away");
	w[0].put = w[0].got = w[1].put = w[1].got = 0;
	w[0].size = w[0].out_size = sizeof(bulk);
	way_clear(&w[1]);
	way_down(&w[1], &f, sizeof(bulk), RECORD_PAYLOAD_MAX);
	ways_stall(w, 2);
	ok(comes_home(&f), "stalled: home");
	ok(ways_arrive(w, 2), "stalled: all comes");
	ok(goes_away(&f, w, 2), "stalled: away again");
	end_in_order(&f);
	is_over(&f, w, RELAY_EOF, "stalled");
}

/* Small ones, one after the other, are nobody else's. */
static void test_stays(void)
{
	struct fixture f;
	struct way w[2];
	bool went = false;

	start(&f, w);
	for (int i = 0; i < 10; i++) {
		put(f.near_w, "up", 2);
		went |= is_away(&f);
		settle();
	}
	ok(!COMES_HOME || !went, "moves little: stays");
	end_in_order(&f);
	way_clear(&w[1]);
	w[1].made = NULL;
	is_over(&f, w, RELAY_EOF, "moves little");

	fixture_init(&f, PAIR_PIPES, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	way_down(&w[1], &f, sizeof(bulk), RECORD_PAYLOAD_MAX);
	ok(ways_arrive(&w[1], 1), "two descriptors: all comes");
	ok(!is_away(&f), "two descriptors: stays");
	shut(&f.near_w);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	way_init(&w[0], -1, -1, false, 0, 0);
	is_over(&f, w, RELAY_EOF, "two descriptors");
}

static void test_ends(void)
{
	struct fixture f;
	struct way w[2];
	int end;

	start(&f, w);
	ok(goes_away(&f, w, 2), "in order: away");
	end_in_order(&f);
	is_over(&f, w, RELAY_EOF, "in order");

	start(&f, w);
	ok(goes_away(&f, w, 2), "near resets: away");
	reset_near(&f);
	is_reset_record(f.far_r, "onnection reset", "near resets");
	is_int(get_end(f.far_r), 0, "near resets: the link is closed");
	is_over(&f, w, RELAY_LOCAL, "near resets");

	start(&f, w);
	ok(goes_away(&f, w, 2), "RESET: away");
	put_record(f.far_w, RECORD_RESET, "broken x", 8);
	is_int(get_end(f.near_r), ECONNRESET, "RESET: near is reset");
	is_over(&f, w, RELAY_RESET, "RESET");
	is_str(f.result.err.message, "x", "RESET: why");

	start(&f, w);
	ok(goes_away(&f, w, 2), "cut: away");
	close_far(&f);
	is_int(get_end(f.near_r), ECONNRESET, "cut: near is reset");
	is_over(&f, w, RELAY_CUT, "cut");

	start(&f, w);
	ok(goes_away(&f, w, 2), "a broken link: away");
	put(f.far_w, "\377\377\377\377", 4);
	is_int(get_end(f.near_r), ECONNRESET, "a broken link: near is reset");
	is_reset_record(f.far_r, "unknown record type 255", "a broken link");
	is_int(get_end(f.far_r), 0, "a broken link: closed");
	is_over(&f, w, RELAY_RESET, "a broken link");

	/* An end on its way, the other one later. */
	start(&f, w);
	ok(goes_away(&f, w, 2), "half-closed: away");
	shutdown(f.near_w, SHUT_WR);
	is_record(f.far_r, RECORD_EOF, NULL, 0, "half-closed");
	w[1].put = w[1].got = 0;
	ok(ways_arrive(&w[1], 1), "half-closed: the other direction goes on");
	ok(comes_home(&f), "half-closed: home");
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	is_int((long long)get(f.near_r, &end, 1, &end), 0, "half-closed: the other end");
	is_over(&f, w, RELAY_EOF, "half-closed");
}

/* In each state of the way there and back, for relay_abort() may come at any time. */
static void test_abort(void)
{
	static const char *const names[] = { "idle", "stalled", "just posted", "twice",
					     "too often" };

	for (int i = 0; i < (int)ARRAY_SIZE(names); i++) {
		struct fixture f;
		struct way w[2];
		int64_t since;

		start(&f, w);
		ok(i == 2 || goes_away(&f, w, 2), "abort, %s: away", names[i]);
		if (i == 2) {
			/* As soon as it has gone, and may not have arrived. */
			since = now_ms();
			while (!is_away(&f) && turn(since))
				ways_step(w, 2);
		} else if (i > 0) {
			way_clear(&w[1]);
			way_down(&w[1], &f, sizeof(bulk), RECORD_PAYLOAD_MAX);
			ways_stall(&w[1], 1);
		}
		since = now_ms();
		relay_abort(f.relay, "stopped");
		if (i == 3) {
			settle();
			ok(!f.done, "abort, twice: the first one waits");
		}
		for (int k = 0; k < (i == 3 ? 1 : i == 4 ? 300 : 0); k++)
			relay_abort(f.relay, "stopped");
		if (i >= 3) {
			ok(wait_done(&f), "abort, %s: done", names[i]);
			ok(f.ended - since < 4000, "abort, %s: at once", names[i]);
		} else {
			w[1].put = w[1].out_size;
			ok(way_await_end(&w[1]) && w[1].end == ECONNRESET,
			   "abort, %s: near is reset", names[i]);
			ok(way_await(&w[0], &w[0].resets, 1), "abort, %s: a RESET", names[i]);
		}
		is_over(&f, w, RELAY_SIGNAL, names[i]);
		is_str(f.result.err.message, "stopped", "abort, %s: why", names[i]);
	}
}

/* Many come and go, each ends in another way, some while others move. */
static void test_crowd(void)
{
	enum { ROUNDS = 15, COUNT = 20 };
	struct fixture *f = xcalloc(COUNT, sizeof(*f));
	struct way *w = xcalloc(2 * COUNT, sizeof(*w));
	int wrong = 0, went = 0;

	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < COUNT; i++)
			start(&f[i], &w[2 * i]);
		wrong += !ways_arrive(w, 2 * COUNT);
		for (int i = 0; i < COUNT; i++) {
			went += is_away(&f[i]);
			w[2 * i].put = w[2 * i].got = 0;
			w[2 * i + 1].put = w[2 * i + 1].got = 0;
		}
		for (int i = 0; i < 10; i++)
			ways_step(w, 2 * COUNT);
		/* All of them are in the middle of something. */
		for (int i = 0; i < COUNT; i++) {
			if (i % 4 == 0)
				reset_near(&f[i]);
			else if (i % 4 == 1)
				relay_abort(f[i].relay, "stopped");
			else if (i % 4 == 2)
				close_far(&f[i]);
		}
		for (int i = 3; i < COUNT; i += 4) {
			wrong += !ways_arrive(&w[2 * i], 2);
			end_in_order(&f[i]);
		}
		for (int i = 0; i < COUNT; i++) {
			enum relay_outcome outcome;

			if (i % 4 == 1 && f[i].relay != NULL)
				relay_abort(f[i].relay, "stopped");
			if (i % 4 == 0)
				close_far(&f[i]); /* it would have to be read empty else */
			wrong += !wait_done(&f[i]);
			outcome = f[i].result.outcome;
			wrong += i % 4 == 0   ? outcome != RELAY_LOCAL && outcome != RELAY_CUT
				 : i % 4 == 1 ? outcome != RELAY_SIGNAL
				 : i % 4 == 2 ? outcome != RELAY_CUT
					      : outcome != RELAY_EOF;
			wrong += !pthread_equal(f[i].thread, pthread_self());
			close_near(&f[i]);
			close_far(&f[i]);
			way_clear(&w[2 * i]);
			way_clear(&w[2 * i + 1]);
		}
	}
	is_int(wrong, 0, "a crowd: nothing goes wrong");
	ok(went > ROUNDS * COUNT / 2, "a crowd: %d of %d went away", went, ROUNDS * COUNT);
	free(f);
	free(w);
}

/* How many threads have them. */
static int count_threads(const struct fixture *f, int count)
{
	int threads = 0;

	for (int i = 0; i < count; i++) {
		int before = 0;

		while (before < i && f[before].relay->away != f[i].relay->away)
			before++;
		threads += is_away(&f[i]) && before == i;
	}
	return threads;
}

/* A thread that has much to do gives some of them to another. */
static void test_shared(void)
{
	enum { COUNT = 6 };
	struct fixture f[COUNT];
	struct way w[2 * COUNT];
	int64_t since = now_ms();
	bool right = true;
	int wrong = 0;

	for (int i = 0; i < COUNT; i++)
		start(&f[i], &w[2 * i]);
	do {
		for (int i = 0; i < 2 * COUNT; i++)
			w[i].put = w[i].got = 0;
		right = ways_arrive(w, 2 * COUNT);
	} while (right && SHARES && count_threads(f, COUNT) < 2 && turn(since));
	ok(right, "shared: nothing is lost on the way");
	if (SHARES && sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip("one processor: one thread");
	else if (SHARES)
		ok(count_threads(f, COUNT) > 1, "shared: more than one thread has them");
	for (int i = 0; i < COUNT; i++) {
		if (i % 2 == 0)
			relay_abort(f[i].relay, "stopped");
		else
			end_in_order(&f[i]);
	}
	for (int i = 0; i < COUNT; i++) {
		wrong += !wait_done(&f[i]);
		wrong += f[i].result.outcome != (i % 2 == 0 ? RELAY_SIGNAL : RELAY_EOF);
		wrong += !pthread_equal(f[i].thread, pthread_self());
		close_near(&f[i]);
		close_far(&f[i]);
		way_clear(&w[2 * i]);
		way_clear(&w[2 * i + 1]);
	}
	is_int(wrong, 0, "shared: each ends as it should, and at home");
}

/* The thread starts with the first that needs it, and not before. */
static void test_start_and_clear(void)
{
	size_t before = fd_count();
	struct fixture f;
	struct way w[2];

	for (int i = 0; i < 3; i++) {
		relay_bulk_init(&loop);
		if (i == 2) {
			is_int(fd_count(), before, "not needed: no descriptor");
		} else {
			start(&f, w);
			ok(goes_away(&f, w, 2), "started %d times: away", i + 1);
			end_in_order(&f);
			is_over(&f, w, RELAY_EOF, "started");
		}
		relay_bulk_clear(&loop);
		relay_bulk_clear(&loop);
		pipes_clear(&loop);
		is_int(fd_count(), before, "cleared: every descriptor is closed");
	}
	start(&f, w);
	ok(ways_arrive(w, 2) && !is_away(&f), "without a thread: stays");
	end_in_order(&f);
	is_over(&f, w, RELAY_EOF, "without a thread");
	pipes_clear(&loop);
	is_int(fd_count(), before, "without a thread: every descriptor is closed");
}

static void test_clear_first(void)
{
	relay_bulk_clear(&loop);
	pipes_clear(&loop);
	test_start_and_clear();
}

int main(void)
{
	static void (*const tests[])(void) = {
		test_there_and_back, test_stays,  test_ends,        test_abort,
		test_crowd,          test_shared, test_clear_first,
	};

	alarm(150); /* a relay that both threads have forgotten */
	bulk_fill();
	return fixture_main(tests, ARRAY_SIZE(tests));
}
