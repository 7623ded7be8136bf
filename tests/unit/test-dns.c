/* SPDX-License-Identifier: MIT */
/* DNS without I/O: messages read and written, zones, streams and resolv.conf. */
#include "config.h"

#include <arpa/inet.h>

#include "dns/resolv.h"
#include "dns/stream.h"
#include "dns/zones.h"
#include "tap.h"
#include "tests/unit/dns-query.h"

static struct dns_query query;
static uint8_t message[DNS_MESSAGE_MAX], answer[DNS_MESSAGE_MAX];

/* The rest of the header says that it has one question. */
#define HEADER "\x12\x34\1\0\0\1\0\0\0\0\0\0"
#define HEADER_EDNS "\x12\x34\1\0\0\1\0\0\0\0\0\1"
#define A_QUESTION "\0\1\0\1"
#define OPT(size, version, flags) "\0\0\x29" size "\0" version flags "\0\0"

#define PARSE(bytes) dns_query_parse(&query, (const uint8_t *)(bytes), sizeof(bytes) - 1)

static void check_queries(void)
{
	is_int(PARSE(HEADER "\3wWw\7example\0" A_QUESTION), DNS_NOERROR, "a question");
	is_str(query.name, "www.example", "its name, in lower case");
	ok(query.id == 0x1234 && query.type == DNS_A && query.class == 1 && !query.edns,
	   "the rest");
	is_int((int)query.question_size, 17, "its size");
	is_int(PARSE(HEADER "\0" A_QUESTION), DNS_NOERROR, "the root");
	is_str(query.name, ".", "is a dot");
	is_int(PARSE(HEADER "\6a.b\\ \x80\1\xff\0" A_QUESTION), DNS_NOERROR, "any bytes");
	is_str(query.name, "a\\046b\\092\\032\\128.\\255", "are escaped");
	is_int(PARSE(HEADER), DNS_FORMERR, "no question");
	is_int((int)query.question_size, 0, "none to be repeated");
	is_int(PARSE("\x12\x34\1\0\0\2\0\0\0\0\0\0\1a\0" A_QUESTION "\1b\0" A_QUESTION),
	       DNS_FORMERR, "two questions");
	is_int(PARSE("\x12\x34\1\0\0\0\0\0\0\0\0\0"), DNS_FORMERR, "a header that has none");
	is_int(PARSE(HEADER "\1a\0\0\1\0"), DNS_FORMERR, "one that is cut short");
	is_int(PARSE(HEADER "\2a\0" A_QUESTION), DNS_FORMERR, "a label past the name's end");
	is_int(PARSE(HEADER "\1a\xc0\x0c" A_QUESTION), DNS_FORMERR, "a pointer to itself");
	is_int(PARSE(HEADER "\1a\xc0\0" A_QUESTION), DNS_FORMERR, "one into the header");
	is_int(PARSE(HEADER "\1a\xc0\x0e" A_QUESTION), DNS_FORMERR, "one to where it stands");
	is_int(PARSE(HEADER "\1a\x80\0" A_QUESTION), DNS_FORMERR, "a label of no known kind");
	is_int(PARSE(HEADER "\1a\0" A_QUESTION "x"), DNS_FORMERR, "a byte too many");
	is_int(PARSE("\x12\x34\x20\0\0\1\0\0\0\0\0\0\1a\0" A_QUESTION), DNS_NOTIMP, "NOTIFY");
	ok(PARSE("\x12\x34\x81\0\0\1\0\0\0\0\0\0\1a\0" A_QUESTION) < 0, "an answer is no query");
	ok(PARSE("\x12\x34\1\0\0\1\0\0\0\0\0") < 0, "nor is less than a header");
}

static void check_long_names(void)
{
	_cleanup_free_ char *label = xasprintf("%063d", 0);
	_cleanup_free_ char *longest = xasprintf("%s.%s.%s.%.61s", label, label, label, label);
	_cleanup_free_ char *longer = xasprintf("%s.%s.%s.%.62s", label, label, label, label);
	size_t size = dns_query_build(message, 1, longest, DNS_A, NULL);

	is_int(dns_query_parse(&query, message, size), DNS_NOERROR, "a name of 255 bytes");
	is_str(query.name, longest, "is whole");
	size = dns_query_build(message, 1, longer, DNS_A, NULL);
	is_int(dns_query_parse(&query, message, size), DNS_FORMERR, "one of 256 bytes is none");
}

