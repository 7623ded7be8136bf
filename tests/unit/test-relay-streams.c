/* SPDX-License-Identifier: MIT */
/*
 * The relay's one duty: every byte arrives, in order, and then the end, both directions at once, in
 * either framing, with chunks and buffers of all sizes.
 */
#include "config.h"

#include "relay-fixture.h"

/* The byte at a place in a stream: a place that is off by anything but 65521 shows. */
static uint8_t pattern[65521 + 65536];

static void pattern_init(void)
{
	uint32_t x = 2463534242u;

	for (size_t i = 0; i < sizeof(pattern); i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		pattern[i] = i < 65521 ? (uint8_t)x : pattern[i - 65521];
	}
}

static const uint8_t *pattern_at(size_t place)
{
	return pattern + place % 65521;
}

/* A direction of a test: what goes in at `wfd` has to come out of `rfd`. */
struct stream {
	int wfd, rfd;
	bool put_records, get_records;
	size_t total, chunk_max;
	size_t put, got;
	uint8_t out[RECORD_HEADER_SIZE + 65536]; /* a chunk on its way */
	size_t out_size, out_sent;
	bool put_eof, got_eof, wrong;
	struct record_reader reader;
};

static unsigned random_state = 12345;

static size_t random_up_to(size_t max)
{
	random_state = random_state * 1103515245u + 12345u;
	return (random_state >> 8) % max + 1;
}

/* The next chunk, or the end. */
static void stream_next(struct stream *s)
{
	size_t n = random_up_to(s->chunk_max), head = s->put_records ? RECORD_HEADER_SIZE : 0;

	if (n > s->total - s->put)
		n = s->total - s->put;
	s->out_sent = 0;
	if (n == 0) {
		s->put_eof = true;
		record_put_header(s->out, RECORD_EOF, 0);
		s->out_size = head;
		if (!s->put_records)
			shutdown(s->wfd, SHUT_WR);
		return;
	}
	if (s->put_records)
		record_put_header(s->out, RECORD_DATA, (uint32_t)n);
	memcpy(s->out + head, pattern_at(s->put), n);
	s->out_size = head + n;
	s->put += n;
}

static bool stream_put(struct stream *s)
{
	ssize_t n;

	if (s->out_sent == s->out_size) {
		if (s->put_eof)
			return false;
		stream_next(s);
	}
	n = write(s->wfd, s->out + s->out_sent, s->out_size - s->out_sent);
	s->out_sent += n > 0 ? (size_t)n : 0;
	return n > 0;
}

static void stream_take(struct stream *s, const uint8_t *data, size_t n)
{
	while (n > 0 && !s->wrong) {
		size_t part = n < 65536 ? n : 65536;

		s->wrong = memcmp(data, pattern_at(s->got), part) != 0;
		s->got += part;
		data += part;
		n -= part;
	}
}

static bool stream_get(struct stream *s)
{
	uint8_t buf[65536];
	ssize_t n = s->got_eof ? -1 : read(s->rfd, buf, random_up_to(sizeof(buf)));
	const uint8_t *data = buf;

	if (n == 0)
		s->got_eof = true;
	if (!s->get_records && n > 0)
		stream_take(s, buf, (size_t)n);
	while (s->get_records && n > 0) {
		struct record_piece piece;
		struct error err;
		bool got;
		ssize_t took = record_reader_feed(&s->reader, data, (size_t)n, &piece, &got, &err);

		if (took < 0 || (got && piece.type > RECORD_EOF)) {
			s->wrong = true;
			break;
		}
		if (got && piece.type == RECORD_DATA)
			stream_take(s, piece.data, piece.length);
		else if (got)
			s->got_eof = true;
		data += took;
		n -= took;
	}
	return data != buf || n > 0;
}

