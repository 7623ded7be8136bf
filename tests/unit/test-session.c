/* SPDX-License-Identifier: MIT */
/* A session that is parked: handed over with a last line, and ended by a peer that goes. The rest of it is the end-to-end tests'. */
#include "config.h"

#include <string.h>
#include <sys/socket.h>

#include "lib/session.h"
#include "lib/sock.h"
#include "tests/tap.h"

#define REQUEST "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pod.portAccept\",\"params\":{}}\n"

struct test {
	struct loop loop;
	struct session session;
	int peer;
	bool at_once; /* hand it over from within parked() */
	unsigned parked, closed, freed;
	int handed_over; /* its descriptor, or -1 */
	struct loop_task ending;
};

static struct test *test_of(struct session *session)
{
	return container_of(session, struct test, session);
}

static void on_request(struct session *session)
{
	session_answer(session, xstrdup("parked\n"), SESSION_PARK);
}

static void on_parked(struct session *session)
{
	struct test *t = test_of(session);

	t->parked++;
	if (t->at_once)
		session_hand_over(session, xstrdup("accepted\n"));
}

static void on_handed_over(struct session *session)
{
	struct test *t = test_of(session);

	watch_stop(session->loop, &session->read_watch);
	t->handed_over = session->rfd;
}

static void on_closed(struct session *session)
{
	test_of(session)->closed++;
}

static void on_freed(struct session *session)
{
	test_of(session)->freed++;
}

static const struct session_ops ops = { .label = "link",
					.requests_max = 16,
					.request = on_request,
					.parked = on_parked,
					.handed_over = on_handed_over,
					.closed = on_closed,
					.freed = on_freed };

static void test_start(struct test *t, bool at_once)
{
	int pair[2];

	memset(t, 0, sizeof(*t));
	t->at_once = at_once;
	t->handed_over = -1;
	if (loop_init(&t->loop) < 0 || sock_pair(pair) < 0)
		abort();
	t->peer = pair[1];
	session_start(&t->session, &ops, &t->loop, 1, pair[0], pair[0]);
}

static void stop(void *arg)
{
	loop_stop(arg);
}

/* Lets it do what there is to do. */
static void settle(struct test *t)
{
	for (int i = 0; i < 5; i++) {
		loop_later(&t->loop, &t->ending, 1, stop, &t->loop);
		loop_run(&t->loop);
	}
}

static void say(struct test *t, const char *text)
{
	if (send(t->peer, text, strlen(text), MSG_NOSIGNAL) < 0)
		abort();
	settle(t);
}

/* What the peer has been told, all of it. */
static const char *told(int fd)
{
	static char text[200];
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void test_end(struct test *t)
{
	if (t->handed_over >= 0)
		close(t->handed_over);
	if (t->peer >= 0)
		close(t->peer);
	settle(t);
	is_int(t->freed, 1, "freed in the end");
	loop_clear(&t->loop);
}

static void test_hand_over(bool at_once)
{
	const char *name = at_once ? "at once" : "later";
	struct test t;

	test_start(&t, at_once);
	say(&t, REQUEST "early");
	is_int(t.parked, 1, "%s: parked", name);
	if (!at_once) {
		is_str(told(t.peer), "parked\n", "%s: answered", name);
		is_int(t.closed, 0, "%s: and it waits", name);
		session_hand_over(&t.session, xstrdup("accepted\n"));
		is_str(told(t.peer), "accepted\n", "%s: told", name);
	} else {
		is_str(told(t.peer), "parked\naccepted\n", "%s: told both", name);
	}
	ok(t.handed_over >= 0, "%s: handed over", name);
	is_int(t.closed, 1, "%s: and done", name);
	is_str(told(t.handed_over), "early", "%s: what came meanwhile is the stream's", name);
	test_end(&t);
}

static void test_gone(int how, const char *name)
{
	struct test t;

	test_start(&t, false);
	say(&t, REQUEST);
	is_int(t.parked, 1, "%s: parked", name);
	if (how < 0)
		close(steal_fd(&t.peer));
	else
		shutdown(t.peer, how);
	settle(&t);
	is_int(t.closed, 1, "%s: it has ended", name);
	is_int(t.handed_over, -1, "%s: by itself", name);
	test_end(&t);
}

/* A peer that does not read what it is told. */
static void test_full(void)
{
	_cleanup_free_ char *bytes = xcalloc(1, 100000);
	struct test t;

	test_start(&t, false);
	say(&t, REQUEST);
	while (send(t.session.wfd, bytes, 100000, MSG_DONTWAIT) > 0)
		;
	session_hand_over(&t.session, xstrdup("accepted\n"));
	is_int(t.handed_over, -1, "nobody reads: not handed over");
	while (recv(t.peer, bytes, 100000, MSG_DONTWAIT) > 0)
		;
	settle(&t);
	ok(t.handed_over >= 0, "it is read: handed over");
	is_str(told(t.peer), "accepted\n", "it is read: told");
	test_end(&t);

	test_start(&t, false);
	say(&t, REQUEST);
	while (send(t.session.wfd, bytes, 100000, MSG_DONTWAIT) > 0)
		;
	session_hand_over(&t.session, xstrdup("accepted\n"));
	close(steal_fd(&t.peer));
	settle(&t);
	is_int(t.closed, 1, "it goes without having read: ended");
	is_int(t.handed_over, -1, "it goes without having read: not handed over");
	test_end(&t);
}

int main(void)
{
	test_hand_over(false);
	test_hand_over(true);
	test_gone(-1, "the peer closes");
	test_gone(SHUT_WR, "the peer ends its direction");
	test_full();
	return done_testing();
}
