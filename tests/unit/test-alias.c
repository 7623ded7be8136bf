/* SPDX-License-Identifier: MIT */
/*
 * Alias addresses: what a netns holds before, while and after, counted; what is the pod's stays the
 * pod's.
 */
#include "config.h"

#include <errno.h>
#include <linux/netlink.h>

#include "guest/addresses.h"
#include "guest/alias.h"
#include "guest/accept.h"
#include "guest/dialer.h"
#include "lib/sock.h"
#include "tests/tap.h"
#include "tests/unit/netns-fixture.h"

static struct address host(const char *text)
{
	struct address addr = { 0 };

	if (address_parse_host(&addr, text, NULL) < 0)
		abort();
	return addr;
}

static int has(struct netns *ns, const struct address *addr)
{
	return netns_has_address(ns, addr, NULL);
}

static void test_counts(struct netns *ns, const char *text)
{
	struct aliases *aliases = aliases_new();
	struct address addr = host(text), other = host("192.168.127.1");
	struct error err = { 0 };

	is_int(has(ns, &addr), 0, "%s: is not there", text);
	is_int(alias_hold(aliases, ns, &addr, &err), 0, "%s: held %s", text, err.message);
	addr.port = 80; /* does not matter */
	is_int(alias_hold(aliases, ns, &addr, &err), 0, "%s: held again", text);
	is_int(has(ns, &addr), 1, "%s: is there", text);
	ok(aliases_have(aliases, ns, &addr), "%s: and known as ours", text);
	ok(!aliases_have(aliases, ns, &other), "%s: another one is not", text);
	alias_release(aliases, netns_id(ns), &other);
	alias_release(aliases, netns_id(ns), &addr);
	is_int(has(ns, &addr), 1, "%s: stays with one holder less", text);
	alias_release(aliases, netns_id(ns), &addr);
	is_int(has(ns, &addr), 0, "%s: goes with the last", text);
	ok(!aliases_have(aliases, ns, &addr), "%s: and is not ours any more", text);
	alias_release(aliases, netns_id(ns), &addr);
	aliases_free(aliases);
}

static void test_listens(struct netns *ns, const char *text)
{
	struct aliases *aliases = aliases_new();
	struct address addr = host(text);
	struct sockaddr_storage ss;
	socklen_t len;
	int server, client, rc;

	alias_hold(aliases, ns, &addr, NULL);
	addr.port = 5432;
	len = address_to_sockaddr(&addr, &ss);
	server = netns_socket(ns, addr.family, SOCK_STREAM, 0, NULL);
	client = netns_socket(ns, addr.family, SOCK_STREAM, 0, NULL);
	rc = bind(server, (struct sockaddr *)&ss, len);
	ok(rc == 0 && listen(server, 1) == 0, "%s: a listener at the alias", text);
	connect(client, (struct sockaddr *)&ss, len);
	poll(&(struct pollfd){ .fd = client, .events = POLLOUT }, 1, 10000);
	len = sizeof(ss);
	ok(getpeername(client, (struct sockaddr *)&ss, &len) == 0, "%s: which is connected to",
	   text);
	close(server);
	close(client);
	alias_release(aliases, netns_id(ns), &addr);
	aliases_free(aliases);
}

/* Another process's dialer has it too: whoever goes first leaves it. */
static void test_shared(struct netns *ns, const char *text, int type)
{
	struct aliases *first = aliases_new(), *second = aliases_new();
	struct address addr = host(text);
	struct sockaddr_storage ss;
	socklen_t len;
	int server;

	addr.port = 5432;
	len = address_to_sockaddr(&addr, &ss);
	alias_hold(first, ns, &addr, NULL);
	alias_hold(second, ns, &addr, NULL);
	server = netns_socket(ns, addr.family, type, 0, NULL);
	ok(bind(server, (struct sockaddr *)&ss, len) == 0 &&
		   (type == SOCK_DGRAM || listen(server, 1) == 0),
	   "%s: somebody listens there", text);
	alias_release(second, netns_id(ns), &addr);
	is_int(has(ns, &addr), 1, "%s: it stays with the listener", text);
	close(server);
	alias_release(first, netns_id(ns), &addr);
	is_int(has(ns, &addr), 0, "%s: and goes with the last", text);
	aliases_free(first);
	aliases_free(second);
}

/* What the netns held before stays, and is not taken for ours. */
static void test_not_ours(struct netns *ns)
{
	struct aliases *aliases = aliases_new();
	struct address addr = host("10.1.2.3");
	_cleanup_close_ int fd = netns_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, NULL);

	is_int(address_add(fd, &addr, 0), 0, "an address of the pod");
	is_int(address_add(fd, &addr, 0), -EEXIST, "is there once");
	is_int(alias_hold(aliases, ns, &addr, NULL), 0, "is held");
	ok(!aliases_have(aliases, ns, &addr), "but not ours");
	alias_release(aliases, netns_id(ns), &addr);
	is_int(has(ns, &addr), 1, "and stays");
	is_int(address_remove(fd, &addr), 0, "until it is removed");
	is_int(address_remove(fd, &addr), -EADDRNOTAVAIL, "once");
	aliases_free(aliases);
}

