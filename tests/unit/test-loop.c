/* SPDX-License-Identifier: MIT */
/*
 * The loop's tasks: when they run and in which order, what they may do to each other, and that a loop
 * with nothing left ends.
 */
#include "config.h"

#include <event2/event.h>
#include <sys/resource.h>

#include "loop.h"
#include "tap.h"

static struct loop loop;
static char order[64];

/* Appends its letter; what `act` says is done to `other`. */
struct step {
	struct loop_task task;
	char letter;
	enum { NOTHING, CANCEL, QUEUE, AGAIN, FREE, STOP } act;
	struct step *other;
	int64_t ran; /* now_ms() */
};

static void step_run(void *arg)
{
	struct step *s = arg;
	size_t n = strlen(order);

	order[n] = s->letter;
	order[n + 1] = '\0';
	s->ran = now_ms();
	switch (s->act) {
	case CANCEL:
		loop_cancel(&s->other->task);
		break;
	case QUEUE:
		loop_later(&loop, &s->other->task, 0, step_run, s->other);
		break;
	case AGAIN:
		s->act = NOTHING;
		loop_later(&loop, &s->task, 0, step_run, s);
		break;
	case FREE:
		loop_cancel(&s->other->task);
		free(s->other);
		free(s);
		break;
	case STOP:
		loop_stop(&loop);
		break;
	default:
		break;
	}
}

static void later(struct step *s, int64_t delay_ms)
{
	loop_later(&loop, &s->task, delay_ms, step_run, s);
}

static void run(const char *want, const char *name)
{
	order[0] = '\0';
	is_int(loop_run(&loop), 0, "%s: runs and ends", name);
	is_str(order, want, "%s: the order", name);
}

static void test_at_once(void)
{
	struct step a = { .letter = 'a' }, b = { .letter = 'b' }, c = { .letter = 'c' };

	later(&a, 0);
	later(&b, 0);
	later(&c, -5);
	run("abc", "as they were queued");
	later(&a, 0);
	later(&b, 0);
	later(&a, 0);
	run("ba", "queued again: moved");
	later(&a, 0);
	later(&b, 0);
	loop_cancel(&a.task);
	loop_cancel(&c.task);
	run("b", "cancelled");
	a.act = CANCEL;
	a.other = &b;
	later(&a, 0);
	later(&b, 0);
	later(&c, 0);
	run("ac", "cancelled by the one before");
	a.act = QUEUE;
	later(&a, 0);
	later(&c, 0);
	run("acb", "queued by another");
	a.act = QUEUE;
	later(&a, 0);
	later(&b, 0);
	later(&c, 0);
	run("acb", "moved by another");
	a.act = AGAIN;
	later(&a, 0);
	later(&b, 0);
	run("aba", "queued by itself");
}

static void test_free(void)
{
	struct step *a = xcalloc(1, sizeof(*a)), *b = xcalloc(1, sizeof(*b)), c = { .letter = 'c' };

	a->letter = 'a';
	a->act = FREE;
	a->other = b;
	later(a, 0);
	later(b, 0);
	later(&c, 0);
	run("ac", "frees itself and the next");
}

static void test_delays(void)
{
	struct step a = { .letter = 'a' }, b = { .letter = 'b' }, c = { .letter = 'c' };
	int64_t start = now_ms();

	later(&c, 150);
	later(&b, 60);
	later(&a, 0);
	run("abc", "the earliest first");
	ok(a.ran - start < 50, "at once: %lld ms", (long long)(a.ran - start));
	ok(b.ran - start >= 60, "never early: %lld ms", (long long)(b.ran - start));
	ok(c.ran - start >= 150 && c.ran - start < 1000, "nor much too late: %lld ms",
	   (long long)(c.ran - start));

	start = now_ms();
	later(&a, 5000);
	later(&a, 40);
	later(&b, 40);
	later(&b, 100);
	run("ab", "moved nearer, and away");
	ok(a.ran - start < 1000 && b.ran - start >= 100, "when they were moved to");

	/* Deadlines go on being kept while tasks run at once. */
	start = now_ms();
	later(&b, 60);
	later(&a, 5000);
	for (int i = 0; i < 3; i++) {
		later(&c, 0);
		event_base_loop(loop.base, EVLOOP_ONCE);
	}
	loop_cancel(&a.task);
	run("b", "a deadline behind others at once");
	ok(b.ran - start >= 60 && b.ran - start < 1000, "in time: %lld ms",
	   (long long)(b.ran - start));
}

/* Cancelled tasks leave a timer behind, which must neither keep the loop alive nor make it spin. */
static void test_ends(void)
{
	struct step a = { .letter = 'a' }, b = { .letter = 'b', .act = STOP };
	int64_t start = now_ms();
	struct rusage before, after;

	run("", "nothing at all");
	later(&a, 60000);
	loop_cancel(&a.task);
	run("", "all cancelled");
	ok(now_ms() - start < 1000, "ends at once");

	later(&a, 60000);
	later(&b, 0);
	run("b", "stopped");
	later(&b, 0);
	run("b", "stopped once more");
	loop_cancel(&a.task);

	getrusage(RUSAGE_SELF, &before);
	later(&a, 400);
	later(&b, 420);
	run("ab", "a wait");
	getrusage(RUSAGE_SELF, &after);
	/* Woken once a deadline: a loop that spins would take most of 420 ms. */
	ok((after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 + after.ru_utime.tv_usec -
			   before.ru_utime.tv_usec <
		   100000,
	   "sleeps while it waits");
}

int main(void)
{
	is_int(loop_init(&loop), 0, "made");
	test_at_once();
	test_free();
	test_delays();
	test_ends();
	loop_clear(&loop);
	ok(loop.base == NULL && loop.scratch == NULL, "cleared");
	loop_clear(&loop);
	return done_testing();
}
