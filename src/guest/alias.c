/* SPDX-License-Identifier: MIT */
/*
 * Alias addresses, counted by netns and address.
 *
 * Each keeps a netlink socket that was made in its netns, by which it is taken off again: the pod's
 * files may be gone by then. The socket keeps the netns alive, and so do the listeners that the address
 * is there for, so nothing is lost by that; in return the number of the netns can't come to mean
 * another one while it is in the list. A descriptor of the netns would keep it as well and need one
 * more step at the end.
 *
 * The address carries a mark (IFA_PROTO). One with our mark that is there already was left by a process
 * that was killed, or belongs to one that lives (another dialer in the same netns): it is taken over, and not taken for the
 * pod's own. So before it is taken off, others are looked for who listen there: the last one takes it off.
 */
#include "config.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <string.h>

#include "addresses.h"
#include "alias.h"
#include "netlink.h"

#define ALIAS_PROTOCOL 0x76 /* the mark; the kernel's own are below 4 */

/* The kernel's numbers: of sockets that listen, and of UDP's that are connected to nobody. */
#define STATES (1u << 10 | 1u << 7)

struct alias {
	struct alias *next;
	struct netns_id ns;
	struct address addr;
	unsigned holders;
	int netlink; /* a NETLINK_ROUTE socket in the netns */
	int diag;    /* a NETLINK_SOCK_DIAG one, or -1 */
	bool ours;   /* else the netns held it before us */
	bool found;  /* ours, and was there already */
};

struct aliases {
	struct alias *first;
};

struct aliases *aliases_new(void)
{
	return xcalloc(1, sizeof(struct aliases));
}

/* The netlink_cb of is_used(): 1 if it is a socket at that address. */
static int socket_seen(const struct nlmsghdr *header, const void *payload, size_t length, void *arg)
{
	const struct inet_diag_msg *msg = payload;
	struct address addr = { 0 };

	if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY || length < sizeof(*msg))
		return -EPROTO;
	addr.family = msg->idiag_family;
	memcpy(&addr.v6, msg->id.idiag_src, sizeof(addr.v6));
	return address_same_host(&addr, arg);
}

/*
 * True if somebody listens at the address, who is not us any more. What the kernel does not tell (it may have no udp_diag) is
 * so if the address was there before us.
 */
static bool is_used(struct alias *alias)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP };
	struct inet_diag_req_v2 request = { .sdiag_family = (uint8_t)alias->addr.family,
					    .idiag_states = STATES };
	int rc = alias->diag >= 0 ? 0 : -1;

	for (size_t i = 0; i < ARRAY_SIZE(protocols) && rc == 0; i++) {
		request.sdiag_protocol = protocols[i];
		rc = netlink_dump(alias->diag, SOCK_DIAG_BY_FAMILY, &request, sizeof(request),
				  socket_seen, &alias->addr);
	}
	return rc < 0 ? alias->found : rc == 1;
}

/* Takes the address off if it is ours alone, and frees. */
static void alias_free(struct alias *alias)
{
	if (alias->ours && !is_used(alias))
		address_remove(alias->netlink, &alias->addr);
	close(alias->netlink);
	if (alias->diag >= 0)
		close(alias->diag);
	free(alias);
}

void aliases_free(struct aliases *aliases)
{
	while (aliases->first != NULL) {
		struct alias *alias = aliases->first;

		aliases->first = alias->next;
		alias_free(alias);
	}
	free(aliases);
}

/* Where the list has it, or NULL behind the last one. */
static struct alias **alias_find(struct alias **at, struct netns_id ns, const struct address *addr)
{
	while (*at != NULL &&
	       !(netns_id_same((*at)->ns, ns) && address_same_host(&(*at)->addr, addr)))
		at = &(*at)->next;
	return at;
}

/* The addresses_cb of alias_add(): 1 if the netns has it, 2 if that was us. */
static int alias_seen(const struct held_address *held, void *arg)
{
	if (!address_same_host(&held->addr, arg))
		return 0;
	return held->device == LOOPBACK_IFINDEX && held->protocol == ALIAS_PROTOCOL ? 2 : 1;
}

/* 0 or -errno. */
static int alias_add(struct alias *alias)
{
	int rc = loopback_up(alias->netlink);

	if (rc < 0)
		return rc;
	rc = addresses_dump(alias->netlink, alias->addr.family, alias_seen, &alias->addr);
	if (rc < 0)
		return rc;
	alias->ours = rc != 1;
	alias->found = rc == 2;
	return rc > 0 ? 0 : address_add(alias->netlink, &alias->addr, ALIAS_PROTOCOL);
}

static int alias_error(struct error *err, int sys_errno, const struct address *addr)
{
	char text[ADDRESS_TEXT_MAX];

	address_format(addr, text);
	if (sys_errno == EPERM)
		return error_set(err, REASON_DENIED, EPERM,
				 "cannot put %s on the pod's loopback: it takes CAP_NET_ADMIN",
				 text);
	if (addr->family == AF_INET6 &&
	    (sys_errno == EACCES || sys_errno == EOPNOTSUPP || sys_errno == ENODEV))
		return error_set(err, REASON_UNSUPPORTED, sys_errno,
				 "cannot put %s on the pod's loopback: it has no IPv6", text);
	netns_error(err, sys_errno, text);
	return error_prefix(err, "cannot put it on the pod's loopback");
}

int alias_hold(struct aliases *aliases, struct netns *ns, const struct address *addr,
	       struct error *err)
{
	struct alias **at = alias_find(&aliases->first, netns_id(ns), addr);
	struct alias *alias = *at;
	int fd, rc;

	if (alias != NULL) {
		alias->holders++;
		return 0;
	}
	fd = netns_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, err);
	if (fd < 0)
		return fd;
	alias = xcalloc(1, sizeof(*alias));
	*alias = (struct alias){ .ns = netns_id(ns), .addr = *addr, .holders = 1, .netlink = fd };
	alias->diag = netns_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG, NULL);
	alias->addr.port = 0;
	rc = alias_add(alias);
	if (rc < 0) {
		alias->ours = false;
		alias_free(alias);
		return alias_error(err, -rc, addr);
	}
	*at = alias;
	return 0;
}

void alias_release(struct aliases *aliases, struct netns_id ns, const struct address *addr)
{
	struct alias **at = alias_find(&aliases->first, ns, addr);
	struct alias *alias = *at;

	if (alias == NULL || --alias->holders > 0)
		return;
	*at = alias->next;
	alias_free(alias);
}

bool aliases_have(const struct aliases *aliases, const struct netns *ns, const struct address *addr)
{
	struct alias *first = aliases->first;
	const struct alias *alias = *alias_find(&first, netns_id(ns), addr);

	return alias != NULL && alias->ours;
}
