/* SPDX-License-Identifier: MIT */
/* The framing: encoding, and a reader that is fed whole, bytewise and in all splits. */
#include "config.h"

#include <errno.h>

#include "lib/records.h"
#include "tests/tap.h"

#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

static struct error err;

/* What a reader made of a stream, as text: "DATA(hello) EOF() !protocol error: …". */
static char transcript[4096];

static void transcribe(const char *text)
{
	size_t used = strlen(transcript);

	snprintf(transcript + used, sizeof(transcript) - used, "%s", text);
}

/* `open`: the piece goes on with the record of the one before. */
static void transcribe_piece(const struct record_piece *piece, bool open)
{
	_cleanup_free_ char *text = escape_bytes((const char *)piece->data, piece->length);

	if (!open) {
		transcribe(" ");
		transcribe(record_type_name(piece->type));
		transcribe("(");
	}
	transcribe(text);
	if (piece->end)
		transcribe(")");
}

/* Feeds `length` bytes in portions of `step`; returns how many were taken, or the error. */
static ssize_t feed_all(struct record_reader *reader, const uint8_t *data, size_t length,
			size_t step)
{
	bool open = false;
	size_t taken = 0;

	*transcript = '\0';
	while (taken < length) {
		size_t portion = length - taken < step ? length - taken : step;
		struct record_piece piece;
		bool got = false;
		ssize_t n = record_reader_feed(reader, data + taken, portion, &piece, &got, &err);

		if (n < 0) {
			transcribe(" !");
			transcribe(err.message);
			return n;
		}
		if ((size_t)n > portion || (n == 0 && !got))
			return -EFAULT;
		if (got && piece.type == RECORD_DATA && piece.length > 0 &&
		    (piece.data < data || piece.data + piece.length > data + taken + n))
			return -EFAULT;
		if (got) {
			transcribe_piece(&piece, open);
			open = !piece.end;
		}
		taken += (size_t)n;
	}
	return (ssize_t)taken;
}

