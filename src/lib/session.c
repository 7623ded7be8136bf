/* SPDX-License-Identifier: MIT */
/*
 * A connection that asks, from its first line to its last answer.
 *
 * DOC: Theory of Operation
 *
 * States, each with its own deadline:
 *
 *	reading    a request line is awaited, read byte-exactly: what follows may be the stream
 *	calling    somebody works on it (their own time limit)
 *	writing    the answer, or a notification, goes out; then reading again, or a stream, or parked, or draining
 *	parked     waits to be handed over, for as long as that takes; what comes in meanwhile is the stream's
 *	draining   the last answer is out; what still comes in is thrown away
 *	closed     waits for the loop to free it
 *
 * session_step() takes as many steps as the state allows. What it has to wait for the first time
 * starts one edge-triggered watch a descriptor, which stays; every edge makes it step. So bytes that a caller pipelined stay in
 * the socket while the target is dialed, without waking us again and again.
 *
 * While a request is worked on the connection is watched for having been closed. That is POLLHUP or
 * POLLERR where answers go, and not an end of what comes in: a caller may have sent all that it
 * has to say and then shut its direction down, which is legal in raw, and in records too if an
 * EOF record came before it. If none did, the relay takes that for a cut and resets the target,
 * so nothing is lost by looking later. For two pipes it means that nobody reads our stdout any
 * more.
 *
 * After an error answer to pod.portDial, and after any line that is no proper request, the connection
 * ends: what follows may be a stream's bytes, and must not be taken for requests. Closing with
 * unread bytes would be a reset, which can overtake the answer on its way; hence draining.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "session.h"
#include "sock.h"

#define REQUEST_MS 5000
#define ANSWER_MS 5000
#define DRAIN_MS 1000
#define DRAIN_MAX (1024u * 1024)
#define TURN_STEPS 64 /* then others have theirs: a peer may ask for as long as it likes */

static const char *const state_names[] = { "reading", "calling",  "writing",
					   "parked",  "draining", "closed" };
static_assert(ARRAY_SIZE(state_names) == SESSION_STATE_COUNT, "a name for each state");

struct log_name session_name(const struct session *s)
{
	return (struct log_name){ s->ops->label, s->id };
}

static void session_log(const struct session *s, const char *text)
{
	struct log_name name = session_name(s);

	log_debug(&name, "%s", text);
}

static void deadline_cb(void *arg);

static void set_deadline(struct session *s, int64_t ms)
{
	loop_later(s->loop, &s->task, ms, deadline_cb, s);
}

/* deadline_ms 0: none. */
static void session_set_state(struct session *s, enum session_state state, int64_t deadline_ms)
{
	static const unsigned from[] = {
		[SESSION_READING] = 1u << SESSION_WRITING,
		[SESSION_CALLING] = 1u << SESSION_READING,
		[SESSION_WRITING] =
			1u << SESSION_READING | 1u << SESSION_CALLING | 1u << SESSION_PARKED,
		[SESSION_PARKED] = 1u << SESSION_WRITING,
		[SESSION_DRAINING] = 1u << SESSION_WRITING,
		[SESSION_CLOSED] = 1u << SESSION_READING | 1u << SESSION_CALLING |
				   1u << SESSION_WRITING | 1u << SESSION_PARKED |
				   1u << SESSION_DRAINING,
	};
	struct log_name name = session_name(s);

	assert(from[state] & 1u << s->state);
	log_debug(&name, "%s -> %s", state_names[s->state], state_names[state]);
	s->state = state;
	if (deadline_ms > 0)
		set_deadline(s, deadline_ms);
	else
		loop_cancel(&s->task);
}

static void session_free(void *arg)
{
	struct session *s = arg;

	s->ops->freed(s);
}

void session_close(struct session *s)
{
	session_set_state(s, SESSION_CLOSED, 0);
	loop_cancel(&s->turn);
	s->ops->closed(s);
	watch_stop(s->loop, &s->read_watch);
	watch_stop(s->loop, &s->write_watch);
	if (s->wfd >= 0 && s->wfd != s->rfd)
		close(s->wfd);
	if (s->rfd >= 0)
		close(s->rfd);
	if (s->pass_fd >= 0)
		close(s->pass_fd);
	line_clear(&s->line);
	rpc_request_clear(&s->request);
	free(s->answer);
	loop_later(s->loop, &s->task, 0, session_free, s);
}

/* Begins to send a line; takes it over. deadline_ms 0: it may take as long as it likes. */
static void begin_writing(struct session *s, char *line, enum session_next next,
			  int64_t deadline_ms)
{
	free(s->answer);
	s->answer = line;
	s->length = strlen(line);
	s->sent = 0;
	s->next = next;
	session_set_state(s, SESSION_WRITING, deadline_ms);
}

static void write_error(struct session *s, const struct error *err, enum session_next next)
{
	struct log_name name = session_name(s);

	if (err->reason == REASON_DENIED)
		log_info(&name, "%s", err->message);
	else
		log_debug(&name, "%s", err->message);
	if (s->ops->failed != NULL)
		s->ops->failed(s, err);
	begin_writing(s, rpc_format_error(s->request.id, err), next, ANSWER_MS);
	rpc_request_clear(&s->request);
}

