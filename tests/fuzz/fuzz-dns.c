/* SPDX-License-Identifier: MIT */
/*
 * What pods ask and resolvers reply, as datagrams and on streams, and zones' texts. The first byte says how the portions of a
 * stream are cut.
 */
#include "config.h"

#include <string.h>

#include "dns/resolv.h"
#include "dns/stream.h"
#include "dns/zones.h"
#include "tests/fuzz/fuzz.h"

/* An answer of ours is one to the query, and what a resolver would be told is the same. */
static void check_answer(const struct dns_query *query, const uint8_t *answer, size_t size,
			 size_t limit)
{
	struct address *addresses;
	uint32_t ttl;

	REQUIRE(size >= DNS_HEADER_SIZE && size <= limit);
	REQUIRE(dns_id(answer) == query->id);
	if (query->question_size > 0)
		REQUIRE(dns_reply_matches(query, query->id, answer, size));
	dns_reply_addresses(answer, size, &addresses, &ttl);
	free(addresses);
}

static void fuzz_query(const struct zones *zones, const uint8_t *data, size_t size, bool tcp)
{
	static uint8_t out[ZONES_ANSWER_MAX];
	struct dns_query query;
	struct dns_answer answer;
	int rcode = dns_query_parse(&query, data, size);
	size_t limit;

	if (rcode < 0)
		return;
	REQUIRE(strlen(query.name) < DNS_NAME_TEXT_MAX && strchr(query.name, '\n') == NULL);
	REQUIRE(rcode != DNS_NOERROR || query.question_size > 0);
	limit = dns_query_limit(&query, tcp);
	dns_answer_begin(&answer, &query, out, DNS_PLAIN_MAX);
	check_answer(&query, out, dns_answer_end(&answer, (enum dns_rcode)rcode), DNS_PLAIN_MAX);
	if (rcode == DNS_NOERROR) {
		size_t n = zones_answer(zones, &query, out, limit);

		if (n > 0)
			check_answer(&query, out, n, limit);
	}
}

static void fuzz_reply(const uint8_t *data, size_t size)
{
	struct dns_query query = { .type = DNS_A, .class = DNS_CLASS_IN };
	struct address *addresses;
	size_t count;
	uint32_t ttl;

	if (size < DNS_HEADER_SIZE)
		return;
	strcpy(query.name, "a.z");
	dns_reply_matches(&query, dns_id(data), data, size);
	count = dns_reply_addresses(data, size, &addresses, &ttl);
	REQUIRE(count * 16 <= size && (count == 0 || ttl <= INT32_MAX));
	free(addresses);
}

/* In portions it is the same messages as whole. */
static void fuzz_stream(const uint8_t *data, size_t size, size_t portion)
{
	struct dns_stream whole = { 0 }, parts = { 0 };
	const uint8_t *part = data, *end = data + size;
	size_t part_size = 0;
	int rc;

	do {
		int again;

		rc = dns_stream_take(&whole, 512, &data, &size);
		while ((again = dns_stream_take(&parts, 512, &part, &part_size)) == 0 && part < end)
			part_size = portion < (size_t)(end - part) ? portion : (size_t)(end - part);
		REQUIRE((rc < 0) == (again < 0) && (rc > 0) == (again > 0));
		if (rc > 0)
			REQUIRE(whole.size == parts.size &&
				memcmp(whole.message, parts.message, whole.size) == 0);
	} while (rc > 0);
	dns_stream_clear(&whole);
	dns_stream_clear(&parts);
}

static void fuzz_texts(struct zones *zones, const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	struct resolv resolv;
	struct error err;

	if (zones_parse(zones, text, &err) < 0)
		REQUIRE(err.reason == REASON_INVALID && *err.message != '\0');
	resolv_parse(&resolv, text, 53);
	REQUIRE(resolv.count > 0 && resolv.attempts > 0 && resolv.timeout_ms > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct zones *zones = zones_new();
	size_t portion = size > 0 ? data[0] % 16u + 1 : 1;

	if (size > 0) {
		data++;
		size--;
	}
	if (zones_parse(zones, "z=10.0.0.9,a=10.0.0.1,a=fd00::1,b.c=10.0.0.2", NULL) < 0)
		abort();
	fuzz_query(zones, data, size, false);
	fuzz_query(zones, data, size, true);
	fuzz_reply(data, size);
	fuzz_stream(data, size, portion);
	fuzz_texts(zones, data, size);
	/* And with what the text added. */
	fuzz_query(zones, data, size, false);
	zones_free(zones);
	return 0;
}
