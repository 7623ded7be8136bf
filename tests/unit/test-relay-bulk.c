/* SPDX-License-Identifier: MIT */
/*
 * The relay with much to move: pages go through pipes, and all else has to be as it is without: order,
 * ends, resets, cuts, PINGs. Each test runs in one thread, and with a second one for what moves much.
 */
#include "config.h"

#include <unistd.h>

#include "relay-ways.h"

#ifdef HAVE_SPLICE
#define SPLICES true
#else
#define SPLICES false
#endif

#define RECORD_MAX RECORD_PAYLOAD_MAX
#define PIPES_MAX 16

static const char *mode;
#define T(text) "%s: " text, mode

/* What is in a relay may be looked at where it can't be in another thread just now. */
static bool looks(void)
{
	return SPLICES && loop.bulk == NULL;
}

static void is_over(struct fixture *f, struct way *w, size_t count, enum relay_outcome outcome,
		    const char *name)
{
	char full[100];

	snprintf(full, sizeof(full), "%s, %s", mode, name);
	fixture_check(f, outcome, full);
	for (size_t i = 0; i < count; i++)
		way_clear(&w[i]);
	if (loop.bulk == NULL)
		is_int(loop.pipe_count, loop.pipes_kept, T("%s: no pipe is lost"), name);
}

/* How often what waited for an end was in a pipe: the tail of a record that comes in small pieces is not. */
static unsigned stuck_in_pipes;

static void is_stuck(const struct fixture *f, int i, const char *name)
{
	const struct relay_end *end = &f->relay->end[i];

	if (!looks())
		return;
	ok(end_queued(end) > 0, T("%s: it is stuck"), name);
	stuck_in_pipes += end->pipe != NULL && end->pipe->held > 0;
}

