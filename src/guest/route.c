/* SPDX-License-Identifier: MIT */
/* Routes by rtnetlink(7). */
#include "config.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "netlink.h"
#include "route.h"

#define LOOPBACK_INDEX 1 /* in every netns */

struct search {
	int family;
	uint32_t metric; /* of the best one so far */
	int index;       /* its interface; 0: none yet */
};

static int attr_int(const struct rtattr *attr)
{
	int value = 0;

	if (RTA_PAYLOAD(attr) >= sizeof(value))
		memcpy(&value, RTA_DATA(attr), sizeof(value));
	return value;
}

static int first_hop(const struct rtattr *attr)
{
	const struct rtnexthop *hop = RTA_DATA(attr);

	return RTA_PAYLOAD(attr) >= sizeof(*hop) ? hop->rtnh_ifindex : 0;
}

static int route_seen(const struct nlmsghdr *header, const void *payload, size_t length, void *arg)
{
	const struct rtmsg *rtm = payload;
	const struct rtattr *attr;
	struct search *search = arg;
	int left, index = 0;
	uint32_t metric = 0, table;

	if (header->nlmsg_type != RTM_NEWROUTE || length < NLMSG_ALIGN(sizeof(*rtm)) ||
	    rtm->rtm_family != search->family || rtm->rtm_dst_len != 0 ||
	    rtm->rtm_type != RTN_UNICAST)
		return 0;
	table = rtm->rtm_table;
	left = (int)(length - NLMSG_ALIGN(sizeof(*rtm)));
	for (attr = RTM_RTA(rtm); RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		if (attr->rta_type == RTA_OIF)
			index = attr_int(attr);
		else if (attr->rta_type == RTA_MULTIPATH)
			index = first_hop(attr);
		else if (attr->rta_type == RTA_PRIORITY)
			metric = (uint32_t)attr_int(attr);
		else if (attr->rta_type == RTA_TABLE)
			table = (uint32_t)attr_int(attr);
	}
	if (table != RT_TABLE_MAIN || index == 0 ||
	    (search->index != 0 && metric >= search->metric))
		return 0;
	search->index = index;
	search->metric = metric;
	return 0;
}

int route_default_interface(int fd, int family, char name[IF_NAMESIZE])
{
	struct rtmsg request = { .rtm_family = (uint8_t)family };
	struct search search = { .family = family };
	int rc = netlink_dump(fd, RTM_GETROUTE, &request, sizeof(request), route_seen, &search);

	name[0] = '\0';
	if (rc < 0)
		return rc;
	if (search.index != 0 && if_indextoname((unsigned)search.index, name) == NULL)
		name[0] = '\0'; /* it has just gone */
	return 0;
}

int route_set_default(int fd, const struct address *gateway)
{
	struct rtmsg route = {
		.rtm_family = (uint8_t)gateway->family,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
	};
	struct netlink_payload request;

	netlink_payload_init(&request, &route, sizeof(route));
	netlink_payload_put(&request, RTA_GATEWAY, &gateway->v4,
			    gateway->family == AF_INET ? sizeof(gateway->v4) : sizeof(gateway->v6));
	return netlink_change(fd, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, request.data,
			      request.length);
}

int route_loopback_up(int fd)
{
	struct ifinfomsg request = {
		.ifi_family = AF_UNSPEC,
		.ifi_index = LOOPBACK_INDEX,
		.ifi_flags = IFF_UP,
		.ifi_change = IFF_UP,
	};

	return netlink_change(fd, RTM_NEWLINK, 0, &request, sizeof(request));
}
