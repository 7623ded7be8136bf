/* SPDX-License-Identifier: MIT */
/*
 * The relay in order: each direction ends on its own, PINGs are answered, and it ends when and as its
 * flags say. Whether all bytes arrive: test-relay-streams.c; how it ends out of order: test-relay-reset.c.
 */
#include "config.h"

#include "relay-fixture.h"

#define BULK (1u << 20)

static uint8_t bulk[3u << 20];

/* Near ends first; the far one still sends, and the other way round. */
static void test_half_close(void)
{
	struct fixture f;
	char buf[16];
	int end;

	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	put(f.near_w, "up", 2);
	shutdown(f.near_w, SHUT_WR);
	is_record(f.far_r, RECORD_DATA, "up", 2, "near first");
	is_record(f.far_r, RECORD_EOF, NULL, 0, "near first");
	settle();
	put_record(f.far_w, RECORD_DATA, "down", 4);
	is_int((long long)get(f.near_r, buf, 4, &end), 4, "near first: the reply comes");
	put_record(f.far_w, RECORD_DATA, "", 0);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	is_int(get_end(f.near_r), 0, "near first: then the end");
	fixture_check(&f, RELAY_EOF, "near first");

	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	put_record(f.far_w, RECORD_DATA, "down", 4);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	is_int((long long)get(f.near_r, buf, 5, &end), 4, "far first: data and the end");
	settle();
	ok(!f.done, "far first: the other direction goes on");
	put(f.near_w, "up", 2);
	is_record(f.far_r, RECORD_DATA, "up", 2, "far first");
	shutdown(f.near_w, SHUT_WR);
	is_record(f.far_r, RECORD_EOF, NULL, 0, "far first");
	fixture_check(&f, RELAY_EOF, "far first");

	fixture_init(&f, PAIR_TCP, PAIR_TCP, FRAMING_RAW, 0);
	fixture_start(&f);
	shutdown(f.far_w, SHUT_WR);
	is_int(get_end(f.near_r), 0, "raw: the end arrives");
	put(f.near_w, "up", 2);
	is_int((long long)get(f.far_r, buf, 2, &end), 2, "raw: the other direction goes on");
	shutdown(f.near_w, SHUT_WR);
	is_int(get_end(f.far_r), 0, "raw: its end too");
	fixture_check(&f, RELAY_EOF, "raw half-close");
}

/*
 * After its EOF record a link may shut down its writing side, or close a pipe: the other direction
 * goes on. A link that closes altogether before it has our EOF is cut.
 */
static void test_link_half_close(void)
{
	static const enum pair kinds[] = { PAIR_UNIX, PAIR_PIPES };
	struct fixture f;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		fixture_init(&f, PAIR_TCP, kinds[i], FRAMING_RECORDS, 0);
		fixture_start(&f);
		put_record(f.far_w, RECORD_EOF, NULL, 0);
		if (kinds[i] == PAIR_UNIX)
			shutdown(f.far_w, SHUT_WR);
		else
			shut(&f.far_w);
		is_int(get_end(f.near_r), 0, "link shut after EOF: near sees the end");
		settle();
		put(f.near_w, "up", 2);
		is_record(f.far_r, RECORD_DATA, "up", 2, "link shut after EOF");
		shutdown(f.near_w, SHUT_WR);
		is_record(f.far_r, RECORD_EOF, NULL, 0, "link shut after EOF");
		fixture_check(&f, RELAY_EOF, "link shut after EOF");

		fixture_init(&f, PAIR_TCP, kinds[i], FRAMING_RECORDS, 0);
		fixture_start(&f);
		put_record(f.far_w, RECORD_EOF, NULL, 0);
		is_int(get_end(f.near_r), 0, "link closed after EOF: near sees the end");
		close_far(&f);
		ok(wait_done(&f), "link closed after EOF: noticed");
		fixture_check(&f, RELAY_CUT, "link closed after EOF");
	}
	/* TCP can't tell the one from the other. */
	fixture_init(&f, PAIR_TCP, PAIR_TCP, FRAMING_RECORDS, 0);
	fixture_start(&f);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	shutdown(f.far_w, SHUT_WR);
	fixture_check(&f, RELAY_CUT, "link over TCP shut after EOF");
}

