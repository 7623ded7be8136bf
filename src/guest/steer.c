/* SPDX-License-Identifier: MIT */
/*
 * Egress steering of a netns.
 *
 * DOC: Theory of Operation
 *
 * Two things have to be so that a connection to any address comes to a socket of ours. The kernel has
 * to take the address for one of its own: a route `local 0.0.0.0/0 dev lo` in the table "local"
 * (AnyIP), and the same for IPv6. And it has to find our socket for it, not one that has that port: an
 * sk_lookup program, attached to the netns, gives us whatever is not for an address that the netns
 * really holds (steer-program.c). Both are in the netns; no socket option, no firewall, nothing in the
 * pod's files. ICMP is answered by the pod's own kernel.
 *
 * The routes name 127.0.0.1 and ::1 as the source. Without that an IPv4 connection would have its
 * destination for its source too, and the answer to an unconnected UDP socket be steered itself; an
 * IPv6 one would take an address that a card got after we began.
 *
 * Our sockets are bound to addresses that nobody has (class E, the discard prefix), so that nobody
 * reaches them in any other way, not at 127.0.0.1 either, and no port of the pod's loopback is taken.
 *
 * Order: the program comes before the routes and goes after them, so that nothing is ever looked up for
 * a foreign address without it. If we are killed, the kernel takes the program away with our
 * descriptors, and the routes stay: then everything goes to lo and is refused there, unless the pod
 * itself listens at that port on all addresses. That is meant so: it fails closed. The next start takes
 * such routes over, and knows them by their protocol number.
 *
 * A network card. A default route that is there is kept, and not used, since ours comes before it;
 * steer_stop() gives it back. What reaches the pod from beyond the card's own network is dropped
 * meanwhile, having a source that is local now. Past us goes what has a route that says more than ours:
 * IPv4 of the card's own network, since the kernel looks the tables "local" and "main" up as one until
 * somebody adds a rule (fib_unmerge() in Linux); and what a process binds to the card (SO_BINDTODEVICE,
 * IP_PKTINFO). So this is no fence then, and it is said in the log: a pod that is to be confined has to
 * have no card.
 *
 * Broadcast and multicast come to no socket of ours, since the kernel delivers them without looking for
 * one; nor do they leave, with lo alone. Connections to port 0, which no destination can have, are
 * dropped.
 */
#include "config.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <stddef.h>
#include <string.h>

#include "lib/log.h"
#include "lib/sock.h"
#include "addresses.h"
#include "netlink.h"
#include "steer-program.h"

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

#define ROUTE_PROTOCOL 0x76 /* what ours are known by; /etc/iproute2/rt_protos has none like it */

struct address_list {
	struct address *list;
	size_t count;
};

struct steering {
	struct steer steer; /* what the caller sees */
	struct steer_program program;
	int netlink; /* a NETLINK_ROUTE socket in the netns: a descriptor of the netns would need a visit more */
	bool routes[2];
	struct address_list held; /* let pass, since the netns holds them */
	bool complained; /* that this failed; pods may have it fail as often as they like */
};

static const struct {
	sa_family_t family;
	int type;
} kinds[STEER_SOCKETS] = {
	[STEER_TCP4] = { AF_INET, SOCK_STREAM },
	[STEER_TCP6] = { AF_INET6, SOCK_STREAM },
	[STEER_UDP4] = { AF_INET, SOCK_DGRAM },
	[STEER_UDP6] = { AF_INET6, SOCK_DGRAM },
};

static int option_set(int fd, int level, int name)
{
	int on = 1;

	return setsockopt(fd, level, name, &on, sizeof(on)) < 0 ? -errno : 0;
}

/* Binds to an address that the netns does not hold. 0 or -errno. */
static int bind_foreign(int fd, const struct address *addr)
{
	struct sockaddr_storage ss;
	socklen_t len = address_to_sockaddr(addr, &ss);
	int rc = addr->family == AF_INET ? option_set(fd, IPPROTO_IP, IP_FREEBIND)
					 : option_set(fd, IPPROTO_IPV6, IPV6_FREEBIND);

	if (rc == 0 && bind(fd, (struct sockaddr *)&ss, len) < 0)
		rc = -errno;
	return rc;
}

