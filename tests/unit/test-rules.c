/* SPDX-License-Identifier: MIT */
/* Rules of egress: what is one, which addresses have to be named, and what is decided of a connection. */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "egress/rules.h"
#include "egress/special.h"
#include "lib/policy.h"
#include "tests/tap.h"

#define RULES_MAX 3
#define NAMES_MAX_HERE 3

static struct address address(const char *text)
{
	struct address addr;

	if (address_parse(&addr, text, NULL) < 0)
		abort();
	return addr;
}

static struct address host(const char *text)
{
	struct address addr = { 0 };

	if (address_parse_host(&addr, text, NULL) < 0)
		abort();
	return addr;
}

/* "+RULE" allows, "-RULE" denies. */
static void add(struct rules *rules, const char *text)
{
	if (rules_add(rules, *text == '+', text + 1, NULL) < 0) {
		diag("%s is no rule", text);
		abort();
	}
}

static void test_texts(void)
{
	static const char *const good[] = {
		"example.com",
		"EXAMPLE.com.",
		"*.example.com",
		"db",
		"a_b.example",
		"*",
		"*:443",
		"example.com:443",
		"*.example.com:8000-8999/udp",
		"10.0.0.0/8",
		"10.0.0.0/8/udp",
		"10.0.0.0/8:53/udp",
		"10.0.0.5:443/tcp",
		"fd00::/8",
		"[fd00::]/8:443",
		"[2606:4700::1]:443",
		"2606:4700::1",
		"xn--bcher-kva.example",
	};
	static const char *const bad[] = {
		"",
		"*.",
		"**",
		"*x.example",
		"a.*.example",
		"*.*.example",
		".example",
		"a..b",
		"10.0.0",
		"1.2.3.4.5",
		"256.1.1.1",
		"10.0.0.0/33",
		"10.0.0.0/x",
		"example.com:0",
		"example.com:",
		"example.com:65536",
		"example.com:9-8",
		"example.com:a",
		"example.com/icmp",
		"/udp",
		":443",
		" example.com",
		"exa mple.com",
		"b\303\274cher.example",
		"[::1",
		"[fe80::1%lo]:80",
		"localhost",
		"localhost:80",
		"example.com/udp/udp",
		"*.1",
		"http://example.com",
	};
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct rules rules = { 0 };

		is_int(rules_add(&rules, true, good[i], NULL), 0, "a rule: %s", good[i]);
		rules_clear(&rules);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct rules rules = { 0 };

		ok(rules_add(&rules, true, bad[i], &err) < 0 && err.reason == REASON_INVALID &&
			   rules.count == 0,
		   "not a rule: %s", bad[i]);
		rules_clear(&rules);
	}
}

static void test_special(void)
{
	/* Those that stand for IPv4 are at the end. */
	static const char ranges[] =
		"1.1.1.1=0 11.0.0.1=0 172.32.0.1=0 172.15.255.255=0 100.63.0.1=0 "
		"100.128.0.1=0 169.253.0.1=0 223.255.255.255=0 198.17.255.255=0 "
		"126.255.255.255=0 0.0.0.1=8 10.1.2.3=8 100.64.0.1=10 100.127.255.255=10 "
		"127.0.0.1=8 127.255.0.1=8 169.254.1.1=16 169.254.169.254=32 "
		"169.254.170.2=32 168.63.129.16=32 172.16.0.1=12 172.31.255.255=12 "
		"192.168.1.1=16 192.0.2.1=24 198.18.0.1=15 198.19.255.255=15 198.51.100.1=24 "
		"203.0.113.1=24 224.0.0.1=4 239.255.255.255=4 240.0.0.1=4 255.255.255.255=32 "
		"9.9.9.9=32 2606:4700::1=0 2a00::1=0 3000::1=0 ::2=104 ::1=128 fe80::1=10 "
		"febf::1=10 fec0::1=10 fc00::1=7 fdff::1=7 fd00:ec2::254=128 ff02::1=8 "
		"2001:db8::1=32 3fff::1=20 4000::1=2 8000::1=1 100::1=64 400::1=3 "
		"2620:fe::9=128 64:ff9b::1.1.1.1=0 64:ff9b::10.0.0.1=104 "
		"64:ff9b::169.254.169.254=128 64:ff9b::9.9.9.9=128 64:ff9b:1::1.1.1.1=48 "
		"64:ff9b:1::10.0.0.1=104 2002:101:101::1=16 2002:a00:1::1=24 "
		"2002:7f00:1::=24 2001::fefe:fefe=32 2001::f5ff:fffe=104 ::ffff:0:1.1.1.1=96 "
		"::ffff:0:10.0.0.1=104 ::1.1.1.1=96 ::10.0.0.1=104";
	const struct address own[] = { host("9.9.9.9"), host("2620:fe::9") };

	_cleanup_free_ char *copy = xstrdup(ranges);
	char *rest = copy, *word;

	while ((word = strsep(&rest, " ")) != NULL) {
		char *text = strsep(&word, "=");
		struct address addr = host(text);

		is_int(special_prefix(&addr, own, ARRAY_SIZE(own)), atoi(word),
		       "%s: how narrow a rule has to be", text);
	}
}