static void test_through(void)
{
	static const struct {
		const char *name;
		enum pair near, far;
		enum framing framing;
		size_t record;
	} cases[] = {
		{ "TCP and a link", PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, RECORD_MAX },
		{ "TCP and a link, smaller records", PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 70000 },
		{ "Unix and a link", PAIR_UNIX, PAIR_UNIX, FRAMING_RECORDS, RECORD_MAX },
		{ "Unix and a link over TCP", PAIR_UNIX, PAIR_TCP, FRAMING_RECORDS, RECORD_MAX },
		{ "TCP and TCP, raw", PAIR_TCP, PAIR_TCP, FRAMING_RAW, 0 },
		{ "pipes and a link", PAIR_PIPES, PAIR_UNIX, FRAMING_RECORDS, RECORD_MAX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool sockets = cases[i].near != PAIR_PIPES;
		struct fixture f;
		struct way w[2];

		pipes_clear(&loop);
		fixture_init(&f, cases[i].near, cases[i].far, cases[i].framing, 0);
		fixture_start(&f);
		way_up(&w[0], &f, sizeof(bulk));
		way_down(&w[1], &f, sizeof(bulk), cases[i].record);
		if (sockets) {
			ok(ways_arrive(&w[0], 1), T("%s: up"), cases[i].name);
			ok(ways_arrive(&w[1], 1), T("%s: down"), cases[i].name);
			w[0].put = w[0].got = w[1].put = w[1].got = 0;
			ok(ways_arrive(w, 2), T("%s: both ways"), cases[i].name);
			if (looks())
				ok(loop.pipe_count > 0, T("%s: through pipes"), cases[i].name);
			shutdown(f.near_w, SHUT_WR);
		} else {
			ok(ways_arrive(&w[1], 1), T("%s: down"), cases[i].name);
			is_int(loop.pipe_count, 0, T("%s: no pipe of ours"), cases[i].name);
			shut(&f.near_w);
		}
		if (cases[i].framing == FRAMING_RECORDS)
			put_record(f.far_w, RECORD_EOF, NULL, 0);
		else
			shutdown(f.far_w, SHUT_WR);
		is_over(&f, w, 2, RELAY_EOF, cases[i].name);
		is_int((long long)f.result.bytes_in, (sockets ? 2 : 1) * (long long)sizeof(bulk),
		       T("%s: counted"), cases[i].name);
	}
}

/* splice(2) never gets past it; the byte itself is no part of the stream. */
static void test_urgent(void)
{
	struct fixture f;
	struct way w[2];

	for (int i = 0; i < 2; i++) {
		fixture_init(&f, PAIR_TCP, i == 0 ? PAIR_UNIX : PAIR_TCP,
			     i == 0 ? FRAMING_RECORDS : FRAMING_RAW, 0);
		fixture_start(&f);
		way_up(&w[0], &f, 4 * MIB);
		way_down(&w[1], &f, 4 * MIB, i == 0 ? RECORD_MAX : 0);
		w[0].urgent_at = 2 * MIB + 12345;
		w[1].urgent_at = i == 0 ? 0 : MIB + 1;
		ok(ways_arrive(w, 2), T("urgent data: all the rest"));
		shutdown(f.near_w, SHUT_WR);
		if (i == 0)
			put_record(f.far_w, RECORD_EOF, NULL, 0);
		else
			shutdown(f.far_w, SHUT_WR);
		is_over(&f, w, 2, RELAY_EOF, "urgent data");
	}
}

static void test_ping(void)
{
	struct fixture f;
	struct way w;
	size_t before;

	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	way_up(&w, &f, sizeof(bulk));
	ways_stall(&w, 1);
	is_stuck(&f, 1, "PING");
	before = w.got;
	put_record(f.far_w, RECORD_PING, "ping", 4);
	settle();
	ok(way_await(&w, &w.pongs, 1), T("PING: it is answered"));
	ok(w.pong_at > before, T("PING: behind what was there first"));
	is_int(w.resets, 0, T("PING: nothing is wrong with it"));
	ok(ways_arrive(&w, 1), T("PING: and all else comes"));
	shutdown(f.near_w, SHUT_WR);
	ok(way_await(&w, &w.eofs, 1), T("PING: the end too"));
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	is_over(&f, &w, 1, RELAY_EOF, "PING");
	is_int(w.pongs, 1, T("PING: one answer"));
}

/* splice(2) takes it for the end if the end is behind it. */
static void test_urgent_end(void)
{
	static uint8_t got[3 * 64 * 1024];
	const size_t part = sizeof(got) / 3;
	struct fixture f;
	int end;

	fixture_init(&f, PAIR_TCP, PAIR_TCP, FRAMING_RAW, 0);
	fixture_start(&f);
	put(f.near_w, bulk, part);
	is_int((long long)get(f.far_r, got, part, &end), (long long)part, T("urgent end: bulk"));
	put(f.near_w, bulk + part, part);
	is_int(send(f.near_w, "!", 1, MSG_OOB), 1, T("urgent end: a byte out of band"));
	put(f.near_w, bulk + 2 * part, part);
	shutdown(f.near_w, SHUT_WR);
	is_int((long long)get(f.far_r, got + part, 2 * part, &end), (long long)(2 * part),
	       T("urgent end: all behind it"));
	is_mem(got, sizeof(got), bulk, sizeof(got), T("urgent end: the bytes"));
	is_int(get_end(f.far_r), 0, T("urgent end: and then the end"));
	shutdown(f.far_w, SHUT_WR);
	fixture_check(&f, RELAY_EOF, "urgent end");
}

/* Who is reset while a record is half sent gets the rest of it first: else a RESET would be payload. */
static void test_reset(void)
{
	static const char *const names[] = { "near resets", "abort", "abort, stuck down",
					     "near resets, stuck down" };

	for (int i = 0; i < (int)ARRAY_SIZE(names); i++) {
		struct fixture f;
		struct way w;

		fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
		fixture_start(&f);
		if (i < 2)
			way_up(&w, &f, sizeof(bulk));
		else
			way_down(&w, &f, sizeof(bulk), RECORD_MAX);
		ways_stall(&w, 1);
		is_stuck(&f, i < 2, names[i]);
		if (i == 0 || i == 3)
			reset_near(&f);
		else
			relay_abort(f.relay, "stopped");
		settle();
		w.put = w.out_size;
		if (i < 2) {
			ok(way_await(&w, &w.resets, 1), T("%s: a RESET"), names[i]);
			ok(!record_reader_is_partial(&w.reader), T("%s: between records"),
			   names[i]);
		} else if (i == 2) {
			ok(way_await_end(&w) && w.end == ECONNRESET, T("%s: near is reset"),
			   names[i]);
			is_reset_record(f.far_r, "stopped", names[i]);
		} else {
			is_reset_record(f.far_r, "onnection reset", names[i]);
		}
		/* Sockets may hold all that near has sent before it resets. */
		ok(!w.wrong && w.got >= HEAD && (i == 0 || w.got < w.size), T("%s: no other bytes"),
		   names[i]);
		is_over(&f, &w, 1, i == 1 || i == 2 ? RELAY_SIGNAL : RELAY_LOCAL, names[i]);
	}
}

/* An end comes behind all of it, however long that takes. */
static void test_end(void)
{
	struct fixture f;
	struct way w[2];

	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, RELAY_ACKED);
	fixture_start(&f);
	way_up(&w[0], &f, 3 * MIB);
	way_down(&w[1], &f, sizeof(bulk), RECORD_MAX);
	ways_stall(w, 2);
	is_stuck(&f, 0, "an end");
	while (way_put(&w[0]))
		;
	ok(ways_arrive(&w[0], 1), T("an end: all comes up"));
	shutdown(f.near_w, SHUT_WR);
	ok(way_await(&w[0], &w[0].eofs, 1), T("an end: then the end"));
	ok(ways_arrive(&w[1], 1), T("an end: all comes down"));
	w[0].end = -1;
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	is_int(get_end(f.near_r), 0, T("an end: then its end"));
	is_over(&f, w, 2, RELAY_EOF, "an end");

	/* It is there before anything of the last is read. */
	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	way_up(&w[0], &f, 2 * MIB);
	ways_stall(w, 1);
	while (w[0].put < w[0].out_size && ways_step(w, 1))
		;
	if (w[0].put == w[0].out_size)
		shutdown(f.near_w, SHUT_WR);
	settle();
	ok(ways_arrive(w, 1), T("an end that waits: all comes"));
	shutdown(f.near_w, SHUT_WR);
	ok(way_await(w, &w[0].eofs, 1) && w[0].got == w[0].size, T("an end that waits: then it"));
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	is_over(&f, w, 1, RELAY_EOF, "an end that waits");
}