static void test_ping(void)
{
	static const char *const payloads[] = { "", "1", "12345678" };
	struct fixture f;
	char buf[8];
	int end;

	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	for (size_t i = 0; i < ARRAY_SIZE(payloads); i++) {
		put_record(f.far_w, RECORD_PING, payloads[i], strlen(payloads[i]));
		is_record(f.far_r, RECORD_PONG, payloads[i], strlen(payloads[i]), "PING");
	}
	put_record(f.far_w, RECORD_PONG, "x", 1);
	put_record(f.far_w, RECORD_DATA, "ab", 2);
	put_record(f.far_w, RECORD_PING, "y", 1);
	put_record(f.far_w, RECORD_DATA, "cd", 2);
	is_int((long long)get(f.near_r, buf, 4, &end), 4, "PING between data");
	is_mem(buf, 4, "abcd", 4, "PING between data: the data");
	is_record(f.far_r, RECORD_PONG, "y", 1, "PING between data");
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	put_record(f.far_w, RECORD_PING, "z", 1);
	is_record(f.far_r, RECORD_PONG, "z", 1, "PING after EOF");
	shutdown(f.near_w, SHUT_WR);
	is_record(f.far_r, RECORD_EOF, NULL, 0, "after PINGs");
	fixture_check(&f, RELAY_EOF, "PING");

	fixture_init(&f, PAIR_TCP, PAIR_UNIX, FRAMING_RECORDS, RELAY_CONFIRM);
	fixture_start(&f);
	shutdown(f.near_w, SHUT_WR);
	is_record(f.far_r, RECORD_EOF, NULL, 0, "PING after our EOF");
	put_record(f.far_w, RECORD_PING, "w", 1);
	is_record(f.far_r, RECORD_PONG, "w", 1, "PING after our EOF");
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	put_record(f.far_w, RECORD_PING, "v", 1);
	is_record(f.far_r, RECORD_PONG, "v", 1, "PING after EOF both ways");
	close_far(&f);
	fixture_check(&f, RELAY_EOF, "PING after EOF both ways");
}

/* stdin and stdout as files, which never keep anybody waiting, and that epoll refuses. */
static void test_files(void)
{
	char name[] = "/tmp/vzfwd-test-relay.XXXXXX";
	uint8_t *got = xmalloc(sizeof(bulk) + 1);
	int file = mkstemp(name), end;
	struct fixture f;
	size_t size;

	if (write(file, bulk, sizeof(bulk)) != sizeof(bulk))
		abort();
	lseek(file, 0, SEEK_SET);
	fixture_init(&f, PAIR_UNIX, PAIR_UNIX, FRAMING_RAW, 0);
	shut(&f.near_r);
	f.near_w = -1;
	close(f.config.end[0].rfd);
	f.config.end[0].rfd = file;
	f.config.end[0].wfd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	fixture_start(&f);
	size = get(f.far_r, got, sizeof(bulk) + 1, &end);
	ok(size == sizeof(bulk) && memcmp(got, bulk, size) == 0, "from a file: all of it");
	put(f.far_w, "to null", 7);
	shutdown(f.far_w, SHUT_WR);
	wait_done(&f);
	is_int((long long)f.result.bytes_in, 7, "to /dev/null: counted");
	fixture_check(&f, RELAY_EOF, "files");

	fixture_init(&f, PAIR_UNIX, PAIR_UNIX, FRAMING_RECORDS,
		     RELAY_LEAVE | RELAY_CONFIRM | RELAY_READER);
	shut(&f.near_r);
	f.near_w = -1;
	close(f.config.end[0].rfd);
	f.config.end[0].rfd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	f.config.end[0].wfd = open(name, O_WRONLY | O_TRUNC | O_CLOEXEC);
	fixture_start(&f);
	is_record(f.far_r, RECORD_EOF, NULL, 0, "from /dev/null");
	put_record(f.far_w, RECORD_DATA, bulk, BULK - RECORD_HEADER_SIZE);
	put_record(f.far_w, RECORD_DATA, bulk + BULK - RECORD_HEADER_SIZE, 100);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	settle();
	close_far(&f);
	fixture_check(&f, RELAY_EOF, "to a file");
	file = open(name, O_RDONLY | O_CLOEXEC);
	size = (size_t)read(file, got, sizeof(bulk));
	close(file);
	ok(size == BULK - RECORD_HEADER_SIZE + 100 && memcmp(got, bulk, size) == 0,
	   "to a file: all of it");
	unlink(name);
	free(got);
}