/*
 * Rules | network, destination, names that it was resolved from, peeked name ("-": not looked at) | answer, rule, name.
 */
static const char *const cases[] = {
	/* Nothing is allowed by itself. */
	" | tcp 1.1.1.1:443 a.example - | denied default a.example",
	/* By address. */
	"+1.1.1.0/24 | tcp 1.1.1.1:443 - - | allowed 1.1.1.0/24 -",
	"+1.1.1.0/24 | tcp 1.1.2.1:443 - - | denied default -",
	"+1.1.1.0/24:22 | tcp 1.1.1.1:443 - - | denied default -",
	"+1.1.1.1:20-30 | tcp 1.1.1.1:30 - - | allowed 1.1.1.1:20-30 -",
	"+1.1.1.1:20-30 | tcp 1.1.1.1:31 - - | denied default -",
	"+1.1.1.1 | udp 1.1.1.1:53 - - | denied default -",
	"+1.1.1.1/udp | udp 1.1.1.1:53 - - | allowed 1.1.1.1/udp -",
	"+1.1.1.1/udp | tcp 1.1.1.1:53 - - | denied default -",
	"+* | tcp 1.1.1.1:443 a.example - | allowed * a.example",
	"+* | tcp 1.1.1.1:443 a.example,b.example - | allowed * -",
	"+[2606:4700::]/32:443 | tcp [2606:4700::1]:443 - - | allowed [2606:4700::]/32:443 -",
	"+0.0.0.0/0 +1.1.1.1 | tcp 1.1.1.1:1 - - | allowed 0.0.0.0/0 -",
	/* Special addresses, by rules that name them alone. */
	"+* +0.0.0.0/0 +a.example | tcp 10.0.0.1:80 a.example a.example | denied default a.example",
	"+10.0.0.0/7 | tcp 10.0.0.1:80 - - | denied default -",
	"+10.0.0.0/8 | tcp 10.0.0.1:80 - - | allowed 10.0.0.0/8 -",
	"+10.1.0.0/16 | tcp 10.1.0.1:80 - - | allowed 10.1.0.0/16 -",
	"+10.1.0.0/16 | tcp 10.2.0.1:80 - - | denied default -",
	"+169.254.0.0/16 | tcp 169.254.169.254:80 - - | denied default -",
	"+169.254.169.254 | tcp 169.254.169.254:80 - - | allowed 169.254.169.254 -",
	"+127.0.0.1:5432 | tcp 127.0.0.1:5432 - - | allowed 127.0.0.1:5432 -",
	"+127.0.0.1:5432 | tcp 127.0.0.1:22 - - | denied default -",
	"+::/0 | tcp [::1]:80 - - | denied default -",
	"+::/0 | tcp [fd00::1]:80 - - | denied default -",
	"+fc00::/7 | tcp [fd00::1]:80 - - | allowed fc00::/7 -",
	"+fc00::/7 | tcp [fd00:ec2::254]:80 - - | denied default -",
	/* The host's own: 9.9.9.9. */
	"+* +9.9.9.0/24 | tcp 9.9.9.9:22 - - | denied default -",
	"+9.9.9.9 | tcp 9.9.9.9:22 - - | allowed 9.9.9.9 -",
	/* No way around by another form. */
	"+* +::/0 | tcp [::ffff:10.0.0.1]:80 - - | denied default -",
	"+10.0.0.1 | tcp [::ffff:10.0.0.1]:80 - - | allowed 10.0.0.1 -",
	"+::ffff:10.0.0.1 | tcp 10.0.0.1:80 - - | allowed ::ffff:10.0.0.1 -",
	"+* -1.1.1.1 | tcp [::ffff:1.1.1.1]:80 - - | denied 1.1.1.1 -",
	"+* -1.1.1.1 | tcp [64:ff9b::1.1.1.1]:80 - - | denied 1.1.1.1 -",
	"+* -1.1.1.1 | tcp [64:ff9b::1.1.1.2]:80 - - | allowed * -",
	"+2002::/16 -1.1.1.1 | tcp [2002:101:101::1]:80 - - | denied 1.1.1.1 -",
	"+2002::/16 | tcp [2002:a00:1::1]:80 - - | denied default -",
	"+64:ff9b::/96 | tcp [64:ff9b::10.0.0.1]:80 - - | denied default -",
	"+64:ff9b::a00:0/104 | tcp [64:ff9b::10.0.0.1]:80 - - | allowed 64:ff9b::a00:0/104 -",
	"+* +0.0.0.0/8 +a.example | tcp 0.0.0.0:22 a.example - | denied default a.example",
	"+127.0.0.1 | tcp 0.0.0.0:22 - - | allowed 127.0.0.1 -",
	"+127.0.0.0/8 -0.0.0.0 | tcp 127.0.0.1:22 - - | denied 0.0.0.0 -",
	"+::/3 | tcp [::]:22 - - | denied default -",
	/* What is denied is, wherever it stands. */
	"+1.1.1.0/24 -1.1.1.1 | tcp 1.1.1.1:443 - - | denied 1.1.1.1 -",
	"-1.1.1.1:443 +1.1.1.0/24 | tcp 1.1.1.1:80 - - | allowed 1.1.1.0/24 -",
	"+1.1.1.1/udp -1.1.1.1 | udp 1.1.1.1:53 - - | denied 1.1.1.1 -",
	"+1.1.1.1/udp -1.1.1.1/tcp | udp 1.1.1.1:53 - - | allowed 1.1.1.1/udp -",
	"+10.0.0.1 -* | tcp 10.0.0.1:80 - - | denied * -",
	"+10.0.0.1 -0.0.0.0/0 | tcp 10.0.0.1:80 - - | denied 0.0.0.0/0 -",
	/* By name, where nothing is peeked at: by what was resolved. */
	"+a.example | tcp 1.1.1.1:22 b.example,a.example - | allowed a.example a.example",
	"+a.example | tcp 1.1.1.1:22 - - | denied default -",
	"+a.example | tcp 1.1.1.1:22 b.example - | denied default b.example",
	"+a.example:443 | tcp 1.1.1.1:22 a.example - | denied default a.example",
	"+a.example | udp 1.1.1.1:443 a.example - | denied default a.example",
	"+a.example:443/udp | udp 1.1.1.1:443 a.example - | allowed a.example:443/udp a.example",
	"+A.Example. | tcp 1.1.1.1:22 a.example - | allowed A.Example. a.example",
	"+*.example | tcp 1.1.1.1:22 a.example - | allowed *.example a.example",
	"+*.example | tcp 1.1.1.1:22 b.a.example - | allowed *.example b.a.example",
	"+*.example | tcp 1.1.1.1:22 example - | denied default example",
	"+*.example | tcp 1.1.1.1:22 anexample - | denied default anexample",
	"+a.example | tcp 1.1.1.1:22 b.a.example - | denied default b.a.example",
	/* On 80 and 443 by the first bytes too. */
	"+a.example | tcp 1.1.1.1:443 a.example - | peek",
	"+a.example | tcp 1.1.1.1:80 - - | peek",
	"+a.example | tcp 1.1.1.1:443 b.example,a.example a.example | allowed a.example a.example",
	"+a.example | tcp 1.1.1.1:443 a.example b.example | denied default b.example",
	"+a.example +c.example | tcp 1.1.1.1:443 a.example c.example | denied default c.example",
	"+a.example | tcp 1.1.1.1:443 b.example b.example | denied default b.example",
	"+a.example | tcp 1.1.1.1:443 b.example a.example | denied default a.example",
	"+a.example | tcp 1.1.1.1:443 a.example none | denied default a.example",
	"+a.example | tcp 1.1.1.1:443 a.example bad | denied default a.example",
	"+a.example | tcp 1.1.1.1:443 - a.example | resolve a.example a.example",
	"+a.example | tcp 1.1.1.1:443 - b.example | denied default b.example",
	"+a.example:22 | tcp 1.1.1.1:443 - - | denied default -",
	/* An address rule needs no name, but where names are denied. */
	"+1.1.1.1 +a.example | tcp 1.1.1.1:443 - - | allowed 1.1.1.1 -",
	"+1.1.1.1 -b.example | tcp 1.1.1.1:443 - - | peek",
	"+1.1.1.1 -b.example:80 | tcp 1.1.1.1:443 - - | allowed 1.1.1.1 -",
	"+1.1.1.1 -b.example | tcp 1.1.1.1:22 - - | allowed 1.1.1.1 -",
	"+1.1.1.1 -b.example | tcp 1.1.1.1:443 - none | allowed 1.1.1.1 -",
	"+1.1.1.1 -b.example | tcp 1.1.1.1:443 - bad | denied default -",
	"+* -b.example | tcp 1.1.1.1:443 - b.example | denied b.example b.example",
	"+* -*.example | tcp 1.1.1.1:443 - b.example | denied *.example b.example",
	"+* -b.example | tcp 1.1.1.1:443 b.example,a.example a.example | allowed * a.example",
	"+* -b.example | tcp 1.1.1.1:443 b.example a.example | denied b.example b.example",
	"+* -b.example | tcp 1.1.1.1:443 b.example none | denied b.example b.example",
	"+* -b.example | tcp 1.1.1.1:22 a.example,b.example - | denied b.example b.example",
	"+*.example -b.example | tcp 1.1.1.1:22 b.example - | denied b.example b.example",
	"+*/udp -b.example | udp 1.1.1.1:443 b.example - | denied b.example b.example",
};