static void check_edns(void)
{
	is_int(PARSE(HEADER_EDNS "\1a\0" A_QUESTION OPT("\4\xd0", "\0", "\x80\0")), DNS_NOERROR,
	       "EDNS");
	ok(query.edns && query.dnssec_ok, "with DO");
	is_int(query.udp_size, 1232, "its size");
	is_int((int)dns_query_limit(&query, false), 1232, "which holds for UDP");
	is_int((int)dns_query_limit(&query, true), DNS_MESSAGE_MAX, "and not for TCP");
	PARSE(HEADER_EDNS "\1a\0" A_QUESTION OPT("\0\1", "\0", "\0\0"));
	is_int((int)dns_query_limit(&query, false), 512, "never less than 512");
	PARSE(HEADER_EDNS "\1a\0" A_QUESTION OPT("\xff\xff", "\0", "\0\0"));
	ok(!query.dnssec_ok, "without DO");
	is_int((int)dns_query_limit(&query, false), DNS_UDP_MAX, "never more than our own");
	PARSE(HEADER "\1a\0" A_QUESTION);
	is_int((int)dns_query_limit(&query, false), 512, "512 without EDNS");
	is_int(PARSE(HEADER_EDNS "\1a\0" A_QUESTION OPT("\4\xd0", "\1", "\0\0")), DNS_BADVERS,
	       "another version");
	is_int(PARSE(HEADER_EDNS "\1a\0" A_QUESTION "\0\0\x29\4\xd0\0\0\0\0\0\7\xff\xff\0\3abc"),
	       DNS_NOERROR, "an unknown option");
	is_int(PARSE("\x12\x34\1\0\0\1\0\0\0\0\0\2\1a\0" A_QUESTION OPT("\4\xd0", "\0", "\0\0")
			     OPT("\4\xd0", "\0", "\0\0")),
	       DNS_FORMERR, "two OPT records");
	is_int(PARSE(HEADER_EDNS "\1a\0" A_QUESTION "\1x\0\0\x29\4\xd0\0\0\0\0\0\0"), DNS_FORMERR,
	       "one that has a name");
	is_int(PARSE(HEADER_EDNS "\1a\0" A_QUESTION "\0\0\x29\4\xd0\0\0\0\0\0\1"), DNS_FORMERR,
	       "one that is cut short");
}

static struct zones *zones;

/* Asks the zones; the answer's size, 0 if the name is not theirs. */
static size_t ask(const char *name, unsigned type, const char *opt, size_t limit)
{
	size_t size = dns_query_build(message, 0x1234, name, type, opt);

	if (dns_query_parse(&query, message, size) != DNS_NOERROR)
		abort();
	return zones_answer(zones, &query, answer, limit);
}

/*
 * What the answer to a question is: "not ours", or its rcode, how many answers and authorities there are, and
 * addresses with their TTL.
 */
static const char *asked(const char *name, unsigned type)
{
	static char text[512];
	_cleanup_free_ struct address *addresses = NULL;
	size_t size = ask(name, type, NULL, DNS_PLAIN_MAX), count, used;
	char one[INET6_ADDRSTRLEN];
	uint32_t ttl;

	if (size == 0)
		return "not ours";
	used = (size_t)snprintf(text, sizeof(text), "%d %d/%d", dns_rcode(answer), answer[7],
				answer[9]);
	count = dns_reply_addresses(answer, size, &addresses, &ttl);
	for (size_t i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, " %s",
					 inet_ntop(addresses[i].family, &addresses[i].v4, one,
						   sizeof(one)));
	if (count > 0)
		snprintf(text + used, sizeof(text) - used, " %u", ttl);
	return text;
}

