/* SPDX-License-Identifier: MIT */
/*
 * A link in the guest, from accept to relay.
 *
 * DOC: Theory of Operation
 *
 * States, each with its own deadline:
 *
 *	reading    a request line is awaited, read byte-exactly: what follows may be the stream
 *	calling    the dialer works on it (its own time limit)
 *	writing    the answer goes out; then reading again, or a relay, or draining
 *	draining   the last answer is out; what still comes in is thrown away
 *	closed     waits for the loop to free it
 *
 * link_step() takes as many steps as the state allows. What it has to wait for the first time
 * starts one edge-triggered watch a descriptor, which stays; every edge makes it step. So bytes that a caller pipelined stay in
 * the socket while the target is dialed, without waking us again and again.
 *
 * While the dialer connects the link is watched for having been closed. That is POLLHUP or
 * POLLERR where answers go, and not an end of what comes in: a caller may have sent all that it
 * has to say and then shut its direction down, which is legal in raw, and in records too if an
 * EOF record came before it. If none did, the relay takes that for a cut and resets the target,
 * so nothing is lost by looking later. For two pipes it means that nobody reads our stdout any
 * more.
 *
 * After an error answer to pod.portDial, and after any line that is no proper request, the link
 * ends: what follows may be a stream's bytes, and must not be taken for requests. Closing with
 * unread bytes would be a reset, which can overtake the answer on its way; hence draining.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "lib/line.h"
#include "lib/sock.h"
#include "lib/watch.h"
#include "handshake.h"

#define REQUESTS_MAX 16
#define REQUEST_MS 5000
#define ANSWER_MS 5000
#define DRAIN_MS 1000
#define DRAIN_MAX (1024u * 1024)

enum link_state {
	LINK_READING,
	LINK_CALLING,
	LINK_WRITING,
	LINK_DRAINING,
	LINK_CLOSED,
	LINK_STATE_COUNT
};

static const char *const state_names[] = { "reading", "calling", "writing", "draining", "closed" };
static_assert(ARRAY_SIZE(state_names) == LINK_STATE_COUNT, "a name for each state");

struct guest_link {
	TAILQ_ENTRY(guest_link) next;
	struct server *server;
	uint64_t id;
	int rfd, wfd;
	struct watch read_watch, write_watch; /* the first one for both where they are the same */
	enum link_state state;
	bool stepping;         /* link_step() is on the stack */
	struct loop_task task; /* the state's deadline; once closed, freeing */
	struct line line;
	unsigned requests; /* other than pod.portDial */
	struct rpc_request request;
	struct dialer_call *call;
	bool counted; /* a pod.portDial: in server->connections */
	bool limited; /* in server->config.handshakes */
	char *answer;
	size_t length, sent;
	bool last;  /* no request is taken after this answer */
	int target; /* -1: none */
	enum framing framing;
	uint16_t target_port;
	size_t drained;
};

static void link_log(struct guest_link *link, const char *text)
{
	log_debug((&(struct log_name){ "link", link->id }), "%s", text);
}

static void deadline_cb(void *arg);

/* deadline_ms 0: none. */
static void link_set_state(struct guest_link *link, enum link_state state, int64_t deadline_ms)
{
	static const unsigned from[] = {
		[LINK_READING] = 1u << LINK_WRITING,
		[LINK_CALLING] = 1u << LINK_READING,
		[LINK_WRITING] = 1u << LINK_READING | 1u << LINK_CALLING,
		[LINK_DRAINING] = 1u << LINK_WRITING,
		[LINK_CLOSED] = 1u << LINK_READING | 1u << LINK_CALLING | 1u << LINK_WRITING |
				1u << LINK_DRAINING,
	};

	assert(from[state] & 1u << link->state);
	log_debug((&(struct log_name){ "link", link->id }), "%s -> %s", state_names[link->state],
		  state_names[state]);
	link->state = state;
	if (deadline_ms > 0)
		loop_later(link->server->config.loop, &link->task, deadline_ms, deadline_cb, link);
	else
		loop_cancel(&link->task);
}

static void link_free(void *arg)
{
	struct guest_link *link = arg;
	struct server *server = link->server;

	TAILQ_REMOVE(&server->links, link, next);
	free(link);
	server_check_idle(server);
}

/* It is no connection in the making (any more). */
static void link_uncount(struct guest_link *link)
{
	if (link->counted)
		link->server->connections--;
	link->counted = false;
}

/* It is no handshake (any more): the next link may come. */
static void link_unlimit(struct guest_link *link)
{
	if (link->limited)
		accept_limit_release(link->server->config.handshakes);
	link->limited = false;
}

/* Ends the link with all that it holds; the loop frees it. */
static void link_close(struct guest_link *link)
{
	struct server *server = link->server;

	link_set_state(link, LINK_CLOSED, 0);
	if (link->call != NULL)
		dialer_cancel(link->call);
	if (link->target >= 0)
		sock_close_reset(link->target);
	watch_stop(server->config.loop, &link->read_watch);
	watch_stop(server->config.loop, &link->write_watch);
	if (link->wfd >= 0 && link->wfd != link->rfd)
		close(link->wfd);
	if (link->rfd >= 0)
		close(link->rfd);
	line_clear(&link->line);
	rpc_request_clear(&link->request);
	free(link->answer);
	link_uncount(link);
	link_unlimit(link);
	loop_later(server->config.loop, &link->task, 0, link_free, link);
}

