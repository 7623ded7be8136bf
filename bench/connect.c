/* SPDX-License-Identifier: MIT */
/*
 * Connections: how many a second (connect, a byte there and back, close), and many that are
 * held open.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define OPENING_MAX 50 /* idle connections that are under way at a time */

struct client {
	int fd;
	bool asked; /* the byte was sent */
};

struct pool {
	uint16_t port;
	int epoll;
	struct client *clients;
	uint64_t answered;
	uint64_t last; /* when something happened */
};

static void pool_init(struct pool *pool, uint16_t port, size_t clients)
{
	*pool = (struct pool){ .port = port, .epoll = epoll_create1(EPOLL_CLOEXEC) };
	pool->clients = calloc(clients, sizeof(struct client));
	if (pool->clients == NULL)
		die("out of memory");
}

static void client_watch(struct pool *pool, struct client *c, int op, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = c };

	if (epoll_ctl(pool->epoll, op, c->fd, &event) < 0)
		die("epoll: %s", strerror(errno));
}

static void client_open(struct pool *pool, struct client *c)
{
	c->fd = tcp_connect_start(pool->port);
	c->asked = false;
	client_watch(pool, c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void client_ask(struct pool *pool, struct client *c)
{
	char byte = LOAD_ECHO;

	if (send(c->fd, &byte, 1, MSG_NOSIGNAL) != 1)
		die("connection %llu: send: %s", (unsigned long long)pool->answered,
		    strerror(errno));
	c->asked = true;
	client_watch(pool, c, EPOLL_CTL_MOD, EPOLLIN);
}

/* True when the answer is here. */
static bool client_step(struct pool *pool, struct client *c)
{
	char byte = 0;
	ssize_t n;

	if (!c->asked) {
		client_ask(pool, c);
		return false;
	}
	n = recv(c->fd, &byte, 1, 0);
	if (n != 1 || byte != LOAD_ECHO)
		die("connection %llu: %s", (unsigned long long)pool->answered,
		    n < 0    ? strerror(errno)
		    : n == 0 ? "closed before the answer"
			     : "wrong answer");
	pool->answered++;
	return true;
}

/* Waits for events, and calls answered() with each client whose answer came. */
static void pool_step(struct pool *pool, void (*answered)(struct pool *, struct client *))
{
	struct epoll_event events[64];
	int n = epoll_wait(pool->epoll, events, 64, GRACE_MS);

	if (n == 0)
		die("hangs: no answer after %llu connections", (unsigned long long)pool->answered);
	for (int i = 0; i < n; i++) {
		struct client *c = events[i].data.ptr;

		if (client_step(pool, c))
			answered(pool, c);
	}
}

static void connect_again(struct pool *pool, struct client *c)
{
	close(c->fd);
	client_open(pool, c);
}

static void connect_end(struct pool *pool, struct client *c)
{
	(void)pool;
	close(c->fd);
}

/*
 * Those under way at the end are let through, and not counted: cut off they would keep a peer that
 * forks busy far into the next measurement.
 */
int connect_main(uint16_t port, size_t at_a_time, uint32_t ms, uint64_t count)
{
	uint64_t start = now_ns(), deadline = start + ms * 1000000ull, in_time, took;
	struct pool pool;

	pool_init(&pool, port, at_a_time);
	for (size_t i = 0; i < at_a_time; i++)
		client_open(&pool, &pool.clients[i]);
	while (now_ns() < deadline && (count == 0 || pool.answered < count))
		pool_step(&pool, connect_again);
	in_time = pool.answered;
	took = now_ns() - start;
	while (pool.answered < in_time + at_a_time)
		pool_step(&pool, connect_end);
	printf("{\"connections\":%llu,\"seconds\":%.6f,\"answered\":%llu}\n",
	       (unsigned long long)in_time, (double)took / 1e9, (unsigned long long)pool.answered);
	return 0;
}

static void idle_keep(struct pool *pool, struct client *c)
{
	/* Stays in the set to be found by nothing but its end. */
	client_watch(pool, c, EPOLL_CTL_MOD, 0);
}

int idle_main(uint16_t port, size_t connections)
{
	struct pool pool;
	size_t opened = 0;
	char byte;

	pool_init(&pool, port, connections);
	while (pool.answered < connections) {
		while (opened < connections && opened - pool.answered < OPENING_MAX)
			client_open(&pool, &pool.clients[opened++]);
		pool_step(&pool, idle_keep);
	}
	printf("{\"open\":%zu}\n", connections);
	fflush(stdout);
	if (read(STDIN_FILENO, &byte, 1) < 0)
		die("stdin: %s", strerror(errno));
	pool.answered = 0;
	for (size_t i = 0; i < connections; i++)
		client_ask(&pool, &pool.clients[i]);
	while (pool.answered < connections)
		pool_step(&pool, idle_keep);
	printf("{\"alive\":%zu}\n", connections);
	return 0;
}