static void add(const char *name, const char *text)
{
	struct address address = { 0 };

	if (address_parse_host(&address, text, NULL) < 0 ||
	    zones_add(zones, name, &address, NULL) < 0)
		abort();
}

static ssize_t siblings(const char *name, struct address *out, size_t max, void *arg)
{
	if (strcmp(name, "web") != 0 && strcmp(name, "v6") != 0)
		return -1;
	if (max < 2 || arg != &zones)
		abort();
	out[0] = (struct address){ .family = AF_INET, .v4.s_addr = htonl(0x0a000007) };
	return strcmp(name, "v6") == 0 ? 0 : 1;
}

/* What the zones of check_zones() are asked. */
static const struct {
	const char *name;
	unsigned type;
	const char *want;
} zone_rows[] = {
	{ "web.vz.test", DNS_A, "0 2/0 10.0.0.1 10.0.0.2 60" },
	{ "WEB.vz.Test", DNS_A, "0 2/0 10.0.0.1 10.0.0.2 60" },
	{ "web.vz.test", DNS_AAAA, "0 1/0 fd00::1 60" },
	{ "web.vz.test", 15, "0 0/1" }, /* MX */
	{ "web.vz.test", DNS_ANY, "0 1/0" },
	{ "none.vz.test", DNS_A, "3 0/1" },
	{ "none.vz.test", DNS_ANY, "3 0/1" },
	{ "x.web.vz.test", DNS_A, "3 0/1" },
	{ "b.vz.test", DNS_A, "0 0/1" }, /* a.b is there */
	{ "a.b.vz.test", DNS_A, "0 1/0 10.0.0.3 60" },
	{ "abs.vz.test", DNS_A, "0 1/0 10.0.0.4 60" },
	{ "full.vz.test", DNS_A, "0 2/0 10.0.0.6 10.0.0.7 60" },
	{ "vz.test", DNS_A, "0 1/0 10.0.0.5 60" },
	{ "vz.test", DNS_AAAA, "0 0/1" },
	{ "vz.test", DNS_SOA, "0 1/0" },
	{ "web.vz.test", DNS_SOA, "0 0/1" },
	{ "xvz.test", DNS_A, "not ours" },
	{ "test", DNS_A, "not ours" },
	{ ".", DNS_A, "not ours" },
	{ "any.open.test", DNS_A, "0 1/0 10.1.0.1 5" },
	{ "at.any.depth.open.test", DNS_A, "0 1/0 10.1.0.1 5" },
	{ "any.open.test", DNS_AAAA, "0 0/1" },
	{ "own.open.test", DNS_A, "0 1/0 10.1.0.2 5" },
	{ "own.open.test", DNS_AAAA, "0 0/1" },
	{ "later.open.test", DNS_A, "0 1/0 10.1.0.3 5" },
	{ "open.test", DNS_A, "0 0/1" },
	{ "x.inner.open.test", DNS_A, "3 0/1" },
	{ "host.vz.internal", DNS_A, "0 1/0 192.168.127.254 60" },
	{ "host.vz.internal", DNS_AAAA, "0 0/1" },
	{ "x.host.vz.internal", DNS_A, "not ours" },
	{ "vz.internal", DNS_A, "not ours" },
	{ "web.pod.vz.internal", DNS_A, "0 1/0 10.0.0.7 60" },
	{ "web.pod.vz.internal", DNS_AAAA, "0 0/1" },
	{ "v6.pod.vz.internal", DNS_A, "0 0/1" },
	{ "x.web.pod.vz.internal", DNS_A, "3 0/1" },
	{ "pod.vz.internal", DNS_A, "0 0/1" },
	{ "1.0.0.10.in-addr.arpa", DNS_PTR, "0 1/0" },
	{ "1.0.0.10.in-addr.arpa", DNS_A, "not ours" },
	{ "01.0.0.10.in-addr.arpa", DNS_PTR, "not ours" },
	{ "9.0.0.10.in-addr.arpa", DNS_PTR, "not ours" },
	{ "257.0.0.10.in-addr.arpa", DNS_PTR, "not ours" },
	{ "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", DNS_PTR,
	  "0 1/0" },
	{ "1.0.0.d.f.ip6.arpa", DNS_PTR, "not ours" },
};
static void check_zones(void)
{

	struct error err;

	zones = zones_new();
	ok(zones_parse(zones,
		       "Vz.Test.,web=10.0.0.1,WEB=10.0.0.2,web=10.0.0.1,web=fd00::1,a.b=10.0.0.3,"
		       "abs.vz.test.=10.0.0.4,@=10.0.0.5,full.VZ.test=10.0.0.6,full=10.0.0.7",
		       &err) == 0,
	   "a zone");
	ok(zones_parse(zones, "open.test=10.1.0.1,own=10.1.0.2,ttl=5", &err) == 0, "a default");
	ok(zones_parse(zones, "open.test,later=10.1.0.3", &err) == 0, "the same zone again");
	ok(zones_parse(zones, "inner.open.test", &err) == 0, "a zone in a zone");
	add("host.vz.internal", "192.168.127.254");
	ok(zones_lookup(zones, "pod.vz.internal", siblings, &zones, &err) == 0, "siblings");
	for (size_t i = 0; i < ARRAY_SIZE(zone_rows); i++)
		is_str(asked(zone_rows[i].name, zone_rows[i].type), zone_rows[i].want,
		       "%s, type %u", zone_rows[i].name, zone_rows[i].type);
	zones_free(zones);
}