/* Hands the descriptors over to a relay; the link itself is done. */
static void link_become_stream(struct guest_link *link)
{
	char label[RPC_LINE_MAX + UINT_TEXT_MAX]; /* "web:80": how the log names the stream */
	const char *handle = "";
	bool both = link->rfd == link->wfd;
	struct relay_config config = {
		.end = { { .rfd = link->target,
			   .wfd = link->target,
			   .framing = FRAMING_RAW,
			   .socket = true },
			 { .rfd = link->rfd,
			   .wfd = link->wfd,
			   .framing = link->framing,
			   .socket = both } },
		.flags = RELAY_ACKED,
		.name = { label, link->id },
	};

	rpc_get_string(METHOD_PORT_DIAL, &link->request.params, "handle", true, &handle, NULL);
	put_uint(stpcpy(stpcpy(label, handle), ":"), link->target_port);
	if (both && link->read_watch.cb != NULL)
		config.end[1].watch = &link->read_watch;
	else
		watch_stop(link->server->config.loop, &link->read_watch);
	watch_stop(link->server->config.loop, &link->write_watch);
	server_add_stream(link->server, &config);
	link->rfd = link->wfd = link->target = -1;
	link_close(link);
}

/* Begins to send a line; takes it over. */
static void link_write(struct guest_link *link, char *text)
{
	free(link->answer);
	link->answer = text;
	link->length = strlen(text);
	link->sent = 0;
	link_set_state(link, LINK_WRITING, ANSWER_MS);
}

/* Answers with an error. */
static void link_write_error(struct guest_link *link, const struct error *err)
{
	struct log_name name = { "link", link->id };

	if (err->reason == REASON_DENIED)
		log_info(&name, "%s", err->message);
	else
		log_debug(&name, "%s", err->message);
	link->server->exit_code = reason_exit_code(err->reason);
	link_write(link, rpc_format_error(link->request.id, err));
	rpc_request_clear(&link->request);
}

/* The last that is said: a line that is no request, or one too many. */
static void link_reject(struct guest_link *link, const struct error *err)
{
	link->last = true;
	link_write_error(link, err);
}

static void link_step(struct guest_link *link);

static void link_answered(const struct dialer_answer *answer, const struct error *err, void *arg)
{
	struct guest_link *link = arg;

	link->call = NULL;
	if (err != NULL) {
		link->last = link->counted;
		link_uncount(link);
		link_write_error(link, err);
	} else {
		link->server->exit_code = 0;
		link->target = answer->fd;
		if (answer->dialed != NULL) {
			link->framing = answer->dialed->framing;
			link->target_port = answer->port;
			link_write(link, rpc_format_port_dialed(link->request.id, answer->dialed));
		} else {
			link_write(link, rpc_format_result(link->request.id, answer->result));
			rpc_request_clear(&link->request);
		}
	}
	link_step(link);
}

static void link_call(struct guest_link *link)
{
	struct server *server = link->server;
	struct error err;

	link_set_state(link, LINK_CALLING, 0);
	if (strcmp(link->request.method, METHOD_PORT_DIAL) == 0) {
		link->counted = true;
		server->connections++;
		if (server->connections > server->config.max_connections) {
			if (dialer_authorize(server->config.dialer, link->request.method,
					     &link->request.params, &err) == 0)
				error_set(&err, REASON_EXHAUSTED, 0,
					  "%zu connections: no more until one ends",
					  server->config.max_connections);
			link_answered(NULL, &err, link);
			return;
		}
	}
	/* From here on it counts as a connection: targets that hang must not keep others out. */
	if (link->counted)
		link_unlimit(link);
	link->call = dialer_call(server->config.dialer, link->request.method, &link->request.params,
				 link_answered, link);
}

/* A whole line is there. */
static void link_request(struct guest_link *link)
{
	struct error err;
	int rc = rpc_parse_request(link->line.text, link->line.length, &link->request, &err);

	if (rc == 0 && strcmp(link->request.method, METHOD_PORT_DIAL) != 0 &&
	    ++link->requests > REQUESTS_MAX)
		rc = error_set(&err, REASON_EXHAUSTED, 0, "more than %d requests on a link",
			       REQUESTS_MAX);
	if (rc < 0) {
		link_reject(link, &err);
	} else if (link->request.id != NULL) {
		link_call(link);
	} else if (strcmp(link->request.method, METHOD_PORT_DIAL) == 0) {
		link_log(link, "pod.portDial as a notification");
		link_close(link);
	} else {
		/* A notification gets no answer, and no method here does anything but answer. */
		rpc_request_clear(&link->request);
	}
}

