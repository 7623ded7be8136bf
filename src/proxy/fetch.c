/* SPDX-License-Identifier: MIT */
/*
 * One HTTP request and its answer.
 *
 * DOC: Theory of Operation
 *
 * A client of an HTTP proxy may send its next request, to any host, on the same connection. Here it can't: of what
 * it sends, the request and its body are passed on and no byte more, and the answer says that the connection ends
 * with it, to the target and to the client. So a pod never sees what was meant for another one.
 *
 * The target's connection (connection.h) gets one end of a pair of sockets. Between the other end, `far`, and the
 * client, `near`, go the bytes, by bufferevents: this is for pages and tools, while bulk has CONNECT and SOCKS.
 *
 *	near -> far   the new head; then the body, as far as it goes; then nothing, but for the client's end
 *	far -> near   the heads of interim answers as they are; that of the answer, changed; then all that comes
 *
 * When far has ended and near has taken all of it, near is shut down and far is closed, which ends the connection; it
 * is waited for (not for long), since its route is in the client. When that is over too, the client drains.
 *
 * A connection that did not end in order becomes a reset of near, which throws away what its kernel still
 * holds: it waits until the client has all that came before, for 5 s at most.
 */
#include "config.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <poll.h>
#include <string.h>

#include "fetch.h"
#include "forward-http.h"

#define QUEUE_MAX (256u * 1024) /* of what a side has not taken; then the other is not read */
#define ANSWER_HEAD_MAX (64u * 1024)
#define LINGER_MS 1000
#define RESET_MS 5000

struct fetch {
	struct client *client;
	struct bufferevent *near, *far; /* far: NULL when all of it was passed on */
	struct http_body body;
	bool near_ended;  /* the client has no more to say: far is told once it has the rest */
	bool answered;    /* the head of the answer was passed on */
	bool far_ended;   /* there is no more to come than what near still has to take */
	bool over;        /* the connection is gone, … */
	bool broken;      /* … or will be, and not in order */
	int64_t reset_by; /* now_ms() at which near is reset, whatever it still has to take */
};

static size_t queued(struct bufferevent *bev)
{
	return evbuffer_get_length(bufferevent_get_output(bev));
}

void fetch_release(struct fetch *f)
{
	struct client *c = f->client;

	c->fd = bufferevent_getfd(f->near);
	bufferevent_free(f->near);
	if (f->far != NULL)
		bufferevent_free(f->far);
	c->fetch = NULL;
	free(f);
}

static void fetch_finish(struct fetch *f)
{
	struct client *c = f->client;
	bool broken = f->broken;

	fetch_release(f);
	if (broken)
		client_reset(c);
	else
		client_drain(c);
}

static void fetch_linger(void *arg)
{
	struct fetch *f = arg;

	connections_abort(&f->client->aim.route);
}

/* The peer has closed its end, and not only shut it down; if it is the connection's, how it went will be told. */
static bool is_hung_up(struct bufferevent *bev)
{
	struct pollfd pfd = { .fd = bufferevent_getfd(bev) };

	return poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLHUP);
}

/* Until the client has all of it, or is gone; closing is a reset, and loses what the kernel holds. */
static void fetch_reset(void *arg)
{
	struct fetch *f = arg;
	bool taken = f->far == NULL &&
		     (sock_unsent(bufferevent_getfd(f->near)) == 0 || is_hung_up(f->near));

	if (taken || now_ms() >= f->reset_by)
		fetch_finish(f);
	else
		loop_later(client_loop(f->client), &f->client->task, LOOP_SWEEP_MS, fetch_reset, f);
}

/* Near has all that there was. */
static void near_done(struct fetch *f)
{
	if (!f->over && is_hung_up(f->far))
		return;
	bufferevent_disable(f->near, EV_READ | EV_WRITE);
	if (!f->broken)
		shutdown(bufferevent_getfd(f->near), SHUT_WR);
	bufferevent_free(f->far);
	f->far = NULL;
	if (!f->over)
		loop_later(client_loop(f->client), &f->client->task, LINGER_MS, fetch_linger, f);
	else if (f->broken)
		fetch_reset(f);
	else
		fetch_finish(f);
}

void fetch_over(struct fetch *f, const struct relay_result *result)
{
	f->over = true;
	if (f->broken || f->far == NULL) {
		/* It was ended here; or the client has all of the answer, and how it goes on is no matter to it. */
		fetch_finish(f);
		return;
	}
	f->broken = result->outcome != RELAY_EOF;
	if (f->broken) {
		f->reset_by = now_ms() + RESET_MS;
		loop_later(client_loop(f->client), &f->client->task, LOOP_SWEEP_MS, fetch_reset, f);
	}
	if (f->far_ended && queued(f->near) == 0)
		near_done(f);
}

void fetch_abort(struct fetch *f)
{
	f->broken = true;
	bufferevent_disable(f->near, EV_READ | EV_WRITE);
	if (f->far != NULL)
		bufferevent_disable(f->far, EV_READ | EV_WRITE);
	/* The end of the connection comes back to fetch_over() or fetch_release(), maybe from here. */
	if (f->over)
		fetch_finish(f);
	else
		connections_abort(&f->client->aim.route);
}