static void check_bad_zones(void)
{
	static const char *const bad[] = {
		"",
		".",
		"a..b",
		"a b",
		".a",
		"a=",
		"a=localhost",
		"a=10.0.0",
		"a,",
		"a,b",
		"a,b=",
		"a,=10.0.0.1",
		"a,b.c.=10.0.0.1",
		"a,.=10.0.0.1",
		"a,b..c=10.0.0.1",
		"a,ttl=",
		"a,ttl=-1",
		"a,ttl=2147483648",
		"a,b=10.0.0.1:80",
	};
	_cleanup_free_ char *label = xasprintf("%064d", 0);
	struct error err;

	zones = zones_new();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		err.message[0] = '\0';
		ok(zones_parse(zones, bad[i], &err) < 0 && err.reason == REASON_INVALID,
		   "no zone: %s", bad[i]);
		ok(*err.message != '\0' && strchr(err.message, '\n') == NULL, "%s", err.message);
	}
	ok(zones_parse(zones, label, &err) < 0, "a label of 64 bytes");
	ok(zones_parse(zones, label + 1, &err) == 0, "one of 63");
	zones_free(zones);
}

static void check_bytes(void)
{
	static const char a[] = "\x12\x34\x85\x80\0\1\0\1\0\0\0\1\1h\1z\0\0\1\0\1"
				"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0\1"
				"\0\0\x29\x10\0\0\0\x80\0\0\0";
	static const char none[] = "\x12\x34\x85\x83\0\1\0\0\0\1\0\0\1X\1z\0\0\1\0\1"
				   "\xc0\x0e\0\6\0\1\0\0\0\x3c\0\x26\xc0\x0e\6nobody\7invalid\0"
				   "\0\0\0\1\0\0\x0e\x10\0\0\4\xb0\0\x09\x3a\x80\0\0\0\x3c";
	static const char name[] =
		"\x12\x34\x85\x80\0\1\0\1\0\0\0\0\0011\0010\0010\00210\7in-addr\4arpa\0"
		"\0\x0c\0\1\xc0\x0c\0\x0c\0\1\0\0\0\x3c\0\5\1h\1z\0";
	size_t size;

	zones = zones_new();
	zones_parse(zones, "z,h=10.0.0.1", NULL);
	size = ask("h.z", DNS_A, OPT("\4\xd0", "\0", "\x80\0"), DNS_PLAIN_MAX);
	is_mem(answer, size, a, sizeof(a) - 1, "an address, with EDNS");
	size = ask("X.z", DNS_A, NULL, DNS_PLAIN_MAX);
	is_mem(answer, size, none, sizeof(none) - 1, "no such name, its case kept");
	size = ask("1.0.0.10.in-addr.arpa", DNS_PTR, NULL, DNS_PLAIN_MAX);
	is_mem(answer, size, name, sizeof(name) - 1, "an address' name");
	zones_free(zones);
}