static void session_step(struct session *s);

void session_answer(struct session *s, char *line, enum session_next next)
{
	begin_writing(s, line, next, ANSWER_MS);
	if (next != SESSION_HAND_OVER && next != SESSION_PARK)
		rpc_request_clear(&s->request);
	session_step(s);
}

void session_hand_over(struct session *s, char *line)
{
	begin_writing(s, line, SESSION_HAND_OVER, ANSWER_MS);
	session_step(s);
}

void session_answer_result(struct session *s, json_t *result)
{
	char *line = rpc_format_result(s->request.id, result);
	struct error err;

	if (strlen(line) <= RPC_ANSWER_MAX) {
		session_answer(s, line, SESSION_GO_ON);
		return;
	}
	free(line);
	error_set(&err, REASON_EXHAUSTED, EMSGSIZE, "the answer is longer than %u bytes",
		  RPC_ANSWER_MAX);
	session_fail(s, &err, SESSION_GO_ON);
}

void session_answer_fd(struct session *s, char *line, int fd)
{
	s->pass_fd = fd;
	session_answer(s, line, SESSION_GO_ON);
}

void session_fail(struct session *s, const struct error *err, enum session_next next)
{
	write_error(s, err, next);
	session_step(s);
}

void session_notify(struct session *s)
{
	s->notifies = true;
	session_step(s);
}

/* True if one is on its way. Nobody gives up on a peer that is slow to read them: all that it costs is this line. */
static bool begin_notification(struct session *s)
{
	char *line = s->notifies ? s->ops->notification(s) : NULL;

	s->notifies = line != NULL;
	if (line != NULL)
		begin_writing(s, line, SESSION_GO_ON, 0);
	return line != NULL;
}

/* A whole line is there. */
static void take_request(struct session *s)
{
	struct error err;
	int rc = rpc_parse_request(s->line.text, s->line.length, &s->request, &err);
	bool dials = rc == 0 && strcmp(s->request.method, METHOD_PORT_DIAL) == 0;

	if (rc == 0 && !dials && s->ops->requests_max > 0 && ++s->requests > s->ops->requests_max)
		rc = error_set(&err, REASON_EXHAUSTED, 0, "more than %u requests on a %s",
			       s->ops->requests_max, s->ops->label);
	if (rc < 0) {
		write_error(s, &err, SESSION_END);
	} else if (s->request.id != NULL) {
		session_set_state(s, SESSION_CALLING, 0);
		s->ops->request(s);
	} else if (dials) {
		session_log(s, "pod.portDial as a notification");
		session_close(s);
	} else {
		/* A notification gets no answer, and no method here does anything but answer. */
		rpc_request_clear(&s->request);
	}
}

/* The steps: true if there may be more to do at once. */
static bool step_reading(struct session *s)
{
	struct error err;
	int rc;

	if (begin_notification(s))
		return true;
	rc = line_read(&s->line, s->rfd);
	if (rc == -EAGAIN) {
		if (s->may_idle && s->line.length > 0 && !s->line.whole && s->task.list == NULL)
			set_deadline(s, REQUEST_MS);
		return false;
	}
	if (rc > 0) {
		if (s->may_idle)
			loop_cancel(&s->task);
		take_request(s);
	} else if (rc == -EMSGSIZE) {
		error_set(&err, REASON_INVALID, 0, "request is longer than %u bytes", RPC_LINE_MAX);
		err.code = RPC_INVALID_REQUEST;
		write_error(s, &err, SESSION_END);
	} else {
		session_log(s, rc == 0 ? "ended" : errno_text(-rc));
		session_close(s);
	}
	return true;
}

static bool step_calling(struct session *s)
{
	struct pollfd pollfd = { .fd = s->wfd };

	if (poll(&pollfd, 1, 0) > 0) {
		session_log(s, "closed while its request was worked on");
		session_close(s);
	}
	return false;
}

