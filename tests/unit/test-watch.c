/* SPDX-License-Identifier: MIT */
/*
 * Watches: each edge is told once, a start, a change and a move tell what is there already, hang-ups
 * and resets are flagged, and a callback may stop and free any watch of its batch.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "sock.h"
#include "tap.h"
#include "watch.h"

static struct loop loop;

/* A watch that counts what it is told; `act` is done once to `other`. */
struct seen {
	struct watch watch;
	unsigned calls, ready;
	enum { NOTHING, STOP, MOVE, FREE } act;
	struct seen *other, *heir;
};

static void seen_cb(struct watch *watch, unsigned ready)
{
	struct seen *s = container_of(watch, struct seen, watch), *other = s->other;

	s->calls++;
	s->ready |= ready;
	switch (s->act) {
	case STOP:
		watch_stop(&loop, &other->watch);
		break;
	case MOVE:
		watch_move(&loop, &other->watch, &s->heir->watch, WATCH_READ, seen_cb);
		break;
	case FREE:
		watch_stop(&loop, &other->watch);
		free(other);
		watch_stop(&loop, &s->watch);
		free(s);
		return;
	default:
		break;
	}
	s->act = NOTHING;
}

static void stop(void *arg)
{
	loop_stop(arg);
}

/* Lets everything be told that there is to tell. */
static void settle(void)
{
	struct loop_task task = { 0 };

	for (int i = 0; i < 3; i++) {
		loop_later(&loop, &task, 0, stop, &loop);
		loop_run(&loop);
	}
}

static void is_told(struct seen *s, unsigned calls, unsigned ready, const char *what)
{
	settle();
#ifdef HAVE_EPOLL
	is_int(s->calls, calls, "%s: told %u times", what, calls);
	is_int(s->ready, ready, "%s: what", what);
#else
	/* More may be told: each event may be an end, and bytes are told though only ends were asked for. */
	ok(s->calls >= calls, "%s: told at least %u times", what, calls);
	is_int(s->ready & ready & ~WATCH_WRITE, ready & ~WATCH_WRITE, "%s: what", what);
#endif
	s->calls = s->ready = 0;
}

static void pair(int sv[2])
{
	if (sock_pair(sv) < 0)
		abort();
}

static void say(int fd)
{
	if (send(fd, "x", 1, MSG_NOSIGNAL) != 1)
		diag("send: %s", strerror(errno));
}

static void test_edges(void)
{
	struct seen s = { 0 };
	char buf[8];
	int sv[2];

	pair(sv);
	is_int(watch_start(&loop, &s.watch, sv[0], WATCH_READ, seen_cb), 0, "a watch");
	is_told(&s, 0, 0, "nothing is there");
	say(sv[1]);
	is_told(&s, 1, WATCH_READ, "a byte");
	is_told(&s, 0, 0, "the same byte");
	say(sv[1]);
	is_told(&s, 1, WATCH_READ, "another one, both unread");
	is_int(recv(sv[0], buf, sizeof(buf), 0), 2, "both are read");
	is_told(&s, 0, 0, "reading");
	watch_change(&loop, &s.watch, WATCH_READ | WATCH_WRITE);
	is_told(&s, 1, WATCH_WRITE, "a change tells what is there");
	say(sv[1]);
	settle();
	watch_change(&loop, &s.watch, WATCH_READ);
	s.calls = s.ready = 0;
	watch_change(&loop, &s.watch, WATCH_READ);
	is_told(&s, 1, WATCH_READ, "and again");
	watch_stop(&loop, &s.watch);
	watch_stop(&loop, &s.watch);
	say(sv[1]);
	is_told(&s, 0, 0, "stopped");
	is_int(watch_start(&loop, &s.watch, sv[0], WATCH_READ | WATCH_WRITE, seen_cb), 0,
	       "started again");
	is_told(&s, 1, WATCH_READ | WATCH_WRITE, "which tells what is there");
	watch_stop(&loop, &s.watch);
	close(sv[0]);
	close(sv[1]);
}

static void test_move(void)
{
	struct seen from = { 0 }, to = { 0 };
	int sv[2];

	pair(sv);
	watch_start(&loop, &from.watch, sv[0], WATCH_READ, seen_cb);
	say(sv[1]);
	is_told(&from, 1, WATCH_READ, "the first owner");
	watch_move(&loop, &from.watch, &to.watch, WATCH_READ | WATCH_WRITE, seen_cb);
	ok(from.watch.cb == NULL && to.watch.fd == sv[0], "it has moved");
	is_told(&to, 1, WATCH_READ | WATCH_WRITE, "the second owner");
	is_told(&from, 0, 0, "the first one");
	watch_stop(&loop, &to.watch);
	say(sv[1]);
	is_told(&to, 0, 0, "stopped");
	close(sv[0]);
	close(sv[1]);
}

