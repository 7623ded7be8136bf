/* SPDX-License-Identifier: MIT */
/*
 * The first bytes of connections: what is said of them doesn't change when more come, and a name is one in its normal
 * form that is there in the bytes.
 */
#include "config.h"

#include <string.h>
#include <strings.h>

#include "egress/peek.h"
#include "lib/util.h"
#include "tests/fuzz/fuzz.h"

static void check_name(const char *name)
{
	char again[DOMAIN_NAME_MAX + 1];

	REQUIRE(host_name_parse(again, name, strlen(name)) == 0 && strcmp(again, name) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[DOMAIN_NAME_MAX + 1], part_name[DOMAIN_NAME_MAX + 1];
	enum peek whole = peek_name(data, size, name);

	REQUIRE((whole == PEEK_NAME) == (*name != '\0'));
	if (whole == PEEK_NAME)
		check_name(name);
	REQUIRE(whole != PEEK_MORE || size < PEEK_MAX);
	for (size_t i = 0; i < size; i += 1 + i / 8) {
		_cleanup_free_ uint8_t *copy = xmalloc(i > 0 ? i : 1);
		enum peek part;

		memcpy(copy, data, i);
		part = peek_name(copy, i, part_name);
		/* Once it is told it stays so. */
		REQUIRE(part == PEEK_MORE || (part == whole && strcmp(part_name, name) == 0));
	}
	return 0;
}
