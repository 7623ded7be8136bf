/* SPDX-License-Identifier: MIT */
/*
 * Endpoints, networks and addresses: what is taken, what is refused, and what
 * is printed.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/un.h>

#include "lib/endpoint.h"
#include "tests/tap.h"

static const struct {
	const char *text;
	struct endpoint want;
	const char *formatted; /* NULL: the text */
} endpoints[] = {
	{ "vsock://3", { .type = ENDPOINT_VSOCK, .cid = 3, .port = 893 }, NULL },
	{ "vsock://1", { .type = ENDPOINT_VSOCK, .cid = 1, .port = 893 }, NULL },
	{ "vsock://3:5000", { .type = ENDPOINT_VSOCK, .cid = 3, .port = 5000 }, NULL },
	{ "vsock://3:893", { .type = ENDPOINT_VSOCK, .cid = 3, .port = 893 }, "vsock://3" },
	{ "vsock://4294967294:4294967294",
	  { .type = ENDPOINT_VSOCK, .cid = 4294967294u, .port = 4294967294u },
	  NULL },
	{ "hvsock:///run/v.sock",
	  { .type = ENDPOINT_HVSOCK, .port = 893, .text = (char *)"/run/v.sock" },
	  NULL },
	{ "hvsock:///run/v.sock:52",
	  { .type = ENDPOINT_HVSOCK, .port = 52, .text = (char *)"/run/v.sock" },
	  NULL },
	{ "hvsock:///run/a:b",
	  { .type = ENDPOINT_HVSOCK, .port = 893, .text = (char *)"/run/a:b" },
	  NULL },
	{ "hvsock:///run/a:",
	  { .type = ENDPOINT_HVSOCK, .port = 893, .text = (char *)"/run/a:" },
	  NULL },
	{ "hvsock:///run/a:5:893",
	  { .type = ENDPOINT_HVSOCK, .port = 893, .text = (char *)"/run/a:5" },
	  NULL },
	{ "unix:///run/v.sock", { .type = ENDPOINT_UNIX, .text = (char *)"/run/v.sock" }, NULL },
	{ "unix:///run/a:5", { .type = ENDPOINT_UNIX, .text = (char *)"/run/a:5" }, NULL },
	{ "exec:ssh vm vzfwd-guest --stdio",
	  { .type = ENDPOINT_EXEC, .text = (char *)"ssh vm vzfwd-guest --stdio" },
	  NULL },
	{ "exec: a", { .type = ENDPOINT_EXEC, .text = (char *)" a" }, NULL },
	{ "fd:0", { .type = ENDPOINT_FD, .fd = 0 }, NULL },
	{ "fd:2147483647", { .type = ENDPOINT_FD, .fd = 2147483647 }, NULL },
	{ "netns:/run/netns/web",
	  { .type = ENDPOINT_NETNS, .text = (char *)"/run/netns/web" },
	  NULL },
	{ "pid:1234", { .type = ENDPOINT_PID, .pid = 1234 }, NULL },
};

static const char *const bad_endpoints[] = {
	"",
	"web",
	"vsock",
	"vsock:",
	"vsock:3",
	"vsock:/3",
	"vsock://",
	"vsock://any",
	"vsock://0",
	"vsock://-1",
	"vsock://4294967295",
	"vsock://99999999999999999999",
	"vsock://3:",
	"vsock://3:0",
	"vsock://3:4294967295",
	"vsock://3:x",
	"vsock://3:5:6",
	"vsock://3/",
	"vsock:// 3",
	"VSOCK://3",
	"hvsock://",
	"hvsock:///",
	"hvsock:///:5",
	"hvsock://run/v.sock",
	"hvsock:/run/v.sock",
	"hvsock:///run/v.sock:0",
	"hvsock:///run/v.sock:4294967295",
	"unix:/run/v.sock",
	"unix://",
	"unix:///",
	"unix://run/v.sock",
	"exec:",
	"exec: \t",
	"fd:",
	"fd:-1",
	"fd:2147483648",
	"fd:1x",
	"netns:",
	"netns:web",
	"pid:",
	"pid:0",
	"pid:2147483648",
	"tcp://1.2.3.4:5",
};

