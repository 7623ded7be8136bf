/* SPDX-License-Identifier: MIT */
/*
 * pod.portDial over a link: the request, what the client has sent already behind it, and what
 * becomes of both where the dialer is slow, refuses, or goes.
 */
#include "config.h"

#include <errno.h>
#include <sys/socket.h>

#include "link.h"
#include "records.h"
#include "sock.h"
#include "tap.h"
#include "watch.h"

#define REQUEST                                                                                   \
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pod.portDial\",\"params\":{\"handle\":\"w\"," \
	"\"network\":\"tcp\",\"address\":\":80\",\"timeoutMs\":10000,\"framing\":\"%s\"}}\n"
#define ANSWER "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"framing\":\"%s\"}}\n"
#define REFUSAL "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32002,\"message\":\"no\"}}\n"

/* A dialing, and its other side. */
struct side {
	struct loop loop;
	struct loop_task look;
	int dialer, link;
	int client[2]; /* [1]: whose bytes are early ones */
	struct link_early early;
	size_t wait_for; /* bytes to be read before the answer is sent */
	const char *answer;
	char got[2 * EARLY_MAX];
	size_t length;
	/* what the callback brought */
	unsigned calls;
	bool failed, watched;
	struct error err;
	int fd;
};

static char payload[2 * EARLY_MAX];

static void on_dialed(const struct link_dialed *dialed, const struct error *err, void *arg)
{
	struct side *s = arg;

	s->calls++;
	s->failed = err != NULL;
	s->fd = -1;
	if (err != NULL) {
		s->err = *err;
	} else {
		s->fd = dialed->fd;
		s->watched = dialed->watch != NULL;
		if (dialed->watch != NULL)
			watch_stop(&s->loop, dialed->watch);
	}
	loop_stop(&s->loop);
}

/* The dialer reads a little at a time, and answers once it has enough; "" is an end. */
static void dialer_look(void *arg)
{
	struct side *s = arg;
	ssize_t n = recv(s->dialer, s->got + s->length, sizeof(s->got) - s->length, MSG_DONTWAIT);

	s->length += n > 0 ? (size_t)n : 0;
	if (s->answer != NULL && s->length >= s->wait_for) {
		if (*s->answer != '\0' &&
		    send(s->dialer, s->answer, strlen(s->answer), MSG_NOSIGNAL) < 0)
			diag("answer: %s", strerror(errno));
		if (*s->answer == '\0')
			shutdown(s->dialer, SHUT_RDWR);
		s->answer = NULL;
	}
	loop_later(&s->loop, &s->look, 0, dialer_look, s);
}

