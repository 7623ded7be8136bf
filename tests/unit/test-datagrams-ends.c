/* SPDX-License-Identifier: MIT */
/* The copy of datagrams: how it ends, and what each side is told. */
#include "config.h"

#include "datagrams-fixture.h"

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
	is_int(c.result.gone, 1, "whose side that was");
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

static void idle_start(struct copy *c, enum datagrams_type near, enum datagrams_type far)
{
	memset(c, 0, sizeof(*c));
	c->config.end[0] = make_end(near, &c->near);
	c->config.end[1] = make_end(far, &c->far);
	c->config.idle_ms = 100;
	copy_begin(c, 100);
}

/* A client beyond a link sends on until it hears of the end, and nothing of that is lost. */
static void test_idle(void)
{
	struct copy c;
	char got[8] = "";
	int64_t since = now_ms();

	idle_start(&c, DATAGRAMS_RECORDS, DATAGRAMS_SOCKET);
	ok(get_record(c.near, RECORD_EOF, "", 0), "silence: the client's link is told");
	settle();
	ok(!c.done, "and may still say something");
	send(c.far, "unheard", 7, 0);
	put_record(c.near, RECORD_DATA, "late", 4);
	while (recv(c.far, got, sizeof(got) - 1, 0) < 0 && turn(since))
		;
	is_str(got, "late", "which the target gets");
	put_record(c.near, RECORD_DATA, "last", 4);
	put_record(c.near, RECORD_EOF, NULL, 0);
	close(c.near);
	c.near = -1;
	copy_wait(&c, RELAY_EOF, REASON_BROKEN, "the client's own end");
	is_int((long long)c.result.bytes_out, 8, "the last one too");
	is_int((long long)c.result.bytes_in, 0,
	       "to a client that was told of the end goes nothing");

	idle_start(&c, DATAGRAMS_RECORDS, DATAGRAMS_RECORDS);
	ok(get_record(c.near, RECORD_EOF, "", 0), "from a link to a link");
	put_record(c.near, RECORD_EOF, NULL, 0);
	ok(get_record(c.far, RECORD_EOF, "", 0), "the client's end is passed on");
	copy_wait(&c, RELAY_EOF, REASON_BROKEN, "between links");

	idle_start(&c, DATAGRAMS_RECORDS, DATAGRAMS_SOCKET);
	ok(get_record(c.near, RECORD_EOF, "", 0), "a client that says nothing is told");
	copy_wait(&c, RELAY_EOF, REASON_BROKEN, "and waited for only so long");
}

/*
 * The client's link takes less than it was sent: silence is no reason to call that an end in order. Nor is it where the target has
 * ended, which is read at once with what it has sent (`ended`).
 */
static void test_idle_stuck(bool ended)
{
	static uint8_t records[4 * (RECORD_HEADER_SIZE + 40000)];
	struct copy c;
	uint8_t *at = records;
	int small = 4096;

	memset(&c, 0, sizeof(c));
	c.config.end[0] = make_end(DATAGRAMS_RECORDS, &c.near);
	c.config.end[1] = make_end(DATAGRAMS_RECORDS, &c.far);
	setsockopt(c.config.end[0].wfd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	c.config.idle_ms = 100;
	for (int i = 0; i < 3; i++, at += RECORD_HEADER_SIZE + 40000)
		record_put_header(at, RECORD_DATA, 40000);
	record_put_header(at, ended ? RECORD_EOF : RECORD_PONG, 0);
	at += RECORD_HEADER_SIZE;
	is_int((long long)send(c.far, records, (size_t)(at - records), 0), at - records,
	       "a target that sends%s", ended ? ", and ends" : "");
	copy_begin(&c, 0);
	copy_wait(&c, RELAY_LOCAL, REASON_BROKEN, "a client that does not read");
}

static void test_client_failed(void)
{
	struct copy c;

	copy_start(&c, DATAGRAMS_CALLS, DATAGRAMS_RECORDS, 0);
	datagrams_client_failed(c.d, ECONNREFUSED);
	datagrams_client_failed(c.d, ECONNREFUSED);
	is_int(c.released, 1, "a client that is not there is released");
	ok(get_record(c.far, RECORD_RESET, "refused connection refused", 26), "the link is told");
	copy_wait(&c, RELAY_RESET, REASON_REFUSED, "a client that is not there");
	is_int(c.result.gone, 0, "whose side that was");
}

/* From the beginning of the end on what comes is not of this copy. */
static void test_released(void)
{
	struct relay_result result;
	struct copy c;

	copy_start(&c, DATAGRAMS_CALLS, DATAGRAMS_RECORDS, 0);
	is_int(c.joined, 1, "a client joins");
	settle();
	is_int(c.released, 0, "and stays");
	put_record(c.far, RECORD_EOF, NULL, 0);
	ok(get_record(c.far, RECORD_EOF, "", 0), "the target's end is answered");
	is_int(c.released, 1, "and the client released");
	copy_wait(&c, RELAY_EOF, REASON_BROKEN, "the target's end");
	is_int(c.released, 1, "once");

	copy_start(&c, DATAGRAMS_CALLS, DATAGRAMS_RECORDS, 0);
	datagrams_abort(c.d, "stop");
	is_int(c.released, 1, "by an abort");
	copy_close(&c);
	is_int(c.released, 1, "once");

	copy_start(&c, DATAGRAMS_CALLS, DATAGRAMS_RECORDS, 0);
	datagrams_free(c.d, &result);
	is_int(c.released, 1, "when it is freed");
	c.done = true;
	copy_close(&c);

	idle_start(&c, DATAGRAMS_CALLS, DATAGRAMS_RECORDS);
	ok(get_record(c.far, RECORD_EOF, "", 0), "silence ends it");
	is_int(c.released, 1, "and it was released before the link hears of it");
	copy_wait(&c, RELAY_EOF, REASON_BROKEN, "silence");
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
	datagrams_test_init();
	test_refused();
	test_put_fails();
	test_ends();
	test_idle();
	test_idle_stuck(false);
	test_idle_stuck(true);
	test_client_failed();
	test_released();
	test_abort_stuck();
	test_free();
	loop_clear(&loop);
	return done_testing();
}