/* To an address that nobody has. 0 or -errno. */
static int bind_to_nobody(int fd, sa_family_t family)
{
	struct address nobody = { .family = family };

	if (family == AF_INET) {
		nobody.v4.s_addr = htonl(0xf0000001); /* 240.0.0.1 */
	} else {
		nobody.v6.s6_addr[0] = 1; /* 100::1 */
		nobody.v6.s6_addr[15] = 1;
	}
	return bind_foreign(fd, &nobody);
}

/* One of our sockets: 0 or -errno. */
static int socket_prepare(int fd, sa_family_t family, int type)
{
	int rc = bind_to_nobody(fd, family);

	if (rc < 0)
		return rc;
	if (type == SOCK_STREAM) {
		/* For what is accepted: else the pod could not listen at a port that it has connected to. */
		rc = option_set(fd, SOL_SOCKET, SO_REUSEADDR);
		if (rc < 0)
			return rc;
		sock_tune_tcp(fd);
		return listen(fd, SOCK_BACKLOG) < 0 ? -errno : 0;
	}
	return family == AF_INET ? option_set(fd, IPPROTO_IP, IP_RECVORIGDSTADDR)
				 : option_set(fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR);
}

static int sockets_open(struct steering *steering, struct netns *ns, bool has_ipv6,
			struct error *err)
{
	for (size_t i = 0; i < STEER_SOCKETS; i++) {
		int *fd = &steering->steer.sockets[i], rc;

		if (kinds[i].family == AF_INET6 && !has_ipv6)
			continue;
		rc = netns_socket(ns, kinds[i].family, kinds[i].type, 0, err);
		if (rc < 0)
			return rc;
		*fd = rc;
		rc = socket_prepare(*fd, kinds[i].family, kinds[i].type);
		if (rc < 0)
			return netns_error(err, -rc, "cannot make the sockets to steer to");
	}
	return 0;
}

/*
 * `local default dev lo` of the family, added with loopback as the source, or deleted whatever its
 * source. 0 or -errno.
 */
static int route_change(int fd, uint16_t type, uint16_t flags, sa_family_t family)
{
	struct rtmsg route = {
		.rtm_family = (uint8_t)family,
		.rtm_table = RT_TABLE_LOCAL,
		.rtm_protocol = ROUTE_PROTOCOL,
		.rtm_scope = RT_SCOPE_HOST,
		.rtm_type = RTN_LOCAL,
	};
	const struct in_addr loopback = { htonl(INADDR_LOOPBACK) };
	const unsigned device = LOOPBACK_IFINDEX;
	struct netlink_payload payload;

	netlink_payload_init(&payload, &route, sizeof(route));
	netlink_payload_put(&payload, RTA_OIF, &device, sizeof(device));
	if (type == RTM_NEWROUTE && family == AF_INET)
		netlink_payload_put(&payload, RTA_PREFSRC, &loopback, sizeof(loopback));
	else if (type == RTM_NEWROUTE)
		netlink_payload_put(&payload, RTA_PREFSRC, &in6addr_loopback,
				    sizeof(in6addr_loopback));
	return netlink_change(fd, type, flags, payload.data, payload.length);
}

/* One that a killed process has left is removed first: it may be of another version. */
static int route_add(struct steering *steering, sa_family_t family, struct error *err)
{
	int rc;

	route_change(steering->netlink, RTM_DELROUTE, 0, family);
	rc = route_change(steering->netlink, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, family);
	if (rc == -EEXIST)
		return error_set(err, REASON_EXHAUSTED, EEXIST,
				 "cannot steer what leaves the pod: somebody else has a local "
				 "default route for IPv%d there",
				 family == AF_INET ? 4 : 6);
	if (rc < 0)
		return netns_error(err, -rc, "cannot add the route to steer by");
	steering->routes[family == AF_INET6] = true;
	return 0;
}

