/* SPDX-License-Identifier: MIT */
/*
 * The copy of datagrams between ends of all types: boundaries however they are cut on the way, what is queued
 * and what is lost, and how it ends.
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>

#include "datagrams-end.h"
#include "sock.h"
#include "tap.h"

#define WAIT_MS 20000
#define MANY 300
#define SMALL 16384

struct copy {
	struct datagrams *d;
	struct datagrams_config config;
	int near, far; /* the test's */
	bool done;
	struct relay_result result;
	size_t got; /* by got() */
	uint8_t last[DATAGRAM_MAX];
	size_t last_size;
};

static struct loop loop;
static uint8_t pattern[DATAGRAM_MAX + 1];

static bool turn(int64_t since)
{
	event_base_loop(loop.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	poll(NULL, 0, 1);
	return now_ms() - since < WAIT_MS;
}

static void settle(void)
{
	int64_t since = now_ms();

	for (int i = 0; i < 30; i++)
		turn(since);
}

static void on_done(const struct relay_result *result, void *arg)
{
	struct copy *c = arg;

	c->done = true;
	c->result = *result;
}

static void on_got(const uint8_t *data, size_t size, void *arg)
{
	struct copy *c = arg;

	c->got++;
	c->last_size = size;
	memcpy(c->last, data, size);
}

/* Connected UDP sockets: [0] is the test's. */
static void udp_pair(int fd[2])
{
	struct sockaddr_in sin[2];
	socklen_t len = sizeof(sin[0]);

	for (int i = 0; i < 2; i++) {
		sin[i] = (struct sockaddr_in){ .sin_family = AF_INET };
		sin[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		fd[i] = sock_new(AF_INET, SOCK_DGRAM, 0);
		if (bind(fd[i], (struct sockaddr *)&sin[i], sizeof(sin[i])) < 0 ||
		    getsockname(fd[i], (struct sockaddr *)&sin[i], &len) < 0)
			abort();
	}
	for (int i = 0; i < 2; i++) {
		if (connect(fd[i], (struct sockaddr *)&sin[!i], sizeof(sin[0])) < 0)
			abort();
	}
}

static struct datagrams_end_config make_end(enum datagrams_type type, int *mine)
{
	int fd[2] = { -1, -1 };

	if (type == DATAGRAMS_SOCKET)
		udp_pair(fd);
	else if (type != DATAGRAMS_CALLS && sock_pair(fd) < 0)
		abort();
	*mine = fd[0];
	return (struct datagrams_end_config){ type, fd[1], fd[1] };
}

static void copy_start(struct copy *c, enum datagrams_type near, enum datagrams_type far,
		       int linger_ms)
{
	memset(c, 0, sizeof(*c));
	c->config = (struct datagrams_config){
		.end = { make_end(near, &c->near), make_end(far, &c->far) },
		.linger_ms = linger_ms,
		.name = { "test", 0 },
		.got = on_got,
		.done = on_done,
		.arg = c,
	};
	c->d = datagrams_new(&loop, &c->config);
}

static void copy_close(struct copy *c)
{
	struct relay_result result;
	int64_t since = now_ms();

	if (!c->done)
		datagrams_free(c->d, &result);
	while (loop.after.tqh_first != NULL && turn(since))
		;
	if (c->near >= 0)
		close(c->near);
	if (c->far >= 0)
		close(c->far);
}

static void copy_wait(struct copy *c, enum relay_outcome outcome, enum reason reason,
		      const char *what)
{
	int64_t since = now_ms();

	while (!c->done && turn(since))
		;
	ok(c->done, "%s: it ends", what);
	is_str(relay_outcome_name(c->result.outcome), relay_outcome_name(outcome), "%s: how", what);
	if (outcome != RELAY_EOF)
		is_str(reason_name(c->result.err.reason), reason_name(reason), "%s: why", what);
	copy_close(c);
}

static void put(int fd, const void *data, size_t size)
{
	int64_t since = now_ms();
	size_t sent = 0;

	while (sent < size && turn(since)) {
		ssize_t n = send(fd, (const uint8_t *)data + sent, size - sent, MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
	}
}

static void put_record(int fd, enum record_type type, const void *data, size_t size)
{
	uint8_t head[RECORD_HEADER_SIZE];

	record_put_header(head, type, (uint32_t)size);
	put(fd, head, sizeof(head));
	put(fd, data, size);
}

/* Exactly so many bytes of a stream, or (socket) one datagram of that size. */
static bool get(int fd, uint8_t *buf, size_t size, bool socket)
{
	int64_t since = now_ms();
	size_t have = 0;

	do {
		ssize_t n = recv(fd, buf + have, socket ? DATAGRAM_MAX : size - have, 0);

		if (n >= 0 && socket)
			return (size_t)n == size;
		have += n > 0 ? (size_t)n : 0;
	} while ((socket || have < size) && turn(since));
	return !socket && have == size;
}

static bool get_record(int fd, enum record_type type, const void *data, size_t size)
{
	static uint8_t buf[RECORD_HEADER_SIZE + DATAGRAM_MAX];
	uint8_t head[RECORD_HEADER_SIZE];

	record_put_header(head, type, (uint32_t)size);
	return get(fd, buf, sizeof(head) + size, false) && memcmp(buf, head, sizeof(head)) == 0 &&
	       memcmp(buf + sizeof(head), data, size) == 0;
}

static bool get_datagram(int fd, const void *data, size_t size)
{
	static uint8_t buf[DATAGRAM_MAX];

	return get(fd, buf, size, true) && memcmp(buf, data, size) == 0;
}

/* Byte by byte, and cut at every place: the datagrams stay what they are. */
static void test_pieces(void)
{
	static const uint8_t stream[] = { 0, 0, 0, 3, 'a', 'b', 'c', 0, 0,
					  0, 0, 0, 0, 0,   1,   'd', 0, 4 };
	static const uint8_t lengths[] = { 0, 3, 'a', 'b', 'c', 0, 0, 0, 1, 'd' };
	struct copy c;
	bool right = true;

	for (size_t cut = 1; cut < 16; cut++) {
		copy_start(&c, DATAGRAMS_RECORDS, DATAGRAMS_SOCKET, 0);
		put(c.near, stream, cut);
		settle();
		put(c.near, stream + cut, 16 - cut);
		right &= get_datagram(c.far, "abc", 3) && get_datagram(c.far, "", 0) &&
			 get_datagram(c.far, "d", 1);
		copy_close(&c);
	}
	ok(right, "records that are cut in two");
	right = true;
	for (size_t cut = 1; cut < sizeof(lengths); cut++) {
		copy_start(&c, DATAGRAMS_LENGTHS, DATAGRAMS_RECORDS, 0);
		put(c.near, lengths, cut);
		settle();
		put(c.near, lengths + cut, sizeof(lengths) - cut);
		right &= get_record(c.far, RECORD_DATA, "abc", 3) &&
			 get_record(c.far, RECORD_DATA, "", 0) &&
			 get_record(c.far, RECORD_DATA, "d", 1);
		copy_close(&c);
	}
	ok(right, "lengths that are cut in two");
	copy_start(&c, DATAGRAMS_RECORDS, DATAGRAMS_SOCKET, 0);
	for (size_t i = 0; i < 16; i++) {
		put(c.near, stream + i, 1);
		turn(now_ms());
	}
	ok(get_datagram(c.far, "abc", 3) && get_datagram(c.far, "", 0) &&
		   get_datagram(c.far, "d", 1),
	   "byte by byte");
	put_record(c.near, RECORD_DATA, pattern, DATAGRAM_MAX);
	ok(get_datagram(c.far, pattern, DATAGRAM_MAX), "the largest");
	send(c.far, pattern, DATAGRAM_MAX, 0);
	ok(get_record(c.near, RECORD_DATA, pattern, DATAGRAM_MAX), "and back");
	put_record(c.near, RECORD_PING, "12345678", 8);
	ok(get_record(c.near, RECORD_PONG, "12345678", 8), "a PING is answered");
	put(c.near, "\0\0\xff\xe4", 4); /* 65508 */
	copy_wait(&c, RELAY_RESET, REASON_BROKEN, "a header that announces too much");
}

/* More than a slow link takes is queued up to a bound, then lost; nothing is torn or changes places. */
static void test_queue(void)
{
	struct copy c;
	uint8_t buf[64], head[RECORD_HEADER_SIZE];
	unsigned number, last = 0, count = 0;
	bool right = true;
	int64_t since = now_ms();
	size_t taken = 0;

	copy_start(&c, DATAGRAMS_CALLS, DATAGRAMS_RECORDS, 0);
	for (unsigned i = 1; i <= 100000; i++) {
		memcpy(buf, &i, sizeof(i));
		memset(buf + sizeof(i), (int)i, sizeof(buf) - sizeof(i));
		taken += datagrams_put(c.d, buf, sizeof(buf));
	}
	ok(taken < 100000, "a link that takes nothing: datagrams are lost");
	record_put_header(head, RECORD_DATA, sizeof(buf));
	for (; count < taken && now_ms() - since < WAIT_MS; count++) {
		uint8_t got[sizeof(head) + sizeof(buf)];

		right &=
			get(c.far, got, sizeof(got), false) && memcmp(got, head, sizeof(head)) == 0;
		memcpy(&number, got + sizeof(head), sizeof(number));
		right &= number > last && got[sizeof(got) - 1] == (uint8_t)number;
		last = number;
	}
	ok(right, "those that came are whole and in order");
	is_int((long long)count, (long long)taken, "as many as were taken");
	ok(datagrams_put(c.d, buf, 1), "there is room again");
	for (int i = 0; i < 100000; i++)
		taken = datagrams_put(c.d, buf, 0);
	is_int((long long)taken, 0, "empty ones take room too");
	copy_close(&c);
}

/* Many small ones in one read: others have their turn in between, and what waits for a stuck link is bounded. */
static void test_small(void)
{
	static uint8_t small[SMALL * RECORD_HEADER_SIZE + 4];
	struct datagrams_end *end;
	struct copy c;
	bool right = true;
	size_t before, held, size, last;
	int64_t since = now_ms();

	for (int lengths = 0; lengths < 2; lengths++) {
		copy_start(&c, DATAGRAMS_CALLS, lengths ? DATAGRAMS_LENGTHS : DATAGRAMS_RECORDS, 0);
		settle();
		size = (SMALL - 1) * (lengths ? 2 : RECORD_HEADER_SIZE);
		last = lengths ? 6 : 8;
		memcpy(small + size, lengths ? "\0\4last" : "\0\0\0\4last", last);
		put(c.far, small, size + last);
		memset(small + size, 0, last);
		do {
			before = c.got;
			right &= turn(since);
			right &= c.got - before <= 2048;
		} while (c.got < SMALL && right);
		ok(right, "%s: some of them a turn", lengths ? "lengths" : "records");
		settle();
		ok(c.got == SMALL && c.last_size == 4 && memcmp(c.last, "last", 4) == 0,
		   "all of them, in order");
		copy_close(&c);
	}
	copy_start(&c, DATAGRAMS_RECORDS, DATAGRAMS_RECORDS, 0);
	since = now_ms();
	for (int idle = 0; idle < 30 && turn(since); idle++) {
		while (send(c.near, small, sizeof(small) - 4, MSG_NOSIGNAL) > 0)
			idle = 0;
	}
	end = c.d->end;
	held = end[1].queue.size + (end[0].left != NULL ? end[0].left->size : 0);
	ok(held > 0 && held <= 512 * 1024, "a link that takes nothing: %zu bytes are held", held);
	copy_close(&c);
}

/* A source is not read while its sink is stuck; the kernel keeps what it can, whole and from the first on. */
static void test_backpressure(void)
{
	struct copy c;
	uint8_t head[2] = { 0x23, 0x28 }, got[9002]; /* 9000 */
	unsigned number, last = 0, count = 0, lost;
	bool right = true;
	int64_t since = now_ms();

	copy_start(&c, DATAGRAMS_LENGTHS, DATAGRAMS_SOCKET, 0);
	for (number = 1; number <= MANY; number++) {
		memcpy(pattern, &number, sizeof(number));
		send(c.far, pattern, 9000, 0);
		turn(since);
	}
	lost = sock_overflows(c.config.end[1].rfd);
	close(c.far);
	c.far = -1;
	put(c.near, "\0\1x", 3); /* finds nobody */
	while (!c.done || poll(&(struct pollfd){ .fd = c.near, .events = POLLIN }, 1, 0) == 1) {
		ssize_t n = recv(c.near, got, sizeof(got), MSG_PEEK);

		if (n == 0 || !turn(since))
			break;
		if (n < (ssize_t)sizeof(got))
			continue;
		right &= get(c.near, got, sizeof(got), false) && memcmp(got, head, 2) == 0;
		memcpy(&number, got + 2, sizeof(number));
		right &= number > last && memcmp(got + 6, pattern + 4, 8996) == 0;
		right &= count > 0 || number == 1;
		last = number;
		count++;
	}
	ok(right, "those that came are whole and in order");
#ifdef SO_MEMINFO
	ok(lost > 0, "some found no room");
	is_int((long long)count, (long long)(MANY - lost), "all others came");
#endif
	copy_wait(&c, RELAY_RESET, REASON_BROKEN, "a target that went away");
}

static void test_refused(void)
{
	struct copy c;

	copy_start(&c, DATAGRAMS_RECORDS, DATAGRAMS_SOCKET, 0);
	close(c.far);
	c.far = -1;
	put_record(c.near, RECORD_DATA, "x", 1);
	ok(get_record(c.near, RECORD_RESET, "refused connection refused", 26), "the link is told");
	copy_wait(&c, RELAY_RESET, REASON_REFUSED, "nobody is there");

	copy_start(&c, DATAGRAMS_READS, DATAGRAMS_RECORDS, 0);
	put_record(c.far, RECORD_RESET, "refused connection refused", 26);
	copy_wait(&c, RELAY_RESET, REASON_REFUSED, "a RESET: refused");
	copy_start(&c, DATAGRAMS_READS, DATAGRAMS_RECORDS, 0);
	put_record(c.far, RECORD_DATA, "", 0);
	put_record(c.far, RECORD_RESET, "refused connection refused", 26);
	copy_wait(&c, RELAY_RESET, REASON_BROKEN, "a RESET: refused, after an empty datagram");
	copy_start(&c, DATAGRAMS_READS, DATAGRAMS_RECORDS, 0);
	put_record(c.far, RECORD_RESET, "denied no", 9);
	copy_wait(&c, RELAY_RESET, REASON_BROKEN, "a RESET with a reason that is none");
}

/* What datagrams_put() says of one that nobody gets, and that an error which only sending brings is noticed. */
static void test_put_fails(void)
{
	static const uint8_t empty[8];
	struct copy c;
	bool taken;

	copy_start(&c, DATAGRAMS_CALLS, DATAGRAMS_RECORDS, 0);
	settle();
	put(c.far, empty, sizeof(empty));
	shutdown(c.far, SHUT_RD);
	taken = datagrams_put(c.d, pattern, 100);
	ok(!taken, "a link that takes no more: lost");
	taken = datagrams_put(c.d, pattern, 100);
	ok(!taken, "and the next one");
	settle();
	is_int((long long)c.got, 2, "what it said before is read");
	close(c.far);
	c.far = -1;
	copy_wait(&c, RELAY_CUT, REASON_BROKEN, "a link that took no more");
	is_int((long long)c.result.bytes_out, 0, "nothing is counted");

	copy_start(&c, DATAGRAMS_CALLS, DATAGRAMS_SOCKET, 0);
	settle();
	close(c.far);
	c.far = -1;
	ok(datagrams_put(c.d, pattern, 100), "to nobody: sent");
	taken = datagrams_put(c.d, pattern, 100);
	ok(!taken, "the next one brings the refusal of the first");
	copy_wait(&c, RELAY_RESET, REASON_REFUSED, "which ends it");
	is_int((long long)c.result.bytes_out, 100, "one is counted");
}

static void test_ends(void)
{
	struct copy c;
	int64_t started = now_ms();

	copy_start(&c, DATAGRAMS_READS, DATAGRAMS_RECORDS, 300);
	put(c.near, "ask", 3);
	ok(get_record(c.far, RECORD_DATA, "ask", 3), "a read is a datagram");
	shutdown(c.near, SHUT_WR);
	ok(get_record(c.far, RECORD_EOF, "", 0), "the client's end is told at once");
	put_record(c.far, RECORD_DATA, "answer", 6);
	copy_wait(&c, RELAY_EOF, REASON_BROKEN, "silence after the client's end");
	ok(now_ms() - started >= 300, "not before its time");

	copy_start(&c, DATAGRAMS_READS, DATAGRAMS_RECORDS, 0);
	put_record(c.far, RECORD_EOF, NULL, 0);
	copy_wait(&c, RELAY_EOF, REASON_BROKEN, "the target's end");
	copy_start(&c, DATAGRAMS_RECORDS, DATAGRAMS_SOCKET, 0);
	put_record(c.near, RECORD_EOF, NULL, 0);
	settle();
	ok(!c.done, "a host's EOF does not end it");
	send(c.far, "late", 4, 0);
	ok(get_record(c.near, RECORD_DATA, "late", 4), "the target goes on");
	close(c.near);
	c.near = -1;
	copy_wait(&c, RELAY_EOF, REASON_BROKEN, "a link that is closed after EOF");
	copy_start(&c, DATAGRAMS_RECORDS, DATAGRAMS_SOCKET, 0);
	close(c.near);
	c.near = -1;
	copy_wait(&c, RELAY_CUT, REASON_BROKEN, "a link that is cut");
	copy_start(&c, DATAGRAMS_READS, DATAGRAMS_RECORDS, 0);
	datagrams_abort(c.d, "stop");
	ok(get_record(c.far, RECORD_RESET, "broken stop", 11), "a link is told of an abort");
	copy_wait(&c, RELAY_SIGNAL, REASON_BROKEN, "abort");
	copy_start(&c, DATAGRAMS_RECORDS, DATAGRAMS_RECORDS, 0);
	put_record(c.near, RECORD_DATA, "x", 1);
	ok(get_record(c.far, RECORD_DATA, "x", 1), "from a link to a link");
	put_record(c.far, RECORD_RESET, "refused no", 10);
	ok(get_record(c.near, RECORD_RESET, "refused no", 10), "a RESET is passed on");
	copy_wait(&c, RELAY_RESET, REASON_REFUSED, "a RESET that is passed on");
}

/* An abort waits for a link that takes nothing; a second one does not. */
static void test_abort_stuck(void)
{
	struct copy c;
	int64_t started = now_ms();

	copy_start(&c, DATAGRAMS_CALLS, DATAGRAMS_RECORDS, 0);
	while (datagrams_put(c.d, pattern, 9000))
		;
	datagrams_abort(c.d, "stop");
	settle();
	ok(!c.done, "the first waits");
	datagrams_abort(c.d, "stop");
	copy_wait(&c, RELAY_SIGNAL, REASON_BROKEN, "the second");
	ok(now_ms() - started < 4000, "at once");
}

static void test_free(void)
{
	struct relay_result result;
	struct copy c;
	uint8_t byte;

	copy_start(&c, DATAGRAMS_CALLS, DATAGRAMS_RECORDS, 0);
	datagrams_put(c.d, pattern, 100);
	put_record(c.far, RECORD_DATA, "in", 2);
	while (c.got == 0)
		turn(now_ms());
	ok(c.last_size == 2 && memcmp(c.last, "in", 2) == 0, "got() has the bytes");
	datagrams_free(c.d, &result);
	ok(get_record(c.far, RECORD_DATA, pattern, 100) && get_record(c.far, RECORD_EOF, "", 0),
	   "freed in order");
	is_int((long long)recv(c.far, &byte, 1, 0), 0, "and closed");
	is_int((long long)result.bytes_in, 2, "bytes in");
	is_int((long long)result.bytes_out, 100, "bytes out");
	c.done = true;
	copy_close(&c);

	copy_start(&c, DATAGRAMS_CALLS, DATAGRAMS_RECORDS, 0);
	put_record(c.far, RECORD_RESET, "refused no", 10);
	datagrams_abort(c.d, "stop");
	datagrams_free(c.d, &result);
	is_str(relay_outcome_name(result.outcome), "signal", "freed while it is closing");
	c.done = true;
	copy_close(&c);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	if (loop_init(&loop) < 0)
		abort();
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + i / 251);
	test_pieces();
	test_queue();
	test_small();
	test_backpressure();
	test_refused();
	test_put_fails();
	test_ends();
	test_abort_stuck();
	test_free();
	loop_clear(&loop);
	return done_testing();
}
