/* SPDX-License-Identifier: MIT */
/*
 * Who answers a question: a zone, nobody, or resolvers that are silent, gone, slow, lying or wrong. They are
 * sockets of this test, on 127.0.0.1 and 127.0.0.2.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "dns/server.h"
#include "dns/stream.h"
#include "sock.h"
#include "tap.h"
#include "tests/unit/dns-query.h"
#include "watch.h"

#define ID 0x1234

static struct loop loop;
static char conf[] = "/tmp/test-dns-server.XXXXXX";
static uint16_t port;

/* What a resolver does with a question. */
enum act { ANSWER, SILENT, FAIL, LIE, GUESS, LARGE, OTHER };

static struct resolver {
	struct watch watch;
	int fd;
	enum act act;
	unsigned asked;
	uint16_t last_id;
	struct sockaddr_storage from; /* who asked last */
	socklen_t from_len;
	uint8_t question[512];
	size_t size;
} resolvers[2];

/* The answers that came, the last one of them, and what the hooks were told. */
static unsigned answers;
static uint8_t answer[DNS_MESSAGE_MAX];
static size_t answer_size;
static unsigned wanted; /* how many are waited for */
static char hooks[256];

static void put_answer(struct resolver *r, const uint8_t *reply, size_t size)
{
	sendto(r->fd, reply, size, 0, (struct sockaddr *)&r->from, r->from_len);
}

/* The reply to what was asked last: one address, 10.9.0.N of resolver N, and `more` bytes of nothing. */
static size_t make_reply(struct resolver *r, uint8_t *reply, size_t more)
{
	static const uint8_t record[] = "\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\x0a\x09\0";
	size_t size = r->size;

	memcpy(reply, r->question, size);
	reply[2] |= 0x80;
	reply[7] = 1;
	memcpy(reply + size, record, sizeof(record) - 1);
	size += sizeof(record) - 1;
	reply[size++] = (uint8_t)(r - resolvers + 1);
	memset(reply + size, 0, more);
	return size + more;
}

static void resolver_reply(struct resolver *r)
{
	uint8_t reply[2048];
	size_t size = make_reply(r, reply, r->act == LARGE ? 600 : 0);

	put_answer(r, reply, size);
}

/* Replies that are none to the question, from the right socket and from another one. */
static void resolver_lie(struct resolver *r, unsigned count)
{
	uint8_t reply[2048];
	size_t size = make_reply(r, reply, 0);
	int other = sock_new(AF_INET, SOCK_DGRAM, 0);

	reply[size - 1] = 66;
	sendto(other, reply, size, 0, (struct sockaddr *)&r->from, r->from_len);
	close(other);
	for (unsigned i = 0; i < count; i += 4) {
		dns_id_set(reply, (uint16_t)(r->last_id + 1));
		put_answer(r, reply, size);
		dns_id_set(reply, r->last_id);
		reply[DNS_HEADER_SIZE + 1] ^= 1; /* the name */
		put_answer(r, reply, size);
		reply[DNS_HEADER_SIZE + 1] ^= 1;
		reply[2] ^= 0x80; /* a question */
		put_answer(r, reply, size);
		reply[2] ^= 0x80;
		put_answer(r, reply, 5);
	}
}

static void resolver_asked(struct watch *watch, unsigned ready)
{
	struct resolver *r = container_of(watch, struct resolver, watch);

	(void)ready;
	for (;;) {
		ssize_t n;

		r->from_len = sizeof(r->from);
		n = recvfrom(r->fd, r->question, sizeof(r->question), 0,
			     (struct sockaddr *)&r->from, &r->from_len);
		if (n < 0)
			return;
		r->size = (size_t)n;
		r->last_id = dns_id(r->question);
		r->asked++;
		if (r->act == LIE || r->act == GUESS)
			resolver_lie(r, r->act == LIE ? 8 : 40);
		if (r->act == FAIL) {
			r->question[2] |= 0x80;
			r->question[3] = DNS_SERVFAIL;
			put_answer(r, r->question, r->size);
		} else if (r->act != SILENT) {
			/* OTHER: the first one answers, late, what it was asked. */
			resolver_reply(r->act == OTHER ? &resolvers[0] : r);
		}
	}
}

