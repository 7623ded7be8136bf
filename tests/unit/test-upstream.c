/* SPDX-License-Identifier: MIT */
/*
 * Connections through a proxy: one that is played here, in the same loop, at the other end of a pair of sockets. What it
 * is asked, byte for byte, and what becomes of its answers, whole and a byte at a time.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "egress/upstream.h"
#include "lib/sock.h"
#include "lib/watch.h"
#include "proxy/socks.h"
#include "tests/tap.h"

#define EXCHANGES_MAX 4
#define TEXT(text)                                      \
	{                                               \
		(const uint8_t *)text, sizeof(text) - 1 \
	}

struct text {
	const uint8_t *data;
	size_t size;
};

/* What is asked and answered; an empty answer closes. */
struct exchange {
	struct text ask, answer;
};

struct talk {
	const char *what, *url, *name, *address;
	struct exchange exchanges[EXCHANGES_MAX];
	const char *early;   /* comes right behind the last answer */
	const char *failure; /* reason and message; NULL: connected */
};

/* The proxy, and what came to its client. */
struct stage {
	struct loop loop;
	const struct talk *talk;
	bool bytewise;
	int fd;
	struct watch watch;
	struct loop_task task;
	uint8_t got[1024], out[1024];
	size_t got_size, out_size, out_done, exchange;
	bool asked_well;
	int calls, result;
	struct error err;
};

static void say(void *arg)
{
	struct stage *stage = arg;
	size_t left = stage->out_size - stage->out_done;
	size_t n = stage->bytewise && left > 1 ? 1 : left;

	/* The client may have had enough. */
	if (send(stage->fd, stage->out + stage->out_done, n, MSG_NOSIGNAL) != (ssize_t)n)
		return;
	stage->out_done += n;
	if (stage->out_done < stage->out_size)
		loop_later(&stage->loop, &stage->task, 0, say, stage);
}

static bool is_last(const struct stage *stage)
{
	return stage->exchange + 1 == EXCHANGES_MAX ||
	       stage->talk->exchanges[stage->exchange + 1].ask.size == 0;
}

static void answer(struct stage *stage)
{
	const struct text *text = &stage->talk->exchanges[stage->exchange].answer;
	size_t early = is_last(stage) && stage->talk->early ? strlen(stage->talk->early) : 0;

	if (text->size == 0) {
		shutdown(stage->fd, SHUT_WR);
		return;
	}
	memcpy(stage->out, text->data, text->size);
	if (early > 0)
		memcpy(stage->out + text->size, stage->talk->early, early);
	stage->out_size = text->size + early;
	stage->out_done = 0;
	stage->got_size = 0;
	say(stage);
	stage->exchange++;
}

static void hear(struct watch *watch, unsigned ready)
{
	struct stage *stage = container_of(watch, struct stage, watch);
	const struct text *ask = &stage->talk->exchanges[stage->exchange].ask;
	ssize_t n;

	(void)ready;
	while ((n = recv(stage->fd, stage->got + stage->got_size,
			 sizeof(stage->got) - stage->got_size, 0)) > 0)
		stage->got_size += (size_t)n;
	if (stage->got_size == 0 || stage->got_size < ask->size)
		return;
	if (stage->got_size != ask->size || memcmp(stage->got, ask->data, ask->size) != 0) {
		stage->asked_well = false;
		tap_diag_bytes(" got", stage->got, stage->got_size);
		tap_diag_bytes("want", ask->data, ask->size);
		shutdown(stage->fd, SHUT_WR);
		return;
	}
	answer(stage);
}

static void done(int fd, const struct error *err, void *arg)
{
	struct stage *stage = arg;

	stage->calls++;
	stage->result = fd;
	if (err != NULL)
		stage->err = *err;
	loop_stop(&stage->loop);
}

