/* SPDX-License-Identifier: MIT */
/*
 * Egress steering, in netns of the test's own: what goes to foreign addresses arrives with where it was
 * meant to go, bytes go both ways, what is the netns's own is left alone.
 */
#include "config.h"

#include "guest/addresses.h"
#include "guest/alias.h"
#include "guest/udp.h"
#include "lib/datagrams.h"
#include "tests/unit/steer-fixture.h"

/* One datagram on one of the steered sockets: its destination, and who sent it. */
static const char *receive(int fd, struct address *from, struct address *to, char text[16])
{
	struct sockaddr_storage peer = { 0 }, destination = { 0 };
	char control[256];
	struct iovec iov = { text, 15 };
	struct msghdr msg = { .msg_name = &peer,
			      .msg_namelen = sizeof(peer),
			      .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	static char name[ADDRESS_TEXT_MAX];
	ssize_t n = readable(fd) ? recvmsg(fd, &msg, 0) : -1;

	if (n < 0)
		return "nothing";
	text[n] = '\0';
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
		if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_ORIGDSTADDR) ||
		    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR))
			memcpy(&destination, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	}
	if (address_from_sockaddr(from, (struct sockaddr *)&peer) < 0 ||
	    address_from_sockaddr(to, (struct sockaddr *)&destination) < 0)
		return "no destination";
	return address_format(to, name);
}

/* What an unconnected client gets, as "text from address". */
static const char *answer(int client)
{
	static char got[ADDRESS_TEXT_MAX + 32];
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	char text[16];
	ssize_t n =
		readable(client) ? recvfrom(client, text, 15, 0, (struct sockaddr *)&ss, &len) : -1;

	if (n < 0)
		return "nothing";
	text[n] = '\0';
	snprintf(got, sizeof(got), "%s from %s", text, name_of(&ss));
	return got;
}

struct flow {
	struct address from, to;
};

/* A flow from its first datagram: the destination as wanted. */
static void flow_new(struct flow *flow, int steered, const char *text, const char *want)
{
	char got[16] = "";

	is_str(receive(steered, &flow->from, &flow->to, got), want,
	       "udp arrives and says where to");
	is_str(got, text, "with its bytes");
}

static bool flow_answer(const struct flow *flow, int replies, const char *text)
{
	return udp_send_as(replies, &flow->to, &flow->from, (const uint8_t *)text, strlen(text));
}

static int replies_new(struct netns *ns, sa_family_t family)
{
	struct error err = { 0 };
	int fd = steer_udp_replies(ns, family, &err);

	ok(fd >= 0, "a socket for the answers %s", err.message);
	return fd;
}

/* From none to as many bytes as there can be, and one more. */
static void check_sizes(int client, const struct flow *flow, int replies)
{
	static const size_t sizes[] = { 0, 1, 7, 1472, 32769, DATAGRAM_MAX };
	static uint8_t data[DATAGRAM_MAX + 1], got[DATAGRAM_MAX + 1];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 + i / 251);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		ok(udp_send_as(replies, &flow->to, &flow->from, data, sizes[i]) &&
			   readable(client) &&
			   recv(client, got, sizeof(got), 0) == (ssize_t)sizes[i] &&
			   memcmp(got, data, sizes[i]) == 0,
		   "an answer of %zu bytes", sizes[i]);
	}
	ok(!udp_send_as(replies, &flow->to, &flow->from, data, sizeof(data)) &&
		   recv(client, got, 1, MSG_DONTWAIT) < 0,
	   "one that is too long is not sent");
}

/*
 * Two clients that send to two destinations each, unconnected, as a resolver does; each flow by itself.
 */
