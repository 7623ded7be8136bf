/* SPDX-License-Identifier: MIT */
/*
 * Policy, netns, connect.
 *
 * DOC: Theory of Operation
 *
 * A dial has one or two candidates, the second being ::1 after 127.0.0.1 where the caller said
 * no more than "loopback": most servers listen on one of both and a person does not care which.
 * They are tried one after the other and not raced, since on loopback an answer comes at once,
 * and a server must not see a connection that nobody wanted. One deadline stands for both. The
 * netns stays open until the last socket is made, and no longer.
 *
 * connect(2) of a UDP socket asks nobody, so there the one candidate comes from what is bound (udp.h).
 *
 * Each attempt ends in one of two ways, attempt_done() with the socket connected, or an error
 * kept in its candidate; what the caller is told is made up from both at the end.
 */
#include "config.h"

#include <errno.h>

#include "lib/sock.h"
#include "lib/watch.h"
#include "dial.h"
#include "udp.h"

struct candidate {
	struct address addr;
	struct error err; /* why it failed, once tried */
};

struct dial {
	struct loop *loop;
	struct netns *ns;
	struct candidate candidates[2];
	size_t count, tried;
	int type; /* SOCK_STREAM, SOCK_DGRAM */
	int fd;
	struct address local; /* once connected */
	struct watch watch;
	struct loop_task deadline;
	dial_cb cb;
	void *arg;
};

static void address_set_loopback(struct address *addr, sa_family_t family)
{
	addr->family = family;
	if (family == AF_INET)
		addr->v4.s_addr = htonl(INADDR_LOOPBACK);
	else
		addr->v6 = in6addr_loopback;
}

int dial_resolve(struct address *addr, enum network network, struct error *err)
{
	sa_family_t family = network == NETWORK_TCP4 || network == NETWORK_UDP4   ? AF_INET
			     : network == NETWORK_TCP6 || network == NETWORK_UDP6 ? AF_INET6
										  : AF_UNSPEC;
	char text[ADDRESS_TEXT_MAX];

	if (addr->family == AF_UNSPEC) {
		if (family != AF_UNSPEC)
			address_set_loopback(addr, family);
		return 0;
	}
	address_normalise(addr);
	if (family != AF_UNSPEC && addr->family != family)
		return error_set(err, REASON_INVALID, 0, "%s is not an address for %s",
				 address_format(addr, text), network_name(network));
	return 0;
}

int dial_allowed(const struct policy *policy, struct netns *ns, const struct address *addr,
		 struct error *err)
{
	char text[ADDRESS_TEXT_MAX];
	int rc;