/* The steps: true if there may be more to do at once. */
static bool step_reading(struct guest_link *link)
{
	int rc = line_read(&link->line, link->rfd);
	struct error err;

	if (rc == -EAGAIN)
		return false;
	if (rc > 0) {
		link_request(link);
	} else if (rc == -EMSGSIZE) {
		error_set(&err, REASON_INVALID, 0, "request is longer than %u bytes", RPC_LINE_MAX);
		err.code = RPC_INVALID_REQUEST;
		link_reject(link, &err);
	} else {
		link_log(link, rc == 0 ? "ended" : errno_text(-rc));
		link_close(link);
	}
	return true;
}

static bool step_calling(struct guest_link *link)
{
	struct pollfd pollfd = { .fd = link->wfd };

	if (poll(&pollfd, 1, 0) > 0) {
		link_log(link, "closed while its target was dialed");
		link_close(link);
	}
	return false;
}

static ssize_t write_some(int fd, const char *data, size_t length)
{
	ssize_t n = send(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n < 0 && errno == ENOTSOCK ? write(fd, data, length) : n;
}

static bool step_writing(struct guest_link *link)
{
	ssize_t n = write_some(link->wfd, link->answer + link->sent, link->length - link->sent);

	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	if (n < 0) {
		link_log(link, errno_text(errno));
		link_close(link);
		return false;
	}
	link->sent += (size_t)n;
	if (link->sent < link->length)
		return true;
	if (link->target >= 0)
		link_become_stream(link);
	else if (!link->last)
		link_set_state(link, LINK_READING, REQUEST_MS);
	else if (shutdown(link->wfd, SHUT_WR) == 0 && link->rfd == link->wfd)
		link_set_state(link, LINK_DRAINING, DRAIN_MS);
	else
		link_close(link);
	return true;
}

static bool step_draining(struct guest_link *link)
{
	ssize_t n = recv(link->rfd, link->server->config.loop->scratch, LOOP_SCRATCH_SIZE,
			 MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	link->drained += n > 0 ? (size_t)n : 0;
	if (n == 0 || (n < 0 && errno != EINTR) || link->drained > DRAIN_MAX)
		link_close(link);
	return true;
}

static bool step_closed(struct guest_link *link)
{
	(void)link;
	return false;
}

static void read_event(struct watch *watch, unsigned ready)
{
	(void)ready;
	link_step(container_of(watch, struct guest_link, read_watch));
}

static void write_event(struct watch *watch, unsigned ready)
{
	(void)ready;
	link_step(container_of(watch, struct guest_link, write_watch));
}

/* Watches the descriptors, if that is not done yet: most links have no need to wait. */
static void link_wait(struct guest_link *link)
{
	struct loop *loop = link->server->config.loop;
	bool both = link->rfd == link->wfd;
	int rc = 0;

	if (link->read_watch.cb == NULL)
		rc = watch_start(loop, &link->read_watch, link->rfd,
				 both ? WATCH_READ | WATCH_WRITE : WATCH_READ, read_event);
	if (rc == 0 && !both && link->write_watch.cb == NULL)
		rc = watch_start(loop, &link->write_watch, link->wfd, WATCH_WRITE, write_event);
	if (rc < 0) {
		log_warning((&(struct log_name){ "link", link->id }), "cannot be waited for");
		link_close(link);
	}
}

static void link_step(struct guest_link *link)
{
	static bool (*const steps[])(struct guest_link *) = {
		[LINK_READING] = step_reading, [LINK_CALLING] = step_calling,
		[LINK_WRITING] = step_writing, [LINK_DRAINING] = step_draining,
		[LINK_CLOSED] = step_closed,
	};

	/* From an answer that came at once: whoever made the call goes on. */
	if (link->stepping)
		return;
	link->stepping = true;
	while (steps[link->state](link))
		;
	link->stepping = false;
	if (link->state != LINK_CLOSED)
		link_wait(link);
}

static void deadline_cb(void *arg)
{
	struct guest_link *link = arg;
	struct error err;

	if (link->state == LINK_READING) {
		error_set(&err, REASON_TIMEOUT, ETIMEDOUT, "no request within %d s",
			  REQUEST_MS / 1000);
		link_reject(link, &err);
		link_step(link);
	} else {
		link_log(link, "out of time");
		link_close(link);
	}
}

void handshake_start(struct server *server, int rfd, int wfd)
{
	struct guest_link *link = xcalloc(1, sizeof(*link));

	link->server = server;
	link->id = ++server->last_id;
	link->rfd = rfd;
	link->wfd = wfd;
	link->target = -1;
	link->limited = server->config.handshakes != NULL;
	link->line.max = RPC_LINE_MAX;
	TAILQ_INSERT_TAIL(&server->links, link, next);
	loop_later(server->config.loop, &link->task, REQUEST_MS, deadline_cb, link);
	link_step(link); /* the request is often there already */
}

void handshake_abort_all(struct server *server)
{
	struct guest_link *link;

	TAILQ_FOREACH (link, &server->links, next) {
		if (link->state != LINK_CLOSED)
			link_close(link);
	}
}
