/* SPDX-License-Identifier: MIT */
/*
 * The relay out of order: resets, cut links, broken protocol, aborts. What was sent before is delivered
 * first. For how long: test-relay-limits.c.
 */
#include "config.h"

#include "relay-fixture.h"

#define BULK 300000u

static uint8_t bulk[1u << 20];

static void buffers(int fd, int size)
{
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* All of `size` bytes of bulk[], then a reset: an end would make what came before it look whole. */
static void is_bulk_then_reset(int fd, size_t size, const char *name)
{
	uint8_t *got = xmalloc(size + 1);
	int end;
	size_t n = get(fd, got, size + 1, &end);

	ok(n == size && memcmp(got, bulk, size) == 0, "%s: every byte before it (%zu of %zu)", name,
	   n, size);
	is_int(end, ECONNRESET, "%s: then a reset and no end", name);
	free(got);
}

static void test_protocol_errors(void)
{
	static const struct {
		const char *name, *text;
		const uint8_t bytes[16];
		size_t size;
	} cases[] = {
		{ "DATA after EOF", "DATA record after EOF", { 1, 0, 0, 0, 0, 0, 0, 1, 'x' }, 9 },
		{ "a second EOF", "EOF record after EOF", { 1, 0, 0, 0, 1, 0, 0, 0 }, 8 },
		{ "EOF with a payload", "EOF record of 1 bytes", { 1, 0, 0, 1, 'x' }, 5 },
		{ "an unknown type", "unknown record type 5", { 5, 0, 0, 0 }, 4 },
		{ "the last unknown type", "unknown record type 255", { 255, 255, 255, 255 }, 4 },
		{ "DATA that is too long", "DATA record of 1048573 bytes", { 0, 15, 255, 253 }, 4 },
		{ "PING that is too long", "PING record of 9 bytes", { 3, 0, 0, 9 }, 4 },
		{ "PONG that is too long", "PONG record of 9 bytes", { 4, 0, 0, 9 }, 4 },
		{ "RESET that is too long", "RESET record of 1025 bytes", { 2, 0, 4, 1 }, 4 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture f;
		uint8_t got[4];
		int end;

		fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
		fixture_start(&f);
		put_record(f.far_w, RECORD_DATA, bulk, 3);
		put(f.far_w, cases[i].bytes, cases[i].size);
		is_int((long long)get(f.near_r, got, 3, &end), 3, "%s: the data before it",
		       cases[i].name);
		/* Where an orderly end came first, it was passed on before. */
		if (cases[i].bytes[0] != RECORD_EOF || cases[i].bytes[3] != 0)
			is_int(get_end(f.near_r), ECONNRESET, "%s: near is reset", cases[i].name);
		is_reset_record(f.far_r, cases[i].text, cases[i].name);
		end = get_end(f.far_r);
		/* With bytes of what was wrong unread a Unix socket says so. */
		ok(end == 0 || end == ECONNRESET, "%s: the link is closed", cases[i].name);
		fixture_check(&f, RELAY_RESET, cases[i].name);
	}
}

/* RESET records: data before them is delivered, also to a slow sink, also after EOF. */
static void test_reset_record(void)
{
	static const char text[] = "broken the target went away";
	static const enum pair kinds[] = { PAIR_UNIX, PAIR_PIPES };
	struct fixture f;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		fixture_init(&f, PAIR_TCP, kinds[i], FRAMING_RECORDS, 0);
		fixture_start(&f);
		/* What comes by one pipe counts, also when the other one has lost its reader. */
		if (kinds[i] == PAIR_PIPES) {
			shut(&f.far_r);
			settle();
		}
		put_record(f.far_w, RECORD_DATA, bulk, BULK);
		put_record(f.far_w, RECORD_RESET, text, strlen(text));
		close_far(&f);
		settle();
		is_bulk_then_reset(f.near_r, BULK, "RESET behind data");
		fixture_check(&f, RELAY_RESET, "RESET behind data");
		is_str(f.result.err.message, "the target went away", "RESET behind data: why");
		is_int((long long)f.result.bytes_in, BULK, "RESET behind data: counted");

		/* All at once, before the relay first looks. */
		fixture_init(&f, PAIR_TCP, kinds[i], FRAMING_RECORDS, 0);
		put_record(f.far_w, RECORD_DATA, bulk, 5);
		put_record(f.far_w, RECORD_RESET, text, strlen(text));
		close_far(&f);
		fixture_start(&f);
		is_bulk_then_reset(f.near_r, 5, "RESET at once");
		fixture_check(&f, RELAY_RESET, "RESET at once");
	}
	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	is_int(get_end(f.near_r), 0, "RESET after EOF: the end first");
	put_record(f.far_w, RECORD_RESET, text, strlen(text));
	fixture_check(&f, RELAY_RESET, "RESET after EOF");

	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	shutdown(f.near_w, SHUT_WR);
	is_record(f.far_r, RECORD_EOF, NULL, 0, "RESET after our EOF");
	put_record(f.far_w, RECORD_RESET, text, strlen(text));
	is_int(get_end(f.near_r), ECONNRESET, "RESET after our EOF: near is reset");
	fixture_check(&f, RELAY_RESET, "RESET after our EOF");

	/* Hostile text is escaped, an empty one is a reset all the same. */
	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	put_record(f.far_w, RECORD_RESET, "\033[2J", 4);
	fixture_check(&f, RELAY_RESET, "RESET with an escape");
	is_str(f.result.err.message, "\\x1b[2J", "RESET with an escape: shown");
	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	put_record(f.far_w, RECORD_RESET, NULL, 0);
	fixture_check(&f, RELAY_RESET, "RESET without a text");
}

/* Both directions are done, data is in flight to a slow client, and then comes a RESET. */
static void test_reset_in_flight(void)
{
	uint8_t *got = xmalloc(BULK + 1);
	struct fixture f;
	int end;

	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, RELAY_CONFIRM);
	buffers(f.config.end[0].wfd, 1 << 20);
	fixture_start(&f);
	shutdown(f.near_w, SHUT_WR);
	is_record(f.far_r, RECORD_EOF, NULL, 0, "RESET in flight");
	put_record(f.far_w, RECORD_DATA, bulk, BULK);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	settle();
	ok(sock_unsent(f.config.end[0].wfd) > 0, "RESET in flight: something is");
	put_record(f.far_w, RECORD_RESET, "broken x", 8);
	settle();
	is_int((long long)get(f.near_r, got, BULK + 1, &end), BULK,
	       "RESET in flight: every byte comes");
	fixture_check(&f, RELAY_RESET, "RESET in flight");
	free(got);
}