static void stage_open(struct stage *stage, const struct talk *talk, bool bytewise, int fd[2])
{
	*stage = (struct stage){ .talk = talk, .bytewise = bytewise, .asked_well = true };
	if (loop_init(&stage->loop) < 0 || sock_pair(fd) < 0)
		abort();
	stage->fd = fd[1];
	if (watch_start(&stage->loop, &stage->watch, fd[1], WATCH_READ, hear) < 0)
		abort();
}

static void stage_close(struct stage *stage)
{
	watch_stop(&stage->loop, &stage->watch);
	loop_cancel(&stage->task);
	close(stage->fd);
	is_int(loop_run(&stage->loop), 0, "nothing is left in the loop");
	loop_clear(&stage->loop);
}

/* What the client can read is what came behind the answer, all of it, once the proxy has said that. */
static void check_early(struct stage *stage, const char *early, const char *what)
{
	char buf[64];
	ssize_t n;

	while (stage->out_done < stage->out_size)
		say(stage);
	n = recv(stage->result, buf, sizeof(buf), 0);
	is_mem(buf, n > 0 ? (size_t)n : 0, early, strlen(early), "%s: what follows is there", what);
}

static void run_talk(const struct talk *talk, bool bytewise)
{
	_cleanup_free_ char *what = xasprintf("%s%s", talk->what, bytewise ? ", bytewise" : "");
	_cleanup_free_ char *failure = NULL;
	struct upstream upstream;
	struct address addr;
	struct stage stage;
	int fd[2];

	if (upstream_parse(&upstream, talk->url, NULL) < 0 ||
	    address_parse(&addr, talk->address, NULL) < 0)
		abort();
	stage_open(&stage, talk, bytewise, fd);
	ok(upstream_open(&stage.loop, &upstream, fd[0], talk->name, &addr, 5000, done, &stage) !=
			   NULL &&
		   stage.calls == 0,
	   "%s: no callback yet", what);
	loop_run(&stage.loop);
	is_int(stage.calls, 1, "%s: one callback", what);
	ok(stage.asked_well, "%s: asked as it has to be", what);
	if (talk->failure == NULL) {
		if (!is_int(stage.result, fd[0], "%s: connected", what))
			diag("%s", stage.err.message);
		else
			check_early(&stage, talk->early != NULL ? talk->early : "", what);
		if (stage.result >= 0)
			close(stage.result);
	} else {
		failure = xasprintf("%s: %s", reason_name(stage.err.reason), stage.err.message);
		is_str(stage.result < 0 ? failure : "connected", talk->failure, "%s: fails", what);
	}
	stage_close(&stage);
	upstream_clear(&upstream);
}

#define HTTP_ASK                                  \
	TEXT("CONNECT a.example:443 HTTP/1.1\r\n" \
	     "Host: a.example:443\r\n\r\n")
#define HTTP(what, answer, failure)                                                             \
	{                                                                                       \
		what, "http://p:1", "a.example", "1.1.1.1:443", { { HTTP_ASK, TEXT(answer) } }, \
			NULL, failure                                                           \
	}
#define GREETING TEXT("\5\1\0")
#define ASK_IPV4 TEXT("\5\1\0\1\1\1\1\1\1\273")
#define SOCKS(what, method, answer, failure)                                                      \
	{                                                                                         \
		what, "socks5://p:1", NULL, "1.1.1.1:443",                                        \
			{ { GREETING, TEXT(method) }, { ASK_IPV4, TEXT(answer) } }, NULL, failure \
	}