static void run_streams(struct stream *s, size_t count)
{
	int64_t since = now_ms();

	for (;;) {
		bool busy = false, ended = true;

		for (size_t i = 0; i < count; i++) {
			busy |= stream_put(&s[i]);
			busy |= stream_get(&s[i]);
			ended &= s[i].got_eof || s[i].wrong;
		}
		if (ended || now_ms() - since > 3 * WAIT_MS)
			break;
		if (busy)
			event_base_loop(loop.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		else
			turn(now_ms());
	}
}

static void set_buffers(const struct fixture *f, int size)
{
	const int fds[] = { f->near_w, f->far_w, f->config.end[0].wfd, f->config.end[1].wfd };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	}
}

/* Both directions at once, whatever the ends and the sizes. */
static void test_streams(void)
{
	static const struct {
		const char *name;
		enum pair near, far;
		enum framing framing;
		size_t total[2], chunk_max;
		int buffer;
	} cases[] = {
		{ "records",
		  PAIR_TCP,
		  PAIR_UNIX,
		  FRAMING_RECORDS,
		  { 64 << 20, 48 << 20 },
		  65536,
		  0 },
		{ "raw", PAIR_TCP, PAIR_TCP, FRAMING_RAW, { 48 << 20, 64 << 20 }, 65536, 0 },
		{ "records, small chunks",
		  PAIR_TCP,
		  PAIR_UNIX,
		  FRAMING_RECORDS,
		  { 1 << 20, 1 << 20 },
		  7,
		  0 },
		{ "records, byte by byte",
		  PAIR_TCP,
		  PAIR_UNIX,
		  FRAMING_RECORDS,
		  { 40000, 40000 },
		  1,
		  0 },
		{ "raw, byte by byte", PAIR_UNIX, PAIR_TCP, FRAMING_RAW, { 40000, 40000 }, 1, 0 },
		{ "records, tiny buffers",
		  PAIR_UNIX,
		  PAIR_UNIX,
		  FRAMING_RECORDS,
		  { 8 << 20, 4 << 20 },
		  65536,
		  1 },
		{ "raw, tiny buffers",
		  PAIR_UNIX,
		  PAIR_UNIX,
		  FRAMING_RAW,
		  { 4 << 20, 8 << 20 },
		  65536,
		  1 },
		{ "records, nothing", PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, { 0, 0 }, 1, 0 },
		{ "raw, one way", PAIR_UNIX, PAIR_UNIX, FRAMING_RAW, { 0, 100000 }, 1000, 0 },
		{ "records over TCP",
		  PAIR_UNIX,
		  PAIR_TCP,
		  FRAMING_RECORDS,
		  { 3 << 20, 3 << 20 },
		  40000,
		  0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool records = cases[i].framing == FRAMING_RECORDS;
		struct stream *s = xcalloc(2, sizeof(*s));
		struct fixture f;

		fixture_init(&f, cases[i].near, cases[i].far, cases[i].framing, 0);
		if (cases[i].buffer != 0)
			set_buffers(&f, cases[i].buffer);
		fixture_start(&f);
		s[0] = (struct stream){ .wfd = f.near_w, .rfd = f.far_r, .get_records = records };
		s[1] = (struct stream){ .wfd = f.far_w, .rfd = f.near_r, .put_records = records };
		for (int k = 0; k < 2; k++) {
			s[k].total = cases[i].total[k];
			s[k].chunk_max = cases[i].chunk_max;
		}
		run_streams(s, 2);
		for (int k = 0; k < 2; k++) {
			ok(!s[k].wrong, "%s, %s: the right bytes", cases[i].name, k ? "in" : "out");
			is_int((long long)s[k].got, (long long)s[k].total, "%s, %s: all of them",
			       cases[i].name, k ? "in" : "out");
			ok(s[k].got_eof, "%s, %s: then the end", cases[i].name, k ? "in" : "out");
		}
		wait_done(&f);
		is_int((long long)f.result.bytes_out, (long long)s[0].total, "%s: counted out",
		       cases[i].name);
		is_int((long long)f.result.bytes_in, (long long)s[1].total, "%s: counted in",
		       cases[i].name);
		fixture_check(&f, RELAY_EOF, cases[i].name);
		free(s);
	}
}

int main(void)
{
	static void (*const tests[])(void) = { test_streams };

	pattern_init();
	return fixture_main(tests, ARRAY_SIZE(tests));
}