/* What is left at the end is taken off; and so is what a killed process left. */
static void test_end(struct netns *ns)
{
	struct aliases *aliases = aliases_new(), *next = aliases_new();
	struct address addr = host("192.168.127.254"), second = host("fd00::254");

	alias_hold(aliases, ns, &addr, NULL);
	alias_hold(aliases, ns, &second, NULL);
	alias_hold(next, ns, &addr, NULL);
	ok(aliases_have(next, ns, &addr), "one of ours that was left is ours");
	aliases_free(aliases);
	is_int(has(ns, &addr) + has(ns, &second), 0, "all are taken off at the end");
	alias_hold(aliases = aliases_new(), ns, &addr, NULL);
	aliases_free(next);
	is_int(has(ns, &addr), 0, "also those that were taken over");
	aliases_free(aliases);
}

static void test_apart(struct netns *ns, struct netns *other)
{
	struct aliases *aliases = aliases_new();
	struct address addr = host("192.168.127.254");

	alias_hold(aliases, ns, &addr, NULL);
	ok(!aliases_have(aliases, other, &addr), "another netns");
	is_int(has(other, &addr), 0, "does not get it");
	alias_hold(aliases, other, &addr, NULL);
	alias_release(aliases, netns_id(ns), &addr);
	is_int(has(other, &addr), 1, "or keeps its own");
	is_int(has(ns, &addr), 0, "when that of the first goes");
	aliases_free(aliases);
}

static void keep_error(const struct dialer_answer *answer, const struct error *err, void *arg)
{
	(void)answer;
	*(struct error *)arg = err != NULL ? *err : (struct error){ .reason = REASON_INTERNAL };
}

static void keep_parked(const struct dialer_answer *answer, const struct error *err, void *arg)
{
	*(struct parked **)arg = err == NULL ? answer->parked : NULL;
}

/* A dialer does not dial what it listens at itself, whatever its policy says. */
static void test_dialer(struct netns *ns)
{
	struct netns_source *source = netns_source_new();
	struct policy policy = { 0 };
	struct dialer_config config = { .source = source, .policy = &policy, .allow_expose = true };
	struct address addr = host("192.168.127.254");
	struct rpc_params params = { 0 };
	struct parked *parked = NULL;
	struct error err;
	struct dialer *dialer;
	struct loop loop;

	ok(loop_init(&loop) == 0 && policy_allow(&policy, "192.168.127.0/24", NULL) == 0,
	   "a dialer that may dial it");
	dialer = dialer_new(&loop, &config);
	params.json = json_pack("{s:s, s:s, s:s}", "handle", "web", "network", "tcp", "listen",
				"192.168.127.254:80");
	dialer_call(dialer, "pod.portAccept", &params, keep_parked, &parked);
	json_decref(params.json);
	ok(parked != NULL && has(ns, &addr) == 1, "listens at an alias");
	params.json = json_pack("{s:s, s:s, s:s}", "handle", "web", "network", "tcp", "address",
				"[::ffff:192.168.127.254]:80");
	ok(dialer_call(dialer, "pod.portDial", &params, keep_error, &err) == NULL, "answers");
	is_str(err.message, "pod.portDial: 192.168.127.254:80 is an address of vzfwd's own",
	       "an alias is no target");
	is_int(err.reason, REASON_DENIED, "that is denied");
	json_decref(params.json);
	parked_free(parked);
	dialer_free(dialer);
	is_int(has(ns, &addr), 0, "and goes with the dialer");
	netns_source_free(source);
	policy_clear(&policy);
	loop_clear(&loop);
}

/* Without capabilities: the netns is there, and may not be changed. */
static void test_denied(struct netns *ns)
{
	struct aliases *aliases = aliases_new();
	struct address addr = host("192.168.127.254");
	struct error err = { 0 };

	if (seteuid(65534) < 0) {
		skip("cannot become another user");
	} else {
		ok(alias_hold(aliases, ns, &addr, &err) < 0 && err.reason == REASON_DENIED,
		   "denied without CAP_NET_ADMIN: %s", err.message);
		if (seteuid(0) < 0)
			abort();
	}
	ok(!aliases_have(aliases, ns, &addr), "and not there");
	aliases_free(aliases);
}

int main(void)
{
	struct netns *other;
	struct fixture f;
	const char *why = fixture_open(&f);

	if (why != NULL)
		return skip_all("%s", why);
	other = fixture_other(&f);
	test_denied(f.own);
	test_counts(f.own, "192.168.127.254");
	test_counts(f.own, "fd00::254");
	test_counts(other, "192.168.127.254");
	test_listens(other, "192.168.127.254");
	test_listens(other, "fd00::254");
	test_shared(other, "192.168.127.254", SOCK_STREAM);
	test_shared(other, "fd00::254", SOCK_STREAM);
	test_shared(other, "192.168.127.254", SOCK_DGRAM);
	test_not_ours(other);
	test_end(other);
	test_apart(f.own, other);
	test_dialer(f.own);
	netns_close(other);
	fixture_close(&f);
	return done_testing();
}
