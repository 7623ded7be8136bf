/* SPDX-License-Identifier: MIT */
/*
 * Takes any bytes apart as records: whole and in portions it must come to the same,
 * what came out must encode to what went in, and a RESET must read back as it was written.
 * The input's first byte says how the portions are cut.
 */
#include "config.h"

#include <string.h>

#include "lib/records.h"
#include "tests/fuzz/fuzz.h"

/* What a reader made of a stream: the records again, encoded, and how it ended. */
struct outcome {
	uint8_t *encoded;
	size_t size;
	size_t begun; /* where in encoded the DATA that goes on began; size if none does */
	bool partial;
	struct error err; /* its message empty: none */
};

/* The text of a RESET read and written again stays as it is. */
static void check_reset(const uint8_t *payload, size_t length)
{
	uint8_t encoded[RECORD_HEADER_SIZE + RECORD_RESET_MAX];
	struct error first, second;
	size_t size;

	record_decode_reset(payload, length, &first);
	REQUIRE(first.reason < REASON_COUNT && *first.message);
	for (const char *p = first.message; *p; p++)
		REQUIRE((unsigned char)*p >= ' ' && *p != 0x7f);
	size = record_encode_reset(encoded, &first);
	REQUIRE(size <= sizeof(encoded));
	record_decode_reset(encoded + RECORD_HEADER_SIZE, size - RECORD_HEADER_SIZE, &second);
	REQUIRE(first.reason == second.reason && strcmp(first.message, second.message) == 0);
}

static void append_piece(struct outcome *outcome, const struct record_piece *piece)
{
	size_t start = outcome->size;

	if (outcome->begun < outcome->size) {
		REQUIRE(piece->type == RECORD_DATA);
		start = outcome->begun;
	} else {
		outcome->size += RECORD_HEADER_SIZE;
	}
	if (piece->length > 0)
		memcpy(outcome->encoded + outcome->size, piece->data, piece->length);
	outcome->size += piece->length;
	record_put_header(outcome->encoded + start, piece->type,
			  (uint32_t)(outcome->size - start - RECORD_HEADER_SIZE));
	outcome->begun = piece->end ? outcome->size : start;
}

/* Feeds portions of 1..max_step bytes, cut as `seed` has it; with max_step 0 all at once. */
static void read_stream(struct outcome *outcome, const uint8_t *data, size_t size, size_t max_step,
			uint32_t seed)
{
	struct record_reader reader = { 0 };
	size_t taken = 0;

	outcome->encoded = xmalloc(size + RECORD_HEADER_SIZE);
	while (taken < size) {
		size_t portion = max_step ? 1 + (seed >> 16) % max_step : size - taken;
		struct record_piece piece;
		bool got;
		ssize_t n;

		seed = seed * 1103515245 + 12345;
		if (portion > size - taken)
			portion = size - taken;
		n = record_reader_feed(&reader, data + taken, portion, &piece, &got, &outcome->err);
		if (n < 0)
			break;
		REQUIRE(n > 0 && (size_t)n <= portion);
		taken += (size_t)n;
		if (!got) {
			REQUIRE((size_t)n == portion);
			continue;
		}
		if (piece.type == RECORD_DATA && piece.length > 0)
			REQUIRE(piece.data + piece.length == data + taken);
		if (piece.type == RECORD_RESET)
			check_reset(piece.data, piece.length);
		append_piece(outcome, &piece);
	}
	outcome->partial = record_reader_is_partial(&reader);
	record_reader_clear(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole = { 0 }, portions = { 0 };

	if (size == 0)
		return 0;
	read_stream(&whole, data + 1, size - 1, 0, 0);
	read_stream(&portions, data + 1, size - 1, 1 + data[0] % 16, (uint32_t)data[0] << 16);
	REQUIRE(whole.size == portions.size && whole.begun == portions.begun);
	REQUIRE(memcmp(whole.encoded, portions.encoded, whole.size) == 0);
	REQUIRE(whole.partial == portions.partial);
	REQUIRE(strcmp(whole.err.message, portions.err.message) == 0);
	/* all records that ended are as they came */
	REQUIRE(whole.begun < size && memcmp(whole.encoded, data + 1, whole.begun) == 0);
	REQUIRE(*whole.err.message || whole.partial == (whole.begun < size - 1));
	free(whole.encoded);
	free(portions.encoded);
	return 0;
}
