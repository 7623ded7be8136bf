/* SPDX-License-Identifier: MIT */
/*
 * One client, from its first byte to the end of its connection.
 *
 * DOC: Theory of Operation
 *
 * States:
 *
 *	peeking    the first byte tells SOCKS from HTTP
 *	greeting, auth, request
 *	           a SOCKS message is awaited
 *	head       the head of an HTTP request is awaited
 *	target     the connection has the client's socket: it is dialed for, or relayed; or a fetch has it (fetch.c)
 *	associated datagrams go by a socket of their own for as long as this one is open (associate.c)
 *	answering  a last answer goes out
 *	draining   it is out; what still comes in is thrown away
 *	closed     waits for the loop to free it
 *
 * Whatever is awaited is read byte-exactly, since the stream may follow at once: SOCKS messages say how long they are,
 * of an HTTP head only so much is taken as belongs to it. So in the state target it is the socket itself that the
 * connection gets (connection.h), with all that the client has sent ahead still in it. That tells once
 * the target is connected, and the reply is written then, before any byte of the target; a fresh socket has room for
 * it. If there is no target, the socket comes back for an answer that says why.
 *
 * A client has 10 s altogether to say what it wants. Those that haven't yet are limited in number beside all
 * connections, and the oldest of them goes when another one comes. While all connections are taken the oldest has
 * only 1 s, so that the next one has its place then: a crowd that says nothing keeps nobody out for long, and
 * who comes in a burst can still say what it wants.
 *
 * Closing with unread bytes would be a reset, which can overtake the answer on its way; hence draining.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "associate.h"
#include "fetch.h"
#include "own.h"

#define ASKING_MS 10000
#define ASKING_FULL_MS 1000
#define ANSWERING_MS 5000
#define DRAINING_MS 1000
#define DRAIN_MAX (1024u * 1024)

static const char *const state_names[] = { "peeking",  "greeting", "auth",       "request",
					   "head",     "target",   "associated", "answering",
					   "draining", "closed" };
static_assert(ARRAY_SIZE(state_names) == CLIENT_STATE_COUNT, "a name for each state");

static bool is_asking(enum client_state state)
{
	return state < CLIENT_TARGET;
}

static void client_deadline(void *arg);

/* Each that has yet to ask holds a connection: if none is left, the oldest has not long any more. */
static void hurry_oldest(struct proxy *proxy)
{
	const struct accept_limit *limit = proxy->config.limit;
	struct client *c = TAILQ_FIRST(&proxy->asking);

	if (c != NULL && limit->count >= limit->max)
		loop_later(client_loop(c), &c->task, c->since + ASKING_FULL_MS - now_ms(),
			   client_deadline, c);
}

void client_set_state(struct client *c, enum client_state state)
{
	static const unsigned from[] = {
		[CLIENT_GREETING] = 1u << CLIENT_PEEKING,
		[CLIENT_AUTH] = 1u << CLIENT_GREETING,
		[CLIENT_REQUEST] = 1u << CLIENT_GREETING | 1u << CLIENT_AUTH,
		[CLIENT_HEAD] = 1u << CLIENT_PEEKING,
		[CLIENT_TARGET] = 1u << CLIENT_REQUEST | 1u << CLIENT_HEAD,
		[CLIENT_ASSOCIATED] = 1u << CLIENT_REQUEST,
		[CLIENT_ANSWERING] = (1u << CLIENT_ANSWERING) - 1,
		[CLIENT_DRAINING] = 1u << CLIENT_TARGET | 1u << CLIENT_ANSWERING,
		[CLIENT_CLOSED] = (1u << CLIENT_CLOSED) - 1,
	};
	struct log_name name = client_name(c);
	struct proxy *proxy = c->proxy;

	assert(from[state] & 1u << c->state);
	log_debug(&name, "%s -> %s", state_names[c->state], state_names[state]);
	if (is_asking(c->state) && !is_asking(state)) {
		TAILQ_REMOVE(&proxy->asking, c, next);
		proxy->asking_count--;
		TAILQ_INSERT_TAIL(&proxy->others, c, next);
		if (state != CLIENT_CLOSED) /* its connection stays taken */
			hurry_oldest(proxy);
	}
	c->state = state;
}

static void client_free(void *arg)
{
	struct client *c = arg;
	struct proxy *proxy = c->proxy;

	TAILQ_REMOVE(&proxy->others, c, next);
	aim_clear(&c->aim);
	free(c->in);
	free(c->out);
	free(c);
	accept_limit_release(proxy->config.limit);
	proxy->config.gone(proxy->config.arg);
}

void client_close(struct client *c)
{
	client_set_state(c, CLIENT_CLOSED);
	watch_stop(client_loop(c), &c->watch);
	if (c->associate != NULL)
		associate_end(c->associate);
	if (c->fd >= 0)
		close(steal_fd(&c->fd));
	loop_later(client_loop(c), &c->task, 0, client_free, c);
}