static void test_endpoints(void)
{
	struct endpoint ep;
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
		const char *text = endpoints[i].text;
		const struct endpoint *want = &endpoints[i].want;
		_cleanup_free_ char *formatted = NULL;

		if (!is_int(endpoint_parse(&ep, text, &err), 0, "%s is an endpoint", text))
			continue;
		ok(ep.type == want->type && ep.cid == want->cid && ep.port == want->port &&
			   ep.fd == want->fd && ep.pid == want->pid,
		   "%s: type and numbers", text);
		is_str(ep.text, want->text, "%s: path or command", text);
		formatted = endpoint_format(&ep);
		is_str(formatted, endpoints[i].formatted ? endpoints[i].formatted : text,
		       "%s: printed again", text);
		ok(endpoint_is_endpoint(text), "%s cannot be a name", text);
		endpoint_clear(&ep);
		ok(!ep.text, "%s: cleared", text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad_endpoints); i++) {
		err.reason = REASON_COUNT;
		ok(endpoint_parse(&ep, bad_endpoints[i], &err) < 0, "\"%s\" is refused",
		   bad_endpoints[i]);
		is_int(err.reason, REASON_INVALID, "\"%s\" is invalid", bad_endpoints[i]);
		ok(!ep.text, "\"%s\" leaves nothing behind", bad_endpoints[i]);
	}
	ok(!endpoint_is_endpoint("web"), "web can be a name");
	ok(!endpoint_is_endpoint("vsock"), "vsock can be a name");
	ok(endpoint_is_endpoint("vsock:web"), "what begins with a scheme cannot");
}

/* Of all paths, only those of sockets have a limit. */
static void test_long_paths(void)
{
	static const struct {
		const char *scheme;
		bool limited;
	} cases[] = { { "unix://", true }, { "hvsock://", true }, { "netns:", false } };
	struct sockaddr_un sun;
	char path[sizeof(sun.sun_path) + 1];

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *too_long = xasprintf("%s%s", cases[i].scheme, path);
		_cleanup_free_ char *longest = xstrndup(too_long, strlen(too_long) - 1);
		struct endpoint ep;
		struct error err;

		is_int(endpoint_parse(&ep, longest, &err), 0, "%s: a path of %zu bytes",
		       cases[i].scheme, strlen(path) - 1);
		endpoint_clear(&ep);
		is_int(endpoint_parse(&ep, too_long, &err), cases[i].limited ? -ENAMETOOLONG : 0,
		       "%s: a path of %zu bytes", cases[i].scheme, strlen(path));
		endpoint_clear(&ep);
	}
}

static void test_listen(void)
{
	static const struct {
		const char *text, *formatted; /* NULL: refused */
		uint32_t cid, port;
	} cases[] = {
		{ "vsock://any", "vsock://any", VSOCK_CID_ANY, 893 },
		{ "vsock://any:893", "vsock://any", VSOCK_CID_ANY, 893 },
		{ "vsock://any:5000", "vsock://any:5000", VSOCK_CID_ANY, 5000 },
		{ "vsock://3:5000", "vsock://3:5000", 3, 5000 },
		{ "unix:///run/g.sock", "unix:///run/g.sock", 0, 0 },
		{ "vsock://anyone", NULL, 0, 0 },
		{ "vsock://4294967295", NULL, 0, 0 },
		{ "vsock:any", NULL, 0, 0 },
		{ "unix://", NULL, 0, 0 },
		{ "hvsock:///run/g.sock", NULL, 0, 0 },
		{ "exec:cat", NULL, 0, 0 },
		{ "fd:3", NULL, 0, 0 },
		{ "", NULL, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *formatted = NULL;
		struct endpoint ep;
		struct error err;
		int ret = endpoint_parse_listen(&ep, cases[i].text, &err);

		ok((ret == 0) == !!cases[i].formatted, "listen on \"%s\"", cases[i].text);
		if (ret < 0) {
			is_int(err.reason, REASON_INVALID, "\"%s\" is invalid", cases[i].text);
			continue;
		}
		ok(ep.cid == cases[i].cid && ep.port == cases[i].port, "%s: numbers",
		   cases[i].text);
		formatted = endpoint_format(&ep);
		is_str(formatted, cases[i].formatted, "%s: printed again", cases[i].text);
		endpoint_clear(&ep);
	}
}

static void test_networks(void)
{
	static const char *const names[] = { "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix" };
	enum network network = NETWORK_COUNT;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		is_int(network_from_name(names[i], &network), 0, "%s is a network", names[i]);
		is_str(network_name(network), names[i], "%s: its name again", names[i]);
	}
	is_int(network_from_name("sctp", &network), -ENOENT, "sctp is none");
	is_int(network_from_name("", &network), -ENOENT, "nothing is none");
	is_int(network_from_name("TCP", &network), -ENOENT, "TCP is none");
}

