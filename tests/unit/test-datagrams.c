/* SPDX-License-Identifier: MIT */
/*
 * The copy of datagrams between ends of all types: boundaries however they are cut on the way, what is queued
 * and what is lost.
 */
#include "config.h"

#include "datagrams-fixture.h"

#define MANY 300
#define SMALL 16384

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

/* A socket of messages in place of a stream: one that is too long is no datagram, nor any part of it. */
static void test_messages(void)
{
	struct copy c;
	int fd[2];

	memset(&c, 0, sizeof(c));
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, fd) < 0)
		abort();
	fd_set_nonblock(fd[0], true);
	c.near = fd[0];
	c.config.end[0] = (struct datagrams_end_config){ DATAGRAMS_READS, fd[1], fd[1] };
	c.config.end[1] = make_end(DATAGRAMS_RECORDS, &c.far);
	copy_begin(&c, 0);
	send(c.near, pattern, DATAGRAM_MAX, 0);
	ok(get_record(c.far, RECORD_DATA, pattern, DATAGRAM_MAX), "a message of the largest size");
	send(c.near, pattern, DATAGRAM_MAX + 1, 0);
	ok(get_record(c.far, RECORD_RESET,
		      "broken the input has a datagram of 65508 bytes; there may be 65507", 66),
	   "a message that is longer");
	copy_wait(&c, RELAY_LOCAL, REASON_BROKEN, "a message that is longer");
}

/* A peer that is slow to read may ask whether we are there; one that does nothing but ask is not waited for. */
static void test_pings(void)
{
	static uint8_t asked[512 * RECORD_HEADER_SIZE], got[1004];
	size_t taken = 0, came = 0;
	struct copy c;
	int64_t since;

	copy_start(&c, DATAGRAMS_CALLS, DATAGRAMS_RECORDS, 0);
	while (datagrams_put(c.d, pattern, 1000))
		taken++;
	while (datagrams_put(c.d, pattern, 0)) /* all the room that there is */
		;
	put_record(c.far, RECORD_PING, "12345678", 8);
	settle();
	ok(c.d->state == DATAGRAMS_OPEN, "a PING behind as much as may wait");
	while (came < taken && get(c.far, got, sizeof(got), false))
		came++;
	while (get(c.far, got, RECORD_HEADER_SIZE, false) && got[0] == RECORD_DATA)
		;
	ok(get(c.far, got, 8, false) && memcmp(got, "12345678", 8) == 0, "is answered behind it");
	copy_close(&c);

	for (size_t i = 0; i < sizeof(asked); i += RECORD_HEADER_SIZE)
		record_put_header(asked + i, RECORD_PING, 0);
	copy_start(&c, DATAGRAMS_CALLS, DATAGRAMS_RECORDS, 0);
	for (since = now_ms(); c.d->state == DATAGRAMS_OPEN && turn(since);)
		send(c.far, asked, sizeof(asked), MSG_NOSIGNAL);
	ok(c.d->end[1].queue.size <= 512 * 1024, "PINGs without an end: %zu bytes wait",
	   c.d->end[1].queue.size);
	is_str(relay_outcome_name(c.d->outcome), "reset", "and then no more");
	copy_close(&c);
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

int main(void)
{
	datagrams_test_init();
	test_pieces();
	test_messages();
	test_queue();
	test_small();
	test_pings();
	test_backpressure();
	loop_clear(&loop);
	return done_testing();
}
