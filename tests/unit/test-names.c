/* SPDX-License-Identifier: MIT */
/* What pods had resolved: for how long, of how much, and in which order it is forgotten. */
#include "config.h"

#include "egress/names.h"
#include "tests/tap.h"

#define MINUTE INT64_C(60000)

static struct address host(const char *text)
{
	struct address addr = { .port = 7 };

	if (address_parse_host(&addr, text, NULL) < 0)
		abort();
	return addr;
}

/* The names of an address, in one text. */
static const char *names_text(struct names *names, const char *addr, int64_t now)
{
	static char text[NAMES_PER_ADDRESS * 32];
	const char *list[NAMES_PER_ADDRESS];
	const struct address key = host(addr);
	size_t count = names_of(names, &key, now, list);

	*text = '\0';
	for (size_t i = 0; i < count; i++) {
		strcat(text, i > 0 ? " " : "");
		strcat(text, list[i]);
	}
	return text;
}

static void add(struct names *names, const char *name, const char *addr, uint32_t ttl, int64_t now)
{
	const struct address key = host(addr);

	names_add(names, name, &key, 1, ttl, now);
}

static void test_sets(void)
{
	const struct address two[] = { host("1.1.1.1"), host("2606:4700::1") };
	struct names *names = names_new();

	is_str(names_text(names, "1.1.1.1", 0), "", "nothing is known");
	names_add(names, "A.example.", two, 2, 0, 0);
	add(names, "b.example", "1.1.1.1", 0, 0);
	add(names, "b.example", "1.1.1.2", 0, 0);
	add(names, "not a name", "1.1.1.1", 0, 0);
	is_str(names_text(names, "1.1.1.1", 1), "b.example a.example", "an address of two names");
	is_str(names_text(names, "2606:4700::1", 1), "a.example", "a name of two addresses");
	is_str(names_text(names, "1.1.1.2", 1), "b.example", "a name of another");
	is_str(names_text(names, "::ffff:1.1.1.2", 1), "b.example",
	       "mapped it is the same address");
	add(names, "a.example", "1.1.1.1", 0, 1);
	is_str(names_text(names, "1.1.1.1", 2), "a.example b.example", "told last, and not twice");
	names_delete(names);
}

static void test_expiry(void)
{
	struct names *names = names_new();

	add(names, "short.example", "1.1.1.1", 1, 0);
	add(names, "long.example", "1.1.1.1", 600, 0);
	is_str(names_text(names, "1.1.1.1", 5 * MINUTE - 1), "long.example short.example",
	       "five minutes, however short the TTL");
	is_str(names_text(names, "1.1.1.1", 5 * MINUTE), "long.example", "and no longer");
	add(names, "long.example", "1.1.1.1", 1, 0);
	is_str(names_text(names, "1.1.1.1", 10 * MINUTE - 1), "long.example",
	       "a shorter TTL takes nothing back");
	is_str(names_text(names, "1.1.1.1", 10 * MINUTE), "", "the TTL is over");
	add(names, "short.example", "1.1.1.1", 1, 10 * MINUTE);
	is_str(names_text(names, "1.1.1.1", 15 * MINUTE - 1), "short.example", "known anew");
	add(names, "short.example", "1.1.1.1", 1, 14 * MINUTE);
	is_str(names_text(names, "1.1.1.1", 19 * MINUTE - 1), "short.example",
	       "told again it is known for longer");
	add(names, "ever.example", "1.1.1.1", UINT32_MAX, 0);
	is_str(names_text(names, "1.1.1.1", 100 * MINUTE), "ever.example", "the longest TTL");
	names_delete(names);
}

static void test_bounds(void)
{
	struct names *names = names_new();
	const char *list[NAMES_PER_ADDRESS];
	struct address addr = host("1.1.1.1");
	char name[32];

	for (unsigned i = 0; i < NAMES_PER_ADDRESS + 2; i++) {
		snprintf(name, sizeof(name), "n%u.example", i);
		names_add(names, name, &addr, 1, 0, 0);
	}
	is_int(names_of(names, &addr, 1, list), NAMES_PER_ADDRESS, "names of one address");
	is_str(list[NAMES_PER_ADDRESS - 1], "n2.example", "the oldest are gone");
	add(names, "old.example", "2.0.0.0", 0, 0);
	for (uint32_t i = 0; i < NAMES_MAX - 1; i++) {
		addr.v4.s_addr = htonl(0x03000000 + i);
		names_add(names, "a.example", &addr, 1, 0, 0);
	}
	is_str(names_text(names, "2.0.0.0", 1), "old.example", "as many as may be");
	is_str(names_text(names, "1.1.1.1", 1), "", "the oldest of all are gone");
	add(names, "a.example", "4.0.0.0", 0, 0);
	is_str(names_text(names, "2.0.0.0", 1), "", "one more, one less");
	is_str(names_text(names, "3.0.0.0", 1), "a.example", "and no other");
	names_delete(names);
}

int main(void)
{
	test_sets();
	test_expiry();
	test_bounds();
	return done_testing();
}
