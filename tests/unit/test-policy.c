/* SPDX-License-Identifier: MIT */
/* Rules for targets, and the normal form of addresses. */
#include "config.h"

#include "lib/policy.h"
#include "tests/tap.h"

static struct address address(const char *text)
{
	struct address addr;
	struct error err;

	if (address_parse(&addr, text, &err) < 0)
		abort();
	return addr;
}

static const struct {
	const char *rule, *target;
	bool allowed;
} cases[] = {
	{ NULL, "127.0.0.1:80", true },
	{ NULL, "127.255.255.255:80", true },
	{ NULL, "128.0.0.1:80", false },
	{ NULL, "[::1]:80", true },
	{ NULL, "[::2]:80", false },
	{ NULL, "10.0.0.5:80", false },
	{ "10.0.0.0/8", "10.255.255.255:65535", true },
	{ "10.0.0.0/8", "11.0.0.0:80", false },
	{ "10.1.2.3/8", "10.9.9.9:80", true },
	{ "10.0.0.0/9", "10.127.0.1:80", true },
	{ "10.0.0.0/9", "10.128.0.1:80", false },
	{ "10.0.0.5", "10.0.0.5:1", true },
	{ "10.0.0.5", "10.0.0.4:1", false },
	{ "10.0.0.5:443", "10.0.0.5:443", true },
	{ "10.0.0.5:443", "10.0.0.5:442", false },
	{ "10.0.0.5:443", "10.0.0.5:444", false },
	{ "10.0.0.0/8:80-90", "10.0.0.1:80", true },
	{ "10.0.0.0/8:80-90", "10.0.0.1:90", true },
	{ "10.0.0.0/8:80-90", "10.0.0.1:79", false },
	{ "10.0.0.0/8:80-90", "10.0.0.1:91", false },
	{ "10.0.0.0/8:80-80", "10.0.0.1:80", true },
	{ "0.0.0.0/0", "8.8.8.8:53", true },
	{ "0.0.0.0/0", "[2001:db8::1]:53", false },
	{ "::/0", "[2001:db8::1]:53", true },
	{ "::/0", "8.8.8.8:53", false },
	{ "fd00::/8", "[fdff::1]:80", true },
	{ "fd00::/8", "[fe00::1]:80", false },
	{ "fd00::/8:80", "[fd00::1]:80", true },
	{ "fd00::/8:80", "[fd00::1]:81", false },
	{ "[fd00::]/8:80-90", "[fd00::1]:85", true },
	{ "[fd00::]/8:80-90", "[fd00::1]:91", false },
	{ "[fd00::1]:443", "[fd00::1]:443", true },
	{ "[fd00::1]:443", "[fd00::1]:444", false },
	{ "[fd00::1]", "[fd00::1]:1", true },
	{ "fd00::1", "[fd00::1]:1", true },
	{ "fd00::1", "[fd00::2]:1", false },
	{ "fd00::5:443", "[fd00::5:443]:1", true },
	{ "2001:db8::/33", "[2001:db8:7fff::1]:80", true },
	{ "2001:db8::/33", "[2001:db8:8000::1]:80", false },
	{ "::ffff:10.0.0.0/104", "10.9.9.9:80", true },
	{ "::ffff:10.0.0.0/104", "11.9.9.9:80", false },
	{ "[::ffff:10.0.0.5]:80", "10.0.0.5:80", true },
	{ "::ffff:0.0.0.0/96", "8.8.8.8:53", true },
};

static void test_rules(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *rule = cases[i].rule;
		struct policy policy = { 0 };
		struct address target = address(cases[i].target);
		struct error err;

		if (rule)
			is_int(policy_allow(&policy, rule, &err), 0, "%s is a rule", rule);
		is_int(policy_allows(&policy, &target), cases[i].allowed, "%s: %s",
		       rule ? rule : "no rule", cases[i].target);
		policy_clear(&policy);
	}
}

static void test_several(void)
{
	struct policy policy = { 0 };
	struct address first = address("10.0.0.1:1"), second = address("10.0.0.2:2");
	struct address third = address("10.0.0.3:3");
	struct error err;

	policy_allow(&policy, "10.0.0.1", &err);
	policy_allow(&policy, "10.0.0.2:2", &err);
	is_int(policy.count, 2, "two rules");
	ok(policy_allows(&policy, &first) && policy_allows(&policy, &second), "each counts");
	ok(!policy_allows(&policy, &third), "and nothing else");
	policy_clear(&policy);
	ok(!policy_allows(&policy, &first), "nothing is left when cleared");
	ok(!policy_allows(NULL, &first), "without a policy only loopback passes");
	first = address("127.0.0.1:1");
	ok(policy_allows(NULL, &first), "loopback without a policy");
}

