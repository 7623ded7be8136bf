/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <poll.h>

#include "child.h"
#include "connection.h"
#include "sock.h"
#include "watch.h"

/* What a connection needs until it is a relay. */
struct pending {
	struct connection *connection;
	struct watch watch; /* has the client gone? */
	struct dialing *
		dialing; /* NULL: it waits for the pod; or could not be begun, which is told from the loop: */
	struct loop_task failed;
	struct error *err;
	struct retry_waiter waiter;
	int64_t until; /* now_ms(): so long may it wait */
};

struct connection {
	TAILQ_ENTRY(connection) next;
	struct route *route;
	uint64_t id;
	struct link_early
		client; /* relayed: its fd is the relay's, to be looked at, and may be closed by now */
	union {
		struct pending *pending; /* NULL: it is being freed */
		struct relay *relay;
	};
	struct event_client *who; /* NULL without --events */
	struct capture_stream *captured;
	pid_t child;
	bool relayed;
};

static struct log_name connection_name(const struct connection *c)
{
	return (struct log_name){ c->route->label, c->id };
}

static void connection_settle(struct connection *c)
{
	struct pending *pending = c->pending;

	if (c->relayed || pending == NULL)
		return;
	c->pending = NULL;
	watch_stop(c->route->loop, &pending->watch);
	link_dial_cancel(pending->dialing);
	retry_leave(&pending->waiter);
	loop_cancel(&pending->failed);
	free(pending->err);
	free(pending);
}

/* Frees it and tells of it: the event's type, and what comes with that, is the caller's. */
static void connection_end(struct connection *c, struct connection_event *event)
{
	struct route *route = c->route;
	int client = c->relayed ? -1 : c->client.fd;

	event->id = c->id;
	event->client = &client;
	TAILQ_REMOVE(&route->connections, c, next);
	route->traffic.open--;
	connection_settle(c);
	child_end(route->loop, c->child);
	free(c->who);
	capture_stream_free(c->captured);
	free(c);
	route->event(event, route->arg);
	if (client >= 0)
		sock_close_reset(client);
}

static const struct sockaddr_storage *connection_client(const struct connection *c,
							struct sockaddr_storage *ss)
{
	socklen_t len = sizeof(*ss);

	return getpeername(c->client.fd, (struct sockaddr *)ss, &len) == 0 ? ss : NULL;
}

/* Begins to tell of the stream in the file of --capture. */
static struct tap *connection_capture(struct connection *c, const char *target)
{
	struct capture *capture = c->route->capture;
	struct sockaddr_storage ss;

	if (capture != NULL)
		c->captured = capture_stream_new(capture, CAPTURE_TCP, connection_client(c, &ss),
						 target, c->id);
	return capture_stream_tap(c->captured);
}

static void connection_fail(struct connection *c, const struct error *err)
{
	struct connection_event event = { .type = CONNECTION_FAILED, .err = err };
	struct log_name name = connection_name(c);
	struct sockaddr_storage ss;

	/*
	 * A client that does not wait is nothing to complain about, nor is being told to stop; of a pod that
	 * is lost was told.
	 */
	if (err->reason == REASON_BROKEN || (c->route->retry != NULL && retry_is_loss(err)))
		log_debug(&name, "%s", err->message);
	else
		log_error(&name, "%s", err->message);
	event_failed(&c->route->source, c->id, c->who, err);
	if (c->route->capture != NULL && c->client.fd >= 0)
		capture_refused(c->route->capture, connection_client(c, &ss), c->route->address,
				c->id);
	c->route->traffic.failed[err->reason]++;
	connection_end(c, &event);
}

static void connection_relayed(const struct relay_result *result, void *arg)
{
	struct connection *c = arg;
	struct log_name name = connection_name(c);
	struct relay_result all = *result;
	struct connection_event event = { .type = CONNECTION_CLOSED, .result = &all };

	all.bytes_out += c->client.sent;
	/* A VM that goes cuts all of them: one line will do. If nobody ever waits, nobody need know. */
	if (all.outcome == RELAY_CUT && (c->route->retry_ms == 0 || retry_doubt(c->route->retry)))
		log_error(&name, "%s", all.err.message);
	else
		log_debug(&name, "closed: %s, %llu bytes in, %llu out",
			  relay_outcome_name(all.outcome), (unsigned long long)all.bytes_in,
			  (unsigned long long)all.bytes_out);
	event_closed(&c->route->source, c->id, c->who, &all);
	c->route->traffic.bytes_in += all.bytes_in;
	c->route->traffic.bytes_out += all.bytes_out;
	connection_end(c, &event);
}

