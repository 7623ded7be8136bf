/* SPDX-License-Identifier: MIT */
/* A copy of datagrams with a test at both of its ends, which drives the loop while it waits. */
#ifndef VZFWD_DATAGRAMS_FIXTURE_H
#define VZFWD_DATAGRAMS_FIXTURE_H

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>

#include "datagrams-end.h"
#include "sock.h"
#include "tap.h"

#define WAIT_MS 20000

struct copy {
	struct datagrams *d;
	struct datagrams_config config;
	int near, far; /* the test's */
	bool done;
	struct relay_result result;
	struct datagrams_client client;
	size_t got; /* by got() */
	unsigned joined, released;
	uint8_t last[DATAGRAM_MAX];
	size_t last_size;
};

static struct loop loop;
static uint8_t pattern[DATAGRAM_MAX + 1];

static inline bool turn(int64_t since)
{
	event_base_loop(loop.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	poll(NULL, 0, 1);
	return now_ms() - since < WAIT_MS;
}

static inline void settle(void)
{
	int64_t since = now_ms();

	for (int i = 0; i < 30; i++)
		turn(since);
}

static inline void on_done(const struct relay_result *result, void *arg)
{
	struct copy *c = arg;

	c->done = true;
	c->result = *result;
}

static inline void on_got(struct datagrams_client *client, const uint8_t *data, size_t size)
{
	struct copy *c = container_of(client, struct copy, client);

	c->got++;
	c->last_size = size;
	memcpy(c->last, data, size);
}

static inline void on_joined(struct datagrams_client *client, struct datagrams *d)
{
	(void)d;
	container_of(client, struct copy, client)->joined++;
}

static inline void on_released(struct datagrams_client *client)
{
	container_of(client, struct copy, client)->released++;
}

static const struct datagrams_client_ops copy_client_ops = { .got = on_got,
							     .joined = on_joined,
							     .released = on_released };

/* Connected UDP sockets: [0] is the test's. */
static inline void udp_pair(int fd[2])
{
	struct sockaddr_in sin[2];
	socklen_t len = sizeof(sin[0]);

	for (int i = 0; i < 2; i++) {
		sin[i] = (struct sockaddr_in){ .sin_family = AF_INET };
		sin[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		fd[i] = sock_new(AF_INET, SOCK_DGRAM, 0);
		if (bind(fd[i], (struct sockaddr *)&sin[i], sizeof(sin[i])) < 0 ||
		    getsockname(fd[i], (struct sockaddr *)&sin[i], &len) < 0)
			abort();
	}
	for (int i = 0; i < 2; i++) {
		if (connect(fd[i], (struct sockaddr *)&sin[!i], sizeof(sin[0])) < 0)
			abort();
	}
}

static inline struct datagrams_end_config make_end(enum datagrams_type type, int *mine)
{
	int fd[2] = { -1, -1 };

	if (type == DATAGRAMS_SOCKET)
		udp_pair(fd);
	else if (type != DATAGRAMS_CALLS && sock_pair(fd) < 0)
		abort();
	*mine = fd[0];
	return (struct datagrams_end_config){ type, fd[1], fd[1] };
}

/* Its ends are made, and it is zero else. */
static inline void copy_begin(struct copy *c, int linger_ms)
{
	c->config.linger_ms = linger_ms;
	c->config.name.label = "test";
	c->client.ops = &copy_client_ops;
	if (c->config.end[0].type == DATAGRAMS_CALLS)
		c->config.client = &c->client;
	c->config.done = on_done;
	c->config.arg = c;
	c->d = datagrams_new(&loop, &c->config);
}

static inline void copy_start(struct copy *c, enum datagrams_type near, enum datagrams_type far,
			      int linger_ms)
{
	memset(c, 0, sizeof(*c));
	c->config.end[0] = make_end(near, &c->near);
	c->config.end[1] = make_end(far, &c->far);
	copy_begin(c, linger_ms);
}

static inline void copy_close(struct copy *c)
{
	struct relay_result result;
	int64_t since = now_ms();

	if (!c->done)
		datagrams_free(c->d, &result);
	while (loop.after.tqh_first != NULL && turn(since))
		;
	if (c->near >= 0)
		close(c->near);
	if (c->far >= 0)
		close(c->far);
}

static inline void copy_wait(struct copy *c, enum relay_outcome outcome, enum reason reason,
			     const char *what)
{
	int64_t since = now_ms();

	while (!c->done && turn(since))
		;
	ok(c->done, "%s: it ends", what);
	is_str(relay_outcome_name(c->result.outcome), relay_outcome_name(outcome), "%s: how", what);
	if (outcome != RELAY_EOF)
		is_str(reason_name(c->result.err.reason), reason_name(reason), "%s: why", what);
	copy_close(c);
}

static inline void put(int fd, const void *data, size_t size)
{
	int64_t since = now_ms();
	size_t sent = 0;

	while (sent < size && turn(since)) {
		ssize_t n = send(fd, (const uint8_t *)data + sent, size - sent, MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
	}
}

static inline void put_record(int fd, enum record_type type, const void *data, size_t size)
{
	uint8_t head[RECORD_HEADER_SIZE];

	record_put_header(head, type, (uint32_t)size);
	put(fd, head, sizeof(head));
	put(fd, data, size);
}

/* Exactly so many bytes of a stream, or (socket) one datagram of that size. */
static inline bool get(int fd, uint8_t *buf, size_t size, bool socket)
{
	int64_t since = now_ms();
	size_t have = 0;

	do {
		ssize_t n = recv(fd, buf + have, socket ? DATAGRAM_MAX : size - have, 0);

		if (n >= 0 && socket)
			return (size_t)n == size;
		have += n > 0 ? (size_t)n : 0;
	} while ((socket || have < size) && turn(since));
	return !socket && have == size;
}

static inline bool get_record(int fd, enum record_type type, const void *data, size_t size)
{
	static uint8_t buf[RECORD_HEADER_SIZE + DATAGRAM_MAX];
	uint8_t head[RECORD_HEADER_SIZE];

	record_put_header(head, type, (uint32_t)size);
	return get(fd, buf, sizeof(head) + size, false) && memcmp(buf, head, sizeof(head)) == 0 &&
	       memcmp(buf + sizeof(head), data, size) == 0;
}

static inline bool get_datagram(int fd, const void *data, size_t size)
{
	static uint8_t buf[DATAGRAM_MAX];

	return get(fd, buf, size, true) && memcmp(buf, data, size) == 0;
}

static inline void datagrams_test_init(void)
{
	signal(SIGPIPE, SIG_IGN);
	if (loop_init(&loop) < 0)
		abort();
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + i / 251);
}

#endif