	if (addr->family == AF_UNSPEC || policy_allows(policy, addr))
		return 0;
	rc = netns_has_address(ns, addr, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return error_set(err, REASON_DENIED, 0,
				 "%s is not an address of the pod; see --allow",
				 address_format(addr, text));
	return 0;
}

static void attempt_close(struct dial *dial)
{
	watch_stop(dial->loop, &dial->watch);
	/* It may have connected meanwhile: an orderly end would be a lie then. */
	if (dial->fd >= 0)
		sock_close_reset(dial->fd);
	dial->fd = -1;
}

static void dial_free(struct dial *dial)
{
	attempt_close(dial);
	loop_cancel(&dial->deadline);
	netns_close(dial->ns);
	free(dial);
}

/* True for what a connect to ::1 says where the pod has no IPv6. */
static bool means_no_ipv6(const struct error *err)
{
	return err->sys_errno == EADDRNOTAVAIL || err->sys_errno == ENETUNREACH ||
	       err->sys_errno == EAFNOSUPPORT;
}

/* One error of all that were met. */
static void dial_error(const struct dial *dial, struct error *err)
{
	const struct candidate *a = &dial->candidates[0], *b = &dial->candidates[1];
	char a_text[ADDRESS_TEXT_MAX], b_text[ADDRESS_TEXT_MAX];

	*err = a->err;
	if (dial->tried < 2 || means_no_ipv6(&b->err))
		return;
	error_set(err, a->err.reason, a->err.sys_errno, "%s: %s; %s: %s",
		  address_format(&a->addr, a_text), a->err.message,
		  address_format(&b->addr, b_text), b->err.message);
}

/* Calls back and frees: with the socket if it is connected, else with the errors. */
static void dial_finish(struct dial *dial, bool connected)
{
	struct dialed dialed = { .fd = -1 };
	dial_cb cb = dial->cb;
	void *arg = dial->arg;
	struct error err;

	if (connected) {
		watch_stop(dial->loop, &dial->watch);
		dialed.remote = dial->candidates[dial->tried - 1].addr;
		dialed.local = dial->local;
		dialed.fd = steal_fd(&dial->fd);
		if (dial->type == SOCK_DGRAM)
			sock_tune_udp(dialed.fd);
		else
			sock_tune_tcp(dialed.fd);
	} else {
		dial_error(dial, &err);
	}
	dial_free(dial);
	cb(connected ? &dialed : NULL, connected ? NULL : &err, arg);
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
static bool attempt_done(struct dial *dial, int sys_errno)
{
	struct candidate *candidate = &dial->candidates[dial->tried - 1];

	if (sys_errno == 0) {
		get_local(dial->fd, &dial->local);
		if (is_same(&dial->local, &candidate->addr))
			sys_errno = ECONNREFUSED;
	}
	if (sys_errno == 0)
		return true;
	error_set_connect(&candidate->err, sys_errno);
	attempt_close(dial);
	return false;
}

static bool dial_next(struct dial *dial);

/*
 * 0, EINPROGRESS, or the error. A connect over loopback is through, or refused, when connect(2) says EINPROGRESS, and
 * asking once more tells.
 */
static int attempt_look(struct dial *dial)
{
	struct sockaddr_storage ss;
	socklen_t len = address_to_sockaddr(&dial->candidates[dial->tried - 1].addr, &ss);

	if (connect(dial->fd, (struct sockaddr *)&ss, len) == 0 || errno == EISCONN)
		return 0;
	return errno == EALREADY ? EINPROGRESS : errno;
}

static void attempt_event(struct watch *watch, unsigned ready)
{
	struct dial *dial = container_of(watch, struct dial, watch);
	int sys_errno = attempt_look(dial);

	(void)ready;
	if (sys_errno == EINPROGRESS)
		return;
	if (attempt_done(dial, sys_errno))
		dial_finish(dial, true);
	else
		dial_next(dial);
}

static void deadline_cb(void *arg)
{
	struct dial *dial = arg;

	attempt_done(dial, ETIMEDOUT);
	dial_finish(dial, false);
}

/* Starts to connect to the next candidate. True if it is under way; else it is over. */
static bool attempt_start(struct dial *dial, bool *connected)
{
	struct candidate *candidate = &dial->candidates[dial->tried++];
	int sys_errno;

	dial->fd = netns_socket(dial->ns, candidate->addr.family, dial->type, 0, &candidate->err);
	if (dial->tried == dial->count) {
		netns_close(dial->ns);
		dial->ns = NULL;
	}
	if (dial->fd < 0)
		return false;
	sys_errno = attempt_look(dial);
	if (sys_errno == EINPROGRESS)
		sys_errno = attempt_look(dial);
	if (sys_errno == EINPROGRESS) {
		sys_errno = -watch_start(dial->loop, &dial->watch, dial->fd, WATCH_WRITE,
					 attempt_event);
		if (sys_errno == 0)
			return true;
	}
	*connected = attempt_done(dial, sys_errno);
	return false;
}

/* Goes on to the next candidate: true if it is under way; at the end of all, dial_finish(). */
static bool dial_next(struct dial *dial)
{
	bool connected = false;

	while (!connected && dial->tried < dial->count) {
		if (attempt_start(dial, &connected))
			return true;
	}
	dial_finish(dial, connected);
	return false;
}

struct dial *dial_start(struct loop *loop, struct netns *ns, enum network network,
			const struct address *addr, int timeout_ms, dial_cb cb, void *arg)
{
	struct dial *dial = xcalloc(1, sizeof(*dial));

	dial->loop = loop;
	dial->ns = ns;
	dial->fd = -1;
	dial->cb = cb;
	dial->arg = arg;
	dial->type = network_is_udp(network) ? SOCK_DGRAM : SOCK_STREAM;
	dial->count = addr->family == AF_UNSPEC && dial->type == SOCK_STREAM ? 2 : 1;
	dial->candidates[0].addr = dial->candidates[1].addr = *addr;
	if (addr->family == AF_UNSPEC) {
		address_set_loopback(&dial->candidates[0].addr,
				     dial->type == SOCK_DGRAM ? udp_loopback(ns, addr->port)
							      : AF_INET);
		address_set_loopback(&dial->candidates[1].addr, AF_INET6);
	}
	if (!dial_next(dial))
		return NULL;
	loop_later(loop, &dial->deadline, timeout_ms, deadline_cb, dial);
	return dial;
}

void dial_cancel(struct dial *dial)
{
	dial_free(dial);
}