/* A relay between files always has something to do; others get their turn. */
static void test_busy(void)
{
	struct fixture busy, f;
	char buf[8];
	int end;

	fixture_init(&busy, PAIR_UNIX, PAIR_PIPES, FRAMING_RAW, 0);
	close_near(&busy);
	close(busy.config.end[0].rfd);
	close(busy.config.end[1].wfd);
	busy.config.end[0].rfd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	busy.config.end[0].wfd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	busy.config.end[1].wfd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	fixture_start(&busy);
	settle();

	fixture_init(&f, PAIR_UNIX, PAIR_UNIX, FRAMING_RECORDS, 0);
	fixture_start(&f);
	put(f.near_w, "up", 2);
	is_record(f.far_r, RECORD_DATA, "up", 2, "beside a busy relay");
	put_record(f.far_w, RECORD_DATA, "down", 4);
	is_int((long long)get(f.near_r, buf, 4, &end), 4, "beside a busy relay: the reply comes");
	shutdown(f.near_w, SHUT_WR);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	fixture_check(&f, RELAY_EOF, "beside a busy relay");

	relay_abort(busy.relay, "enough");
	fixture_check(&busy, RELAY_SIGNAL, "a busy relay");
	ok(busy.result.bytes_out > 20u << 20, "a busy relay goes on without any event");
}

/* A pseudo terminal whose other side was closed fails with EIO: it has ended. */
static void test_tty(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), slave;
	struct fixture f;

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0) {
		skip("no pseudo terminals");
		return;
	}
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	fixture_init(&f, PAIR_PIPES, PAIR_UNIX, FRAMING_RECORDS, RELAY_LEAVE | RELAY_CONFIRM);
	close(f.config.end[0].rfd);
	f.config.end[0].rfd = master;
	fixture_start(&f);
	put(slave, "text", 4);
	is_record(f.far_r, RECORD_DATA, "text", 4, "tty");
	close(slave);
	is_record(f.far_r, RECORD_EOF, NULL, 0, "tty, hung up");
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	settle();
	close_far(&f);
	fixture_check(&f, RELAY_EOF, "tty");
}

/* stdin and stdout that are one socket, twice. */
static void test_shared_socket(void)
{
	struct fixture f;
	char buf[8];
	int end;

	fixture_init(&f, PAIR_UNIX, PAIR_UNIX, FRAMING_RECORDS, RELAY_CONFIRM | RELAY_READER);
	f.config.end[0].wfd = fcntl(f.config.end[0].rfd, F_DUPFD_CLOEXEC, 3);
	fixture_start(&f);
	settle();
	/* The peer has sent all and is gone at once: what it sent is not lost. */
	put(f.near_w, "last", 4);
	put_record(f.far_w, RECORD_DATA, "x", 1);
	is_int((long long)get(f.near_r, buf, 1, &end), 1, "one socket: a byte");
	put(f.near_w, " words", 6);
	close_near(&f);
	is_record(f.far_r, RECORD_DATA, "last", 4, "one socket, closed");
	is_record(f.far_r, RECORD_DATA, " words", 6, "one socket, closed");
	is_record(f.far_r, RECORD_EOF, NULL, 0, "one socket, closed");
	fixture_check(&f, RELAY_LOCAL, "one socket, closed");
}