static int pass_error(struct error *err, int sys_errno)
{
	if (sys_errno == E2BIG)
		return error_set(err, REASON_EXHAUSTED, E2BIG,
				 "cannot steer what leaves the pod: it has too many addresses");
	return netns_error(err, sys_errno, "cannot steer around the pod's addresses");
}

/* The addresses_cb that keeps them all. */
static int address_keep(const struct held_address *held, void *arg)
{
	struct address_list *all = arg;

	all->list = xrealloc(all->list, (all->count + 1) * sizeof(*all->list));
	all->list[all->count++] = held->addr;
	return 0;
}

static bool has_address(const struct address_list *all, const struct address *addr)
{
	for (size_t i = 0; i < all->count; i++) {
		if (address_same_host(&all->list[i], addr))
			return true;
	}
	return false;
}

/* Those that the netns holds now, and no more those that it has held before. */
static int addresses_pass(struct steering *steering, struct error *err)
{
	struct address_list now = { 0 }, before = steering->held;
	int rc = addresses_dump(steering->netlink, AF_UNSPEC, address_keep, &now), failed;

	if (rc < 0) {
		free(now.list);
		return pass_error(err, -rc);
	}
	for (size_t i = 0; i < before.count; i++) {
		if (!has_address(&now, &before.list[i]))
			steer_program_pass(&steering->program, &before.list[i], false);
	}
	for (size_t i = 0; i < now.count; i++) {
		failed = steer_program_pass(&steering->program, &now.list[i], true);
		if (rc == 0)
			rc = failed;
	}
	free(before.list);
	steering->held = now;
	return rc < 0 ? pass_error(err, -rc) : 0;
}

/* Before addresses are asked for, so that none is missed. */
static int changes_open(struct steering *steering, struct netns *ns, struct error *err)
{
	struct sockaddr_nl local = { .nl_family = AF_NETLINK,
				     .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR };

	steering->steer.changes = netns_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, err);
	if (steering->steer.changes < 0)
		return -EPROTO;
	if (bind(steering->steer.changes, (struct sockaddr *)&local, sizeof(local)) < 0)
		return netns_error(err, errno, "cannot hear of the pod's addresses");
	return 0;
}

/* The addresses_cb that looks for ::1: 1 when it is there. */
static int is_loopback6(const struct held_address *held, void *arg)
{
	(void)arg;
	return IN6_IS_ADDR_LOOPBACK(&held->addr.v6);
}

/* The netlink_cb that looks for a device that is up, and is not lo: 1, and its name. */
static int card_seen(const struct nlmsghdr *header, const void *payload, size_t length, void *arg)
{
	const struct ifinfomsg *link = payload;
	const struct rtattr *attr;
	char *name = arg;
	int left;

	if (header->nlmsg_type != RTM_NEWLINK || length < NLMSG_ALIGN(sizeof(*link)) ||
	    (link->ifi_flags & (IFF_LOOPBACK | IFF_UP)) != IFF_UP)
		return 0;
	left = (int)(length - NLMSG_ALIGN(sizeof(*link)));
	for (attr = IFLA_RTA(link); RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		if (attr->rta_type == IFLA_IFNAME)
			strncpy(name, RTA_DATA(attr),
				RTA_PAYLOAD(attr) < IFNAMSIZ ? RTA_PAYLOAD(attr) : IFNAMSIZ - 1);
	}
	return 1;
}

static void cards_tell(int fd)
{
	struct ifinfomsg request = { .ifi_family = AF_UNSPEC };
	char name[IFNAMSIZ] = "";

	if (netlink_dump(fd, RTM_GETLINK, &request, sizeof(request), card_seen, name) == 1)
		log_warning(
			NULL,
			"egress: the pod has a network card (%s): what is bound to it, or goes to "
			"its own network, may get past",
			name);
}

