/* SPDX-License-Identifier: MIT */
/* A UDP socket that sends to many, and is told by ICMP who of them is not there. */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "guest/addresses.h"
#include "guest/udp.h"
#include "lib/sock.h"
#include "tests/tap.h"

#define WAIT_MS 10000

/* A socket at a port of the loopback's that is free; false without that family. */
static bool socket_at(sa_family_t family, int *fd, struct address *at)
{
	struct sockaddr_storage ss;
	socklen_t len;

	*at = (struct address){ .family = family };
	if (family == AF_INET)
		at->v4.s_addr = htonl(INADDR_LOOPBACK);
	else
		at->v6 = in6addr_loopback;
	*fd = sock_new(family, SOCK_DGRAM, 0);
	len = address_to_sockaddr(at, &ss);
	if (*fd < 0 || bind(*fd, (struct sockaddr *)&ss, len) < 0)
		return false;
	len = sizeof(ss);
	getsockname(*fd, (struct sockaddr *)&ss, &len);
	address_from_sockaddr(at, (struct sockaddr *)&ss);
	return true;
}

static void await(int fd, short events)
{
	poll(&(struct pollfd){ .fd = fd, .events = events }, 1, WAIT_MS);
}

static void test_family(sa_family_t family, const char *name)
{
	static const size_t sizes[] = { 0, 3, 4, 1400 };
	static const uint8_t data[1400];
	struct address at, there, gone, to, from;
	int fd, peer, closed, on = 1;
	char got[2000];

	if (!socket_at(family, &fd, &at) || !socket_at(family, &peer, &there) ||
	    !socket_at(family, &closed, &gone)) {
		skip("no %s", name);
		return;
	}
	close(closed);
	udp_hear_errors(fd, family);
	setsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
		   family == AF_INET ? IP_RECVORIGDSTADDR : IPV6_RECVORIGDSTADDR, &on, sizeof(on));
	is_int(udp_take_error(fd, &to, &from), 0, "%s: no error at first", name);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		ok(udp_send(fd, &gone, data, sizes[i]), "%s, %zu bytes: to nobody", name, sizes[i]);
		await(fd, 0); /* POLLERR */
		ok(udp_send(fd, &there, data, sizes[i]), "the next is sent all the same");
		await(peer, POLLIN);
		is_int((long long)recv(peer, got, sizeof(got), 0), (long long)sizes[i],
		       "and comes");
		is_int(udp_take_error(fd, &to, &from), ECONNREFUSED, "the error");
		ok(address_same(&to, &gone), "to whom");
		/* ICMP's port is asked for, and not there, where less than four bytes are quoted. */
		if (sizes[i] >= 4)
			ok(address_same_host(&from, &at), "from where");
		else
			ok(from.family == AF_UNSPEC || address_same_host(&from, &at),
			   "from where, or not known");
		is_int(udp_take_error(fd, &to, &from), 0, "and no more");
	}
	close(fd);
	close(peer);
}

int main(void)
{
	test_family(AF_INET, "IPv4");
	test_family(AF_INET6, "IPv6");
	return done_testing();
}
