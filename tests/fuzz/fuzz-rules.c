/* SPDX-License-Identifier: MIT */
/*
 * Rules of egress, one a line, "+" or "-" before each, the last line a destination; what is decided holds whatever
 * they say: nothing special but by an address rule that is as narrow, nothing that is denied.
 */
#include "config.h"

#include <string.h>

#include "egress/rules.h"
#include "egress/special.h"
#include "tests/fuzz/fuzz.h"

/* The same names for all, as they might be known. */
static const char *const names[] = { "a.example", "b.a.example" };

static void check(const struct rules *rules, const struct address *addr, bool udp)
{
	struct destination to = { .udp = udp, .address = *addr, .names = names, .name_count = 2 };
	struct verdict verdict, again;
	enum rules_answer answer = rules_check(rules, &to, &verdict);

	REQUIRE(answer != RULES_RESOLVE);
	REQUIRE((answer == RULES_DENIED) == (verdict.why != NULL));
	if (answer == RULES_PEEK) {
		REQUIRE(!udp && (addr->port == 80 || addr->port == 443));
		to.peek = PEEK_NAME;
		to.peeked = "a.example";
		answer = rules_check(rules, &to, &verdict);
		REQUIRE(answer == RULES_ALLOWED || answer == RULES_DENIED);
	}
	if (answer == RULES_ALLOWED) {
		REQUIRE(strcmp(verdict.rule, "default") != 0);
		to.names = NULL;
		to.name_count = 0;
		to.peek = PEEK_NONE;
		if (special_prefix(addr, NULL, 0) > 0 && addr->family == AF_INET)
			REQUIRE(rules_check(rules, &to, &again) == RULES_ALLOWED &&
				*again.rule != '*');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	struct rules rules = { 0 };
	struct address addr;
	struct error err;
	char *rest = text, *line;

	while ((line = strsep(&rest, "\n")) != NULL && rest != NULL && rules.count < 16) {
		size_t count = rules.count;

		if (*line != '\0' && rules_add(&rules, *line == '+', line + 1, &err) < 0)
			REQUIRE(err.reason == REASON_INVALID && rules.count == count);
	}
	if (line != NULL && address_parse(&addr, line, NULL) == 0 && addr.family != AF_UNSPEC) {
		check(&rules, &addr, false);
		check(&rules, &addr, true);
	}
	rules_clear(&rules);
	return 0;
}