static void fill(struct rules *rules, char *texts)
{
	const struct address own = host("9.9.9.9");
	char *text;

	rules_set_own(rules, &own, 1);
	while ((text = strsep(&texts, " ")) != NULL) {
		if (*text != '\0')
			add(rules, text);
	}
}

/* A destination of the words; its names are put into `names`. */
static struct destination make(char *words, const char **names)
{
	struct destination to = { .udp = strcmp(strsep(&words, " "), "udp") == 0 };
	char *list, *name;

	to.address = address(strsep(&words, " "));
	list = strsep(&words, " ");
	to.peeked = words;
	to.names = names;
	while (list != NULL && *list != '-' && (name = strsep(&list, ",")) != NULL)
		names[to.name_count++] = name;
	if (strcmp(words, "none") == 0)
		to.peek = PEEK_NONE;
	else if (strcmp(words, "bad") == 0)
		to.peek = PEEK_BAD;
	else if (strcmp(words, "-") != 0)
		to.peek = PEEK_NAME;
	return to;
}

static void test_decisions(void)
{
	static const char *const answers[] = { "denied", "allowed", "peek", "resolve" };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *copy = xstrdup(cases[i]), *got = NULL;
		char *at = strstr(copy, " | "), *want = strstr(at + 1, " | ");
		const char *names[NAMES_MAX_HERE];
		struct destination to;
		enum rules_answer answer;
		struct verdict verdict;
		struct rules rules = { 0 };

		*at = *want = '\0';
		want += strlen(" | ");
		fill(&rules, copy);
		to = make(at + strlen(" | "), names);
		answer = rules_check(&rules, &to, &verdict);
		got = xasprintf("%s %s %s", answers[answer], verdict.rule,
				verdict.name != NULL ? verdict.name : "-");
		is_str(answer == RULES_PEEK ? "peek" : got, want, "%s", cases[i]);
		ok((verdict.why != NULL) == (answer == RULES_DENIED), "%s: why", cases[i]);
		rules_clear(&rules);
	}
}