static void check_limits(void)
{
	struct error err;
	size_t size;

	zones = zones_new();
	zones_parse(zones, "z", NULL);
	for (int i = 0; i < ZONES_ADDRESSES_MAX; i++) {
		_cleanup_free_ char *item = xasprintf("z,many=10.0.1.%d", i);

		zones_parse(zones, item, NULL);
	}
	ok(zones_parse(zones, "z,many=10.0.0.1", &err) < 0, "too many addresses");
	ok(strstr(err.message, "many.z has more than 256") != NULL, "are told of");
	size = ask("many.z", DNS_A, NULL, 512);
	is_int((int)size, 24 + 30 * 16, "512 bytes hold thirty");
	is_int(answer[7], 30, "which are counted");
	ok(dns_flags(answer) & DNS_FLAG_TC, "and it is cut");
	size = ask("many.z", DNS_A, OPT("\4\xd0", "\0", "\0\0"), 1232);
	is_int((int)size, 24 + 74 * 16 + 11, "1232 bytes hold 74, and OPT");
	size = ask("many.z", DNS_A, NULL, DNS_MESSAGE_MAX);
	is_int((int)size, 24 + 256 * 16, "all of them");
	ok(!(dns_flags(answer) & DNS_FLAG_TC), "which is not cut");
	zones_free(zones);
}

#define MATCHES(bytes) \
	dns_reply_matches(&query, 0x1234, (const uint8_t *)(bytes), sizeof(bytes) - 1)
#define REPLY "\x12\x34\x81\x80\0\1\0\0\0\0\0\0"

static void check_replies(void)
{
	/* An alias, two addresses with the question's and the alias' name, a text, one of another class. */
	static const char reply[] = "\x12\x34\x81\x80\0\1\0\5\0\0\0\0\1a\1z\0\0\1\0\1"
				    "\xc0\x0c\0\5\0\1\0\0\0\x1e\0\4\1b\xc0\x0e"
				    "\xc0\x21\0\1\0\1\0\0\1\x2c\0\4\x0a\0\0\1"
				    "\xc0\x21\0\x1c\0\1\0\0\1\x2c\0\x10"
				    "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
				    "\xc0\x21\0\x10\0\1\0\0\1\x2c\0\2\1x"
				    "\xc0\x21\0\1\0\3\0\0\1\x2c\0\4\x0a\0\0\2";
	struct address *addresses;
	uint32_t ttl;

	PARSE(HEADER "\1a\1z\0" A_QUESTION);
	ok(MATCHES(REPLY "\1A\1z\0" A_QUESTION), "a reply, the case changed");
	ok(!MATCHES("\x12\x35\x81\x80\0\1\0\0\0\0\0\0\1a\1z\0" A_QUESTION), "another ID");
	ok(!MATCHES(HEADER "\1a\1z\0" A_QUESTION), "a query");
	ok(!MATCHES(REPLY "\1b\1z\0" A_QUESTION), "another name");
	ok(!MATCHES(REPLY "\1a\1z\0\0\x1c\0\1"), "another type");
	ok(!MATCHES(REPLY "\1a\1z\0\0\1\0\3"), "another class");
	ok(!MATCHES("\x12\x34\x81\x80\0\2\0\0\0\0\0\0\1a\1z\0" A_QUESTION), "two questions");
	ok(!MATCHES("\x12\x34\x81\x80\0\0\0\0\0\0\0\0"), "no question");
	ok(MATCHES("\x12\x34\x81\x81\0\0\0\0\0\0\0\0"), "none for FORMERR");
	ok(!MATCHES("\x12\x34\x81\x80"), "less than a header");
	is_int((int)dns_reply_addresses((const uint8_t *)reply, sizeof(reply) - 1, &addresses,
					&ttl),
	       2, "the addresses of a reply");
	ok(addresses[0].family == AF_INET && addresses[0].v4.s_addr == htonl(0x0a000001) &&
		   addresses[1].family == AF_INET6 && addresses[1].v6.s6_addr[15] == 1,
	   "which they are");
	is_int(ttl, 30, "the least TTL");
	free(addresses);
	for (size_t size = DNS_HEADER_SIZE; size < sizeof(reply) - 1; size++) {
		_cleanup_free_ uint8_t *part = xmalloc(size);

		memcpy(part, reply, size);
		dns_reply_addresses(part, size, &addresses, &ttl);
		free(addresses);
	}
}