static void test_streams(void)
{
	static const struct {
		const uint8_t *bytes;
		size_t length;
		const char *want;
		bool partial;
	} cases[] = {
		{ BYTES("\0\0\0\5hello"), " DATA(hello)", false },
		{ BYTES("\0\0\0\0"), " DATA()", false },
		{ BYTES("\0\0\0\1a\0\0\0\0\0\0\0\1b"), " DATA(a) DATA() DATA(b)", false },
		{ BYTES("\1\0\0\0"), " EOF()", false },
		{ BYTES("\0\0\0\2hi\1\0\0\0\3\0\0\1x\4\0\0\0\2\0\0\7refused"),
		  " DATA(hi) EOF() PING(x) PONG() RESET(refused)", false },
		{ BYTES("\3\0\0\10"
			"12345678\3\0\0\0\0\0\0\1z"),
		  " PING(12345678) PING() DATA(z)", false },
		{ BYTES("\2\0\0\0"), " RESET()", false },
		{ BYTES("\0\0"), "", true },
		{ BYTES("\0\0\0\5hel"), " DATA(hel", true },
		{ BYTES("\0\0\0\5"), "", true },
		{ BYTES("\2\0\0\5hel"), "", true },
		{ BYTES("\5\0\0\0"), " !protocol error: unknown record type 5", false },
		{ BYTES("GET / HTTP/1.1"), " !protocol error: unknown record type 71", false },
		{ BYTES("\1\0\0\1x"), " !protocol error: EOF record of 1 bytes", false },
		{ BYTES("\0\x0f\xff\xfd"), " !protocol error: DATA record of 1048573 bytes",
		  false },
		{ BYTES("\0\xff\xff\xff"), " !protocol error: DATA record of 16777215 bytes",
		  false },
		{ BYTES("\2\0\4\1"), " !protocol error: RESET record of 1025 bytes", false },
		{ BYTES("\3\0\0\11"), " !protocol error: PING record of 9 bytes", false },
		{ BYTES("\4\0\0\11"), " !protocol error: PONG record of 9 bytes", false },
		{ BYTES("\1\0\0\0\0\0\0\1x"), " EOF() !protocol error: DATA record after EOF",
		  false },
		{ BYTES("\1\0\0\0\0\0\0\0"), " EOF() !protocol error: DATA record after EOF",
		  false },
		{ BYTES("\1\0\0\0\1\0\0\0"), " EOF() !protocol error: EOF record after EOF",
		  false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t length = cases[i].length;
		bool fails = strchr(cases[i].want, '!') != NULL;
		bool passed = true;

		for (size_t step = 1; step <= length && passed; step++) {
			struct record_reader reader = { 0 };
			ssize_t n = feed_all(&reader, cases[i].bytes, length, step);

			passed = strcmp(transcript, cases[i].want) == 0 &&
				 (fails ? n == -EPROTO && err.reason == REASON_BROKEN
					: n == (ssize_t)length) &&
				 record_reader_is_partial(&reader) == cases[i].partial;
			record_reader_clear(&reader);
		}
		ok(passed, "stream %zu gives%s", i, cases[i].want);
		if (!passed)
			diag("got%s", transcript);
	}
}

/* One large DATA record, at the limit, in portions: its pieces point into what was fed. */
static void test_large(void)
{
	size_t size = RECORD_HEADER_SIZE + RECORD_PAYLOAD_MAX, taken = 0, payload = 0;
	_cleanup_free_ uint8_t *data = xcalloc(1, size);
	struct record_reader reader = { 0 };
	bool in_place = true, ended = false;

	record_put_header(data, RECORD_DATA, RECORD_PAYLOAD_MAX);
	is_mem(data, 4, "\0\x0f\xff\xfc", 4, "the largest header");
	while (taken < size && in_place && !ended) {
		size_t portion = size - taken < 65536 ? size - taken : 65536;
		struct record_piece piece;
		bool got;
		ssize_t n = record_reader_feed(&reader, data + taken, portion, &piece, &got, &err);

		in_place = n == (ssize_t)portion && got &&
			   piece.data + piece.length == data + taken + portion;
		payload += piece.length;
		ended = piece.end;
		taken += portion;
	}
	ok(in_place && ended && taken == size, "a record of 1 MiB - 4 bytes in portions");
	is_int((long long)payload, RECORD_PAYLOAD_MAX, "all of it");
	is_int((long long)reader.control, 0, "without memory of its own");
}

static void test_control_memory(void)
{
	struct record_reader reader = { 0 };
	struct record_piece piece;
	bool got;

	record_reader_feed(&reader, BYTES("\3\0\0\4ping"), &piece, &got, &err);
	ok(got, "a PING whole");
	is_mem(piece.data, piece.length, "ping", 4, "its payload is the reader's");
	is_int(record_reader_feed(&reader, BYTES(""), &piece, &got, &err), 0, "nothing fed");
	ok(!got, "nothing got");
	record_reader_feed(&reader, BYTES("\0\0\0\1x"), &piece, &got, &err);
	ok(got && !reader.control, "the payload is freed with the next record");

	/* all a reader is told of a stream after an error is the next error */
	is_int(record_reader_feed(&reader, BYTES("\7\0\0\0"), &piece, &got, &err), -EPROTO,
	       "a protocol error");
	ok(!got, "and no piece");
	is_int(record_reader_feed(&reader, BYTES("\7\0\0\0"), &piece, &got, &err), -EPROTO,
	       "once more");
	record_reader_feed(&reader, BYTES("\2\0\0\5hel"), &piece, &got, NULL);
	ok(!got && reader.control, "half a RESET");
	record_reader_clear(&reader);
	ok(!reader.control, "is freed");
}

static void test_encode(void)
{
	uint8_t out[RECORD_HEADER_SIZE + RECORD_RESET_MAX];
	struct error decoded;
	size_t size;

	is_str(record_type_name(RECORD_DATA), "DATA", "a type's name");
	is_str(record_type_name(RECORD_PONG), "PONG", "another");
	record_put_header(out, RECORD_DATA, 0x010203);
	is_mem(out, 4, "\0\1\2\3", 4, "a header is big-endian");

	error_set(&err, REASON_REFUSED, ECONNREFUSED, "no\nway");
	size = record_encode_reset(out, &err);
	is_mem(out, size, "\2\0\0\021refused no\\x0away", 21, "a RESET, escaped");
	record_decode_reset(out + 4, size - 4, &decoded);
	is_int(decoded.reason, REASON_REFUSED, "its reason again");
	is_str(decoded.message, "no\\x0away", "its text again");

	/* the longest there is: 511 bytes that need four each */
	memset(err.message, '\xff', sizeof(err.message) - 1);
	err.message[sizeof(err.message) - 1] = '\0';
	err.reason = REASON_NOT_RUNNING;
	size = record_encode_reset(out, &err);
	ok(size <= sizeof(out) && size > 1000, "a long text is cut to %zu bytes", size);
	record_decode_reset(out + 4, size - 4, &decoded);
	is_int(decoded.reason, REASON_NOT_RUNNING, "its reason again");
	ok(strlen(decoded.message) >= 508, "as much of the text as there is room for");
}

static void test_decode_reset(void)
{
	static const struct {
		const uint8_t *payload;
		size_t length;
		enum reason reason;
		const char *text;
	} cases[] = {
		{ BYTES("timeout took too long"), REASON_TIMEOUT, "took too long" },
		{ BYTES("broken cut"), REASON_BROKEN, "cut" },
		{ BYTES("refused"), REASON_REFUSED, "connection reset" },
		{ BYTES("refused "), REASON_REFUSED, "connection reset" },
		{ BYTES(""), REASON_BROKEN, "connection reset" },
		{ BYTES("went away"), REASON_BROKEN, "went away" },
		{ BYTES("refused: x"), REASON_BROKEN, "refused: x" },
		{ BYTES(" refused x"), REASON_BROKEN, " refused x" },
		{ BYTES("refused\0 x"), REASON_BROKEN, "refused\\x00 x" },
		{ BYTES("internal \x1b]0;\xff\0"), REASON_INTERNAL, "\\x1b]0;\\xff\\x00" },
		{ BYTES("a-word-that-is-longer-than-all x"), REASON_BROKEN,
		  "a-word-that-is-longer-than-all x" },
	};
	uint8_t large[RECORD_RESET_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		record_decode_reset(cases[i].payload, cases[i].length, &err);
		is_int(err.reason, cases[i].reason, "RESET %zu is %s", i, reason_name(err.reason));
		is_str(err.message, cases[i].text, "RESET %zu tells", i);
	}
	memset(large, 7, sizeof(large));
	record_decode_reset(large, sizeof(large), &err);
	is_int((long long)strlen(err.message), 508, "a long text is cut between escapes");
}

int main(void)
{
	test_streams();
	test_large();
	test_control_memory();
	test_encode();
	test_decode_reset();
	return done_testing();
}