/* The link ends within a record that is being spliced. */
static void test_cut(void)
{
	static const size_t cuts[] = { RECORD_HEADER_SIZE, 300000, MIB - 1,
				       MIB + RECORD_HEADER_SIZE - 1, 2 * MIB - 100 };

	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		struct fixture f;
		struct way w;
		size_t headers = (cuts[i] / MIB + 1) * RECORD_HEADER_SIZE;

		if (cuts[i] % MIB < RECORD_HEADER_SIZE)
			headers -= RECORD_HEADER_SIZE - cuts[i] % MIB;
		fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
		fixture_start(&f);
		way_down(&w, &f, 4 * MIB, RECORD_MAX);
		w.out_size = cuts[i];
		w.size = cuts[i] - headers;
		ok(ways_arrive(&w, 1), T("cut after %zu: what came before it"), cuts[i]);
		close_far(&f);
		ok(way_await_end(&w) && w.end == ECONNRESET, T("cut after %zu: near is reset"),
		   cuts[i]);
		is_over(&f, &w, 1, RELAY_CUT, "cut");
	}
	/* The same, with near reading nothing of the last until it has happened. */
	for (int i = 0; i < 2; i++) {
		struct fixture f;
		struct way w;

		fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
		fixture_start(&f);
		way_down(&w, &f, sizeof(bulk), RECORD_MAX);
		ways_stall(&w, 1);
		is_stuck(&f, 0, "cut behind a slow reader");
		close_far(&f);
		settle();
		ok(way_await_end(&w) && w.end == ECONNRESET,
		   T("cut behind a slow reader: near is reset"));
		ok(!w.wrong && w.got > HEAD, T("cut behind a slow reader: the bytes before it"));
		is_over(&f, &w, 1, RELAY_CUT, "cut behind a slow reader");
	}
}

