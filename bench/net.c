/* SPDX-License-Identifier: MIT */
/*
 * Sockets, time and numbers for the benchmark's load.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("load: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t number_arg(const char *text, const char *what)
{
	char *end;
	unsigned long long value = text != NULL ? strtoull(text, &end, 10) : 0;

	if (text == NULL || end == text || *end != '\0')
		die("%s is wanted, not \"%s\"", what, text != NULL ? text : "");
	return value;
}

static struct in_addr at; /* none: loopback */

void connect_at(const char *address)
{
	if (inet_pton(AF_INET, address, &at) != 1)
		die("an IPv4 address is wanted, not \"%s\"", address);
}

static struct sockaddr_in server_at(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr =
					     at.s_addr ? at.s_addr : htonl(INADDR_LOOPBACK) };
}

static int tcp_socket(int flags)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		die("socket: %s", strerror(errno));
	return fd;
}

int tcp_listen(uint16_t port)
{
	struct sockaddr_in sin = server_at(port);
	int fd = tcp_socket(SOCK_NONBLOCK), on = 1;

	sin.sin_addr.s_addr = INADDR_ANY; /* one peer comes by another interface of the netns */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 || listen(fd, SOMAXCONN) < 0)
		die("port %u: %s", port, strerror(errno));
	return fd;
}

void set_no_delay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int tcp_connect_start(uint16_t port)
{
	struct sockaddr_in sin = server_at(port);
	int fd = tcp_socket(SOCK_NONBLOCK);

	set_no_delay(fd);
	if (connect(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 && errno != EINPROGRESS)
		die("connect to port %u: %s", port, strerror(errno));
	return fd;
}

int tcp_connect(uint16_t port)
{
	struct sockaddr_in sin = server_at(port);
	int fd = tcp_socket(0);

	set_no_delay(fd);
	if (connect(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		die("connect to port %u: %s", port, strerror(errno));
	return fd;
}

void set_reset_on_close(int fd)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

void write_all(int fd, const void *data, size_t size)
{
	for (const char *p = data; size > 0;) {
		ssize_t n = send(fd, p, size, MSG_NOSIGNAL);

		if (n < 0)
			die("send: %s", strerror(errno));
		p += n;
		size -= (size_t)n;
	}
}

void read_all(int fd, void *data, size_t size)
{
	for (char *p = data; size > 0;) {
		ssize_t n = recv(fd, p, size, 0);

		if (n <= 0)
			die("receive: %s", n == 0 ? "end of stream" : strerror(errno));
		p += n;
		size -= (size_t)n;
	}
}

static int compare_times(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void print_times(uint64_t *ns, size_t count)
{
	qsort(ns, count, sizeof(*ns), compare_times);
	printf("\"p50_us\":%.1f,\"p99_us\":%.1f,\"min_us\":%.1f,\"count\":%zu",
	       (double)ns[count / 2] / 1e3, (double)ns[count * 99 / 100] / 1e3, (double)ns[0] / 1e3,
	       count);
}