/* The relay ends with the target, although stdin is still open. */
static void test_leave(void)
{
	struct fixture f;
	char buf[8];
	int end;

	fixture_init(&f, PAIR_PIPES, PAIR_UNIX, FRAMING_RECORDS,
		     RELAY_LEAVE | RELAY_CONFIRM | RELAY_READER);
	fixture_start(&f);
	put(f.near_w, "up", 2);
	is_record(f.far_r, RECORD_DATA, "up", 2, "leave");
	put_record(f.far_w, RECORD_DATA, "down", 4);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	is_int((long long)get(f.near_r, buf, 5, &end), 4,
	       "leave: stdout is closed behind the data");
	is_record(f.far_r, RECORD_EOF, NULL, 0, "leave: we end too");
	settle();
	ok(!f.done, "leave: waits until the link is closed");
	close_far(&f);
	fixture_check(&f, RELAY_EOF, "leave");

	/* The same with a target's own socket: nothing but the relay itself makes it go on. */
	fixture_init(&f, PAIR_PIPES, PAIR_TCP, FRAMING_RAW,
		     RELAY_LEAVE | RELAY_CONFIRM | RELAY_READER);
	fixture_start(&f);
	settle();
	close_far(&f);
	is_int(get_end(f.near_r), 0, "leave, raw: the end comes");
	fixture_check(&f, RELAY_EOF, "leave, raw");
	ok(f.ended - f.started < 3000, "leave, raw: soon");

	/* Without the flag the upload goes on. */
	fixture_init(&f, PAIR_PIPES, PAIR_UNIX, FRAMING_RECORDS, RELAY_CONFIRM | RELAY_READER);
	fixture_start(&f);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	is_int(get_end(f.near_r), 0, "no leave: stdout ends");
	settle();
	put(f.near_w, "up", 2);
	is_record(f.far_r, RECORD_DATA, "up", 2, "no leave: the upload goes on");
	shut(&f.near_w);
	is_record(f.far_r, RECORD_EOF, NULL, 0, "no leave: it ends");
	close_far(&f);
	fixture_check(&f, RELAY_EOF, "no leave");
}

/* Both directions are done, and the relay waits until all was taken. */
static void test_taken(void)
{
	static const struct {
		const char *name;
		unsigned flags;
		enum framing framing;
	} cases[] = {
		{ "acked", RELAY_ACKED, FRAMING_RECORDS },
		{ "confirm, raw", RELAY_CONFIRM, FRAMING_RAW },
	};
	uint8_t *data = xcalloc(1, 100001);
	struct fixture f;
	int end;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool raw = cases[i].framing == FRAMING_RAW;
		const int *r;

		fixture_init(&f, PAIR_UNIX, PAIR_UNIX, cases[i].framing, cases[i].flags);
		r = raw ? &f.far_r : &f.near_r;
		fixture_start(&f);
		if (raw) {
			shutdown(f.far_w, SHUT_WR);
			put(f.near_w, data, 100000);
		} else {
			put_record(f.far_w, RECORD_DATA, data, 100000);
			put_record(f.far_w, RECORD_EOF, NULL, 0);
		}
		shutdown(f.near_w, SHUT_WR);
		settle();
		ok(!f.done, "%s: waits while bytes are not taken", cases[i].name);
		is_int((long long)get(*r, data, 100001, &end), 100000, "%s: takes them",
		       cases[i].name);
		fixture_check(&f, RELAY_EOF, cases[i].name);
	}

	/* Who has said and was told all may go, also without having read the last of it. */
	fixture_init(&f, PAIR_UNIX, PAIR_UNIX, FRAMING_RECORDS, RELAY_ACKED);
	fixture_start(&f);
	shutdown(f.near_w, SHUT_WR);
	put_record(f.far_w, RECORD_DATA, data, 100000);
	put_record(f.far_w, RECORD_EOF, NULL, 0);
	settle();
	close_far(&f);
	settle();
	is_int((long long)get(f.near_r, data, 100001, &end), 100000, "acked, link gone: all comes");
	is_int(end, 0, "acked, link gone: then the end");
	fixture_check(&f, RELAY_EOF, "acked, link gone");
	free(data);
}

int main(void)
{
	static void (*const tests[])(void) = {
		test_half_close, test_link_half_close, test_ping,  test_files, test_busy,
		test_tty,        test_shared_socket,   test_leave, test_taken,
	};

	for (size_t i = 0; i < sizeof(bulk); i++)
		bulk[i] = (uint8_t)(i * 2654435761u >> 13);
	return fixture_main(tests, ARRAY_SIZE(tests));
}