/* Those who should take what is in a pipe go away. */
static void test_sink_dies(void)
{
	struct fixture f;
	struct way w;

	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	way_up(&w, &f, sizeof(bulk));
	ways_stall(&w, 1);
	is_stuck(&f, 1, "the link dies");
	close_far(&f);
	is_int(get_end(f.near_r), ECONNRESET, T("the link dies: near is reset"));
	is_over(&f, &w, 1, RELAY_CUT, "the link dies");

	fixture_init(&f, PAIR_UNIX, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	way_down(&w, &f, sizeof(bulk), RECORD_MAX);
	ways_stall(&w, 1);
	is_stuck(&f, 0, "the client dies");
	close_near(&f);
	is_reset_record(f.far_r, "", "the client dies");
	is_over(&f, &w, 1, RELAY_LOCAL, "the client dies");
}

/* More of them than there are pipes: the rest is copied. */
static void test_many(void)
{
	enum { COUNT = 40 };
	struct fixture *f = xcalloc(COUNT, sizeof(*f));
	struct way *w = xcalloc(COUNT, sizeof(*w));
	int with = 0;

	for (int i = 0; i < COUNT; i++) {
		fixture_init(&f[i], PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
		fixture_start(&f[i]);
		way_up(&w[i], &f[i], 4 * MIB);
	}
	ways_stall(w, COUNT);
	for (int i = 0; i < COUNT && looks(); i++)
		with += f[i].relay->end[1].pipe != NULL;
	if (looks()) {
		is_int(with, PIPES_MAX, T("many: as many hold a pipe as there are"));
		is_int(loop.pipe_count, PIPES_MAX, T("many: and no more"));
	}
	ok(ways_arrive(w, COUNT), T("many: every byte of each"));
	for (int i = 0; i < COUNT; i++) {
		shutdown(f[i].near_w, SHUT_WR);
		put_record(f[i].far_w, RECORD_EOF, NULL, 0);
		is_over(&f[i], &w[i], 1, RELAY_EOF, "many");
	}
	free(f);
	free(w);
}

static void pings_and_pongs(struct fixture *f)
{
	char buf[16];
	int end, wrong = 0;

	for (int i = 0; i < 100; i++) {
		put_record(f->far_w, RECORD_DATA, bulk + i, 10);
		wrong += get(f->near_r, buf, 10, &end) != 10 || memcmp(buf, bulk + i, 10) != 0;
		put(f->near_w, bulk + 2 * i, 9);
		wrong +=
			get(f->far_r, buf, 13, &end) != 13 || memcmp(buf + 4, bulk + 2 * i, 9) != 0;
	}
	is_int(wrong, 0, T("small ones after bulk: each comes at once"));
}

static void test_small_after(void)
{
	struct fixture f;
	struct way w[2];

	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	way_up(&w[0], &f, 4 * MIB);
	way_down(&w[1], &f, 4 * MIB, RECORD_MAX);
	for (int i = 0; i < 3; i++) {
		ok(ways_arrive(w, 2), T("small ones after bulk: the bulk"));
		pings_and_pongs(&f);
		if (looks() && RELAY_BULK_MIN > 1)
			ok(!f.relay->bulk[0] && !f.relay->bulk[1] && f.relay->end[0].pipe == NULL &&
				   f.relay->end[1].pipe == NULL,
			   T("small ones after bulk: no pipe"));
		w[0].put = w[0].got = w[1].put = w[1].got = 0;
	}
	/* The last of it is less than any limit. */
	w[0].size = w[0].out_size = MIB + 3;
	w[1].size = 0;
	w[1].out_size = 0;
	ok(ways_arrive(w, 2), T("small ones after bulk: the last bytes of it"));
	shutdown(f.near_w, SHUT_WR);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	is_over(&f, w, 2, RELAY_EOF, "small ones after bulk");
}

/* Where the system gives smaller pipes. */
static void test_small_pipe(void)
{
	struct pipe *pipes[2];
	struct fixture f;
	struct way w[2];

	if (!looks()) {
		skip("%s: small pipes: copies, or takes them from elsewhere", mode);
		return;
	}
	for (int i = 0; i < 2; i++) {
		pipes[i] = pipe_take(&loop);
		fcntl(pipes[i]->wfd, F_SETPIPE_SZ, 64 * 1024);
		pipes[i]->size = 64u * 1024;
	}
	pipe_give(&loop, pipes[0]);
	pipe_give(&loop, pipes[1]);
	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	way_up(&w[0], &f, 4 * MIB);
	way_down(&w[1], &f, 4 * MIB, RECORD_MAX);
	ok(ways_arrive(w, 2), T("records that are larger than a pipe"));
	ok(w[0].records > 40, T("small pipes make small records: %zu of them"), w[0].records);
	shutdown(f.near_w, SHUT_WR);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	is_over(&f, w, 2, RELAY_EOF, "small pipes");
	pipes_clear(&loop);
}

/* Descriptors that others share are not made O_NONBLOCK; splice(2) would wait for them. */
static void test_blocking(void)
{
	for (int i = 0; i < 2; i++) {
		struct fixture f;
		struct way w[2];

		pipes_clear(&loop);
		fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
		fd_set_nonblock(f.config.end[i].rfd, false);
		fixture_start(&f);
		way_up(&w[0], &f, 4 * MIB);
		way_down(&w[1], &f, 4 * MIB, RECORD_MAX);
		ways_stall(w, 2); /* it hangs here if it does: see main() */
		if (loop.bulk == NULL)
			is_int(loop.pipe_count, 0, T("end %d blocks: no pipe is used"), i);
		ok(ways_arrive(w, 2), T("end %d blocks: all comes"), i);
		shutdown(f.near_w, SHUT_WR);
		put_record(f.far_w, RECORD_EOF, NULL, 0);
		is_over(&f, w, 2, RELAY_EOF, "an end that blocks");
	}
}

/*
 * A record as large as those that go through AF_VSOCK leaves in one piece, where it is copied: a socket that keeps the writes
 * apart shows that.
 */
static void test_whole(void)
{
	static uint8_t got[MIB];
	size_t size = RECORD_READ_SIZE - RECORD_HEADER_SIZE;
	int fd[2], room = MIB;
	struct fixture f;

	fixture_init(&f, PAIR_UNIX, PAIR_UNIX, FRAMING_RECORDS, 0);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fd) < 0 ||
	    dup2(fd[0], f.near_r) < 0 || dup2(fd[1], f.config.end[0].rfd) < 0)
		abort();
	close(fd[0]);
	close(fd[1]);
	setsockopt(f.config.end[0].rfd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	setsockopt(f.far_w, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	put_record(f.far_w, RECORD_DATA, bulk, size);
	fixture_start(&f);
	for (ssize_t n = -1; n < 0 && turn(f.started);) {
		n = recv(f.near_r, got, sizeof(got), MSG_DONTWAIT);
		if (n >= 0)
			is_int(n, (long)size, T("a full record goes out in one write"));
	}
	ok(memcmp(got, bulk, size) == 0, T("a full record: every byte of it"));
	shutdown(f.near_w, SHUT_WR);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	is_over(&f, NULL, 0, RELAY_EOF, "a full record");
}

static void test_all(void)
{
	static void (*const tests[])(void) = {
		test_through,    test_urgent,   test_urgent_end, test_ping, test_reset,
		test_end,        test_cut,      test_sink_dies,  test_many, test_small_after,
		test_small_pipe, test_blocking, test_whole,
	};
	size_t before;

	pipes_clear(&loop);
	before = fd_count();
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tests[i]();
	relay_bulk_clear(&loop);
	pipes_clear(&loop);
	is_int(fd_count(), before, T("every descriptor is closed"));
}

static void one_thread(void)
{
	relay_bulk_clear(&loop);
	mode = "one thread";
	test_all();
	ok(stuck_in_pipes > 0 || !SPLICES, T("what was stuck was in a pipe"));
}

static void two_threads(void)
{
	relay_bulk_init(&loop);
	mode = "two threads";
	test_all();
}

int main(void)
{
	static void (*const tests[])(void) = { one_thread, two_threads };

	alarm(100); /* a loop that blocks would never be missed */
	bulk_fill();
	return fixture_main(tests, ARRAY_SIZE(tests));
}