static ssize_t write_some(struct session *s)
{
	const char *data = s->answer + s->sent;
	size_t length = s->length - s->sent;
	ssize_t n;

	if (s->pass_fd >= 0) {
		n = sock_send_with_fd(s->wfd, s->pass_fd, data, length, MSG_DONTWAIT);
		if (n > 0)
			close(steal_fd(&s->pass_fd));
		return n;
	}
	n = send(s->wfd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 && errno == ENOTSOCK ? write(s->wfd, data, length) : n;
}

/* The answer is out. */
static void session_go_on(struct session *s)
{
	if (s->next == SESSION_HAND_OVER) {
		s->ops->handed_over(s);
		s->rfd = s->wfd = -1;
		session_close(s);
	} else if (s->next == SESSION_GO_ON) {
		session_set_state(s, SESSION_READING, s->may_idle ? 0 : REQUEST_MS);
	} else if (s->next == SESSION_PARK) {
		session_set_state(s, SESSION_PARKED, 0);
		s->ops->parked(s);
	} else if (shutdown(s->wfd, SHUT_WR) == 0 && s->rfd == s->wfd) {
		session_set_state(s, SESSION_DRAINING, DRAIN_MS);
	} else {
		session_close(s);
	}
}

static bool step_writing(struct session *s)
{
	ssize_t n = write_some(s);

	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	if (n < 0) {
		session_log(s, errno_text(errno));
		session_close(s);
		return false;
	}
	s->sent += (size_t)n;
	if (s->sent == s->length)
		session_go_on(s);
	return true;
}

/* Whoever is parked has nothing to say before its stream begins: an end is one of all. */
static bool step_parked(struct session *s)
{
	struct pollfd pollfds[] = { { .fd = s->rfd, .events = POLLRDHUP }, { .fd = s->wfd } };

	if (poll(pollfds, ARRAY_SIZE(pollfds), 0) > 0) {
		session_log(s, "closed while it was parked");
		session_close(s);
	}
	return false;
}

static bool step_draining(struct session *s)
{
	ssize_t n = recv(s->rfd, s->loop->scratch, LOOP_SCRATCH_SIZE, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	s->drained += n > 0 ? (size_t)n : 0;
	if (n == 0 || (n < 0 && errno != EINTR) || s->drained > DRAIN_MAX)
		session_close(s);
	return true;
}

static bool step_closed(struct session *s)
{
	(void)s;
	return false;
}

static void read_event(struct watch *watch, unsigned ready)
{
	(void)ready;
	session_step(container_of(watch, struct session, read_watch));
}

static void write_event(struct watch *watch, unsigned ready)
{
	(void)ready;
	session_step(container_of(watch, struct session, write_watch));
}

/*
 * Watches the descriptors, if that is not done yet: most links have no need to wait. For room only while there is something to
 * write: a Unix socket tells of it each time its peer has read.
 */
static void session_wait(struct session *s)
{
	bool both = s->rfd == s->wfd, writes = both && s->state == SESSION_WRITING;
	unsigned what = writes ? WATCH_READ | WATCH_WRITE : WATCH_READ;
	struct log_name name = session_name(s);
	int rc = 0;

	if (s->read_watch.cb == NULL)
		rc = watch_start(s->loop, &s->read_watch, s->rfd, what, read_event);
	else if (writes != s->watches_room)
		watch_change(s->loop, &s->read_watch, what);
	s->watches_room = writes;
	if (rc == 0 && !both && s->write_watch.cb == NULL)
		rc = watch_start(s->loop, &s->write_watch, s->wfd, WATCH_WRITE, write_event);
	if (rc < 0) {
		log_warning(&name, "cannot be waited for");
		session_close(s);
	}
}

static void session_turn(void *arg)
{
	session_step(arg);
}

static void session_step(struct session *s)
{
	static bool (*const steps[])(struct session *) = {
		[SESSION_READING] = step_reading,   [SESSION_CALLING] = step_calling,
		[SESSION_WRITING] = step_writing,   [SESSION_PARKED] = step_parked,
		[SESSION_DRAINING] = step_draining, [SESSION_CLOSED] = step_closed,
	};

	unsigned count = 0;

	/* From an answer that came at once: whoever made the call goes on. */
	if (s->stepping)
		return;
	s->stepping = true;
	while (steps[s->state](s) && count < TURN_STEPS)
		count++;
	s->stepping = false;
	if (s->state == SESSION_CLOSED)
		return;
	if (count == TURN_STEPS)
		loop_later(s->loop, &s->turn, 0, session_turn, s);
	session_wait(s);
}

static void deadline_cb(void *arg)
{
	struct session *s = arg;
	struct error err;

	if (s->state == SESSION_READING) {
		error_set(&err, REASON_TIMEOUT, ETIMEDOUT, "no request within %d s",
			  REQUEST_MS / 1000);
		session_fail(s, &err, SESSION_END);
	} else {
		session_log(s, "out of time");
		session_close(s);
	}
}

static void session_init(struct session *s, const struct session_ops *ops, struct loop *loop,
			 uint64_t id, int rfd, int wfd)
{
	s->ops = ops;
	s->loop = loop;
	s->id = id;
	s->rfd = rfd;
	s->wfd = wfd;
	s->pass_fd = -1;
	s->line.max = RPC_LINE_MAX;
	s->may_idle = ops->may_idle;
}

void session_start(struct session *s, const struct session_ops *ops, struct loop *loop, uint64_t id,
		   int rfd, int wfd)
{
	session_init(s, ops, loop, id, rfd, wfd);
	if (!s->may_idle)
		set_deadline(s, REQUEST_MS);
	session_step(s); /* the request is often there already */
}

void session_refuse(struct session *s, const struct session_ops *ops, struct loop *loop,
		    uint64_t id, int fd, const struct error *err)
{
	session_init(s, ops, loop, id, fd, fd);
	session_fail(s, err, SESSION_END);
}