static void check_udp(struct netns *ns, int steered, int family, const char *const to[2])
{
	struct flow flows[2][2];
	struct address from, where;
	int clients[2], replies = replies_new(ns, family);
	char text[32], got[16];

	for (int c = 0; c < 2; c++) {
		clients[c] = netns_socket(ns, family, SOCK_DGRAM, 0, NULL);
		for (int d = 0; d < 2; d++) {
			snprintf(text, sizeof(text), "c%d d%d", c, d);
			send_to(clients[c], text, to[d]);
			flow_new(&flows[c][d], steered, text, to[d]);
		}
	}
	for (int c = 0; c < 2; c++) {
		for (int d = 0; d < 2; d++) {
			_cleanup_free_ char *want = NULL;

			snprintf(text, sizeof(text), "c%d d%d.", c, d);
			want = xasprintf("%s from %s", text, to[d]);
			send_to(clients[c], text, to[d]);
			is_str(receive(steered, &from, &where, got), to[d],
			       "the next one is steered, too");
			ok(strcmp(got, text) == 0 && from.port == flows[c][d].from.port,
			   "by its client");
			ok(recv(replies, got, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN,
			   "and does not come to the socket of the answers");
			ok(flow_answer(&flows[c][d], replies, text), "which answers");
			is_str(answer(clients[c]), want, "and the client knows from whom");
		}
	}
	ok(recv(steered, got, 1, MSG_DONTWAIT) < 0, "and nothing else comes");
	check_sizes(clients[0], &flows[0][0], replies);
	close(clients[0]);
	close(clients[1]);
	close(replies);
}

/* A client that has connected its socket takes the answer as well. */
static void check_udp_connected(struct netns *ns, int steered, const char *to)
{
	int client = client_new(ns, SOCK_DGRAM, NULL, to);
	int replies = replies_new(ns, address(to).family);
	struct flow flow;
	char got[16] = "";

	send(client, "ask", 3, 0);
	flow_new(&flow, steered, "ask", to);
	flow_answer(&flow, replies, "told");
	ok(readable(client) && recv(client, got, 15, 0) == 4 && strcmp(got, "told") == 0,
	   "a connected client is answered");
	close(replies);
	close(client);
}

static void test_traffic(struct netns *ns, bool ipv6)
{
	static const char *const to4[] = { "198.51.100.7:53", "203.0.113.9:53000" };
	static const char *const to6[] = { "[2001:db8::1]:53", "[fd00::9]:53000" };
	struct steer *steer = start(ns);
	int client;

	if (steer == NULL)
		return;
	is_int(steer->sockets[STEER_TCP6] >= 0, ipv6, "IPv6 sockets, if the pod has it");
	check_tcp(ns, steer->sockets[STEER_TCP4], NULL, "198.51.100.7:443", "198.51.100.7:443");
	check_tcp(ns, steer->sockets[STEER_TCP4], "127.0.0.1:4000", "1.1.1.1:22", "1.1.1.1:22");
	check_udp(ns, steer->sockets[STEER_UDP4], AF_INET, to4);
	check_udp_connected(ns, steer->sockets[STEER_UDP4], "8.8.8.8:53");
	if (ipv6) {
		check_tcp(ns, steer->sockets[STEER_TCP6], NULL, "[2001:db8::1]:443",
			  "[2001:db8::1]:443");
		check_tcp(ns, steer->sockets[STEER_TCP4], NULL, "[::ffff:198.51.100.7]:80",
			  "198.51.100.7:80");
		check_udp(ns, steer->sockets[STEER_UDP6], AF_INET6, to6);
		check_udp_connected(ns, steer->sockets[STEER_UDP6], "[2001:db8::2]:53");
		check_passed(ns, NULL, "[::1]:80", "[::1]:80");
	}
	check_passed(ns, NULL, "127.0.0.1:80", "127.0.0.1:80");
	check_passed(ns, NULL, "0.0.0.0:80", "127.0.0.53:80");
	is_int(try_tcp(ns, NULL, "127.0.0.1:81"), -ECONNREFUSED, "or to nobody");
	is_int(try_udp(ns, "127.0.0.1:81"), -ECONNREFUSED, "as does udp");
	/* A pod that listens everywhere does not get what is meant for others. */
	client = pod_listens(ns, "0.0.0.0:443");
	check_tcp(ns, steer->sockets[STEER_TCP4], NULL, "198.51.100.7:443", "198.51.100.7:443");
	close(client);
	steer_stop(steer);
	is_int(try_tcp(ns, NULL, "198.51.100.7:443"), -ENETUNREACH, "after it, nothing leads out");
	if (ipv6)
		is_int(try_tcp(ns, NULL, "[2001:db8::1]:443"), -ENETUNREACH, "by IPv6 either");
}

/* A UDP port of the pod's, on all addresses and for itself. */
static int pod_has_udp(struct netns *ns, uint16_t port)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = netns_socket(ns, AF_INET, SOCK_DGRAM, 0, NULL);

	is_int(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0, "the pod has UDP port %u", port);
	return fd;
}