/* What a pod has kept for longer than we did is resolved here, and then it is known or not. */
static void test_resolve(void)
{
	struct rules rules = { 0 };
	struct destination to = { .address = address("1.1.1.1:443"),
				  .peek = PEEK_NAME,
				  .peeked = "a.example",
				  .resolved = true };
	const char *names[] = { "a.example" };
	struct verdict verdict;

	add(&rules, "+a.example");
	is_int(rules_check(&rules, &to, &verdict), RULES_DENIED, "resolved, to other addresses");
	is_str(verdict.why, "the name is not resolved to this address", "which is said");
	to.unanswered = true;
	is_int(rules_check(&rules, &to, &verdict), RULES_DENIED, "or not resolved");
	is_str(verdict.why, "the name can't be resolved just now", "which is another thing");
	to.names = names;
	to.name_count = 1;
	is_int(rules_check(&rules, &to, &verdict), RULES_ALLOWED, "resolved, to this one");
	rules_clear(&rules);
}

static void test_may_resolve(void)
{
	static const struct {
		const char *rules[RULES_MAX], *name;
		bool allowed;
		const char *rule;
	} names[] = {
		{ { NULL }, "a.example", false, "default" },
		{ { "+a.example:443" }, "a.example", true, "a.example:443" },
		{ { "+a.example" }, "b.example", false, "default" },
		{ { "+*.example" }, "b.example", true, "*.example" },
		{ { "+*:443" }, "b.example", true, "*:443" },
		{ { "+1.1.1.1" }, "b.example", false, "default" },
		{ { "+*", "-b.example" }, "b.example", false, "b.example" },
		{ { "+*", "-b.example:443" }, "b.example", true, "*" },
		{ { "+*", "-b.example/udp" }, "b.example", true, "*" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct rules rules = { 0 };
		const char *rule;

		for (size_t j = 0; j < RULES_MAX && names[i].rules[j] != NULL; j++)
			add(&rules, names[i].rules[j]);
		is_int(rules_may_resolve(&rules, names[i].name, &rule), names[i].allowed,
		       "%zu: may %s be resolved", i, names[i].name);
		is_str(rule, names[i].rule, "%zu: by the rule", i);
		rules_clear(&rules);
	}
}

static const struct {
	const char *text, *message;
} files[] = {
	{ "{\"allow\": [\"a.example:443\", \"10.0.0.0/8\"],\n \"deny\": [\"10.1.0.0/16\"]}", NULL },
	{ "{}", NULL },
	{ "{\"allow\": [\"a.example\",\n  \"a..b\"]}",
	  ":2:3: a rule must be a name, *.SUFFIX, *, an address or a CIDR, with :PORT or :LO-HI "
	  "and /udp "
	  "if wanted, got a..b" },
	{ "{\"deny\": [\"a\", 7]}", ":1:16: a rule must be a string" },
	{ "{\"deny\": [\"a\\u0000\"]}", NULL },
	{ "{\"deny\": \"a\"}", ":1:10: must be an array of rules" },
	{ "[]", ":1:1: must be an object with \"allow\" and \"deny\"" },
	{ "{\"allow\": [],\n\"denied\": []}", ":2:1: unknown member \"denied\"" },
	{ "{\"allow\": [], \"allow\": []}", NULL },
};

static void test_file(void)
{
	char path[] = "/tmp/vzfwd-test-rules.XXXXXX";
	int fd = mkstemp(path);
	struct rules rules = { 0 };
	struct error err;

	if (fd < 0)
		abort();
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		size_t size = strlen(files[i].text);
		bool good = i < 2;

		if (ftruncate(fd, 0) < 0 || pwrite(fd, files[i].text, size, 0) != (ssize_t)size)
			abort();
		rules_clear(&rules);
		is_int(rules_read(&rules, path, true, &err) == 0, good, "%s", files[i].text);
		if (!good)
			is_str(reason_name(err.reason), "not-running", "%zu: the reason", i);
		if (files[i].message != NULL)
			is_str(err.message + strlen(path), files[i].message, "%zu: the place", i);
		if (i == 0)
			is_int(rules.count, 3, "all of its rules");
	}
	if (fchmod(fd, 0666) < 0)
		abort();
	ok(rules_read(&rules, path, true, &err) < 0 && err.reason == REASON_DENIED,
	   "not a file that everybody can write");
	unlink(path);
	close(fd);
	ok(rules_read(&rules, path, true, &err) < 0 && err.reason == REASON_NOT_FOUND, "no file");
	rules_clear(&rules);
}

int main(void)
{
	test_texts();
	test_special();
	test_decisions();
	test_resolve();
	test_may_resolve();
	test_file();
	return done_testing();
}
