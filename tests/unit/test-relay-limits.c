/* SPDX-License-Identifier: MIT */
/*
 * Sinks that don't read, peers that vanish while nobody looks, and answers that nobody takes: all of it
 * is noticed, has an end, and takes no memory.
 */
#include "config.h"

#include "relay-fixture.h"

#define BULK 300000u

static uint8_t bulk[4u << 20];

static void buffers(int fd, int size)
{
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* As many DATA records as are taken while nobody reads behind the relay. */
static void fill(int fd)
{
	uint8_t record[RECORD_HEADER_SIZE + 50000];
	size_t sent = 0;

	record_put_header(record, RECORD_DATA, 50000);
	memcpy(record + RECORD_HEADER_SIZE, bulk, 50000);
	for (int idle = 0; idle < 50; idle++) {
		ssize_t n = write(fd, record + sent, sizeof(record) - sent);

		turn(now_ms());
		sent = (sent + (n > 0 ? (size_t)n : 0)) % sizeof(record);
		if (n > 0)
			idle = 0;
	}
}

/* PINGs by somebody who never reads the answers: they don't pile up. */
static void test_ping_flood(void)
{
	uint8_t pings[12 * 1000] = { 0 }, byte;
	struct fixture f;
	size_t sent = 0;
	int64_t since = now_ms();

	for (size_t i = 0; i < sizeof(pings); i += 12) {
		pings[i] = RECORD_PING;
		pings[i + 3] = 8;
	}
	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	while (read(f.near_r, &byte, 1) < 0 && errno == EAGAIN && turn(since)) {
		ssize_t n = write(f.far_w, pings + sent % 12, sizeof(pings) - 12);

		sent += n > 0 ? (size_t)n : 0;
	}
	is_int(errno, ECONNRESET, "PING flood: near is reset");
	ok(sent < 8u << 20, "PING flood: stopped after %zu bytes", sent);
	close_far(&f);
	fixture_check(&f, RELAY_RESET, "PING flood");
	is_str(f.result.err.message, "protocol error: too many PINGs", "PING flood: why");
}

/* All that takes 5 s, at the same time. */
static void test_limits(void)
{
	static const struct {
		const char *name;
		enum relay_outcome outcome;
	} cases[] = {
		{ "RESET, and a sink that never reads", RELAY_RESET },
		{ "a link that vanished behind more than the sink takes", RELAY_CUT },
		{ "a client's reset while the link does not read", RELAY_LOCAL },
		{ "a link that does not confirm", RELAY_LOCAL },
		{ "a link that vanished while it was busy", RELAY_CUT },
		{ "a link that shut its reading side", RELAY_CUT },
	};
	struct fixture f[ARRAY_SIZE(cases)], patient;
	uint8_t *got = xmalloc(BULK + 1);
	int end, big = sizeof(bulk);

	for (int i = 0; i < (int)ARRAY_SIZE(cases); i++) {
		fixture_init(&f[i], i == 3 ? PAIR_PIPES : PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS,
			     i == 3 ? RELAY_LEAVE | RELAY_CONFIRM | RELAY_READER : 0);
		if (i != 4)
			fixture_start(&f[i]);
	}
	put_record(f[0].far_w, RECORD_DATA, bulk, BULK);
	put_record(f[0].far_w, RECORD_RESET, "broken x", 8);
	close_far(&f[0]);

	/* Its end is never read. */
	buffers(f[1].config.end[0].wfd, 4096);
	fill(f[1].far_w);
	close_far(&f[1]);

	fill(f[2].near_w);
	reset_near(&f[2]);

	put_record(f[3].far_w, RECORD_EOF, NULL, 0);

	/*
	 * A hang-up that comes while the relay reads as fast as it can, long before the sink is full: nobody
	 * looked then, and there won't be another event.
	 */
	if (setsockopt(f[4].far_w, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big)) == 0 &&
	    setsockopt(f[4].config.end[0].wfd, SOL_SOCKET, SO_SNDBUFFORCE, &(int){ 1 << 20 },
		       sizeof(int)) == 0) {
		for (int i = 0; i < 17; i++)
			put_record(f[4].far_w, RECORD_DATA, bulk, 200000);
		close_far(&f[4]);
		fixture_start(&f[4]);
	} else {
		relay_abort((fixture_start(&f[4]), f[4].relay), "skipped");
	}

	shutdown(f[5].far_r, SHUT_RD);
	put(f[5].near_w, bulk, 10);

	/* A link that has ended in order may be gone long before all it said is taken: no limit here. */
	fixture_init(&patient, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	buffers(patient.config.end[0].wfd, 4096);
	fixture_start(&patient);
	shutdown(patient.near_w, SHUT_WR);
	is_record(patient.far_r, RECORD_EOF, NULL, 0, "a slow client");
	put_record(patient.far_w, RECORD_DATA, bulk, BULK);
	put_record(patient.far_w, RECORD_EOF, NULL, 0);
	close_far(&patient);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!ok(wait_done(&f[i]), "%s: done", cases[i].name))
			continue;
		if (f[i].result.outcome == RELAY_SIGNAL) {
			skip("%s: needs root", cases[i].name);
			continue;
		}
		is_str(relay_outcome_name(f[i].result.outcome),
		       relay_outcome_name(cases[i].outcome), "%s: the outcome", cases[i].name);
		/* Measured from before the data was put, so a little more is fine. */
		ok(f[i].ended - f[i].started >= 4900 && f[i].ended - f[i].started < 8000,
		   "%s: after 5 s (%lld ms)", cases[i].name,
		   (long long)(f[i].ended - f[i].started));
	}
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		close_near(&f[i]);
		close_far(&f[i]);
	}
	while (now_ms() < patient.started + 5500)
		settle();
	ok(!patient.done, "a slow client: still waited for");
	is_int((long long)get(patient.near_r, got, BULK + 1, &end), BULK,
	       "a slow client: gets all");
	is_int(end, 0, "a slow client: and the end");
	fixture_check(&patient, RELAY_EOF, "a slow client");
	free(got);
}

int main(void)
{
	static void (*const tests[])(void) = { test_ping_flood, test_limits };

	return fixture_main(tests, ARRAY_SIZE(tests));
}
