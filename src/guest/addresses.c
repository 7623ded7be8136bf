/* SPDX-License-Identifier: MIT */
/* What rtnetlink has to say about addresses, and the requests that change them. */
#include "config.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>

#include "addresses.h"
#include "netlink.h"

/* In linux/if_addr.h since 5.18; an enum there. */
#define ADDRESS_PROTOCOL 11 /* IFA_PROTO */

#define ROUTE_WAIT_MS 200

struct dump {
	addresses_cb cb;
	void *arg;
};

static size_t address_size(sa_family_t family)
{
	return family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
}

static int dump_message(const struct nlmsghdr *header, const void *payload, size_t length,
			void *arg)
{
	const struct dump *dump = arg;
	const struct ifaddrmsg *ifa = payload;
	const struct rtattr *attr, *found = NULL;
	struct held_address held = { 0 };
	int left;

	if (header->nlmsg_type != RTM_NEWADDR || length < NLMSG_ALIGN(sizeof(*ifa)) ||
	    (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6))
		return 0;
	left = (int)(length - NLMSG_ALIGN(sizeof(*ifa)));
	/* On a point-to-point link IFA_ADDRESS is the peer's; its own is IFA_LOCAL then. */
	for (attr = IFA_RTA(ifa); RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		if (attr->rta_type == IFA_LOCAL || (attr->rta_type == IFA_ADDRESS && found == NULL))
			found = attr;
		if (attr->rta_type == ADDRESS_PROTOCOL && RTA_PAYLOAD(attr) >= 1)
			memcpy(&held.protocol, RTA_DATA(attr), 1);
	}
	if (found == NULL || RTA_PAYLOAD(found) != address_size(ifa->ifa_family))
		return 0;
	held.addr.family = ifa->ifa_family;
	memcpy(&held.addr.v4, RTA_DATA(found), RTA_PAYLOAD(found));
	held.device = ifa->ifa_index;
	return dump->cb(&held, dump->arg);
}

int addresses_dump(int fd, sa_family_t family, addresses_cb cb, void *arg)
{
	struct ifaddrmsg request = { .ifa_family = (uint8_t)family };
	struct dump dump = { cb, arg };

	return netlink_dump(fd, RTM_GETADDR, &request, sizeof(request), dump_message, &dump);
}

/* What both requests say: which address, on lo. IPv6 would look for others that have it, and until then it can't be bound to. */
static void address_payload(struct netlink_payload *payload, const struct address *addr)
{
	size_t size = address_size(addr->family);
	struct ifaddrmsg ifa = {
		.ifa_family = (uint8_t)addr->family,
		.ifa_prefixlen = (uint8_t)(size * 8),
		.ifa_flags = addr->family == AF_INET6 ? IFA_F_NODAD : 0,
		.ifa_scope = RT_SCOPE_UNIVERSE,
		.ifa_index = LOOPBACK_IFINDEX,
	};

	netlink_payload_init(payload, &ifa, sizeof(ifa));
	netlink_payload_put(payload, IFA_LOCAL, &addr->v4, size);
	netlink_payload_put(payload, IFA_ADDRESS, &addr->v4, size);
}

/* The netlink_cb of is_routed(): 1 if the route is that of an address of the netns. */
static int route_seen(const struct nlmsghdr *header, const void *payload, size_t length, void *arg)
{
	const struct rtmsg *route = payload;

	(void)arg;
	return header->nlmsg_type == RTM_NEWROUTE && length >= sizeof(*route) &&
	       route->rtm_type == RTN_LOCAL;
}

static bool is_routed(int fd, const struct address *addr)
{
	size_t size = address_size(addr->family);
	struct rtmsg route = { .rtm_family = (uint8_t)addr->family,
			       .rtm_dst_len = (uint8_t)(size * 8) };
	struct netlink_payload payload;

	netlink_payload_init(&payload, &route, sizeof(route));
	netlink_payload_put(&payload, RTA_DST, &addr->v4, size);
	return netlink_get(fd, RTM_GETROUTE, payload.data, payload.length, route_seen, NULL) == 1;
}

int address_add(int fd, const struct address *addr, uint8_t protocol)
{
	struct netlink_payload payload;
	int rc;

	address_payload(&payload, addr);
	netlink_payload_put(&payload, ADDRESS_PROTOCOL, &protocol, sizeof(protocol));
	rc = netlink_change(fd, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, payload.data,
			    payload.length);
	/* Linux has work of its own make the route to one of IPv6, a moment later. */
	for (int i = 0; i < ROUTE_WAIT_MS && rc == 0 && !is_routed(fd, addr); i++)
		poll(NULL, 0, 1);
	return rc;
}

int address_remove(int fd, const struct address *addr)
{
	struct netlink_payload payload;

	address_payload(&payload, addr);
	return netlink_change(fd, RTM_DELADDR, 0, payload.data, payload.length);
}

int loopback_up(int fd)
{
	struct ifinfomsg link = {
		.ifi_family = AF_UNSPEC,
		.ifi_index = LOOPBACK_IFINDEX,
		.ifi_flags = IFF_UP,
		.ifi_change = IFF_UP,
	};

	return netlink_change(fd, RTM_NEWLINK, 0, &link, sizeof(link));
}