static const struct talk talks[] = {
	{ "HTTP by name",
	  "http://p:1",
	  "a.example",
	  "1.1.1.1:443",
	  { { HTTP_ASK, TEXT("HTTP/1.1 200 Connection established\r\nA: b\r\n\r\n") } },
	  "early\n",
	  NULL },
	{ "HTTP by IPv4",
	  "http://p:1",
	  NULL,
	  "1.1.1.1:443",
	  { { TEXT("CONNECT 1.1.1.1:443 HTTP/1.1\r\nHost: 1.1.1.1:443\r\n\r\n"),
	      TEXT("HTTP/1.0 200 OK\n\n") } },
	  "\n\n",
	  NULL },
	{ "HTTP by IPv6",
	  "http://p:1",
	  NULL,
	  "[2606:4700::1]:80",
	  { { TEXT("CONNECT [2606:4700::1]:80 HTTP/1.1\r\nHost: [2606:4700::1]:80\r\n\r\n"),
	      TEXT("HTTP/1.1 204 \r\n\r\n") } },
	  "",
	  NULL },
	{ "HTTP with a password",
	  "http://me:a%3Ab@p:1",
	  "a.example",
	  "1.1.1.1:443",
	  { { TEXT("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n"
		   "Proxy-Authorization: Basic bWU6YTpi\r\n\r\n"),
	      TEXT("HTTP/1.1 200 OK\r\n\r\n") } },
	  "HTTP/1.1 ",
	  NULL },
	{ "HTTP after an interim answer",
	  "http://p:1",
	  "a.example",
	  "1.1.1.1:443",
	  { { HTTP_ASK, TEXT("HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n") } },
	  "early",
	  NULL },
	HTTP("HTTP 403", "HTTP/1.1 403 No\r\n\r\n", "denied: the proxy answered 403"),
	HTTP("HTTP 407", "HTTP/1.1 407 Who\r\n\r\n",
	     "denied: the proxy answered 407: it wants a user and a password"),
	HTTP("HTTP 502", "HTTP/1.1 502 Bad\r\n\r\n", "unreachable: the proxy answered 502"),
	HTTP("HTTP 503", "HTTP/1.1 503 Full\r\n\r\n", "exhausted: the proxy answered 503"),
	HTTP("HTTP 504", "HTTP/1.1 504 Slow\r\n\r\n", "timeout: the proxy answered 504"),
	HTTP("HTTP 302", "HTTP/1.1 302 There\r\n\r\n", "unreachable: the proxy answered 302"),
	HTTP("HTTP 101", "HTTP/1.1 101 Switching\r\n\r\n",
	     "internal: what the proxy answered is no HTTP"),
	HTTP("HTTP garbage", "SSH-2.0-OpenSSH_9.2\r\n",
	     "internal: what the proxy answered is no HTTP"),
	HTTP("HTTP end", "", "unreachable: the proxy closed the connection before it answered"),
	{ "SOCKS by name",
	  "socks5://p:1",
	  "a.example",
	  "1.1.1.1:443",
	  { { GREETING, TEXT("\5\0") },
	    { TEXT("\5\1\0\3\11a.example\1\273"), TEXT("\5\0\0\1\0\0\0\0\0\0") } },
	  "early",
	  NULL },
	{ "SOCKS by IPv4",
	  "socks5://p:1",
	  NULL,
	  "1.1.1.1:443",
	  { { GREETING, TEXT("\5\0") },
	    { ASK_IPV4, TEXT("\5\0\0\4\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\0\1") } },
	  "\0",
	  NULL },
	{ "SOCKS by IPv6",
	  "socks5://p:1",
	  NULL,
	  "[2606:4700::1]:80",
	  { { GREETING, TEXT("\5\0") },
	    { TEXT("\5\1\0\4\x26\6\x47\0\0\0\0\0\0\0\0\0\0\0\0\1\0\120"),
	      TEXT("\5\0\0\3\3abc\0\1") } },
	  "\5\0\0\3",
	  NULL },
	{ "SOCKS with a password",
	  "socks5://me:secret@p:1",
	  NULL,
	  "1.1.1.1:443",
	  { { TEXT("\5\2\0\2"), TEXT("\5\2") },
	    { TEXT("\1\2me\6secret"), TEXT("\1\0") },
	    { ASK_IPV4, TEXT("\5\0\0\1\0\0\0\0\0\0") } },
	  "early",
	  NULL },
	{ "SOCKS with a password that nobody wants",
	  "socks5://me:secret@p:1",
	  NULL,
	  "1.1.1.1:443",
	  { { TEXT("\5\2\0\2"), TEXT("\5\0") }, { ASK_IPV4, TEXT("\5\0\0\1\0\0\0\0\0\0") } },
	  "early",
	  NULL },
	{ "SOCKS with a wrong password",
	  "socks5://me:secret@p:1",
	  NULL,
	  "1.1.1.1:443",
	  { { TEXT("\5\2\0\2"), TEXT("\5\2") }, { TEXT("\1\2me\6secret"), TEXT("\1\1") } },
	  NULL,
	  "denied: the proxy refuses the user and the password" },
	{ "SOCKS that wants a password",
	  "socks5://p:1",
	  NULL,
	  "1.1.1.1:443",
	  { { GREETING, TEXT("\5\377") } },
	  NULL,
	  "denied: the proxy wants a user and a password" },
	{ "SOCKS that wants a password all the same",
	  "socks5://p:1",
	  NULL,
	  "1.1.1.1:443",
	  { { GREETING, TEXT("\5\2") } },
	  NULL,
	  "denied: the proxy wants a user and a password" },
	SOCKS("SOCKS 1", "\5\0", "\5\1", "unreachable: the proxy answered: general failure"),
	SOCKS("SOCKS 2", "\5\0", "\5\2\0\1\0\0\0\0\0\0", "denied: the proxy answered: not allowed"),
	SOCKS("SOCKS 3", "\5\0", "\5\3", "unreachable: the proxy answered: network unreachable"),
	SOCKS("SOCKS 4", "\5\0", "\5\4", "unreachable: the proxy answered: host unreachable"),
	SOCKS("SOCKS 5", "\5\0", "\5\5", "refused: the proxy answered: connection refused"),
	SOCKS("SOCKS 6", "\5\0", "\5\6", "timeout: the proxy answered: TTL expired"),
	SOCKS("SOCKS 7", "\5\0", "\5\7", "unsupported: the proxy answered: command not supported"),
	SOCKS("SOCKS 8", "\5\0", "\5\10",
	      "unsupported: the proxy answered: address type not supported"),
	SOCKS("SOCKS 9", "\5\0", "\5\11", "unreachable: the proxy answered code 9"),
	SOCKS("SOCKS, an unknown address", "\5\0", "\5\0\0\2\0\0\0",
	      "internal: what the proxy answered is no SOCKS 5"),
	SOCKS("SOCKS, an answer of SOCKS 4", "\5\0", "\0\132\0\0\0\0\0\0",
	      "internal: what the proxy answered is no SOCKS 5"),
	SOCKS("SOCKS garbage", "HTTP/1.1 400\r\n\r\n", "",
	      "internal: what the proxy answered is no SOCKS 5"),
	SOCKS("SOCKS end", "\5\0", "",
	      "unreachable: the proxy closed the connection before it answered"),
};

