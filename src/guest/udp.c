/* SPDX-License-Identifier: MIT */
/*
 * Who would get a datagram is asked of the kernel by sock_diag(7): it is the look-up that the datagram itself would
 * meet, so that wildcards and sockets for both families count, and no table is dumped.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
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

bool udp_is_taken(struct netns *ns, const struct address *at)
{
	_cleanup_close_ int fd = netns_socket(ns, at->family, SOCK_DGRAM, 0, NULL);
	struct sockaddr_storage ss;
	socklen_t len = address_to_sockaddr(at, &ss);

	return fd >= 0 && bind(fd, (struct sockaddr *)&ss, len) < 0 && errno == EADDRINUSE;
}

int udp_keep_all(int fd)
{
	struct sock_filter the_first = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = { 1, &the_first };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) < 0
		       ? -errno
		       : 0;
}

int udp_connected(struct netns *ns, const struct address *at, const struct address *client,
		  struct error *err)
{
	_cleanup_close_ int fd = netns_socket(ns, at->family, SOCK_DGRAM, 0, err);
	struct sockaddr_storage ss;
	socklen_t len = address_to_sockaddr(at, &ss);
	char text[ADDRESS_TEXT_MAX];
	int on = 1, rc;

	if (fd < 0)
		return fd;
	rc = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (rc == 0)
		rc = bind(fd, (struct sockaddr *)&ss, len);
	len = address_to_sockaddr(client, &ss);
	if (rc == 0)
		rc = connect(fd, (struct sockaddr *)&ss, len);
	if (rc < 0)
		return error_set(err, REASON_EXHAUSTED, errno, "a socket at %s: %s",
				 address_format(at, text), errno_text(errno));
	sock_tune_udp(fd);
	return steal_fd(&fd);
}

/* Classic BPF sees the UDP header, and the IP header at SKF_NET_OFF. */
#define LOAD(size, at) BPF_STMT(BPF_LD | (size) | BPF_ABS, (uint32_t)(at))
#define IS_OR_DROP(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define IPV4_SOURCE 12
#define IPV6_SOURCE 8

int udp_keep_to(int fd, const struct address *client)
{
	uint32_t words[4];
	size_t count = client->family == AF_INET ? 1 : 4, length = 0;
	unsigned source = client->family == AF_INET ? IPV4_SOURCE : IPV6_SOURCE;
	struct sock_filter code[2 + 2 * 4 + 2];
	struct sock_fprog program = { .filter = code };
	size_t drop = 2 + 2 * count + 1;

	memcpy(words, &client->v6, count * sizeof(*words));
	code[length++] = (struct sock_filter)LOAD(BPF_H, 0);
	code[length] = (struct sock_filter)IS_OR_DROP(client->port, (uint8_t)(drop - length - 1));
	length++;
	for (size_t i = 0; i < count; i++) {
		code[length++] =
			(struct sock_filter)LOAD(BPF_W, SKF_NET_OFF + (int)source + 4 * (int)i);
		code[length] = (struct sock_filter)IS_OR_DROP(ntohl(words[i]),
							      (uint8_t)(drop - length - 1));
		length++;
	}
	code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	program.len = (unsigned short)length;
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno
											   : 0;
}