#define ALL (WATCH_READ | WATCH_WRITE | WATCH_END | WATCH_HANGUP)

static void test_hangup(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	struct seen s = { 0 };
	int sv[2], listener = socket(AF_INET, SOCK_STREAM, 0), client, server;

	pair(sv);
	watch_start(&loop, &s.watch, sv[0], 0, seen_cb);
	say(sv[1]);
	is_told(&s, 0, 0, "a byte nobody asked for");
	shutdown(sv[1], SHUT_WR);
	settle();
	ok(s.calls >= 1 && (s.ready & WATCH_END), "an end is told, asked for or not");
	s.calls = s.ready = 0;
	close(sv[1]);
	is_told(&s, 1, ALL, "and so is a close");
	watch_stop(&loop, &s.watch);
	close(sv[0]);

	if (bind(listener, (struct sockaddr *)&sin, len) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&sin, &len) < 0)
		abort();
	client = socket(AF_INET, SOCK_STREAM, 0);
	is_int(connect(client, (struct sockaddr *)&sin, len), 0, "a TCP connection");
	server = accept(listener, NULL, NULL);
	watch_start(&loop, &s.watch, server, 0, seen_cb);
	is_told(&s, 0, 0, "it is open");
	shutdown(client, SHUT_WR);
	settle();
	ok(s.calls >= 1 && (s.ready & WATCH_END), "a FIN is told");
	s.calls = s.ready = 0;
	sock_close_reset(client);
	is_told(&s, 1, ALL, "a RST after it too");
	watch_stop(&loop, &s.watch);
	close(server);
	close(listener);
}

/* Two that are ready in one batch; the first one that is told does something to the other. */
static void two(struct seen *a, struct seen *b, int as[2], int bs[2], int act)
{
	pair(as);
	pair(bs);
	say(as[1]);
	say(bs[1]);
	watch_start(&loop, &a->watch, as[0], WATCH_READ, seen_cb);
	watch_start(&loop, &b->watch, bs[0], WATCH_READ, seen_cb);
	a->act = b->act = act;
	a->other = b;
	b->other = a;
}

static void close_two(int as[2], int bs[2])
{
	for (int i = 0; i < 2; i++) {
		close(as[i]);
		close(bs[i]);
	}
}

static void test_batch(void)
{
	struct seen a = { 0 }, b = { 0 }, heir = { 0 };
	struct seen *first = xcalloc(1, sizeof(*first)), *second = xcalloc(1, sizeof(*second));
	int as[2], bs[2];

	two(&a, &b, as, bs, STOP);
	settle();
	is_int(a.calls + b.calls, 1, "one stops the other, which is not told any more");
	watch_stop(&loop, &a.watch);
	watch_stop(&loop, &b.watch);
	close_two(as, bs);

	a = b = (struct seen){ 0 };
	two(&a, &b, as, bs, MOVE);
	a.heir = b.heir = &heir;
	settle();
	is_int(a.calls + b.calls, 1, "one moves the other, which is not told any more");
	ok(heir.calls >= 1 && (heir.ready & WATCH_READ), "but who has its place");
	watch_stop(&loop, &a.watch);
	watch_stop(&loop, &b.watch);
	watch_stop(&loop, &heir.watch);
	close_two(as, bs);

	two(first, second, as, bs, FREE);
	settle();
	ok(true, "one frees both"); /* a sanitizer tells */
	close_two(as, bs);
}

/* A regular file never keeps anybody waiting: there is nothing to watch. */
static void test_refused(void)
{
	struct seen s = { 0 };
	int fd = open("/proc/self/exe", O_RDONLY);

	ok(watch_start(&loop, &s.watch, fd, WATCH_READ, seen_cb) < 0, "a regular file");
	ok(s.watch.cb == NULL, "is not watched");
	watch_stop(&loop, &s.watch);
	close(fd);
}

/* A watch keeps the loop running, and only that. */
static void test_loop_ends(void)
{
	struct seen s = { .act = STOP };
	int sv[2];

	pair(sv);
	s.other = &s;
	watch_start(&loop, &s.watch, sv[0], WATCH_READ, seen_cb);
	say(sv[1]);
	is_int(loop_run(&loop), 0, "the loop ends with its last watch");
	is_int(s.calls, 1, "which was told");
	close(sv[0]);
	close(sv[1]);
}

int main(void)
{
	if (loop_init(&loop) < 0)
		return 1;
	test_edges();
	test_move();
	test_hangup();
	test_batch();
	test_refused();
	test_loop_ends();
	loop_clear(&loop);
	return done_testing();
}