/* Resolver N, on 127.0.0.(N + 1), does this from now on, and has been asked nothing. */
static void resolver_start(int n, enum act act)
{
	struct resolver *r = &resolvers[n];
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };
	socklen_t len = sizeof(sin);

	r->act = act;
	r->asked = 0;
	if (r->watch.cb != NULL)
		return;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)n);
	r->fd = sock_new(AF_INET, SOCK_DGRAM, 0);
	if (bind(r->fd, (struct sockaddr *)&sin, len) < 0 ||
	    getsockname(r->fd, (struct sockaddr *)&sin, &len) < 0 ||
	    watch_start(&loop, &r->watch, r->fd, WATCH_READ, resolver_asked) < 0)
		abort();
	port = ntohs(sin.sin_port);
}

static void resolver_stop(int n)
{
	if (resolvers[n].watch.cb == NULL)
		return;
	watch_stop(&loop, &resolvers[n].watch);
	close(resolvers[n].fd);
}

/* What resolv.conf says from now on. */
static void write_conf(const char *text)
{
	int fd = open(conf, O_WRONLY | O_TRUNC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
}

static bool hook_allowed(const char *name, uint16_t type, void *arg)
{
	snprintf(hooks + strlen(hooks), sizeof(hooks) - strlen(hooks), "%s? %u ", name, type);
	return arg == hooks && strncmp(name, "bad.", 4) != 0;
}

static void hook_resolved(const char *name, const struct address *addresses, size_t count,
			  uint32_t ttl, void *arg)
{
	(void)arg;
	snprintf(hooks + strlen(hooks), sizeof(hooks) - strlen(hooks), "%s=%x*%zu %u", name,
		 ntohl(addresses[0].v4.s_addr), count, ttl);
}

static void answered(const uint8_t *data, size_t size, void *arg)
{
	struct dns_ask **ask = arg;

	if (ask != NULL)
		*ask = NULL;
	if (size > 0)
		memcpy(answer, data, size);
	answer_size = size;
	if (++answers == wanted)
		loop_stop(&loop);
}

static void gave_up(void *arg)
{
	(void)arg;
	diag("nothing came for 20 s");
	loop_stop(&loop);
}

/* Until so many answers have come in all since the first question. */
static void wait_answers(unsigned count)
{
	struct loop_task deadline = { 0 };

	wanted = count;
	if (answers >= count)
		return;
	loop_later(&loop, &deadline, 20000, gave_up, NULL);
	loop_run(&loop);
	loop_cancel(&deadline);
}

static struct dns_server *server_new(const struct zones *zones, unsigned max)
{
	struct dns_server_config config = {
		.zones = zones,
		.resolv_conf = conf,
		.port = port,
		.max = max,
		.allowed = hook_allowed,
		.resolved = hook_resolved,
		.arg = hooks,
	};

	answers = 0;
	*hooks = '\0';
	return dns_server_new(&loop, &config);
}

static struct dns_ask *ask(struct dns_server *server, const char *name, unsigned type,
			   struct dns_ask **handle)
{
	uint8_t message[512];
	size_t size = dns_query_build(message, ID, name, type, NULL);

	return dns_server_ask(server, false, message, size, answered, handle);
}

/* Asks and waits. `last` is the answer's last byte, unless it is 0. */
static void check(struct dns_server *server, const char *name, int rcode, int last,
		  const char *what)
{
	unsigned before = answers;

	*hooks = '\0';
	if (ask(server, name, DNS_A, NULL) == NULL)
		ok(answers == before + 1, "%s: at once", what);
	wait_answers(before + 1);
	ok(answers == before + 1 && dns_id(answer) == ID && (answer[2] & 0x80), "%s: an answer",
	   what);
	is_int(dns_rcode(answer), rcode, "%s: its rcode", what);
	if (last > 0)
		is_int(answer[answer_size - 1], last, "%s: its address", what);
}

static void check_forwarding(void)
{
	struct dns_server *server;
	bool own_id = true;

	resolver_start(0, ANSWER);
	write_conf("nameserver 127.0.0.1\n");
	server = server_new(NULL, 0);
	for (int i = 0; i < 3; i++) {
		check(server, "A.example", DNS_NOERROR, 1, "forwarded");
		own_id = own_id && resolvers[0].last_id != ID;
	}
	ok(own_id, "with another ID");
	is_str(hooks, "a.example? 1 a.example=a090001*1 30", "the hooks");
	resolver_start(0, LIE);
	check(server, "a.example", DNS_NOERROR, 1, "behind lies");
	resolver_start(0, LARGE);
	check(server, "a.example", DNS_NOERROR, 0, "too large");
	is_int((int)answer_size, 27, "header and question are left");
	ok(dns_flags(answer) & DNS_FLAG_TC, "and TC says so");
	dns_server_free(server);
}

static void check_guessing(void)
{
	struct dns_server *server;

	resolver_start(0, GUESS);
	resolver_start(1, ANSWER);
	write_conf("nameserver 127.0.0.1\nnameserver 127.0.0.2\n");
	server = server_new(NULL, 0);
	check(server, "a.example", DNS_NOERROR, 2, "behind too many lies");
	dns_server_free(server);
}

static void check_others(void)
{
	struct dns_server *server = server_new(NULL, 0);
	int64_t start = now_ms();

	resolver_stop(0);
	resolver_start(1, ANSWER);
	check(server, "a.example", DNS_NOERROR, 2, "the first one is gone");
	ok(now_ms() - start < 1000, "at once");
	dns_server_free(server);

	server = server_new(NULL, 0);
	resolver_start(0, FAIL);
	check(server, "a.example", DNS_NOERROR, 2, "the first one fails");
	check(server, "a.example", DNS_NOERROR, 2, "it does again");
	is_int(resolvers[0].asked, 2, "and was asked again");
	resolver_start(1, FAIL);
	check(server, "a.example", DNS_SERVFAIL, 0, "both fail");
	is_int(resolvers[1].asked, 1, "the last one's answer it is");
	dns_server_free(server);
}

static void check_silence(void)
{
	struct dns_server *server;
	int64_t start = now_ms();

	write_conf("nameserver 127.0.0.1\nnameserver 127.0.0.2\noptions timeout:1 attempts:1\n");
	resolver_start(0, SILENT);
	resolver_start(1, ANSWER);
	server = server_new(NULL, 0);
	check(server, "a.example", DNS_NOERROR, 2, "the first one is silent");
	ok(now_ms() - start >= 1000, "its time was waited for");
	check(server, "a.example", DNS_NOERROR, 2, "the next question");
	is_int(resolvers[0].asked, 1, "begins with the second one");
	write_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:2\n");
	check(server, "a.example", DNS_SERVFAIL, 0, "nobody answers");
	is_int(resolvers[0].asked, 3, "after two attempts");
	dns_server_free(server);
}

static void check_late(void)
{
	struct dns_server *server;

	write_conf("nameserver 127.0.0.1\nnameserver 127.0.0.2\noptions timeout:1 attempts:1\n");
	resolver_start(0, SILENT);
	resolver_start(1, OTHER);
	server = server_new(NULL, 0);
	check(server, "a.example", DNS_NOERROR, 1, "a late answer");
	dns_server_free(server);
}

/* Without a resolver: no answer comes later. */
static void check_at_once(void)
{
	static const struct {
		const char *bytes;
		size_t size;
		int rcode; /* -1: no answer at all */
		const char *what;
	} rows[] = {
#define ROW(bytes, rcode, what) { bytes, sizeof(bytes) - 1, rcode, what }
		ROW("", -1, "nothing"),
		ROW("\x12\x34\x81\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", -1, "a response"),
		ROW("\x12\x34\x28\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", DNS_NOTIMP, "UPDATE"),
		ROW("\x12\x34\1\0\0\2\0\0\0\0\0\0\1a\0\0\1\0\1\1a\0\0\1\0\1", DNS_FORMERR,
		    "two questions"),
		ROW("\x12\x34\1\0\0\1\0\0\0\0\0\0\7version\4bind\0\0\x10\0\3", DNS_REFUSED,
		    "version.bind"),
		ROW("\x12\x34\1\0\0\1\0\0\0\0\0\0\1h\1z\0\0\1\0\xff", DNS_REFUSED, "class ANY"),
		ROW("\x12\x34\1\0\0\1\0\0\0\0\0\0\1z\0\0\xfc\0\1", DNS_REFUSED, "AXFR"),
		ROW("\x12\x34\1\0\0\1\0\0\0\0\0\0\1z\0\0\xfb\0\1", DNS_REFUSED, "IXFR"),
		ROW("\x12\x34\1\0\0\1\0\0\0\0\0\0\1z\0\0\x29\0\1", DNS_FORMERR, "OPT"),
		ROW("\x12\x34\1\0\0\1\0\0\0\0\0\1\1z\0\0\1\0\1\0\0\x29\2\0\0\1\0\0\0\0", 0,
		    "EDNS 1"),
		ROW("\x12\x34\1\0\0\1\0\0\0\0\0\0\3bad\1x\0\0\1\0\1", DNS_REFUSED,
		    "what is not allowed"),
		ROW("\x12\x34\1\0\0\1\0\0\0\0\0\0\1x\0\0\xff\0\1", 0, "ANY"),
#undef ROW
	};
	struct zones *zones = zones_new();
	struct dns_server *server = server_new(zones, 0);

	zones_parse(zones, "z,h=10.0.0.1", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned before = answers;

		ok(dns_server_ask(server, false, (const uint8_t *)rows[i].bytes, rows[i].size,
				  answered, NULL) == NULL &&
			   answers == before + 1,
		   "%s: at once", rows[i].what);
		if (rows[i].rcode < 0)
			is_int((int)answer_size, 0, "%s: no answer", rows[i].what);
		else
			is_int(dns_rcode(answer), rows[i].rcode, "%s: its rcode", rows[i].what);
		if (strcmp(rows[i].what, "EDNS 1") == 0)
			is_mem(answer + answer_size - 11, 11, "\0\0\x29\x10\0\1\0\0\0\0\0", 11,
			       "BADVERS, and the version that there is");
	}
	is_mem(answer + answer_size - 21, 21, "\xc0\x0c\0\x0d\0\1\0\0\0\x3c\0\x09\7RFC8482", 21,
	       "what ANY gets");
	is_str(hooks, "bad.x? 1 x? 255 ", "who was asked about");
	check(server, "h.z", DNS_NOERROR, 1, "a zone's");
	is_str(hooks, "h.z=a000001*1 60", "which is told of");
	check(server, "bad.z", DNS_NXDOMAIN, 0, "not in the zone");
	is_str(hooks, "", "which nobody is asked about");
	dns_server_free(server);
	zones_free(zones);
}

static void check_limits(void)
{
	struct dns_ask *asks[4] = { NULL };
	struct dns_server *server;

	write_conf("nameserver 127.0.0.1\n");
	resolver_start(0, SILENT);
	server = server_new(NULL, 2);
	for (int i = 0; i < 4; i++)
		asks[i] = ask(server, "a.example", DNS_A, &asks[i]);
	is_int(answers, 0, "nobody is answered within others' calls");
	wait_answers(2);
	is_int(answers, 2, "two of four are out");
	ok(asks[0] == NULL && asks[1] == NULL && asks[2] != NULL && asks[3] != NULL,
	   "the oldest ones");
	is_int(dns_rcode(answer), DNS_SERVFAIL, "with an answer");
	dns_server_cancel(asks[2]);
	resolver_start(0, ANSWER);
	wait_answers(3);
	ok(answers == 3 && asks[3] == NULL, "what is not cancelled is answered");
	resolver_start(0, SILENT);
	ask(server, "b.example", DNS_A, NULL);
	dns_server_free(server);
	is_int(answers, 3, "what is cancelled is not");
}

static void answered_last(const uint8_t *data, size_t size, void *arg)
{
	dns_server_free(arg);
	answered(data, size, NULL);
}

/* A callback frees the server: with the reply in hand, and with questions that were put out and that are under way. */
static void check_freeing(void)
{
	uint8_t message[512];
	size_t size = dns_query_build(message, ID, "a.example", DNS_A, NULL);
	struct dns_server *server;

	resolver_start(0, ANSWER);
	server = server_new(NULL, 0);
	dns_server_ask(server, false, message, size, answered_last, server);
	ask(server, "b.example", DNS_A, NULL);
	wait_answers(1);
	is_int(answer[answer_size - 1], 1, "the server is freed by the first answer");
	server = server_new(NULL, 1);
	dns_server_ask(server, false, message, size, answered_last, server);
	ask(server, "b.example", DNS_A, NULL);
	ask(server, "c.example", DNS_A, NULL);
	wait_answers(1);
	is_int(answers, 1, "or by the end of a question");
}

int main(void)
{
	int fd = mkstemp(conf);

	if (fd < 0 || loop_init(&loop) < 0)
		abort();
	close(fd);
	check_forwarding();
	check_guessing();
	check_others();
	check_silence();
	check_late();
	check_at_once();
	check_limits();
	check_freeing();
	for (int i = 0; i < 2; i++)
		resolver_stop(i);
	loop_clear(&loop);
	unlink(conf);
	return done_testing();
}
