/* SPDX-License-Identifier: MIT */
/*
 * Egress steering at its edges: hostile clients, a second one, a process that is killed, sockets that
 * are closed, routes of others, a network card, and what it takes to be allowed to.
 */
#include "config.h"

#include <netinet/udp.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib/caps.h"
#include "tests/unit/steer-fixture.h"

/* What no socket of ours may get, and nobody else either. */
static void test_hostile(struct netns *ns, bool ipv6)
{
	struct steer *steer = start(ns);
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct udphdr header = { .source = htons(4000), .len = htons(sizeof(header)) };
	int fd, on = 1;

	if (steer == NULL)
		return;
	is_int(try_tcp(ns, NULL, "224.0.0.1:80"), -ENETUNREACH, "tcp to a group");
	is_int(try_udp(ns, "224.0.0.1:80"), 0, "udp to a group goes nowhere");
	fd = netns_socket(ns, AF_INET, SOCK_DGRAM, 0, NULL);
	setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
	send_to(fd, "x", "255.255.255.255:80");
	close(fd);
	if (ipv6) {
		is_int(try_tcp(ns, NULL, "[ff0e::1]:80"), -ENETUNREACH, "tcp to a group by IPv6");
		is_int(try_udp(ns, "[ff0e::1]:80"), 0, "udp to one");
	}
	/* Port 0: connect(2) lets it through. */
	sin.sin_addr.s_addr = htonl(0xc6336407);
	fd = netns_socket(ns, AF_INET, SOCK_STREAM, 0, NULL);
	connect(fd, (struct sockaddr *)&sin, sizeof(sin));
	readable(fd);
	is_int(sock_take_error(fd), ECONNREFUSED, "tcp to port 0 is refused");
	close(fd);
	fd = netns_socket(ns, AF_INET, SOCK_RAW, IPPROTO_UDP, NULL);
	ok(sendto(fd, &header, sizeof(header), 0, (struct sockaddr *)&sin, sizeof(sin)) > 0,
	   "udp to port 0");
	/* From an address that is not the pod's: our answers look like that. */
	is_int(try_tcp(ns, "9.9.9.9:4002", "8.8.8.8:80"), -ECONNREFUSED,
	       "what has a foreign source is refused");
	close(fd);
	for (size_t i = 0; i < STEER_SOCKETS; i++) {
		struct pollfd pollfd = { .fd = steer->sockets[i], .events = POLLIN };

		is_int(poll(&pollfd, 1, 0), 0, "and none of it came to socket %zu", i);
	}
	is_int(try_tcp(ns, NULL, "240.0.0.1:80"), 0, "nobody's address is an address as others");
	steer_stop(steer);
}

/* Runs in another process, which is killed once it has begun. */
static pid_t steer_in_child(struct netns *ns)
{
	int pipes[2];
	char byte = 0;
	pid_t pid;

	if (pipe(pipes) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		struct steer *steer;

		byte = steer_start(ns, &steer, NULL) == 0;
		if (write(pipes[1], &byte, 1) == 1)
			pause();
		_exit(0);
	}
	ok(read(pipes[0], &byte, 1) == 1 && byte == 1, "steering by another process");
	close(pipes[0]);
	close(pipes[1]);
	return pid;
}

static void check_second(struct netns *ns, const char *what)
{
	struct steer *second = NULL;
	struct error err = { 0 };
	int rc = steer_start(ns, &second, &err);

	ok(rc < 0 && second == NULL && err.reason == REASON_EXHAUSTED && err.sys_errno == EEXIST,
	   "%s: %s", what, err.message);
}

static void test_second(struct netns *ns, struct netns *other)
{
	struct steer *steer = start(ns), *apart;
	pid_t pid;

	check_second(ns, "no second one in the same netns");
	apart = start(other);
	check_tcp(ns, steer->sockets[STEER_TCP4], NULL, "1.2.3.4:80", "1.2.3.4:80");
	check_tcp(other, apart->sockets[STEER_TCP4], NULL, "1.2.3.4:81", "1.2.3.4:81");
	steer_stop(steer);
	check_tcp(other, apart->sockets[STEER_TCP4], NULL, "1.2.3.4:82", "1.2.3.4:82");
	pid = steer_in_child(ns);
	check_second(ns, "nor beside another process");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	steer_stop(apart);
}

/* The routes that a killed process leaves lead nowhere; the next one takes them over. */
static void test_killed(struct netns *ns, bool ipv6)
{
	pid_t pid = steer_in_child(ns);
	struct steer *steer;

	is_int(try_tcp(ns, NULL, "198.51.100.7:80"), 0, "which works");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	is_int(try_tcp(ns, NULL, "198.51.100.7:80"), -ECONNREFUSED, "killed: all is refused");
	is_int(try_udp(ns, "198.51.100.7:80"), -ECONNREFUSED, "udp too");
	if (ipv6)
		is_int(try_tcp(ns, NULL, "[2001:db8::1]:80"), -ECONNREFUSED, "and by IPv6");
	steer = start(ns);
	check_tcp(ns, steer->sockets[STEER_TCP4], NULL, "1.2.3.4:80", "1.2.3.4:80");
	steer_stop(steer);
	is_int(try_tcp(ns, NULL, "198.51.100.7:80"), -ENETUNREACH, "and is undone by the next");
}