/* Two messages in portions of `portion` bytes. */
static void check_stream(size_t portion)
{
	static const uint8_t bytes[] = "\0\x0cmessage 1   \0\x0emessage two...\0\x0c";
	struct dns_stream stream = { 0 };
	char got[64] = "";
	int rc = 0;

	for (size_t at = 0; at < sizeof(bytes) - 1 && rc >= 0;) {
		size_t size = sizeof(bytes) - 1 - at < portion ? sizeof(bytes) - 1 - at : portion;
		const uint8_t *data = bytes + at;

		at += size;
		while ((rc = dns_stream_take(&stream, 100, &data, &size)) > 0)
			strncat(strcat(got, "|"), (char *)stream.message, stream.size);
	}
	is_int(rc, 0, "by %zu: one more is begun", portion);
	is_str(got, "|message 1   |message two...", "by %zu: two messages", portion);
	dns_stream_clear(&stream);
}

static void check_streams(void)
{
	static const char *const bad[] = { "\0\x0bmessage....", "\0\x0dmessage......", "\xff\xff" };
	uint8_t *framed = dns_frame((const uint8_t *)"abc", 3);

	is_mem(framed, 5, "\0\3abc", 5, "a length in front");
	free(framed);
	for (size_t portion = 1; portion < 32; portion++)
		check_stream(portion);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct dns_stream stream = { 0 };
		const uint8_t *data = (const uint8_t *)bad[i];
		size_t size = 2;

		ok(dns_stream_take(&stream, 12, &data, &size) < 0, "no length: %zu", i);
		dns_stream_clear(&stream);
	}
}

static void check_resolv(void)
{
	struct resolv resolv;
	struct sockaddr_in *v4 = (struct sockaddr_in *)&resolv.servers[0].ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&resolv.servers[1].ss;

	resolv_parse(&resolv,
		     "# nameserver 10.0.0.9\n;nameserver 10.0.0.9\nsearch a b\n"
		     "nameserver\nnameserver x\n nameserver \t10.0.0.1 # one\r\n"
		     "nameserver fe80::1%lo\noptions rotate timeout:3 attempts:9\n"
		     "nameserver 10.0.0.3\nnameserver 10.0.0.4",
		     53);
	is_int(resolv.count, 3, "three nameservers");
	ok(v4->sin_family == AF_INET && v4->sin_addr.s_addr == htonl(0x0a000001) &&
		   v4->sin_port == htons(53),
	   "one of IPv4");
	ok(v6->sin6_family == AF_INET6 && v6->sin6_addr.s6_addr[15] == 1 && v6->sin6_scope_id == 1,
	   "one of IPv6, with a scope");
	is_int(resolv.timeout_ms, 3000, "a timeout");
	is_int(resolv.attempts, 5, "attempts, not too many");
	resolv_parse(&resolv, "options timeout:0 attempts:x", 5353);
	ok(resolv.count == 1 && v4->sin_addr.s_addr == htonl(INADDR_LOOPBACK) &&
		   v4->sin_port == htons(5353),
	   "127.0.0.1 where there is none");
	ok(resolv.timeout_ms == 1000 && resolv.attempts == 2, "what can't be read has no effect");
}

int main(void)
{
	check_queries();
	check_long_names();
	check_edns();
	check_zones();
	check_bad_zones();
	check_bytes();
	check_limits();
	check_replies();
	check_streams();
	check_resolv();
	return done_testing();
}
