/* SPDX-License-Identifier: MIT */
/*
 * Policy, netns, connect.
 *
 * A dial has one or two candidates, the second being ::1 after 127.0.0.1 where the caller said
 * no more than "loopback": most servers listen on one of both and a person does not care which. The
 * netns stays open until the last socket is made, and no longer.
 *
 * connect(2) of a UDP socket asks nobody, so there the one candidate comes from what is bound (udp.h).
 */
#include "config.h"

#include <errno.h>

#include "dial.h"
#include "udp.h"

struct dial {
	struct netns *ns;
	struct connecting *connecting;
	connect_cb cb;
	void *arg;
};

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

static void dial_free(struct dial *dial)
{
	netns_close(dial->ns);
	free(dial);
}

static void dial_done(const struct connected *connected, const struct error *err, void *arg)
{
	struct dial *dial = arg;
	connect_cb cb = dial->cb;
	void *cb_arg = dial->arg;

	dial_free(dial);
	cb(connected, err, cb_arg);
}

static int dial_socket(sa_family_t family, int type, bool last, struct error *err, void *arg)
{
	struct dial *dial = arg;
	int fd = netns_socket(dial->ns, family, type, 0, err);

	if (last) {
		netns_close(dial->ns);
		dial->ns = NULL;
	}
	return fd;
}

struct dial *dial_start(struct loop *loop, struct netns *ns, enum network network,
			const struct address *addr, int timeout_ms, connect_cb cb, void *arg)
{
	struct dial *dial = xcalloc(1, sizeof(*dial));
	struct connect_config config = {
		.type = network_is_udp(network) ? SOCK_DGRAM : SOCK_STREAM,
		.addrs = { *addr, *addr },
		.count = 1,
		.timeout_ms = timeout_ms,
		.make = dial_socket,
		.done = dial_done,
		.arg = dial,
	};
	struct connecting *connecting;

	dial->ns = ns;
	dial->cb = cb;
	dial->arg = arg;
	if (addr->family == AF_UNSPEC && config.type == SOCK_STREAM)
		config.count = 2;
	if (addr->family == AF_UNSPEC) {
		address_set_loopback(&config.addrs[0], config.type == SOCK_DGRAM
							       ? udp_loopback(ns, addr->port)
							       : AF_INET);
		address_set_loopback(&config.addrs[1], AF_INET6);
	}
	connecting = connect_start(loop, &config);
	if (connecting == NULL)
		return NULL; /* called back, and freed */
	dial->connecting = connecting;
	return dial;
}

void dial_cancel(struct dial *dial)
{
	connect_cancel(dial->connecting);
	dial_free(dial);
}