bool route_learn(struct route *route, const struct error *err)
{
	if (route->retry == NULL)
		return false;
	if (err != NULL && retry_is_loss(err)) {
		retry_lost(route->retry, err);
		return true;
	}
	if (err == NULL || err->answered)
		retry_found(route->retry);
	return false;
}

/*
 * There is no target to be had for now. Where that is for want of the pod, the client waits; but not if
 * its early bytes have gone out and nobody answered: they may have reached the target, and must not do so twice.
 */
static void connection_undialed(struct connection *c, const struct error *err)
{
	struct pending *pending = c->pending;
	bool unsure = c->client.sent > 0 && !err->answered;

	c->client.sent = 0;
	if (!route_learn(c->route, err) || unsure ||
	    !retry_wait(c->route->retry, &pending->waiter, pending->until))
		connection_fail(c, err);
}

static void connection_dialed(const struct link_dialed *dialed, const struct error *err, void *arg)
{
	struct connection *c = arg;
	struct pending *pending = c->pending;
	struct log_name name = connection_name(c);
	struct connection_event opened = { .type = CONNECTION_OPENED,
					   .id = c->id,
					   .client = &c->client.fd };
	struct relay_config config;
	struct relay *relay;
	struct error gone;

	pending->dialing = NULL;
	if (err != NULL) {
		connection_undialed(c, err);
		return;
	}
	route_learn(c->route, NULL);
	c->child = dialed->child;
	opened.dialed = dialed->result;
	c->route->event(&opened, c->route->arg);
	if (c->client.fd < 0) {
		if (dialed->watch != NULL)
			watch_stop(c->route->loop, dialed->watch);
		sock_close_reset(dialed->fd);
		error_set(&gone, REASON_BROKEN, ECONNRESET, "the client is gone");
		connection_fail(c, &gone);
		return;
	}
	config = (struct relay_config){
		.end = { { .rfd = c->client.fd,
			   .wfd = c->client.fd,
			   .framing = FRAMING_RAW,
			   .socket = true,
			   .watch = &pending->watch },
			 { .rfd = dialed->fd,
			   .wfd = dialed->fd,
			   .framing = dialed->result->framing,
			   .socket = true,
			   .watch = dialed->watch } },
		/* A command gets the time to pass on what it was given. */
		.flags = dialed->child != 0 ? RELAY_CONFIRM | RELAY_COMMAND : 0,
		.tap = connection_capture(c, dialed->result->remote),
		.name = name,
		.done = connection_relayed,
		.arg = c,
	};
	relay = relay_new(c->route->loop, &config);
	connection_settle(c);
	c->relay = relay;
	c->relayed = true;
	event_opened(&c->route->source, c->id, c->who);
}

/*
 * A client that was reset, or has closed altogether, needs no target any more. A Unix client that
 * has closed may have sent all that it had to say: that is still delivered.
 */