/* A TCP reset at the near end, with data before it, in each state. */
static void test_near_reset(void)
{
	static const char *const names[] = { "idle", "with data", "after its FIN",
					     "after our FIN" };
	struct fixture f;

	for (int i = 0; i < 4; i++) {
		fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
		fixture_start(&f);
		settle();
		if (i == 1) {
			put(f.near_w, bulk, 100);
			/* Acknowledged, but not read: it is the relay's to deliver. */
			reset_near(&f);
			is_record(f.far_r, RECORD_DATA, bulk, 100, "near reset with data");
		} else if (i == 2) {
			shutdown(f.near_w, SHUT_WR);
			is_record(f.far_r, RECORD_EOF, NULL, 0, "near reset after its FIN");
			put_record(f.far_w, RECORD_DATA, bulk, 100);
			settle();
		} else if (i == 3) {
			put_record(f.far_w, RECORD_EOF, NULL, 0);
			is_int(get_end(f.near_r), 0, "near reset after our FIN: it came");
		}
		if (f.near_r >= 0)
			reset_near(&f);
		is_reset_record(f.far_r, "onnection reset", names[i]);
		is_int(get_end(f.far_r), 0, "near reset %s: the link is closed", names[i]);
		fixture_check(&f, RELAY_LOCAL, names[i]);
	}
}

/*
 * A write meets the reset before a read does, and takes its errno away: what is read then looks like
 * an end, and is none.
 */
static void test_reset_met_by_write(void)
{
	struct fixture f;

	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	put(f.near_w, bulk, 100);
	put_record(f.far_w, RECORD_DATA, bulk, 100);
	reset_near(&f);
	fixture_start(&f);
	is_record(f.far_r, RECORD_DATA, bulk, 100, "reset met by a write");
	is_reset_record(f.far_r, "onnection reset", "reset met by a write");
	fixture_check(&f, RELAY_LOCAL, "reset met by a write");
}

