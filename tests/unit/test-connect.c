/* SPDX-License-Identifier: MIT */
/* Connecting to one of several addresses: in their order, at once or later, with one deadline, and what is told where none can be had. */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/connect.h"
#include "lib/sock.h"
#include "tests/tap.h"

struct test {
	struct loop loop;
	unsigned calls;
	int fd; /* -1: an error */
	struct connected connected;
	struct error err;
	/* of make() */
	unsigned made;
	bool last;
	int refuse[2]; /* an errno for each one; 0: none */
};

static void done(const struct connected *connected, const struct error *err, void *arg)
{
	struct test *t = arg;

	t->calls++;
	t->fd = -1;
	if (connected != NULL) {
		t->connected = *connected;
		t->fd = connected->fd;
	} else {
		t->err = *err;
	}
	loop_stop(&t->loop);
}

static void test_init(struct test *t)
{
	memset(t, 0, sizeof(*t));
	t->fd = -1;
	if (loop_init(&t->loop) < 0)
		abort();
}

static void test_end(struct test *t)
{
	if (t->fd >= 0)
		close(t->fd);
	loop_clear(&t->loop);
}

static struct address at(const char *text, uint16_t port)
{
	struct address addr = { 0 };

	if (address_parse_host(&addr, text, NULL) < 0)
		abort();
	addr.port = port;
	return addr;
}

/* A bound socket, and its port; -1: there is no such address. */
static int bound(const char *host, int type, uint16_t *port)
{
	struct address addr = at(host, *port);
	struct sockaddr_storage ss;
	socklen_t len = address_to_sockaddr(&addr, &ss);
	int fd = sock_new(addr.family, type, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	len = sizeof(ss);
	getsockname(fd, (struct sockaddr *)&ss, &len);
	address_from_sockaddr(&addr, (struct sockaddr *)&ss);
	*port = addr.port;
	return fd;
}

/* Connects, until the callback has come. */
static void attempt(struct test *t, struct connect_config *config)
{
	struct connecting *connecting;

	config->done = done;
	config->arg = t;
	if (config->timeout_ms == 0)
		config->timeout_ms = 10000;
	connecting = connect_start(&t->loop, config);
	is_int(connecting == NULL, t->calls == 1, "NULL if it has called back");
	if (connecting != NULL)
		loop_run(&t->loop);
	is_int(t->calls, 1, "called back once");
}

static void test_one(int type, const char *name)
{
	struct connect_config config = { .type = type, .count = 1 };
	uint16_t port = 0;
	int server = bound("127.0.0.1", type, &port);
	struct test t;

	if (type == SOCK_STREAM)
		listen(server, 1);
	test_init(&t);
	config.addrs[0] = at("127.0.0.1", port);
	attempt(&t, &config);
	ok(t.fd >= 0, "%s: connected", name);
	is_int(t.connected.remote.port, port, "%s: where to", name);
	ok(t.connected.local.family == AF_INET && t.connected.local.port != 0, "%s: where from",
	   name);
	test_end(&t);
	close(server);
}

static void test_refused(void)
{
	struct connect_config config = { .type = SOCK_STREAM, .count = 3 };
	uint16_t first = 0, second = 0, third = 0;
	int one = bound("127.0.0.1", SOCK_STREAM, &first),
	    two = bound("127.0.0.2", SOCK_STREAM, &second),
	    three = bound("127.0.0.3", SOCK_STREAM, &third);
	char want[200];
	struct test t;

	test_init(&t);
	config.addrs[0] = at("127.0.0.1", first);
	config.addrs[1] = at("127.0.0.2", second);
	config.addrs[2] = at("127.0.0.3", third);
	attempt(&t, &config);
	snprintf(want, sizeof(want),
		 "127.0.0.1:%u: connection refused; 127.0.0.2:%u: connection refused; "
		 "127.0.0.3:%u: connection refused",
		 first, second, third);
	is_str(t.err.message, want, "refused by all: all are told");
	is_int(t.err.reason, REASON_REFUSED, "refused by all: the reason");
	is_int(t.err.sys_errno, ECONNREFUSED, "refused by all: the errno");
	test_end(&t);
	listen(two, 1);
	listen(three, 1);
	test_init(&t);
	attempt(&t, &config);
	is_int(t.connected.remote.port, second, "refused by the first: the second has it");
	ok(accept(three, NULL, NULL) < 0 && errno == EAGAIN, "and nobody else");
	test_end(&t);
	close(one);
	close(two);
	close(three);
}

static int make(sa_family_t family, int type, bool last, struct error *err, void *arg)
{
	struct test *t = arg;
	int sys_errno = t->refuse[t->made++];

	t->last = last;
	if (sys_errno != 0)
		return error_set(err, REASON_EXHAUSTED, sys_errno, "no socket");
	return sock_new(family, type, 0);
}

static void test_make(void)
{
	struct connect_config config = { .type = SOCK_STREAM, .count = 2, .make = make };
	uint16_t port = 0;
	int server = bound("127.0.0.1", SOCK_STREAM, &port);
	struct test t;

	listen(server, 1);
	test_init(&t);
	t.refuse[0] = EMFILE;
	config.addrs[0] = at("127.0.0.2", port);
	config.addrs[1] = at("127.0.0.1", port);
	attempt(&t, &config);
	ok(t.fd >= 0, "no socket for the first one: the second has one");
	is_int(t.made, 2, "one is made for each");
	ok(t.last, "the last one is told to be that");
	test_end(&t);
	test_init(&t);
	t.refuse[0] = EMFILE;
	config.count = 1;
	attempt(&t, &config);
	is_str(t.err.message, "no socket", "no socket: the error is told");
	is_int(t.err.reason, REASON_EXHAUSTED, "no socket: its reason");
	test_end(&t);
	close(server);
}

/* Where there is no IPv6 nobody wants to know of it. */
static void test_no_ipv6(void)
{
	static const int none[] = { EAFNOSUPPORT, EADDRNOTAVAIL, ENETUNREACH };
	struct connect_config config = { .type = SOCK_STREAM, .count = 2, .make = make };
	uint16_t port = 0;
	int one = bound("127.0.0.1", SOCK_STREAM, &port);
	char want[100];
	struct test t;

	config.addrs[0] = at("127.0.0.1", port);
	config.addrs[1] = at("::1", port);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		test_init(&t);
		t.refuse[1] = none[i];
		attempt(&t, &config);
		is_str(t.err.message, "connection refused", "no IPv6, %zu", i);
		test_end(&t);
	}
	test_init(&t);
	t.refuse[1] = EMFILE;
	attempt(&t, &config);
	snprintf(want, sizeof(want), "127.0.0.1:%u: connection refused; [::1]:%u: no socket", port,
		 port);
	is_str(t.err.message, want, "another error");
	is_int(t.err.reason, REASON_REFUSED, "the first one's reason");
	test_end(&t);
	close(one);
}

