/* SPDX-License-Identifier: MIT */
/*
 * Who would get a datagram is asked of the kernel by sock_diag(7): it is the look-up that the datagram itself would
 * meet, so that wildcards and sockets for both families count, and no table is dumped.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <string.h>

#include "lib/sock.h"
#include "netlink.h"
#include "udp.h"

static int found(const struct nlmsghdr *header, const void *payload, size_t length, void *arg)
{
	(void)header;
	(void)payload;
	(void)length;
	*(bool *)arg = true;
	return 0;
}

static bool loopback_has(struct netns *ns, sa_family_t family, uint16_t port)
{
	/* Of one socket, udp_diag takes the destination for the address that it is bound to. */
	struct inet_diag_req_v2 request = {
		.sdiag_family = (uint8_t)family,
		.sdiag_protocol = IPPROTO_UDP,
		.idiag_states = UINT32_MAX,
		.id.idiag_dport = htons(port),
		.id.idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE },
	};
	_cleanup_close_ int fd = netns_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG, NULL);
	bool has = false;

	if (family == AF_INET)
		request.id.idiag_dst[0] = htonl(INADDR_LOOPBACK);
	else
		memcpy(request.id.idiag_dst, &in6addr_loopback, sizeof(in6addr_loopback));
	return fd >= 0 &&
	       netlink_get(fd, SOCK_DIAG_BY_FAMILY, &request, sizeof(request), found, &has) == 0 &&
	       has;
}

sa_family_t udp_loopback(struct netns *ns, uint16_t port)
{
	return !loopback_has(ns, AF_INET, port) && loopback_has(ns, AF_INET6, port) ? AF_INET6
										    : AF_INET;
}