/*
 * Nor does what goes to a port keep the pod from having that port itself, or the other way round: as a resolver asks others, and an
 * NTP server does.
 */
static void test_ports(struct netns *ns)
{
	struct steer *steer = start(ns);
	int client = client_new(ns, SOCK_STREAM, NULL, "1.2.3.4:8080"), server, replies;
	struct sockaddr_storage ss;
	struct flow flow;

	server = accept_one(steer->sockets[STEER_TCP4], &ss);
	close(pod_listens(ns, "0.0.0.0:8080"));
	ok(server >= 0, "the pod listens at the port of a connection");
	close(server);
	close(client);
	close(pod_listens(ns, "0.0.0.0:8080"));
	replies = replies_new(ns, AF_INET);
	server = pod_has_udp(ns, 123);
	send_to(server, "time", "8.8.8.8:123");
	flow_new(&flow, steer->sockets[STEER_UDP4], "time", "8.8.8.8:123");
	flow_answer(&flow, replies, "now");
	is_str(answer(server), "now from 8.8.8.8:123", "and asks others at that port");
	close(server);
	server = pod_has_udp(ns, 123);
	ok(recv(server, &(char){ 0 }, 1, MSG_DONTWAIT) < 0, "and can have it again meanwhile");
	close(server);
	close(replies);
	steer_stop(steer);
}

static int remove_address(int fd, const struct address *addr, uint8_t protocol)
{
	(void)protocol;
	return address_remove(fd, addr);
}

/* More than the program can know. */
static void many_addresses(int fd,
			   int (*change)(int fd, const struct address *addr, uint8_t protocol))
{
	char text[ADDRESS_TEXT_MAX];

	for (int i = 0; i < 600; i++) {
		struct address addr;

		snprintf(text, sizeof(text), "10.9.%d.%d:1", i / 200, i % 200 + 1);
		addr = address(text);
		change(fd, &addr, 0);
	}
}

