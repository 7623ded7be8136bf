/* SPDX-License-Identifier: MIT */
/*
 * Who would get a datagram is asked of the kernel by sock_diag(7): it is the look-up that the datagram itself would
 * meet, so that wildcards and sockets for both families count, and no table is dumped.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <time.h> /* for the next one, with musl */

#include <linux/errqueue.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <string.h>

#include "lib/datagrams.h"
#include "lib/sock.h"
#include "netlink.h"
#include "udp.h"

#define SEND_TRIES 4 /* some may be failed by what others have met */

static int found(const struct nlmsghdr *header, const void *payload, size_t length, void *arg)
{
	(void)header;
	(void)payload;
	(void)length;
	*(bool *)arg = true;
	return 0;
}

static int diag_socket(struct netns *ns)
{
	if (ns == NULL)
		return sock_new(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
	return netns_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG, NULL);
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
	_cleanup_close_ int fd = diag_socket(ns);
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

void udp_hear_errors(int fd, sa_family_t family)
{
	int on = 1;

	setsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
		   family == AF_INET ? IP_RECVERR : IPV6_RECVERR, &on, sizeof(on));
}

/* 0 if it is not of ICMP, or only that one was too long. */
static int error_of(const struct cmsghdr *cmsg)
{
	struct sock_extended_err error;

	if (cmsg->cmsg_len < CMSG_LEN(sizeof(error)))
		return 0;
	memcpy(&error, CMSG_DATA(cmsg), sizeof(error));
	return (error.ee_origin == SO_EE_ORIGIN_ICMP || error.ee_origin == SO_EE_ORIGIN_ICMP6) &&
			       error.ee_errno != EMSGSIZE
		       ? (int)error.ee_errno
		       : 0;
}

static bool is_control(const struct cmsghdr *cmsg, int ipv4_type, int ipv6_type)
{
	return (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == ipv4_type) ||
	       (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == ipv6_type);
}

static int find_error(struct msghdr *msg)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (is_control(cmsg, IP_RECVERR, IPV6_RECVERR))
			return error_of(cmsg);
	}
	return 0;
}

void udp_destination(struct msghdr *msg, struct address *addr)
{
	struct sockaddr_storage ss = { 0 };
	struct cmsghdr *cmsg;

	memset(addr, 0, sizeof(*addr));
	for (cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t size = cmsg->cmsg_level == IPPROTO_IP ? sizeof(struct sockaddr_in)
							     : sizeof(struct sockaddr_in6);

		if (is_control(cmsg, IP_ORIGDSTADDR, IPV6_ORIGDSTADDR) &&
		    cmsg->cmsg_len >= CMSG_LEN(size)) {
			memcpy(&ss, CMSG_DATA(cmsg), size);
			address_from_sockaddr(addr, (struct sockaddr *)&ss);
		}
	}
}

int udp_take_error(int fd, struct address *to, struct address *from)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(struct sock_extended_err) +
				      sizeof(struct sockaddr_in6)) +
			   CMSG_SPACE(sizeof(struct sockaddr_in6))];
	} control;
	struct sockaddr_storage ss;
	struct msghdr msg = { .msg_name = &ss, .msg_control = &control };
	int error = 0;

	while (error == 0) {
		msg.msg_namelen = sizeof(ss);
		msg.msg_controllen = sizeof(control);
		if (recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return 0;
		error = find_error(&msg);
	}
	/* To the kernel it is where ICMP has sent the error: to us; its port is none. */
	udp_destination(&msg, from);
	from->port = 0;
	memset(to, 0, sizeof(*to));
	address_from_sockaddr(to, (struct sockaddr *)&ss);
	return error;
}

static bool send_message(int fd, const struct msghdr *msg)
{
	for (int i = 0; i < SEND_TRIES; i++) {
		if (sendmsg(fd, msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return true;
		if (errno == EAGAIN || errno == EMSGSIZE || errno == ENOBUFS)
			return false;
	}
	return false;
}

bool udp_send(int fd, const struct address *to, const uint8_t *data, size_t size)
{
	struct sockaddr_storage ss;
	struct iovec iov = { (void *)data, size };
	struct msghdr msg = { .msg_name = &ss,
			      .msg_namelen = address_to_sockaddr(to, &ss),
			      .msg_iov = &iov,
			      .msg_iovlen = 1 };

	return send_message(fd, &msg);
}

bool udp_send_as(int fd, const struct address *from, const struct address *to, const uint8_t *data,
		 size_t size)
{
	/* No checksum: RFC 768 allows it over IPv4, and over IPv6 the kernel puts it there. */
	struct udphdr header = { .source = htons(from->port),
				 .dest = htons(to->port),
				 .len = htons((uint16_t)(sizeof(header) + size)) };
	struct address host = *to;
	struct sockaddr_storage ss;
	union sock_source source;
	struct iovec iov[] = { { &header, sizeof(header) }, { (void *)data, size } };
	struct msghdr msg = { .msg_name = &ss, .msg_iov = iov, .msg_iovlen = 2 };

	host.port = 0; /* to raw(7) it is the protocol */
	msg.msg_namelen = address_to_sockaddr(&host, &ss);
	sock_set_source(&msg, &source, from->family, &from->v6, 0);
	return size <= DATAGRAM_MAX && send_message(fd, &msg);
}