static void near_read(struct bufferevent *near, void *arg)
{
	struct fetch *f = arg;
	struct evbuffer *in = bufferevent_get_input(near);
	size_t size;

	if (f->far == NULL)
		return;
	while (f->body.state != HTTP_BODY_DONE && (size = evbuffer_get_contiguous_space(in)) > 0) {
		ssize_t n = http_body_feed(&f->body, (char *)evbuffer_pullup(in, (ev_ssize_t)size),
					   size);

		if (n < 0) {
			fetch_abort(f);
			return;
		}
		evbuffer_remove_buffer(in, bufferevent_get_output(f->far), (size_t)n);
	}
	if (queued(f->far) >= QUEUE_MAX)
		bufferevent_disable(near, EV_READ);
}

/* Far has taken all. */
static void far_written(struct bufferevent *far, void *arg)
{
	struct fetch *f = arg;

	if (f->near_ended)
		shutdown(bufferevent_getfd(far), SHUT_WR);
	else
		bufferevent_enable(f->near, EV_READ);
}

static void near_event(struct bufferevent *near, short what, void *arg)
{
	struct fetch *f = arg;

	(void)near;
	if (!(what & BEV_EVENT_EOF)) {
		fetch_abort(f);
		return;
	}
	f->near_ended = true;
	if (f->far != NULL && queued(f->far) == 0)
		far_written(f->far, f);
}

/* Passes heads on, up to and with that of the answer; true if the rest is as it comes. */
static bool pass_heads(struct fetch *f, struct evbuffer *in, struct evbuffer *out)
{
	while (!f->answered) {
		size_t have = evbuffer_get_length(in), size, new_size;
		const char *data = (char *)evbuffer_pullup(in, -1);
		_cleanup_free_ char *head = NULL;
		unsigned status;

		size = have > 0 ? http_head_size(data, have, 0) : 0;
		/* What is no answer, or has no end, has nothing in it to be changed. */
		if (size == 0 && have < ANSWER_HEAD_MAX && !f->far_ended)
			return false;
		status = size > 0 ? http_status_of(data, size) : 0;
		f->answered = status < 100 || status >= 200;
		if (status == 0)
			return true;
		if (f->answered)
			head = http_answer_forward(data, size, &new_size);
		if (head != NULL)
			evbuffer_add(out, head, new_size);
		else
			evbuffer_add(out, data, size);
		evbuffer_drain(in, size);
	}
	return true;
}

static void far_read(struct bufferevent *far, void *arg)
{
	struct fetch *f = arg;
	struct evbuffer *in = bufferevent_get_input(far);
	struct evbuffer *out = bufferevent_get_output(f->near);

	if (pass_heads(f, in, out))
		evbuffer_add_buffer(out, in);
	if (queued(f->near) >= QUEUE_MAX)
		bufferevent_disable(far, EV_READ);
}

/* Near has taken all. */
static void near_written(struct bufferevent *near, void *arg)
{
	struct fetch *f = arg;

	(void)near;
	if (f->far == NULL)
		return;
	if (f->far_ended)
		near_done(f);
	else
		bufferevent_enable(f->far, EV_READ);
}

static void far_event(struct bufferevent *far, short what, void *arg)
{
	struct fetch *f = arg;

	/* It does not read any more: then nothing more goes there, but its answer may be on its way. */
	if (what & BEV_EVENT_WRITING)
		return;
	f->far_ended = true;
	far_read(far, f);
	if (queued(f->near) == 0)
		near_done(f);
}

static struct bufferevent *make_side(struct fetch *f, int fd, int options, bufferevent_data_cb read,
				     bufferevent_data_cb written, bufferevent_event_cb event)
{
	struct bufferevent *bev =
		xcheck(bufferevent_socket_new(client_loop(f->client)->base, fd, options));

	bufferevent_setcb(bev, read, written, event, f);
	/* What is not taken from its input keeps more from being read. */
	bufferevent_setwatermark(bev, EV_READ, 0, QUEUE_MAX);
	return bev;
}

/* The socket is fresh, and the head goes along with the dial if it is there by then. */
static void send_head(struct fetch *f, const char *head)
{
	size_t size = strlen(head);
	ssize_t n = send(bufferevent_getfd(f->far), head, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		n = 0;
	bufferevent_write(f->far, head + n, size - (size_t)n);
}

void fetch_start(struct client *c, const struct http_request *request)
{
	struct http_body body;
	struct error err;
	_cleanup_free_ char *head = http_forward(request, &body, &err);
	struct fetch *f;
	int sv[2], rc;

	if (head == NULL) {
		client_answer_error(c, &err);
		return;
	}
	if (!client_aim(c, request->host, request->port))
		return;
	rc = sock_pair(sv);
	if (rc < 0) {
		error_set(&err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
		client_answer_error(c, &err);
		return;
	}
	f = xcalloc(1, sizeof(*f));
	f->client = c;
	f->body = body;
	f->near = make_side(f, steal_fd(&c->fd), 0, near_read, near_written, near_event);
	f->far = make_side(f, sv[0], BEV_OPT_CLOSE_ON_FREE, far_read, far_written, far_event);
	c->fetch = f;
	send_head(f, head);
	bufferevent_enable(f->near, EV_READ | EV_WRITE);
	bufferevent_enable(f->far, EV_READ | EV_WRITE);
	client_connect(c, sv[1], bufferevent_getfd(f->near));
}
