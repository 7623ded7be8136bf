/* SPDX-License-Identifier: MIT */
/*
 * Acceptors over Unix listeners: the shared limit and its turns, what happens without
 * descriptors, and how often a listener is asked in vain.
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#include "lib/acceptor.h"
#include "lib/sock.h"
#include "tap.h"

#define CLIENTS 100

struct side {
	struct test *test;
	struct acceptor *acceptor;
	char path[64];
	char label;
};

struct test {
	struct loop loop;
	struct accept_limit limit;
	struct side sides[2];
	struct loop_task stop, release;
	char order[CLIENTS + 1]; /* who was served */
	size_t accepted;
	int fds[CLIENTS], clients[CLIENTS];
	size_t client_count;
};

#if defined(HAVE_ACCEPT4) && defined(HAVE_VSOCK)
static bool as_vsock; /* accept() says that the peers are AF_VSOCK's */
static int in_vain;   /* how often nobody waited */

int accept_instead(int, struct sockaddr *, socklen_t *, int) __asm__("accept4");

int accept_instead(int listener, struct sockaddr *peer, socklen_t *len, int flags)
{
	int fd = (int)syscall(SYS_accept4, listener, peer, len, flags);

	in_vain += fd < 0 && errno == EAGAIN;
	if (fd >= 0 && as_vsock)
		peer->sa_family = AF_VSOCK;
	return fd;
}
#endif

static void on_accept(int fd, const struct sockaddr_storage *peer, void *arg)
{
	struct side *side = arg;
	struct test *t = side->test;

	(void)peer;
	t->order[t->accepted] = side->label;
	t->fds[t->accepted++] = fd;
}

static void test_start(struct test *t, const char *dir, size_t max)
{
	struct error err;

	memset(t, 0, sizeof(*t));
	if (loop_init(&t->loop) < 0)
		abort();
	accept_limit_init(&t->limit, max);
	for (size_t i = 0; i < ARRAY_SIZE(t->sides); i++) {
		struct side *side = &t->sides[i];
		int fd;

		side->test = t;
		side->label = (char)('a' + i);
		snprintf(side->path, sizeof(side->path), "%s/%c", dir, side->label);
		fd = sock_listen_unix(side->path, &err);
		if (fd < 0)
			abort();
		side->acceptor = acceptor_new(&t->loop, fd, &t->limit, side->path, on_accept, side);
	}
}

static void test_end(struct test *t)
{
	for (size_t i = 0; i < t->client_count; i++)
		close(t->clients[i]);
	for (size_t i = 0; i < t->accepted; i++)
		close(t->fds[i]);
	for (size_t i = 0; i < ARRAY_SIZE(t->sides); i++) {
		acceptor_free(t->sides[i].acceptor);
		unlink(t->sides[i].path);
	}
	loop_clear(&t->loop);
}

static void connect_to(struct test *t, size_t side)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd = sock_new(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0 || sock_unix_address(&ss, &len, t->sides[side].path) < 0 ||
	    connect(fd, (struct sockaddr *)&ss, len) < 0)
		abort();
	t->clients[t->client_count++] = fd;
}

static void stop_loop(void *arg)
{
	loop_stop(arg);
}

static void run_for(struct test *t, int ms)
{
	loop_later(&t->loop, &t->stop, ms, stop_loop, &t->loop);
	loop_run(&t->loop);
}

/* Ends one connection after the other for as long as there are any. */
static void release_one(void *arg)
{
	struct test *t = arg;

	if (t->limit.count == 0)
		return;
	accept_limit_release(&t->limit);
	loop_later(&t->loop, &t->release, 1, release_one, t);
}