/* A TCP target (raw, netns:) that resets. */
static void test_far_reset(void)
{
	struct fixture f;

	fixture_init(&f, PAIR_TCP, PAIR_TCP, FRAMING_RAW, 0);
	fixture_start(&f);
	put(f.far_w, bulk, BULK);
	settle();
	while (sock_unsent(f.far_w) > 0)
		settle();
	reset_far(&f);
	settle();
	is_bulk_then_reset(f.near_r, BULK, "raw reset");
	fixture_check(&f, RELAY_RESET, "raw reset");

	/* It has sent its end, and goes without having read everything: that is no end in order. */
	fixture_init(&f, PAIR_PIPES, PAIR_TCP, FRAMING_RAW, RELAY_CONFIRM | RELAY_READER);
	fixture_start(&f);
	buffers(f.config.end[1].wfd, 1 << 20);
	put(f.near_w, bulk, BULK);
	shut(&f.near_w);
	shutdown(f.far_w, SHUT_WR);
	is_int(get_end(f.near_r), 0, "raw, not all taken: the end came");
	settle();
	ok(!f.done, "raw, not all taken: waits");
	close_far(&f);
	fixture_check(&f, RELAY_RESET, "raw, not all taken");

	/* The same for a target at the near end of the guest's relay. */
	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, RELAY_ACKED);
	fixture_start(&f);
	shutdown(f.near_w, SHUT_WR);
	is_record(f.far_r, RECORD_EOF, NULL, 0, "target, not all taken");
	for (int i = 0; i < 40; i++)
		put_record(f.far_w, RECORD_DATA, bulk, 100000);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	close_near(&f);
	is_reset_record(f.far_r, "onnection reset", "target, not all taken");
	fixture_check(&f, RELAY_LOCAL, "target, not all taken");
}

static void test_cut(void)
{
	static const uint8_t partial[] = { 0, 0, 0, 10, 'a', 'b' };
	static const struct {
		const char *name;
		size_t size; /* of partial[] */
	} cases[] = {
		{ "idle", 0 },
		{ "in a header", 2 },
		{ "behind a header", 4 },
		{ "in a payload", 6 },
	};
	struct fixture f;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t left = cases[i].size == 6 ? 2 : 0;
		uint8_t got[8];
		int end;

		fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
		fixture_start(&f);
		put_record(f.far_w, RECORD_DATA, bulk, 3);
		put(f.far_w, partial, cases[i].size);
		close_far(&f);
		is_int((long long)get(f.near_r, got, sizeof(got), &end), (long long)(3 + left),
		       "cut %s: the data before it", cases[i].name);
		is_int(end, ECONNRESET, "cut %s: near is reset", cases[i].name);
		fixture_check(&f, RELAY_CUT, cases[i].name);
		is_str(f.result.err.message, "the link was cut", "cut %s: why", cases[i].name);
	}

	/* Over TCP there is nothing but an end. */
	fixture_init(&f, PAIR_TCP, PAIR_TCP, FRAMING_RECORDS, 0);
	fixture_start(&f);
	shutdown(f.far_w, SHUT_WR);
	is_int(get_end(f.near_r), ECONNRESET, "cut over TCP: near is reset");
	fixture_check(&f, RELAY_CUT, "cut over TCP");

	/* While the near end is sending, and the link does not read. */
	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	put(f.near_w, bulk, BULK);
	settle();
	close_far(&f);
	is_int(get_end(f.near_r), ECONNRESET, "cut while sending: near is reset");
	fixture_check(&f, RELAY_CUT, "cut while sending");

	/* EOF both ways, but the link went with our last bytes unread. */
	fixture_init(&f, PAIR_PIPES, PAIR_UNIX, FRAMING_RECORDS, RELAY_CONFIRM | RELAY_READER);
	fixture_start(&f);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	put(f.near_w, bulk, 100);
	shut(&f.near_w);
	settle();
	ok(!f.done, "cut before it was taken: waits");
	close_far(&f);
	fixture_check(&f, RELAY_CUT, "cut before it was taken");
}