static void test_addresses(void)
{
	static const struct {
		const char *text;
		sa_family_t family;
		const char *formatted; /* the text if NULL */
	} cases[] = {
		{ "127.0.0.1:80", AF_INET, NULL },
		{ "0.0.0.0:1", AF_INET, NULL },
		{ "255.255.255.255:65535", AF_INET, NULL },
		{ "[::1]:80", AF_INET6, NULL },
		{ "[::]:65535", AF_INET6, NULL },
		{ "[::ffff:10.0.0.1]:80", AF_INET6, NULL },
		{ "[FD00:0:0:0:0:0:0:1]:80", AF_INET6, "[fd00::1]:80" },
		{ "[1111:2222:3333:4444:5555:6666:7777:8888]:65535", AF_INET6, NULL },
		{ "localhost:80", AF_UNSPEC, NULL },
		{ ":80", AF_UNSPEC, "localhost:80" },
		{ ":00080", AF_UNSPEC, "localhost:80" },
	};
	static const struct {
		const char *text, *message;
	} bad[] = {
		{ "127.0.0.1:0", "port must be between 1 and 65535, got 0" },
		{ "127.0.0.1:65536", "port must be between 1 and 65535, got 65536" },
		{ ":70000", "port must be between 1 and 65535, got 70000" },
		{ ":-1", "port must be between 1 and 65535, got -1" },
		{ ":http", "port must be between 1 and 65535, got http" },
		{ ": 80", "port must be between 1 and 65535, got  80" },
		{ ":", "port must be between 1 and 65535, got \"\"" },
		{ "example.com:80", "host must be an IP address or localhost, no names are "
				    "resolved, got example.com" },
		{ "127.1:80", NULL },
		{ "127.0.0.1.:80", NULL },
		{ "1.2.3.4.5:80", NULL },
		{ "[127.0.0.1]:80", NULL },
		{ "[localhost]:80", NULL },
		{ "[]:80", NULL },
		{ "[::1:80", NULL },
		{ "[fe80::1%lo]:80", NULL },
		{ "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb]:80", NULL },
		{ "::1:80", "address must have its IPv6 host in brackets ([::1]:80), got ::1:80" },
		{ "[::1]", "address must be HOST:PORT or :PORT, got [::1]" },
		{ "80", "address must be HOST:PORT or :PORT, got 80" },
		{ "", "address must be HOST:PORT or :PORT, got " },
	};
	struct address addr;
	struct error err;
	char text[ADDRESS_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		is_int(address_parse(&addr, cases[i].text, &err), 0, "%s is an address",
		       cases[i].text);
		is_int(addr.family, cases[i].family, "%s: its family", cases[i].text);
		is_str(address_format(&addr, text),
		       cases[i].formatted ? cases[i].formatted : cases[i].text, "%s: printed again",
		       cases[i].text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ok(address_parse(&addr, bad[i].text, &err) < 0, "\"%s\" is refused", bad[i].text);
		is_int(err.reason, REASON_INVALID, "\"%s\" is invalid", bad[i].text);
		if (bad[i].message)
			is_str(err.message, bad[i].message, "\"%s\" says why", bad[i].text);
	}
}

static void test_hosts(void)
{
	struct address addr = { .port = 7 };
	struct error err;

	is_int(address_parse_host(&addr, "10.1.2.3", &err), 0, "an IPv4 host");
	ok(addr.family == AF_INET && addr.v4.s_addr == htonl(0x0a010203), "its bytes");
	is_int(addr.port, 7, "the port is left alone");
	is_int(address_parse_host(&addr, "fd00::1", &err), 0, "an IPv6 host");
	ok(addr.family == AF_INET6 && addr.v6.s6_addr[0] == 0xfd && addr.v6.s6_addr[15] == 1,
	   "its bytes");
	is_int(address_parse_host(&addr, "[fd00::2]", &err), 0, "an IPv6 host in brackets");
	is_int(addr.v6.s6_addr[15], 2, "its bytes");
	is_int(address_parse_host(&addr, "", &err), 0, "no host");
	is_int(addr.family, AF_UNSPEC, "is loopback");
	is_int(address_parse_host(&addr, "localhost", &err), 0, "localhost");
	is_int(addr.family, AF_UNSPEC, "is loopback");
	ok(address_parse_host(&addr, "*", &err) < 0, "* is no host");
}

static void test_sockaddrs(void)
{
	static const char *const texts[] = { "10.1.2.3:80", "[fd00::1]:65535" };
	struct address addr, again;
	struct sockaddr_storage ss;
	struct sockaddr other = { .sa_family = AF_UNIX };
	struct error err;
	char text[ADDRESS_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		address_parse(&addr, texts[i], &err);
		is_int(address_to_sockaddr(&addr, &ss),
		       addr.family == AF_INET ? sizeof(struct sockaddr_in)
					      : sizeof(struct sockaddr_in6),
		       "%s as a sockaddr", texts[i]);
		is_int(ss.ss_family, addr.family, "%s: its family", texts[i]);
		is_int(address_from_sockaddr(&again, (struct sockaddr *)&ss), 0, "and back");
		is_str(address_format(&again, text), texts[i], "%s is the same again", texts[i]);
	}
	is_int(address_from_sockaddr(&again, &other), -EAFNOSUPPORT, "AF_UNIX has no address");
}

int main(void)
{
	test_endpoints();
	test_long_paths();
	test_listen();
	test_networks();
	test_addresses();
	test_hosts();
	test_sockaddrs();
	return done_testing();
}