/* Addresses that the netns holds, aliases that are given, and those that come and go later. */
static void test_own(struct netns *ns)
{
	struct aliases *aliases = aliases_new();
	struct address given = address("192.168.127.254:1"), later = address("192.168.127.253:1");
	struct address held = address("10.7.7.7:1"), more = address("10.8.8.8:1");
	struct address behind = address("[fd00::77]:1"); /* IPv6 is told after IPv4 */
	_cleanup_close_ int fd = netns_socket(ns, AF_NETLINK, SOCK_RAW, 0, NULL);
	struct steer *steer;

	address_add(fd, &held, 0);
	steer = start(ns);
	if (steer == NULL)
		return;
	is_int(steer_pass(steer, &given, true, NULL), 0, "an alias");
	alias_hold(aliases, ns, &given, NULL);
	check_passed(ns, "127.0.0.1:4007", "10.7.7.7:80", "10.7.7.7:80");
	check_passed(ns, "127.0.0.1:4005", "192.168.127.254:80", "192.168.127.254:80");
	check_tcp(ns, steer->sockets[STEER_TCP4], "10.7.7.7:4001", "10.7.7.8:80", "10.7.7.8:80");
	check_tcp(ns, steer->sockets[STEER_TCP4], NULL, "192.168.127.253:80", "192.168.127.253:80");
	alias_hold(aliases, ns, &later, NULL);
	is_int(steer_pass(steer, &later, true, NULL), 0, "an alias that comes later");
	check_passed(ns, "127.0.0.1:4006", "192.168.127.253:80", "192.168.127.253:80");
	is_int(steer_pass(steer, &later, false, NULL), 0, "and is to go");
	check_passed(ns, "127.0.0.1:4012", "192.168.127.253:80", "192.168.127.253:80");
	alias_release(aliases, netns_id(ns), &later);
	is_int(steer_pass(steer, &later, false, NULL), 0, "and goes");
	is_int(steer_pass(steer, &later, false, NULL), 0, "and goes");
	check_tcp(ns, steer->sockets[STEER_TCP4], NULL, "192.168.127.253:80", "192.168.127.253:80");
	address_add(fd, &more, 0);
	ok(readable(steer->changes), "it is told that the netns has got an address");
	steer_look(steer);
	check_tcp(ns, steer->sockets[STEER_TCP4], "10.8.8.8:4008", "1.2.3.4:80", "1.2.3.4:80");
	check_passed(ns, "127.0.0.1:4009", "10.8.8.8:80", "10.8.8.8:80");
	check_passed(ns, "127.0.0.1:4010", "10.7.7.7:80", "10.7.7.7:80");
	address_remove(fd, &more);
	ok(readable(steer->changes), "and that it has lost one");
	steer_look(steer);
	check_tcp(ns, steer->sockets[STEER_TCP4], NULL, "10.8.8.8:80", "10.8.8.8:80");
	check_passed(ns, "127.0.0.1:4011", "192.168.127.254:80", "192.168.127.254:80");
	/* More than there is room for, and those behind them that go meanwhile are not forgotten. */
	address_add(fd, &behind, 0);
	steer_look(steer);
	many_addresses(fd, address_add);
	steer_look(steer);
	address_remove(fd, &behind);
	steer_look(steer);
	many_addresses(fd, remove_address);
	steer_look(steer);
	if (steer->sockets[STEER_TCP6] >= 0)
		check_tcp(ns, steer->sockets[STEER_TCP6], NULL, "[fd00::77]:80", "[fd00::77]:80");
	check_tcp(ns, steer->sockets[STEER_TCP4], NULL, "10.9.1.1:80", "10.9.1.1:80");
	check_passed(ns, "127.0.0.1:4013", "10.7.7.7:80", "10.7.7.7:80");
	steer_stop(steer);
	aliases_free(aliases);
	address_remove(fd, &held);
}

/* Where IPv6 is off there is IPv4 alone. */
static bool ipv6_disable(const char *value)
{
	int fd = open("/proc/sys/net/ipv6/conf/all/disable_ipv6", O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, value, 1) == 1;

	if (fd >= 0)
		close(fd);
	return done;
}

int main(void)
{
	struct steer *steer = NULL;
	struct netns *other;
	struct error err = { 0 };
	struct fixture f;
	const char *why = fixture_open(&f);
	int fds = 0;
	bool ipv6;

	if (why != NULL)
		return skip_all("%s", why);
	other = fixture_other(&f);
	if (steer_start(f.own, &steer, &err) < 0 && err.reason == REASON_UNSUPPORTED)
		return skip_all("%s", err.message);
	if (!ok(steer != NULL, "steering starts: %s", err.message))
		return done_testing();
	ipv6 = steer->sockets[STEER_TCP6] >= 0;
	steer_stop(steer);
	fds = (int)fd_count();
	test_traffic(f.own, ipv6);
	test_traffic(other, ipv6);
	test_ports(f.own);
	test_own(other);
	is_int((int)fd_count(), fds, "no descriptor is left behind");
	if (ipv6 && ipv6_disable("1"))
		test_traffic(f.own, false);
	else
		skip("IPv6 can't be switched off here");
	netns_close(other);
	fixture_close(&f);
	return done_testing();
}
