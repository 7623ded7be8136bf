/* SPDX-License-Identifier: MIT */
/*
 * DOC: Theory of Operation
 *
 * Candidates are tried one after the other and not raced: on loopback an answer comes at once, and a server must not see a
 * connection that nobody wanted. One deadline stands for all.
 *
 * Each attempt ends in one of two ways, attempt_done() with the socket connected, or an error
 * kept in its candidate; what the caller is told is made up from all at the end.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "connect.h"
#include "sock.h"
#include "watch.h"

struct candidate {
	struct address addr;
	struct error err; /* why it failed, once tried */
};

struct connecting {
	struct loop *loop;
	struct connect_config config; /* but for its addresses */
	struct candidate *candidates; /* config.count */
	size_t tried;
	int fd;
	struct address local; /* once connected */
	struct watch watch;
	struct loop_task deadline;
};

void address_set_loopback(struct address *addr, sa_family_t family)
{
	addr->family = family;
	if (family == AF_INET)
		addr->v4.s_addr = htonl(INADDR_LOOPBACK);
	else
		addr->v6 = in6addr_loopback;
}

static void attempt_close(struct connecting *c)
{
	watch_stop(c->loop, &c->watch);
	/* It may have connected meanwhile: an orderly end would be a lie then. */
	if (c->fd >= 0)
		sock_close_reset(c->fd);
	c->fd = -1;
}

static void connecting_free(struct connecting *c)
{
	attempt_close(c);
	loop_cancel(&c->deadline);
	free(c->candidates);
	free(c);
}

/* True for what a connect to ::1 says where there is no IPv6. */
static bool means_no_ipv6(const struct candidate *candidate)
{
	int sys_errno = candidate->err.sys_errno;

	return candidate->addr.family == AF_INET6 &&
	       (sys_errno == EADDRNOTAVAIL || sys_errno == ENETUNREACH ||
		sys_errno == EAFNOSUPPORT);
}

/* One error of all that were met: the first one's reason, and all texts. */
static void all_errors(const struct connecting *c, struct error *err)
{
	const struct candidate *first = &c->candidates[0];
	char text[ADDRESS_TEXT_MAX], all[ERROR_MESSAGE_MAX];
	size_t told = 0, length = 0;

	*err = first->err;
	for (size_t i = 0; i < c->tried; i++) {
		const struct candidate *one = &c->candidates[i];

		if ((i > 0 && means_no_ipv6(one)) || length >= sizeof(all))
			continue;
		length += (size_t)snprintf(all + length, sizeof(all) - length, "%s%s: %s",
					   told++ > 0 ? "; " : "", address_format(&one->addr, text),
					   one->err.message);
	}
	if (told > 1)
		error_set(err, first->err.reason, first->err.sys_errno, "%s", all);
}

/* Calls back and frees: with the socket if it is connected, else with the errors. */
static void finish(struct connecting *c, bool is_connected)
{
	struct connected connected = { .fd = -1 };
	connect_cb done = c->config.done;
	void *arg = c->config.arg;
	struct error err;

	if (is_connected) {
		watch_stop(c->loop, &c->watch);
		connected.remote = c->candidates[c->tried - 1].addr;
		connected.local = c->local;
		connected.fd = steal_fd(&c->fd);
		if (c->config.type == SOCK_DGRAM)
			sock_tune_udp(connected.fd);
		else
			sock_tune_tcp(connected.fd);
	} else {
		all_errors(c, &err);
	}
	connecting_free(c);
	done(is_connected ? &connected : NULL, is_connected ? NULL : &err, arg);
}

static void get_local(int fd, struct address *local)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0 ||
	    address_from_sockaddr(local, (struct sockaddr *)&ss) < 0)
		*local = (struct address){ 0 };
}

/*
 * On loopback a connect to a free ephemeral port may, by chance, get that very port as its
 * own and so meet itself (TCP's simultaneous open): connected, and nobody is there.
 */