/* Nobody answers, or not all. */
static void test_silence(const char *url, struct text ask, struct text part)
{
	const struct talk talk = { .exchanges = { { ask, part } } };
	struct address addr;
	struct upstream upstream;
	struct stage stage;
	int fd[2];

	if (upstream_parse(&upstream, url, NULL) < 0 ||
	    address_parse(&addr, "1.1.1.1:443", NULL) < 0)
		abort();
	stage_open(&stage, &talk, false, fd);
	upstream_open(&stage.loop, &upstream, fd[0], NULL, &addr, 50, done, &stage);
	loop_run(&stage.loop);
	is_int(stage.calls, 1, "%s: told", url);
	ok(stage.result < 0 && stage.err.reason == REASON_TIMEOUT, "%s: time is over", url);
	stage_close(&stage);
	upstream_clear(&upstream);
}

/* One that never ends its head, and one that is gone before anything is said. */
static void test_endless(void)
{
	static uint8_t head[40000];
	const struct talk talk = { .what = "HTTP without end" };
	struct address addr = { .family = AF_INET, .port = 1 };
	struct upstream upstream;
	struct stage stage;
	int fd[2];
	size_t size = 0;

	if (upstream_parse(&upstream, "http://p:1", NULL) < 0)
		abort();
	size += (size_t)sprintf((char *)head, "HTTP/1.1 200 OK\r\n");
	while (size < sizeof(head) - 8) {
		memcpy(head + size, "A: b\r\n", 6);
		size += 6;
	}
	stage_open(&stage, &talk, false, fd);
	watch_stop(&stage.loop, &stage.watch);
	if (send(stage.fd, head, size, 0) != (ssize_t)size)
		abort();
	upstream_open(&stage.loop, &upstream, fd[0], NULL, &addr, 5000, done, &stage);
	loop_run(&stage.loop);
	ok(stage.result < 0 && stage.err.reason == REASON_INTERNAL, "a head without an end");
	stage_close(&stage);
	stage_open(&stage, &talk, false, fd);
	watch_stop(&stage.loop, &stage.watch);
	shutdown(stage.fd, SHUT_RDWR);
	upstream_open(&stage.loop, &upstream, fd[0], NULL, &addr, 5000, done, &stage);
	ok(stage.calls == 0, "a proxy that is gone: told later");
	loop_run(&stage.loop);
	ok(stage.calls == 1 && stage.err.reason == REASON_UNREACHABLE, "and told");
	stage_close(&stage);
	stage_open(&stage, &talk, false, fd);
	watch_stop(&stage.loop, &stage.watch);
	upstream_cancel(
		upstream_open(&stage.loop, &upstream, fd[0], NULL, &addr, 5000, done, &stage));
	stage_close(&stage);
	is_int(stage.calls, 0, "cancelled, nothing is told");
	upstream_clear(&upstream);
}

