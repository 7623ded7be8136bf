/* SPDX-License-Identifier: MIT */
/*
 * A forward's connections at the moments that a program outside can't hit: stopped while one is
 * being given up, and the numbers that they get.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>

#include "lib/forward.h"
#include "lib/sock.h"
#include "tap.h"

struct test {
	struct loop loop;
	struct accept_limit limit;
	uint64_t last_id;
	struct forward *forwards[2];
	struct loop_task stop, abort;
	unsigned accepted, closed;
	bool abort_at_once;
};

static void stop_loop(void *arg)
{
	loop_stop(arg);
}

static void run_for(struct test *t, int ms)
{
	loop_later(&t->loop, &t->stop, ms, stop_loop, &t->loop);
	loop_run(&t->loop);
}

static void abort_all(void *arg)
{
	struct test *t = arg;

	for (size_t i = 0; i < ARRAY_SIZE(t->forwards); i++)
		forward_abort(t->forwards[i]);
}

/* What is queued here runs before what the connection queues when it fails. */
static void on_accepted(struct forward *forward, void *arg)
{
	struct test *t = arg;

	(void)forward;
	t->accepted++;
	if (t->abort_at_once)
		loop_later(&t->loop, &t->abort, 0, abort_all, t);
}

static void on_event(struct forward *forward, const struct connection_event *event, void *arg)
{
	struct test *t = arg;

	(void)forward;
	if (event->type != CONNECTION_OPENED)
		t->closed++;
}

static int connect_to(const char *path)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd = sock_new(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0 || sock_unix_address(&ss, &len, path) < 0 ||
	    connect(fd, (struct sockaddr *)&ss, len) < 0)
		abort();
	return fd;
}

/* The client's side has ended. */
static bool is_over(int fd)
{
	struct pollfd pfd = { .fd = fd };

	return poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLHUP) != 0;
}

/* Two forwards to a pod that nobody has registered, on DIR/0 and DIR/1. */
static void test_start(struct test *t, struct forward_spec specs[2], const char *dir)
{
	static const struct forward_bind localhost = { .type = BIND_LOCALHOST };
	struct forward_config config = {
		.pods_dir = dir,
		.pod_arg = "nobody",
		.timeout_ms = 1000,
		.limit = &t->limit,
		.last_id = &t->last_id,
		.accepted = on_accepted,
		.event = on_event,
		.arg = t,
	};
	struct error err;

	if (loop_init(&t->loop) < 0)
		abort();
	accept_limit_init(&t->limit, 10);
	for (size_t i = 0; i < ARRAY_SIZE(t->forwards); i++) {
		char text[128];

		snprintf(text, sizeof(text), "unix:%s/%zu:80", dir, i);
		if (forward_spec_parse(&specs[i], text, &err) < 0)
			abort();
		config.spec = &specs[i];
		t->forwards[i] = forward_new(&t->loop, &config, &localhost, 1, &err);
		if (t->forwards[i] == NULL)
			abort();
	}
}

int main(void)
{
	struct test t = { 0 };
	struct forward_spec specs[2];
	char dir[] = "/tmp/test-forward.XXXXXX";
	int clients[3];

	log_init("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	if (mkdtemp(dir) == NULL)
		abort();
	test_start(&t, specs, dir);
	is_str(forward_local(t.forwards[0]), specs[0].local_path, "what it is called");
	is_str(forward_remote(t.forwards[0]), "80", "where it leads");
	is_str(forward_listener(t.forwards[0], 1), NULL, "it has one listener");

	clients[0] = connect_to(specs[0].local_path);
	clients[1] = connect_to(specs[1].local_path);
	run_for(&t, 50);
	is_int(t.accepted, 2, "two clients");
	is_int(t.closed, 2, "who can't be served");
	ok(is_over(clients[0]) && is_over(clients[1]), "are sent away");
	is_int((long long)t.last_id, 2,
	       "forwards that share a log number their connections together");
	is_int((long long)t.limit.count, 0, "nobody counts any more");

	t.abort_at_once = true;
	clients[2] = connect_to(specs[0].local_path);
	run_for(&t, 50);
	is_int(t.closed, 3, "stopped while a connection was being given up: it is gone once");
	ok(is_over(clients[2]), "and so is its client");

	for (size_t i = 0; i < ARRAY_SIZE(t.forwards); i++) {
		forward_free(t.forwards[i]);
		ok(access(specs[i].local_path, F_OK) < 0, "its socket is removed");
		forward_spec_clear(&specs[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		close(clients[i]);
	loop_clear(&t.loop);
	rmdir(dir);
	return done_testing();
}