void client_reset(struct client *c)
{
	sock_close_reset(steal_fd(&c->fd));
	client_close(c);
}

void client_abort(struct client *c)
{
	if (c->fetch != NULL)
		fetch_abort(c->fetch);
	else if (c->state == CLIENT_TARGET)
		connections_abort(&c->aim.route);
	else if (c->state != CLIENT_CLOSED)
		client_close(c);
}

/* Takes `answer` (fresh memory) over; the connection ends with it. */
static void client_answer(struct client *c, char *answer, size_t size)
{
	free(c->out);
	c->out = answer;
	c->out_size = size;
	c->out_sent = 0;
	client_set_state(c, CLIENT_ANSWERING);
	loop_later(client_loop(c), &c->task, ANSWERING_MS, client_deadline, c);
}

void client_answer_bytes(struct client *c, const void *bytes, size_t size)
{
	client_answer(c, memcpy(xmalloc(size), bytes, size), size);
}

void client_answer_text(struct client *c, char *text)
{
	client_answer(c, text, strlen(text));
}

static void client_deadline(void *arg)
{
	struct client *c = arg;
	struct log_name name = client_name(c);

	log_debug(&name, "out of time");
	if (c->state == CLIENT_HEAD) {
		client_answer_text(c, own_error(408, "", "the request did not come in time"));
		client_step(c);
	} else {
		client_close(c);
	}
}

/* The result of recv(2) or send(2): true if something was done; false: to be waited for, or it is closed. */
bool client_moved(struct client *c, ssize_t n)
{
	struct log_name name = client_name(c);

	if (n > 0)
		return true;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	log_debug(&name, "%s", n == 0 ? "ended" : errno_text(errno));
	client_close(c);
	return false;
}

static void drain(struct client *c)
{
	client_set_state(c, CLIENT_DRAINING);
	loop_later(client_loop(c), &c->task, DRAINING_MS, client_deadline, c);
}

void client_drain(struct client *c)
{
	drain(c);
	client_step(c);
}

static bool step_answering(struct client *c)
{
	ssize_t n = send(c->fd, c->out + c->out_sent, c->out_size - c->out_sent,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (!client_moved(c, n))
		return false;
	c->out_sent += (size_t)n;
	if (c->out_sent < c->out_size)
		return true;
	if (shutdown(c->fd, SHUT_WR) < 0) {
		client_close(c);
		return false;
	}
	drain(c);
	return true;
}

static bool step_draining(struct client *c)
{
	ssize_t n = recv(c->fd, client_loop(c)->scratch, LOOP_SCRATCH_SIZE, MSG_DONTWAIT);

	if (!client_moved(c, n))
		return false;
	c->drained += (size_t)n;
	if (c->drained > DRAIN_MAX)
		client_close(c);
	return true;
}

/* Whatever comes ends it, as its end does: there is nothing to be said any more. */
static bool step_associated(struct client *c)
{
	char byte;

	if (client_moved(c, recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT)))
		client_close(c);
	return false;
}

static bool step_none(struct client *c)
{
	(void)c;
	return false;
}

static void client_event(struct watch *watch, unsigned ready)
{
	(void)ready;
	client_step(container_of(watch, struct client, watch));
}

/* As many steps as there can be made; then it waits, for what it was not watched before. */
void client_step(struct client *c)
{
	static bool (*const steps[])(struct client *) = {
		[CLIENT_PEEKING] = client_peek,        [CLIENT_GREETING] = client_greet,
		[CLIENT_AUTH] = client_authenticate,   [CLIENT_REQUEST] = client_request,
		[CLIENT_HEAD] = client_head,           [CLIENT_TARGET] = step_none,
		[CLIENT_ASSOCIATED] = step_associated, [CLIENT_ANSWERING] = step_answering,
		[CLIENT_DRAINING] = step_draining,     [CLIENT_CLOSED] = step_none,
	};

	while (steps[c->state](c))
		;
	if (c->fd >= 0 && c->watch.cb == NULL &&
	    watch_start(client_loop(c), &c->watch, c->fd, WATCH_READ | WATCH_WRITE, client_event) <
		    0)
		client_close(c);
}

void client_accepted(int fd, const struct sockaddr_storage *peer, void *arg)
{
	struct proxy *proxy = arg;
	struct client *c = xcalloc(1, sizeof(*c));

	if (peer->ss_family != AF_UNIX)
		sock_tune_accepted(fd);
	if (proxy->asking_count == CLIENTS_ASKING_MAX)
		client_close(TAILQ_FIRST(&proxy->asking));
	c->proxy = proxy;
	c->id = ++*proxy->config.last_id;
	c->since = now_ms();
	c->fd = fd;
	TAILQ_INSERT_TAIL(&proxy->asking, c, next);
	proxy->asking_count++;
	loop_later(client_loop(c), &c->task, ASKING_MS, client_deadline, c);
	hurry_oldest(proxy);
	client_step(c);
}