static bool is_same(const struct address *local, const struct address *remote)
{
	if (local->family != remote->family || local->port != remote->port)
		return false;
	return local->family == AF_INET ? local->v4.s_addr == remote->v4.s_addr
					: IN6_ARE_ADDR_EQUAL(&local->v6, &remote->v6);
}

/* The attempt came to an end: true if it is connected, else its error is kept. */
static bool attempt_done(struct connecting *c, int sys_errno)
{
	struct candidate *candidate = &c->candidates[c->tried - 1];

	if (sys_errno == 0) {
		get_local(c->fd, &c->local);
		if (is_same(&c->local, &candidate->addr))
			sys_errno = ECONNREFUSED;
	}
	if (sys_errno == 0)
		return true;
	error_set_connect(&candidate->err, sys_errno);
	attempt_close(c);
	return false;
}

static bool try_next(struct connecting *c);

/*
 * 0, EINPROGRESS, or the error. A connect over loopback is through, or refused, when connect(2) says EINPROGRESS, and
 * asking once more tells.
 */
static int attempt_look(struct connecting *c)
{
	struct sockaddr_storage ss;
	socklen_t len = address_to_sockaddr(&c->candidates[c->tried - 1].addr, &ss);

	if (connect(c->fd, (struct sockaddr *)&ss, len) == 0 || errno == EISCONN)
		return 0;
	return errno == EALREADY ? EINPROGRESS : errno;
}

static void attempt_event(struct watch *watch, unsigned ready)
{
	struct connecting *c = container_of(watch, struct connecting, watch);
	int sys_errno = attempt_look(c);

	(void)ready;
	if (sys_errno == EINPROGRESS)
		return;
	if (attempt_done(c, sys_errno))
		finish(c, true);
	else
		try_next(c);
}

static void deadline_cb(void *arg)
{
	struct connecting *c = arg;

	attempt_done(c, ETIMEDOUT);
	finish(c, false);
}

static int make_socket(const struct connecting *c, struct candidate *candidate)
{
	sa_family_t family = candidate->addr.family;
	int fd;

	if (c->config.make != NULL)
		return c->config.make(family, c->config.type, c->tried == c->config.count,
				      &candidate->err, c->config.arg);
	fd = sock_new(family, c->config.type, 0);
	return fd < 0 ? error_set_connect(&candidate->err, -fd) : fd;
}

/* Starts to connect to the next candidate. True if it is under way; else it is over. */
static bool attempt_start(struct connecting *c, bool *connected)
{
	struct candidate *candidate = &c->candidates[c->tried++];
	int sys_errno;

	c->fd = make_socket(c, candidate);
	if (c->fd < 0)
		return false;
	sys_errno = attempt_look(c);
	if (sys_errno == EINPROGRESS)
		sys_errno = attempt_look(c);
	if (sys_errno == EINPROGRESS) {
		sys_errno = -watch_start(c->loop, &c->watch, c->fd, WATCH_WRITE, attempt_event);
		if (sys_errno == 0)
			return true;
	}
	*connected = attempt_done(c, sys_errno);
	return false;
}

/* Goes on to the next candidate: true if it is under way; at the end of all, finish(). */
static bool try_next(struct connecting *c)
{
	bool connected = false;

	while (!connected && c->tried < c->config.count) {
		if (attempt_start(c, &connected))
			return true;
	}
	finish(c, connected);
	return false;
}

struct connecting *connect_start(struct loop *loop, const struct connect_config *config)
{
	struct connecting *c = xcalloc(1, sizeof(*c));

	c->loop = loop;
	c->fd = -1;
	c->config = *config;
	c->candidates = xcalloc(config->count, sizeof(*c->candidates));
	for (size_t i = 0; i < config->count; i++)
		c->candidates[i].addr = config->addrs[i];
	if (!try_next(c))
		return NULL;
	loop_later(loop, &c->deadline, config->timeout_ms, deadline_cb, c);
	return c;
}

void connect_cancel(struct connecting *c)
{
	connecting_free(c);
}