static int steering_start(struct steering *steering, struct netns *ns, struct error *err)
{
	bool has_ipv6;
	int rc;

	steering->netlink = netns_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, err);
	if (steering->netlink < 0)
		return -EPROTO;
	rc = loopback_up(steering->netlink);
	if (rc < 0)
		return netns_error(err, -rc, "cannot set the pod's loopback up");
	has_ipv6 = addresses_dump(steering->netlink, AF_INET6, is_loopback6, NULL) == 1;
	if (sockets_open(steering, ns, has_ipv6, err) < 0 ||
	    steer_program_load(&steering->program, steering->steer.sockets, err) < 0 ||
	    changes_open(steering, ns, err) < 0 || addresses_pass(steering, err) < 0 ||
	    steer_program_attach(&steering->program, ns, err) < 0 ||
	    route_add(steering, AF_INET, err) < 0 ||
	    (has_ipv6 && route_add(steering, AF_INET6, err) < 0))
		return -EPROTO;
	cards_tell(steering->netlink);
	return 0;
}

int steer_start(struct netns *ns, struct steer **out, struct error *err)
{
	struct steering *steering = xcalloc(1, sizeof(*steering));

	steering->steer.steering = steering;
	steering->steer.changes = -1;
	for (size_t i = 0; i < STEER_SOCKETS; i++)
		steering->steer.sockets[i] = -1;
	steering->program = STEER_PROGRAM_NONE;
	if (steering_start(steering, ns, err) < 0) {
		steer_stop(&steering->steer);
		return -EPROTO;
	}
	*out = &steering->steer;
	return 0;
}

void steer_stop(struct steer *steer)
{
	struct steering *steering = steer->steering;

	for (size_t i = 0; i < ARRAY_SIZE(steering->routes); i++) {
		if (steering->routes[i])
			route_change(steering->netlink, RTM_DELROUTE, 0,
				     i == 0 ? AF_INET : AF_INET6);
	}
	steer_program_close(&steering->program);
	for (size_t i = 0; i < STEER_SOCKETS; i++) {
		if (steer->sockets[i] >= 0)
			close(steer->sockets[i]);
	}
	if (steering->netlink >= 0)
		close(steering->netlink);
	if (steer->changes >= 0)
		close(steer->changes);
	free(steering->held.list);
	free(steering);
}

void steer_look(struct steer *steer)
{
	struct steering *steering = steer->steering;
	struct error err;
	char buf[4096];
	int rc;

	/* Which ones is of no matter: all are asked for. */
	while (recv(steer->changes, buf, sizeof(buf), MSG_DONTWAIT) >= 0 || errno == ENOBUFS ||
	       errno == EINTR)
		;
	rc = addresses_pass(steering, &err);
	if (rc < 0 && !steering->complained)
		log_warning(NULL, "%s", err.message);
	steering->complained = rc < 0;
}

int steer_pass(struct steer *steer, const struct address *addr, bool pass, struct error *err)
{
	int rc;

	if (!pass) {
		steer_look(steer);
		if (has_address(&steer->steering->held, addr))
			return 0;
	}
	rc = steer_program_pass(&steer->steering->program, addr, pass);
	return rc < 0 ? pass_error(err, -rc) : 0;
}

int steer_udp_replies(struct netns *ns, sa_family_t family, struct error *err)
{
	_cleanup_close_ int fd = netns_socket(ns, family, SOCK_RAW, IPPROTO_UDP, err);
	int none = 0, checksum = offsetof(struct udphdr, check), rc;

	if (fd < 0)
		return fd;
	/* Nobody reads it. It may send as any address by IP_FREEBIND, and hears of no datagram by where it is bound to. */
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &none, sizeof(none));
	rc = bind_to_nobody(fd, family);
	/* Older kernels bind raw sockets of IPv6 to addresses that are held alone. Then it is given copies, and drops them. */
	if (family == AF_INET6 && rc == -EADDRNOTAVAIL)
		rc = 0;
	if (rc == 0 && family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &checksum, sizeof(checksum)) < 0)
		rc = -errno;
	if (rc < 0)
		return netns_error(err, -rc, "cannot make a socket for answers of UDP");
	return steal_fd(&fd);
}