/* A listener whose backlog is full: the kernel says nothing to who comes. */
static int full(uint16_t *port, int *client)
{
	int server = bound("127.0.0.1", SOCK_STREAM, port);
	struct address addr = at("127.0.0.1", *port);
	struct sockaddr_storage ss;
	socklen_t len = address_to_sockaddr(&addr, &ss);

	listen(server, 0);
	*client = sock_new(AF_INET, SOCK_STREAM, 0);
	connect(*client, (struct sockaddr *)&ss, len);
	return server;
}

static void test_waiting(void)
{
	struct connect_config config = { .type = SOCK_STREAM, .count = 2, .timeout_ms = 100 };
	struct connecting *connecting;
	uint16_t port = 0;
	int client, server = full(&port, &client);
	int64_t before = now_ms();
	struct test t;

	test_init(&t);
	config.addrs[0] = at("127.0.0.1", port);
	config.addrs[1] = at("127.0.0.2", port);
	attempt(&t, &config);
	is_int(t.err.reason, REASON_TIMEOUT, "a deadline: %s", t.err.message);
	ok(now_ms() - before >= 100, "not before it");
	test_end(&t);

	test_init(&t);
	config.done = done;
	config.arg = &t;
	connecting = connect_start(&t.loop, &config);
	ok(connecting != NULL, "under way");
	connect_cancel(connecting);
	loop_run(&t.loop);
	is_int(t.calls, 0, "cancelled: never called back");
	test_end(&t);

	test_init(&t);
	config.timeout_ms = 10000;
	connecting = connect_start(&t.loop, &config);
	close(accept(server, NULL, NULL)); /* room for it, when it tries again */
	loop_run(&t.loop);
	ok(connecting != NULL && t.calls == 1 && t.fd >= 0, "connected later");
	test_end(&t);
	close(client);
	close(server);
}

int main(void)
{
	struct address addr = { .port = 80 };
	char text[ADDRESS_TEXT_MAX];

	test_one(SOCK_STREAM, "tcp");
	test_one(SOCK_DGRAM, "udp");
	test_refused();
	test_make();
	test_no_ipv6();
	test_waiting();
	address_set_loopback(&addr, AF_INET);
	is_str(address_format(&addr, text), "127.0.0.1:80", "the loopback address");
	address_set_loopback(&addr, AF_INET6);
	is_str(address_format(&addr, text), "[::1]:80", "and that of IPv6");
	return done_testing();
}
