/* SPDX-License-Identifier: MIT */
/*
 * The server. Echo connections share one loop; a bulk connection gets a thread of its own, so
 * that copying does not add to the latency that is measured beside it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

struct served {
	int fd;
	struct bulk_request request;
	size_t have; /* bytes of it */
	bool echo;
};

static void *bulk_thread(void *arg)
{
	struct served *s = arg;

	bulk_server(s->fd, &s->request);
	free(s);
	return NULL;
}

static void serve_accept(int epoll, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		struct served *s = calloc(1, sizeof(*s));
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = s };

		if (s == NULL)
			die("out of memory");
		set_no_delay(fd);
		s->fd = fd;
		epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		die("accept: %s", strerror(errno));
}

static void serve_echo(struct served *s)
{
	char buf[4096];
	ssize_t n = recv(s->fd, buf, sizeof(buf), 0);

	if (n < 0 && errno == EAGAIN)
		return;
	/* Echo clients wait for each answer, so there is always room for it. */
	if (n <= 0 || send(s->fd, buf, (size_t)n, MSG_NOSIGNAL) != n) {
		close(s->fd);
		free(s);
	}
}

static void serve_request(struct served *s, int epoll)
{
	pthread_t thread;
	ssize_t n;

	if (s->have == 0) {
		n = recv(s->fd, &s->request.kind, 1, MSG_PEEK);
		s->echo = n == 1 && s->request.kind != LOAD_BULK;
		if (s->echo || n <= 0) {
			serve_echo(s);
			return;
		}
	}
	n = recv(s->fd, (char *)&s->request + s->have, sizeof(s->request) - s->have, 0);
	if (n <= 0) {
		close(s->fd);
		free(s);
		return;
	}
	s->have += (size_t)n;
	if (s->have < sizeof(s->request))
		return;
	epoll_ctl(epoll, EPOLL_CTL_DEL, s->fd, NULL);
	if (pthread_create(&thread, NULL, bulk_thread, s) != 0)
		die("no thread");
	pthread_detach(thread);
}

int serve_main(uint16_t port)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), listener = tcp_listen(port);
	struct epoll_event accepts = { .events = EPOLLIN, .data.ptr = NULL };

	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &accepts);
	for (;;) {
		struct epoll_event events[256];
		int n = epoll_wait(epoll, events, 256, -1);

		for (int i = 0; i < n; i++) {
			struct served *s = events[i].data.ptr;

			if (s == NULL)
				serve_accept(epoll, listener);
			else if (s->echo)
				serve_echo(s);
			else
				serve_request(s, epoll);
		}
	}
}