static void test_urls(void)
{
	static const char *const bad[] = {
		"",
		"p:1",
		"https://p:1",
		"socks4://p:1",
		"http://",
		"http://p",
		"http://p:0",
		"http://p:65536",
		"http://p:1/x",
		"http://:1",
		"http://::1:1",
		"http://[::1:1",
		"http://me@p:1",
		"http://me:@p:1",
		"http://:pw@p:1",
		"http://m%3ae:pw@p:1",
		"http://me:a%00b@p:1",
		"http://me:%4@p:1",
		"http://me:%zz@p:1",
		"http://a b:1",
	};
	struct upstream upstream;
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ok(upstream_parse(&upstream, bad[i], &err) < 0 && err.reason == REASON_INVALID,
		   "not an upstream: %s", bad[i]);
		ok(strstr(err.message, "pw") == NULL, "no password is told");
		upstream_clear(&upstream);
	}
	is_int(upstream_parse(&upstream, "http://us%40er:p@ss%25w%C3%BC@[::1]:8080/", &err), 0,
	       "all there can be");
	is_str(upstream.host, "::1", "the host");
	is_int(upstream.port, 8080, "the port");
	is_str(upstream.credentials, "us@er:p@ss%w\303\274", "the credentials");
	ok(upstream_carries(&upstream, NETWORK_UDP4, &err) < 0 && err.reason == REASON_DENIED,
	   "no datagrams");
	is_int(upstream_carries(&upstream, NETWORK_TCP, &err), 0, "but TCP");
	upstream_clear(&upstream);
	is_int(upstream_parse(&upstream, "socks5://1.1.1.1:1080", &err), 0,
	       "and no more than needed");
	ok(upstream.credentials == NULL && upstream.kind == UPSTREAM_SOCKS, "no credentials");
	upstream_clear(&upstream);
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(talks); i++) {
		run_talk(&talks[i], false);
		run_talk(&talks[i], true);
	}
	test_silence("http://p:1",
		     (struct text)TEXT("CONNECT 1.1.1.1:443 HTTP/1.1\r\n"
				       "Host: 1.1.1.1:443\r\n\r\n"),
		     (struct text)TEXT("HTTP/1.1 200 OK\r\n"));
	test_silence("socks5://p:1", (struct text)GREETING, (struct text)TEXT("\5"));
	test_endless();
	test_urls();
	return done_testing();
}
