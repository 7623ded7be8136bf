/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's yardstick: one hop that does nothing but splice(2), from whom it accepts to
 * where it connects and back, on one loop. Default socket buffers; a pipe a direction of the size that
 * measures best. No handshake, no framing, no reset is passed on: what the kernel asks for
 * and nothing more.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PIPE_SIZE (1 << 20)

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_un un;
	};
	socklen_t length;
};

struct flow {
	int pipe[2];
	size_t held; /* bytes in the pipe */
	bool ended;  /* its source */
	bool done;   /* and its sink was told */
};

struct pair {
	int fd[2];
	struct flow flow[2]; /* flow[i] is from fd[i] to fd[!i] */
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "splice-relay: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void address_parse(struct address *address, const char *text)
{
	*address = (struct address){ 0 };
	if (strncmp(text, "tcp:", 4) == 0) {
		address->in.sin_family = AF_INET;
		address->in.sin_port = htons((uint16_t)atoi(text + 4));
		address->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		address->length = sizeof(address->in);
	} else if (strncmp(text, "unix:", 5) == 0 && strlen(text) < sizeof(address->un.sun_path)) {
		address->un.sun_family = AF_UNIX;
		strcpy(address->un.sun_path, text + 5);
		address->length = sizeof(address->un);
	} else {
		fprintf(stderr, "usage: splice-relay LISTEN CONNECT (tcp:PORT or unix:PATH)\n");
		exit(64);
	}
}

static int socket_for(const struct address *address, int flags)
{
	int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

static void set_no_delay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* fails on a Unix socket */
}

static int listen_on(const struct address *address)
{
	int fd = socket_for(address, SOCK_NONBLOCK), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, &address->any, address->length) < 0 || listen(fd, SOMAXCONN) < 0)
		die("listen");
	return fd;
}

/* On one machine this is done at once. */
static int connect_to(const struct address *address)
{
	int fd = socket_for(address, 0);

	if (connect(fd, &address->any, address->length) < 0)
		die("connect");
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void pair_free(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		close(p->fd[i]);
		close(p->flow[i].pipe[0]);
		close(p->flow[i].pipe[1]);
	}
	free(p);
}

/* Copies until both sides of the flow would block. False when a side has failed. */
static bool flow_run(struct pair *p, int from)
{
	struct flow *f = &p->flow[from];
	unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

	for (bool moved = true; moved;) {
		ssize_t n = 0;

		moved = false;
		if (!f->ended && f->held < PIPE_SIZE)
			n = splice(p->fd[from], NULL, f->pipe[1], NULL, PIPE_SIZE, flags);
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n > 0)
			f->held += (size_t)n;
		else if (n == 0 && f->held < PIPE_SIZE)
			f->ended = true;
		if (f->held == 0)
			break;
		n = splice(f->pipe[0], NULL, p->fd[!from], NULL, f->held, flags);
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n > 0) {
			f->held -= (size_t)n;
			moved = true;
		}
	}
	if (f->ended && f->held == 0 && !f->done) {
		shutdown(p->fd[!from], SHUT_WR);
		f->done = true;
	}
	return true;
}

static void pair_new(int epoll, int client, const struct address *target)
{
	struct pair *p = calloc(1, sizeof(*p));
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = p };

	if (p == NULL)
		die("calloc");
	p->fd[0] = client;
	p->fd[1] = connect_to(target);
	for (int i = 0; i < 2; i++) {
		set_no_delay(p->fd[i]);
		if (pipe2(p->flow[i].pipe, O_CLOEXEC | O_NONBLOCK) < 0)
			die("pipe");
		fcntl(p->flow[i].pipe[0], F_SETPIPE_SZ, PIPE_SIZE);
		epoll_ctl(epoll, EPOLL_CTL_ADD, p->fd[i], &event);
	}
}

/* Both descriptors of a pair may be among the events: the second one must not meet a freed pair. */
static void forget(struct epoll_event *events, int count, const struct pair *p)
{
	for (int i = 0; i < count; i++)
		if (events[i].data.ptr == p)
			events[i].events = 0;
}

int main(int argc, char **argv)
{
	struct address source, target;
	int epoll = epoll_create1(EPOLL_CLOEXEC), listener, client;
	struct epoll_event accepts = { .events = EPOLLIN };

	address_parse(&source, argc == 3 ? argv[1] : "");
	address_parse(&target, argv[2]);
	signal(SIGPIPE, SIG_IGN);
	listener = listen_on(&source);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &accepts);
	for (;;) {
		struct epoll_event events[64];
		int n = epoll_wait(epoll, events, 64, -1);

		for (int i = 0; i < n; i++) {
			struct pair *p = events[i].data.ptr;

			if (p == NULL) {
				while ((client = accept4(listener, NULL, NULL,
							 SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
					pair_new(epoll, client, &target);
			} else if (events[i].events != 0 &&
				   (!flow_run(p, 0) || !flow_run(p, 1) ||
				    (p->flow[0].done && p->flow[1].done))) {
				forget(events, n, p);
				pair_free(p);
			}
		}
	}
}