/* stdout's reader is gone. */
static void test_reader(void)
{
	struct fixture f;

	fixture_init(&f, PAIR_PIPES, PAIR_UNIX, FRAMING_RECORDS, RELAY_CONFIRM | RELAY_READER);
	fixture_start(&f);
	settle();
	shut(&f.near_r);
	is_reset_record(f.far_r, "roken pipe", "reader gone while idle");
	fixture_check(&f, RELAY_LOCAL, "reader gone while idle");

	fixture_init(&f, PAIR_PIPES, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	settle();
	shut(&f.near_r);
	settle();
	ok(!f.done, "reader gone while idle, nobody asked: goes on");
	put_record(f.far_w, RECORD_DATA, bulk, 10);
	is_reset_record(f.far_r, "roken pipe", "reader gone, then data");
	fixture_check(&f, RELAY_LOCAL, "reader gone, then data");
	is_int((long long)f.result.bytes_in, 0, "reader gone: nothing was delivered");

	fixture_init(&f, PAIR_PIPES, PAIR_UNIX, FRAMING_RECORDS, RELAY_CONFIRM | RELAY_READER);
	fixture_start(&f);
	put_record(f.far_w, RECORD_DATA, bulk, BULK);
	settle();
	shut(&f.near_r);
	is_reset_record(f.far_r, "roken pipe", "reader gone with bytes waiting");
	fixture_check(&f, RELAY_LOCAL, "reader gone with bytes waiting");
	ok(f.result.bytes_in < BULK, "reader gone with bytes waiting: not all were delivered");
}

static void test_abort(void)
{
	static const char *const names[] = { "at once", "open", "with a queue", "draining",
					     "finishing" };
	struct fixture f;

	for (int i = 0; i < (int)ARRAY_SIZE(names); i++) {
		size_t size = i == 2 || i == 3 ? 200000 : 0;

		fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, RELAY_CONFIRM);
		if (size > 0)
			buffers(f.config.end[0].wfd, 4096);
		fixture_start(&f);
		if (i > 0)
			settle();
		if (size > 0)
			put_record(f.far_w, RECORD_DATA, bulk, size);
		if (i == 3 || i == 4)
			put_record(f.far_w, RECORD_EOF, NULL, 0);
		if (i == 4)
			shutdown(f.near_w, SHUT_WR);
		/* What it did not take before is not its to deliver. It may be in another thread. */
		if (size > 0)
			ok(wait_taken(&f, RECORD_HEADER_SIZE), "abort %s: it has all", names[i]);
		if (i > 0)
			settle();
		relay_abort(f.relay, "stopped");
		if (i == 4)
			is_record(f.far_r, RECORD_EOF, NULL, 0, "abort finishing");
		is_reset_record(f.far_r, "stopped", names[i]);
		if (i != 4)
			is_bulk_then_reset(f.near_r, size, names[i]);
		fixture_check(&f, RELAY_SIGNAL, names[i]);
		is_str(f.result.err.message, "stopped", "abort %s: why", names[i]);
	}
	fixture_init(&f, PAIR_TCP, PAIR_TCP, FRAMING_RAW, 0);
	fixture_start(&f);
	relay_abort(f.relay, "stopped");
	is_int(get_end(f.near_r), ECONNRESET, "abort raw: near is reset");
	is_int(get_end(f.far_r), ECONNRESET, "abort raw: far too");
	fixture_check(&f, RELAY_SIGNAL, "abort raw");

	/* The second one does not wait for a sink that does not read. */
	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	buffers(f.config.end[0].wfd, 4096);
	fixture_start(&f);
	put_record(f.far_w, RECORD_DATA, bulk, 200000);
	settle();
	relay_abort(f.relay, "stopped");
	settle();
	ok(!f.done, "abort twice: waits after the first");
	relay_abort(f.relay, "once more");
	settle();
	ok(f.done, "abort twice: but not after the second");
	ok(f.result.bytes_in < 200000, "abort twice: what was not taken is not counted");
	fixture_check(&f, RELAY_SIGNAL, "abort twice");
}

/* A command (exec:) is not to be killed before it has taken all, a RESET's record too. */
static void test_command(void)
{
	struct fixture f;

	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, RELAY_CONFIRM | RELAY_COMMAND);
	fixture_start(&f);
	put(f.near_w, bulk, 100);
	settle();
	reset_near(&f);
	settle();
	ok(!f.done, "command, reset: waits for it");
	is_record(f.far_r, RECORD_DATA, bulk, 100, "command, reset");
	is_reset_record(f.far_r, "onnection reset", "command, reset");
	is_int(get_end(f.far_r), 0, "command, reset: then the end");
	settle();
	ok(!f.done, "command, reset: waits until it closes");
	close_far(&f);
	fixture_check(&f, RELAY_LOCAL, "command, reset");

	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, RELAY_CONFIRM | RELAY_COMMAND);
	fixture_start(&f);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	shutdown(f.near_w, SHUT_WR);
	is_record(f.far_r, RECORD_EOF, NULL, 0, "command, in order");
	is_int(get_end(f.far_r), 0, "command, in order: then the end");
	settle();
	ok(!f.done, "command, in order: waits until it closes");
	close_far(&f);
	fixture_check(&f, RELAY_EOF, "command, in order");
}

static void test_bad_descriptors(void)
{
	struct fixture f;
	int fd;

	for (int i = 0; i < 2; i++) {
		fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
		fd = f.config.end[i].rfd;
		close(fd);
		fixture_start(&f);
		/* A new descriptor with that number is not the relay's to close. */
		fixture_check(&f, RELAY_LOCAL, i == 0 ? "a bad near end" : "a bad link");
	}
}

int main(void)
{
	static void (*const tests[])(void) = {
		test_protocol_errors,
		test_reset_record,
		test_reset_in_flight,
		test_near_reset,
		test_reset_met_by_write,
		test_far_reset,
		test_cut,
		test_reader,
		test_abort,
		test_command,
		test_bad_descriptors,
	};

	for (size_t i = 0; i < sizeof(bulk); i++)
		bulk[i] = (uint8_t)(i * 2654435761u >> 13);
	return fixture_main(tests, ARRAY_SIZE(tests));
}
