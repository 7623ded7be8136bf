/* SPDX-License-Identifier: MIT */
/* Clients and servers of steered pods. */
#ifndef VZFWD_STEER_FIXTURE_H
#define VZFWD_STEER_FIXTURE_H

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "guest/steer.h"
#include "lib/sock.h"
#include "tests/tap.h"
#include "tests/unit/netns-fixture.h"

#define WAIT_MS 5000

__attribute__((unused)) static struct address address(const char *text)
{
	struct address addr = { 0 };

	if (address_parse(&addr, text, NULL) < 0)
		abort();
	return addr;
}

/* As address_format(), of what getsockname(2) and the like say. */
__attribute__((unused)) static const char *name_of(const struct sockaddr_storage *ss)
{
	static char text[ADDRESS_TEXT_MAX];
	struct address addr;

	if (address_from_sockaddr(&addr, (const struct sockaddr *)ss) < 0)
		return "?";
	return address_format(&addr, text);
}

__attribute__((unused)) static bool readable(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	return poll(&pollfd, 1, WAIT_MS) == 1;
}

/* A socket that is bound to `from` (NULL: not) and connected: fd or -errno; a connect that lasts counts as done. */
__attribute__((unused)) static int client_new(struct netns *ns, int type, const char *from,
					      const char *to)
{
	struct address addr = address(to), own;
	struct sockaddr_storage ss;
	socklen_t len;
	int fd = netns_socket(ns, addr.family, type, 0, NULL), on = 1;

	if (fd >= 0 && from != NULL) {
		own = address(from);
		len = address_to_sockaddr(&own, &ss);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(fd, (struct sockaddr *)&ss, len) < 0)
			abort();
	}
	len = address_to_sockaddr(&addr, &ss);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

/* What connecting comes to over TCP: 0 or -errno. */
__attribute__((unused)) static int try_tcp(struct netns *ns, const char *from, const char *to)
{
	int fd = client_new(ns, SOCK_STREAM, from, to), rc;
	struct pollfd pollfd = { .fd = fd, .events = POLLOUT };

	if (fd < 0)
		return fd;
	rc = poll(&pollfd, 1, WAIT_MS) == 1 ? -sock_take_error(fd) : -ETIMEDOUT;
	close(fd);
	return rc;
}

/* The same over UDP: what the first datagram is answered with; 0 if it stays without. */
__attribute__((unused)) static int try_udp(struct netns *ns, const char *to)
{
	int fd = client_new(ns, SOCK_DGRAM, NULL, to), rc = 0;

	if (fd < 0)
		return fd;
	if (send(fd, "x", 1, 0) < 0 || recv(fd, &(char){ 0 }, 1, 0) < 0)
		rc = errno == EAGAIN ? 0 : -errno;
	close(fd);
	return rc;
}

__attribute__((unused)) static int accept_one(int listener, struct sockaddr_storage *peer)
{
	socklen_t len = sizeof(*peer);

	return readable(listener) ? sock_accept(listener, peer, &len) : -ETIMEDOUT;
}

__attribute__((unused)) static void check_tcp(struct netns *ns, int listener, const char *from,
					      const char *to, const char *want)
{
	int client = client_new(ns, SOCK_STREAM, from, to), server;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char buf[8] = "";

	server = accept_one(listener, &ss);
	if (!ok(client >= 0 && server >= 0, "tcp to %s arrives", to))
		return;
	getsockname(server, (struct sockaddr *)&ss, &len);
	is_str(name_of(&ss), want, "and says where to");
	len = sizeof(ss);
	getpeername(client, (struct sockaddr *)&ss, &len);
	ok(send(client, "there", 5, 0) == 5 && readable(server) && recv(server, buf, 8, 0) == 5 &&
		   strcmp(buf, "there") == 0,
	   "bytes there");
	ok(send(server, "back", 4, 0) == 4 && readable(client) && recv(client, buf, 8, 0) == 4 &&
		   memcmp(buf, "backe", 5) == 0,
	   "and back");
	close(server);
	close(client);
}

__attribute__((unused)) static void send_to(int fd, const char *text, const char *to)
{
	struct address addr = address(to);
	struct sockaddr_storage ss;
	socklen_t len = address_to_sockaddr(&addr, &ss);

	sendto(fd, text, strlen(text), 0, (struct sockaddr *)&ss, len);
}

/* A listener of the pod: what it accepts stays with it. */
__attribute__((unused)) static int pod_listens(struct netns *ns, const char *at)
{
	struct address addr = address(at);
	struct sockaddr_storage ss;
	socklen_t len = address_to_sockaddr(&addr, &ss);
	int fd = netns_socket(ns, addr.family, SOCK_STREAM, 0, NULL), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, 4) < 0)
		abort();
	return fd;
}

__attribute__((unused)) static void check_passed(struct netns *ns, const char *from, const char *at,
						 const char *to)
{
	int listener = pod_listens(ns, at), server;
	struct sockaddr_storage ss;
	int client = client_new(ns, SOCK_STREAM, from, to);

	server = accept_one(listener, &ss);
	ok(client >= 0 && server >= 0, "tcp to %s comes to the pod's own listener", to);
	close(server);
	close(client);
	close(listener);
}

__attribute__((unused)) static struct steer *start(struct netns *ns)
{
	struct steer *steer = NULL;
	struct error err = { 0 };

	is_int(steer_start(ns, &steer, &err), 0, "steering starts %s", err.message);
	return steer;
}

#endif