static void connection_watch(struct watch *watch, unsigned ready)
{
	struct connection *c = container_of(watch, struct pending, watch)->connection;
	struct pollfd pfd = { .fd = c->client.fd };
	struct error err;
	char byte;

	if (!(ready & WATCH_HANGUP) || poll(&pfd, 1, 0) != 1 ||
	    !(pfd.revents & (POLLERR | POLLHUP)))
		return;
	if (!(pfd.revents & POLLERR) && recv(c->client.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
		return;
	error_set(&err, REASON_BROKEN, ECONNRESET, "the client is gone");
	connection_fail(c, &err);
}

static void connection_failed(void *arg)
{
	struct connection *c = arg;
	struct error err = *c->pending->err;

	connection_undialed(c, &err);
}

struct dialing *route_dial(struct route *route, struct link_options *options, link_dialed_cb cb,
			   void *arg, struct error *err)
{
	struct dialing *dialing;
	struct pod pod;
	struct port_dial dial = {
		.container_id = route->container_id,
		.network = route->network,
		.address = route->address,
		.timeout_ms = route->timeout_ms,
		.framing = FRAMING_RECORDS,
	};

	if (pods_resolve(route->pods_dir, route->pod_arg, &pod, err) < 0)
		return NULL;
	/* A command takes anything, also where there is no dialer behind it: see connection_undialed(). */
	if (pod.endpoint.type == ENDPOINT_EXEC)
		options->early = NULL;
	dial.handle = route->handle != NULL ? route->handle : pod.handle;
	options->pod = &pod;
	options->policy = route->policy;
	dialing = link_dial(route->loop, options, &dial, cb, arg);
	pod_clear(&pod);
	return dialing;
}

static int connection_dial(struct connection *c, struct error *err)
{
	struct link_options options = { .name = connection_name(c),
					/* These bytes pass no relay. */
					.early = c->route->capture == NULL ? &c->client : NULL,
					.wants_watch = true };

	c->pending->dialing = route_dial(c->route, &options, connection_dialed, c, err);
	return c->pending->dialing != NULL ? 0 : -EPROTO;
}

/* Is told when the client goes: an end or an error is reported, asked for or not. */
static int connection_mind_client(struct connection *c, struct error *err)
{
	int rc = watch_start(c->route->loop, &c->pending->watch, c->client.fd, 0, connection_watch);

	if (rc == 0)
		return 0;
	link_dial_cancel(c->pending->dialing);
	c->pending->dialing = NULL;
	retry_leave(&c->pending->waiter);
	return error_set(err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
}

/* Keeps an error for the loop. */
static void connection_fail_later(struct connection *c, const struct error *err)
{
	struct pending *pending = c->pending;

	if (pending->err == NULL)
		pending->err = xmalloc(sizeof(*err));
	*pending->err = *err;
	loop_later(c->route->loop, &pending->failed, 0, connection_failed, c);
}

static void connection_waited(struct retry_waiter *waiter, const struct error *err)
{
	struct connection *c = container_of(waiter, struct pending, waiter)->connection;
	struct error failed;

	if (err != NULL)
		connection_fail(c, err);
	else if (connection_dial(c, &failed) < 0)
		connection_fail_later(c, &failed);
}

void connection_new(struct route *route, int fd, int who, uint64_t id)
{
	struct connection *c = xcalloc(1, sizeof(*c));
	struct error err;

	c->route = route;
	c->client.fd = fd;
	c->id = id;
	c->who = event_client_new(&route->source, who);
	c->pending = xcalloc(1, sizeof(*c->pending));
	c->pending->connection = c;
	TAILQ_INSERT_TAIL(&route->connections, c, next);
	route->traffic.open++;
	route->traffic.total++;
	c->pending->waiter.done = connection_waited;
	c->pending->until = now_ms() + route->retry_ms;
	if (route->retry == NULL ||
	    !retry_wait(route->retry, &c->pending->waiter, c->pending->until)) {
		if (connection_dial(c, &err) < 0)
			connection_fail_later(c, &err);
	}
	/* Not before: the dialer is busy meanwhile. */
	if (connection_mind_client(c, &err) < 0)
		connection_fail_later(c, &err);
}

struct traffic connections_traffic(const struct route *route)
{
	struct traffic all = route->traffic;
	const struct connection *c;

	TAILQ_FOREACH (c, &route->connections, next) {
		uint64_t in, out;

		if (!c->relayed)
			continue;
		relay_bytes(c->relay, &in, &out);
		all.bytes_in += in;
		all.bytes_out += out + c->client.sent;
	}
	return all;
}

static void connection_abort(struct connection *c)
{
	struct error err;

	if (c->relayed) {
		relay_abort(c->relay, "the forward was stopped");
		return;
	}
	error_set(&err, REASON_BROKEN, ECANCELED, "the forward was stopped");
	connection_fail(c, &err);
}

void connections_abort(struct route *route)
{
	struct connection *c, *next;

	for (c = TAILQ_FIRST(&route->connections); c != NULL; c = next) {
		next = TAILQ_NEXT(c, next);
		connection_abort(c);
	}
}

/* The end of a client that has gone is behind what it has sent, and in the kernel for as long as we don't read that. */
static bool client_is_silent(const struct connection *c)
{
	struct pollfd pfd = { .fd = c->client.fd, .events = POLLIN | POLLRDHUP };

	return poll(&pfd, 1, 0) == 0;
}

void connections_abort_silent(struct route *route)
{
	struct connection *c, *next;

	for (c = TAILQ_FIRST(&route->connections); c != NULL; c = next) {
		next = TAILQ_NEXT(c, next);
		if (client_is_silent(c))
			connection_abort(c);
	}
}