/* What a caller has taken over and closed: refused, and the rest goes on. */
static void test_closed(struct netns *ns)
{
	struct steer *steer = start(ns);

	close(steal_fd(&steer->sockets[STEER_UDP4]));
	is_int(try_udp(ns, "8.8.8.8:53"), -ECONNREFUSED, "without its socket udp is refused");
	check_tcp(ns, steer->sockets[STEER_TCP4], NULL, "1.2.3.4:80", "1.2.3.4:80");
	steer_stop(steer);
}

static int run_in(struct fixture *f, struct netns *ns, const char *command)
{
	_cleanup_close_ int fd = netns_open_fd(ns, NULL);
	int rc = setns(fd, CLONE_NEWNET) < 0 ? -errno : system(command);

	if (setns(f->home.fd, CLONE_NEWNET) < 0)
		abort();
	return rc;
}

/* A route of somebody else's is neither used nor removed. */
static void test_foreign_route(struct fixture *f, struct netns *ns)
{
	struct steer *steer = NULL;
	struct error err = { 0 };

	if (run_in(f, ns, "ip route add local default dev lo") != 0) {
		skip("no ip(8) here");
		return;
	}
	ok(steer_start(ns, &steer, &err) < 0 && err.sys_errno == EEXIST,
	   "a route of somebody else's: %s", err.message);
	is_int(run_in(f, ns, "ip route del local default dev lo"), 0, "stays");
}

/* A pod with a network card: its default route stays where it is, and has no say meanwhile. */
static void test_card(struct fixture *f, struct netns *ns)
{
	static const char there[] = "ip route show default | grep -q 'via 10.8.0.1'";
	struct pollfd pollfd = { .events = POLLIN };
	struct steer *steer;
	int client;

	if (run_in(f, ns,
		   "ip link add card type veth peer name far && ip link set far up && ip addr add "
		   "10.8.0.2/24 dev card && "
		   "ip link set card up && ip route add default via 10.8.0.1") != 0) {
		skip("no veth devices here");
		return;
	}
	steer = start(ns);
	pollfd.fd = steer->sockets[STEER_TCP4];
	check_tcp(ns, pollfd.fd, NULL, "1.2.3.4:80", "1.2.3.4:80");
	client = client_new(ns, SOCK_STREAM, NULL, "10.8.0.1:80");
	is_int(poll(&pollfd, 1, 0), 0, "its own network stays with it");
	close(client);
	check_passed(ns, NULL, "10.8.0.2:80", "10.8.0.2:80");
	if (steer->sockets[STEER_TCP6] >= 0 &&
	    run_in(f, ns, "ip addr add 2001:db8:5::2/64 dev card nodad") == 0)
		check_tcp(ns, steer->sockets[STEER_TCP6], NULL, "[2001:db8::1]:80",
			  "[2001:db8::1]:80");
	is_int(run_in(f, ns, there), 0, "its route is there");
	steer_stop(steer);
	is_int(run_in(f, ns, there), 0, "and stays");
	is_int(run_in(f, ns, "ip link del card"), 0, "the card is removed");
}

static void test_denied(struct netns *ns)
{
	struct steer *steer = NULL;
	struct error err = { 0 };

	if (seteuid(65534) < 0) {
		skip("cannot become another user");
		return;
	}
	ok(steer_start(ns, &steer, &err) < 0 && err.reason == REASON_DENIED,
	   "denied without capabilities: %s", err.message);
	if (seteuid(0) < 0)
		abort();
}

/* With what vzfwd-guest keeps, and without. */
static void test_caps(struct netns *ns, unsigned kept, bool allowed)
{
	struct steer *steer = NULL;
	struct error err = { 0 };
	int status = -1, fd;
	pid_t pid = fork();

	if (pid == 0) {
		if (caps_drop(kept, NULL, &err) < 0)
			_exit(3);
		if (steer_start(ns, &steer, &err) < 0)
			_exit(err.reason == REASON_DENIED ? 1 : 3);
		fd = steer_udp_replies(ns, AF_INET, &err);
		steer_stop(steer);
		_exit(fd >= 0 ? 0 : 2);
	}
	waitpid(pid, &status, 0);
	is_int(WEXITSTATUS(status), allowed ? 0 : 1, "%s what --allow-egress keeps",
	       allowed ? "done with" : "denied without");
}

int main(void)
{
	struct steer *steer = NULL;
	struct netns *other;
	struct error err = { 0 };
	struct fixture f;
	const char *why = fixture_open(&f);
	bool ipv6;
	int fds;

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
	test_denied(f.own);
	test_hostile(other, ipv6);
	test_second(f.own, other);
	test_killed(other, ipv6);
	test_closed(other);
	test_caps(other, CAPS_NETNS | CAPS_EGRESS, true);
	test_caps(other, CAPS_NETNS, false);
	test_foreign_route(&f, other);
	test_card(&f, other);
	is_int((int)fd_count(), fds, "no descriptor is left behind");
	netns_close(other);
	fixture_close(&f);
	return done_testing();
}