static void test_bad_rules(void)
{
	static const char *const rules[] = {
		"",
		"*",
		"localhost",
		"example.com",
		"/8",
		":80",
		"10.0.0.0/",
		"10.0.0.0/33",
		"10.0.0.0/-1",
		"10.0.0.0/8/8",
		"10.0.0.0/8:",
		"10.0.0.0/8:0",
		"10.0.0.0/8:65536",
		"10.0.0.0/8:90-80",
		"10.0.0.0/8:80-",
		"10.0.0.0/8:-80",
		"10.0.0.0/8:80-90-100",
		"10.0.0.0/8:80:90",
		"10.0.0.0/8:http",
		"10.0.0.5:",
		"10.0.0/8",
		"fd00::/129",
		"[fd00::/8",
		"[fd00::]x:80",
		"[10.0.0.5]:80",
		"[fd00::/8]:80",
	};
	struct policy policy = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		struct error err = { .reason = REASON_COUNT };

		ok(policy_allow(&policy, rules[i], &err) < 0, "\"%s\" is refused", rules[i]);
		is_int(err.reason, REASON_INVALID, "\"%s\" is invalid", rules[i]);
	}
	is_int(policy.count, 0, "none of them counts");
	policy_clear(&policy);
}

static void test_normal_form(void)
{
	static const struct {
		const char *text, *want;
		bool loopback;
	} forms[] = {
		{ "10.0.0.5:80", "10.0.0.5:80", false },
		{ "0.0.0.0:80", "127.0.0.1:80", true },
		{ "127.1.2.3:80", "127.1.2.3:80", true },
		{ "[::]:80", "[::1]:80", true },
		{ "[::1]:80", "[::1]:80", true },
		{ "[fd00::1]:80", "[fd00::1]:80", false },
		{ "[::ffff:10.0.0.5]:80", "10.0.0.5:80", false },
		{ "[::ffff:127.0.0.1]:80", "127.0.0.1:80", true },
		{ "[::ffff:0.0.0.0]:80", "127.0.0.1:80", true },
		{ ":80", "localhost:80", false }, /* whoever dials tries two addresses */
	};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct address addr = address(forms[i].text);
		char text[ADDRESS_TEXT_MAX];

		address_normalise(&addr);
		is_str(address_format(&addr, text), forms[i].want, "%s in normal form",
		       forms[i].text);
		is_int(address_is_loopback(&addr), forms[i].loopback, "%s: loopback or not",
		       forms[i].text);
	}
}

static void test_unix(void)
{
	static const struct {
		const char *pattern; /* NULL: none */
		const char *path;
		bool allowed;
	} paths[] = {
		{ NULL, "/run/app.sock", false },
		{ "/run/app.sock", "/run/app.sock", true },
		{ "/run/app.sock", "/run/app.sock2", false },
		{ "/run/app.sock", "/run//app.sock", false },
		{ "/run/*.sock", "/run/app.sock", true },
		{ "/run/*.sock", "/run/.sock", true },
		{ "/run/*", "/run/app/a.sock", false },
		{ "/run/*/*", "/run/app/a.sock", true },
		{ "/run/*/*", "/run/../a.sock",
		  true }, /* and it does not lead to /run: see dial-unix.c */
		{ "/*", "/run/app.sock", false },
		{ "/run/a?p.sock", "/run/a/p.sock", false },
		{ "/run/a[!b]p.sock", "/run/app.sock", true },
		{ "/run/\\*.sock", "/run/app.sock", false },
		{ "/run/\\*.sock", "/run/*.sock", true },
	};
	struct policy policy = { 0 };
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		const char *pattern = paths[i].pattern;

		if (pattern)
			is_int(policy_allow_unix(&policy, pattern, &err), 0, "pattern %s", pattern);
		is_int(policy_allows_unix(&policy, paths[i].path), paths[i].allowed, "%s: %s",
		       pattern ? pattern : "no pattern", paths[i].path);
		policy_clear(&policy);
	}
	is_int(policy_allows_unix(NULL, "/run/app.sock"), false, "no policy");
	policy_allow_unix(&policy, "/a", &err);
	policy_allow_unix(&policy, "/b", &err);
	ok(policy_allows_unix(&policy, "/a") && policy_allows_unix(&policy, "/b"),
	   "either pattern");
	ok(policy_allow_unix(&policy, "run/*", &err) < 0 && err.reason == REASON_INVALID,
	   "a relative pattern");
	ok(policy_allow_unix(&policy, "", &err) < 0, "an empty one");
	policy_clear(&policy);
}

static void test_network(void)
{
	static const char *const bad[] = { "", "10.0.0.0/33", "10.0.0.0/8:80", "10.0.0.1:80",
					   "localhost" };
	struct policy_rule rule;

	ok(policy_rule_network(&rule, "10.88.1.2/16") == 0 && rule.family == AF_INET &&
		   rule.prefix == 16 && rule.v4.s_addr == htonl(0x0a580000),
	   "a network, without the bits behind its prefix");
	ok(policy_rule_network(&rule, "::/0") == 0 && rule.family == AF_INET6 && rule.prefix == 0,
	   "one of IPv6");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok(policy_rule_network(&rule, bad[i]) < 0, "\"%s\" is none", bad[i]);
}

int main(void)
{
	test_network();
	test_unix();
	test_rules();
	test_several();
	test_bad_rules();
	test_normal_form();
	return done_testing();
}