static void test_limit(const char *dir)
{
	struct test t;

	test_start(&t, dir, 2);
	for (int i = 0; i < 5; i++)
		connect_to(&t, 0);
	run_for(&t, 1);
	is_int((long long)t.accepted, 2, "as many as the limit lets in");
	is_int((long long)t.limit.count, 2, "which are counted");
	accept_limit_release(&t.limit);
	is_int((long long)t.accepted, 2, "an end by itself accepts nothing");
	run_for(&t, 1);
	is_int((long long)t.accepted, 3, "the loop does");
	accept_limit_release(&t.limit);
	accept_limit_release(&t.limit);
	connect_to(&t, 1);
	run_for(&t, 1);
	is_int((long long)t.accepted, 5, "two ends let two in");
	accept_limit_release(&t.limit);
	run_for(&t, 1);
	is_int((long long)t.accepted, 6, "and the last");
	accept_limit_release(&t.limit);
	accept_limit_release(&t.limit);
	connect_to(&t, 0);
	run_for(&t, 1);
	is_int((long long)t.accepted, 7, "below the limit nobody waits");
	test_end(&t);
}

/* Both listeners always have somebody waiting. */
static void test_turns(const char *dir)
{
	struct test t;

	test_start(&t, dir, 1);
	for (size_t i = 0; i < 20; i++)
		connect_to(&t, i / 10);
	run_for(&t, 1);
	release_one(&t);
	run_for(&t, 2000);
	is_str(t.order, "abababababababababab", "listeners take turns");
	test_end(&t);
}

static void test_free(const char *dir)
{
	struct test t;

	test_start(&t, dir, 1);
	connect_to(&t, 0);
	connect_to(&t, 0);
	connect_to(&t, 1);
	run_for(&t, 1);
	acceptor_free(t.sides[1].acceptor);
	t.sides[1].acceptor = NULL;
	accept_limit_release(&t.limit);
	run_for(&t, 1);
	is_str(t.order, "aa", "one that is freed while it waits has no turn any more");
	test_end(&t);
}

static void set_limit(rlim_t limit)
{
	struct rlimit rl;

	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = limit;
	if (setrlimit(RLIMIT_NOFILE, &rl) < 0)
		abort();
}

static int lowest_free(void)
{
	int fd = dup(STDIN_FILENO);

	close(fd);
	return fd;
}

static void test_descriptors(const char *dir)
{
	struct rlimit old;
	struct test t;
	clock_t start;

	getrlimit(RLIMIT_NOFILE, &old);
	test_start(&t, dir, CLIENTS);
	for (int i = 0; i < 6; i++)
		connect_to(&t, 0);
	set_limit((rlim_t)lowest_free() + 2);
	start = clock();
	run_for(&t, 500);
	is_int((long long)t.accepted, 2, "as many as there are descriptors");
	ok((clock() - start) * 10 < CLOCKS_PER_SEC / 2, "a tenth of the time at most is worked");
	close(t.fds[0]);
	run_for(&t, 300);
	is_int((long long)t.accepted, 3, "one that is free again is used");
	t.fds[0] = t.fds[--t.accepted];
	set_limit(old.rlim_cur);
	run_for(&t, 300);
	is_int((long long)t.accepted, 5, "and so are many");
	connect_to(&t, 1);
	run_for(&t, 1);
	is_int((long long)t.accepted, 6, "then there is no pause");
	connect_to(&t, 1);
	set_limit((rlim_t)lowest_free());
	run_for(&t, 1);
	is_int((long long)t.accepted, 6, "another pause");
	test_end(&t); /* and its end */
	set_limit(old.rlim_cur);
}

#if defined(HAVE_ACCEPT4) && defined(HAVE_VSOCK)
static void test_in_vain(const char *dir)
{
	struct test t;

	test_start(&t, dir, CLIENTS);
	as_vsock = true;
	in_vain = 0;
	for (int i = 0; i < 3; i++)
		connect_to(&t, 0);
	run_for(&t, 1);
	connect_to(&t, 1);
	run_for(&t, 1);
	is_str(t.order, "aaab", "AF_VSOCK: all who wait are accepted");
	is_int(in_vain, 0, "and nobody is asked for where nobody waits");
	as_vsock = false;
	test_end(&t);
}
#endif

int main(void)
{
	char dir[] = "/tmp/test-acceptor.XXXXXX";

	log_init("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	if (mkdtemp(dir) == NULL)
		abort();
	test_limit(dir);
	test_turns(dir);
	test_free(dir);
	test_descriptors(dir);
#if defined(HAVE_ACCEPT4) && defined(HAVE_VSOCK)
	test_in_vain(dir);
#endif
	rmdir(dir);
	return done_testing();
}