static void side_init(struct side *s, size_t early, int buffer)
{
	int sv[2];

	*s = (struct side){ .fd = -1 };
	if (loop_init(&s->loop) < 0 || sock_pair(sv) < 0 || sock_pair(s->client) < 0)
		abort();
	s->dialer = sv[0];
	s->link = sv[1];
	if (buffer > 0)
		setsockopt(s->link, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	if (early > 0 && send(s->client[1], payload, early, 0) != (ssize_t)early)
		abort();
	s->early.fd = s->client[0];
}

static void side_dial(struct side *s, enum framing framing, const char *answer, size_t wait_for)
{
	_cleanup_free_ char *endpoint = xasprintf("fd:%d", s->link);
	struct port_dial dial = { .handle = "w",
				  .network = NETWORK_TCP,
				  .address = ":80",
				  .timeout_ms = 10000,
				  .framing = framing };
	struct pod pod = { 0 };
	struct link_options options = {
		.pod = &pod, .name = { "test", 0 }, .early = &s->early, .wants_watch = true
	};

	if (endpoint_parse(&pod.endpoint, endpoint, NULL) < 0)
		abort();
	s->answer = answer;
	s->wait_for = wait_for;
	link_dial(&s->loop, &options, &dial, on_dialed, s);
	is_int(s->calls, 0, "nothing is told before link_dial() has returned");
	loop_later(&s->loop, &s->look, 0, dialer_look, s);
	loop_run(&s->loop);
	is_int(s->calls, 1, "called back once");
}

static void side_clear(struct side *s)
{
	loop_cancel(&s->look);
	if (s->fd >= 0)
		close(s->fd);
	close(s->dialer);
	close(s->link);
	close(s->client[0]);
	close(s->client[1]);
	loop_clear(&s->loop);
}

/* The request and one DATA record of `early` bytes (0: none), and nothing else. */
static void is_request(const struct side *s, enum framing framing, size_t early)
{
	_cleanup_free_ char *want = xasprintf(REQUEST, framing_name(framing));
	size_t length = strlen(want);
	uint8_t header[RECORD_HEADER_SIZE];

	record_put_header(header, RECORD_DATA, (uint32_t)early);
	is_int((long long)s->length, (long long)(length + (early > 0 ? sizeof(header) + early : 0)),
	       "this many bytes");
	ok(s->length >= length && !memcmp(s->got, want, length), "the request");
	is_int(s->early.sent, (long long)early, "early ones are counted");
	if (early == 0 || s->length < length + sizeof(header) + early)
		return;
	ok(!memcmp(s->got + length, header, sizeof(header)), "a record's header");
	ok(!memcmp(s->got + length + sizeof(header), payload, early), "and what the client sent");
}

/* What the client has left to be read, once the early ones were. */
static void is_left(struct side *s, size_t from, size_t size)
{
	char rest[sizeof(payload)];
	ssize_t n = recv(s->client[0], rest, sizeof(rest), MSG_DONTWAIT);

	is_int(n, size > 0 ? (long long)size : -1, "what is left for the relay");
	ok(n < 0 || !memcmp(rest, payload + from, (size_t)n), "follows in order");
}

static void test_early(void)
{
	static const struct {
		size_t sent, early;
		int buffer; /* of the link; 0: the system's */
		enum framing framing;
	} cases[] = {
		{ 0, 0, 0, FRAMING_RECORDS },
		{ 1, 1, 0, FRAMING_RECORDS },
		{ EARLY_MAX, EARLY_MAX, 0, FRAMING_RECORDS },
		{ EARLY_MAX + 100, EARLY_MAX, 0, FRAMING_RECORDS },
		{ EARLY_MAX + 100, EARLY_MAX, 1, FRAMING_RECORDS },
		{ 100, 0, 0, FRAMING_RAW },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *answer = xasprintf(ANSWER, framing_name(cases[i].framing));
		_cleanup_free_ char *request = xasprintf(REQUEST, framing_name(cases[i].framing));
		struct side s;

		diag("%zu bytes are there", cases[i].sent);
		side_init(&s, cases[i].sent, cases[i].buffer);
		side_dial(&s, cases[i].framing, answer,
			  strlen(request) +
				  (cases[i].early > 0 ? RECORD_HEADER_SIZE + cases[i].early : 0));
		ok(!s.failed && s.fd >= 0 && s.watched, "dialed");
		is_request(&s, cases[i].framing, cases[i].early);
		is_left(&s, cases[i].early, cases[i].sent - cases[i].early);
		side_clear(&s);
	}
}

/* The answer is heard although not all was taken, or read. */
static void test_refused(void)
{
	static const int buffers[] = { 0, 1 };
	struct side s;

	for (size_t i = 0; i < ARRAY_SIZE(buffers); i++) {
		side_init(&s, EARLY_MAX, buffers[i]);
		side_dial(&s, FRAMING_RECORDS, REFUSAL, 1);
		ok(s.failed, "refused with early bytes under way");
		is_str(s.err.message, "no", "for this reason");
		ok(s.err.answered, "which is the dialer's");
		is_left(&s, 0, EARLY_MAX);
		side_clear(&s);
	}
	side_init(&s, EARLY_MAX, 1);
	side_dial(&s, FRAMING_RECORDS, "", 1);
	ok(s.failed, "a link that ends while it is written to");
	is_str(reason_name(s.err.reason), "unreachable", "its reason");
	ok(!s.err.answered && s.early.sent > 0, "that is no answer, and some had gone out");
	is_left(&s, 0, EARLY_MAX);
	side_clear(&s);
}

/* An end and a reset of the client are nothing that is sent, and are still there for others. */
static void test_client_gone(void)
{
	_cleanup_free_ char *answer = xasprintf(ANSWER, "records");
	struct side s;
	char byte;

	side_init(&s, 3, 0);
	shutdown(s.client[1], SHUT_WR);
	side_dial(&s, FRAMING_RECORDS, answer, 1);
	is_request(&s, FRAMING_RECORDS, 3);
	is_int(recv(s.client[0], &byte, 1, MSG_DONTWAIT), 0, "the end is left for the relay");
	side_clear(&s);
}

int main(void)
{
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (char)(i * 7 + i / 256);
	test_early();
	test_refused();
	test_client_gone();
	return done_testing();
}
