/* SPDX-License-Identifier: MIT */
/*
 * A link from the host: a transport, and one request and its answer at a time. Lines are
 * read byte-exactly (line.h), so that after pod.portDial the descriptor is handed over as
 * it is, to a relay or to another process.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>

#include "line.h"
#include "link.h"
#include "local.h"
#include "sock.h"
#include "transport.h"

#define REQUEST_TIMEOUT_MS 5000

enum link_state {
	LINK_OPENING,
	LINK_IDLE,
	LINK_SENDING,
	LINK_WAITING, /* for an answer */
	LINK_OVER     /* failed, or its descriptor was taken */
};
static const char *const state_names[] = { "opening", "idle", "sending", "waiting", "over" };
static_assert(ARRAY_SIZE(state_names) == LINK_OVER + 1, "a name for each");

struct link {
	struct loop *loop;
	enum link_state state;
	struct log_name name;
	struct endpoint endpoint;
	char *token_file;
	struct transport *transport; /* while opening */
	struct local *local;         /* netns:, pid: */
	struct local_call *local_call;
	int fd;
	pid_t child;
	struct event *event;
	link_opened_cb opened;
	void *opened_arg;
	struct loop_task task; /* what is told from the loop */
	struct loop_task deadline;
	struct error err;
	/* the call */
	char *method;
	json_t *params;
	json_int_t id;
	char *request;
	size_t request_size, sent;
	int timeout_ms;
	struct line line;
	link_answer_cb answer;
	void *answer_arg;
};

static void link_set_state(struct link *link, enum link_state state)
{
	assert(link->state != LINK_OVER);
	log_debug(&link->name, "link %s -> %s", state_names[link->state], state_names[state]);
	link->state = state;
}

static void link_stop(struct link *link)
{
	if (link->event != NULL)
		event_free(link->event);
	link->event = NULL;
	loop_cancel(&link->deadline);
	loop_cancel(&link->task);
}

/* Ends the call that runs with link->err; the link is of no use afterwards. */
static void call_failed(void *arg)
{
	struct link *link = arg;
	struct error err = link->err;

	link_stop(link);
	link_set_state(link, LINK_OVER);
	link->answer(link, NULL, &err, link->answer_arg);
}

static void call_answered(struct link *link)
{
	_cleanup_json_ json_t *result = NULL;
	int rc;

	link_stop(link);
	link_set_state(link, LINK_IDLE);
	rc = rpc_parse_answer(link->line.text, link->line.length, link->id, &result, &link->err);
	if (rc < 0) {
		struct error err = link->err;

		link->answer(link, NULL, &err, link->answer_arg);
	} else {
		link->answer(link, result, NULL, link->answer_arg);
	}
}

static void answer_event(evutil_socket_t fd, short what, void *arg)
{
	struct link *link = arg;
	int rc = line_read(&link->line, fd);

	(void)what;
	if (rc == -EAGAIN)
		return;
	if (rc == 1) {
		call_answered(link);
		return;
	}
	if (rc == -EMSGSIZE)
		error_set(&link->err, REASON_INTERNAL, EMSGSIZE,
			  "the answer is longer than %zu bytes", link->line.max);
	else if (link->line.length > 0)
		error_set(&link->err, REASON_INTERNAL, 0,
			  "the link ended in the middle of the answer");
	else
		error_set(&link->err, REASON_UNREACHABLE, -rc, "the %s ended before any answer",
			  link->endpoint.type == ENDPOINT_EXEC ? "command" : "link");
	call_failed(link);
}

static void call_timeout(void *arg)
{
	struct link *link = arg;

	error_set(&link->err, REASON_TIMEOUT, ETIMEDOUT, "%s",
		  link->state == LINK_SENDING ? "the dialer did not take the request in time"
					      : "the dialer did not answer in time");
	call_failed(link);
}

static void link_wait_for(struct link *link, short what, event_callback_fn cb, int timeout_ms)
{
	link_stop(link);
	loop_later(link->loop, &link->deadline, timeout_ms, call_timeout, link);
	link->event = event_new(link->loop->base, link->fd, what | EV_PERSIST, cb, link);
	if (link->event != NULL && event_add(link->event, NULL) == 0)
		return;
	error_set(&link->err, REASON_EXHAUSTED, ENOMEM, "%s", errno_text(ENOMEM));
	loop_later(link->loop, &link->task, 0, call_failed, link);
}

static void send_event(evutil_socket_t fd, short what, void *arg)
{
	struct link *link = arg;
	ssize_t n = send(fd, link->request + link->sent, link->request_size - link->sent,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	(void)what;
	if (n >= 0)
		link->sent += (size_t)n;
	else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
		link->sent =
			link->request_size; /* what it said before it went is still to be read */
	if (link->sent == link->request_size) {
		link_set_state(link, LINK_WAITING);
		link_wait_for(link, EV_READ, answer_event, link->timeout_ms);
	}
}

/* A token goes to nobody but root and us, where the system tells who listens. */
static int check_peer(struct link *link, struct error *err)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	uid_t uid;

	if (link->endpoint.type == ENDPOINT_EXEC ||
	    getsockname(link->fd, (struct sockaddr *)&ss, &len) < 0 || ss.ss_family != AF_UNIX)
		return 0;
	if (sock_peer_uid(link->fd, &uid) < 0)
		return error_set(err, REASON_DENIED, EACCES,
				 "can't tell who listens on the endpoint");
	if (uid != 0 && uid != geteuid())
		return error_set(err, REASON_DENIED, EACCES,
				 "the endpoint belongs to uid %u: the token is not sent there",
				 (unsigned)uid);
	return 0;
}

static int add_token(struct link *link, struct error *err)
{
	_cleanup_free_ char *token = NULL;
	int rc;

	if (link->token_file == NULL || strncmp(link->method, "pod.", 4) != 0)
		return 0;
	rc = token_read(link->token_file, &token, err);
	if (rc == 0 && link->local == NULL)
		rc = check_peer(link, err);
	if (rc == 0)
		json_object_set_new(link->params, "token", json_string(token));
	return rc;
}

static void local_answered(json_t *result, int fd, const struct error *err, void *arg)
{
	struct link *link = arg;

	link->local_call = NULL;
	link->fd = fd;
	link_set_state(link, err == NULL ? LINK_IDLE : LINK_OVER);
	link->answer(link, result, err, link->answer_arg);
}

/* From the loop, so that no callback comes before link_call() has returned. */
static void call_start(void *arg)
{
	struct link *link = arg;

	if (add_token(link, &link->err) < 0) {
		call_failed(link);
		return;
	}
	if (link->local != NULL) {
		link_set_state(link, LINK_WAITING);
		link->local_call =
			local_call(link->local, link->method, link->params, local_answered, link);
		return;
	}
	free(link->request);
	link->request = rpc_format_request(++link->id, link->method, link->params);
	link->request_size = strlen(link->request);
	link->sent = 0;
	if (link->request_size > RPC_LINE_MAX) {
		error_set(&link->err, REASON_INVALID, EMSGSIZE,
			  "the request is longer than %u bytes", RPC_LINE_MAX);
		call_failed(link);
		return;
	}
	link_set_state(link, LINK_SENDING);
	link_wait_for(link, EV_WRITE, send_event, REQUEST_TIMEOUT_MS);
	if (link->event != NULL)
		send_event(link->fd, EV_WRITE, link);
}

void link_call(struct link *link, const char *method, json_t *params, int timeout_ms,
	       link_answer_cb cb, void *arg)
{
	assert(link->state == LINK_IDLE);
	free(link->method);
	link->method = xstrdup(method);
	json_decref(link->params);
	link->params = params;
	link->timeout_ms = timeout_ms;
	link->answer = cb;
	link->answer_arg = arg;
	line_clear(&link->line);
	link->line.max = strcmp(method, "pod.portDial") == 0 ? RPC_LINE_MAX : RPC_ANSWER_MAX;
	loop_later(link->loop, &link->task, 0, call_start, link);
}

static void link_transport_done(int fd, pid_t child, const struct error *err, void *arg)
{
	struct link *link = arg;

	link->transport = NULL;
	link->fd = fd;
	link->child = child;
	link_set_state(link, err == NULL ? LINK_IDLE : LINK_OVER);
	link->opened(link, err, link->opened_arg);
}

static void link_local_done(void *arg)
{
	struct link *link = arg;
	struct error err = link->err;
	bool failed = link->local == NULL;

	link_set_state(link, failed ? LINK_OVER : LINK_IDLE);
	link->opened(link, failed ? &err : NULL, link->opened_arg);
}

struct link *link_open(struct loop *loop, const struct link_options *options, link_opened_cb cb,
		       void *arg)
{
	struct link *link = xcalloc(1, sizeof(*link));

	link->loop = loop;
	link->name = options->name;
	link->fd = -1;
	link->opened = cb;
	link->opened_arg = arg;
	link->endpoint = options->pod->endpoint;
	if (link->endpoint.text != NULL)
		link->endpoint.text = xstrdup(link->endpoint.text);
	if (options->pod->token_file != NULL)
		link->token_file = xstrdup(options->pod->token_file);
	if (link_is_local(&link->endpoint)) {
		link->local = local_open(loop, &link->endpoint, options->policy, &link->err);
		loop_later(loop, &link->task, 0, link_local_done, link);
	} else {
		link->transport = transport_open(loop, &link->endpoint, link_transport_done, link);
	}
	return link;
}

bool link_is_local(const struct endpoint *ep)
{
	return ep->type == ENDPOINT_NETNS || ep->type == ENDPOINT_PID;
}

int link_take_fd(struct link *link, pid_t *child)
{
	assert(link->state == LINK_IDLE);
	link_stop(link);
	link_set_state(link, LINK_OVER);
	*child = link->child;
	link->child = 0;
	return steal_fd(&link->fd);
}

void link_free(struct link *link)
{
	if (link == NULL)
		return;
	link_stop(link);
	if (link->transport != NULL)
		transport_cancel(link->transport);
	if (link->local_call != NULL)
		local_cancel(link->local_call);
	local_close(link->local);
	if (link->fd >= 0)
		close(link->fd);
	child_end(link->loop, link->child);
	endpoint_clear(&link->endpoint);
	line_clear(&link->line);
	json_decref(link->params);
	free(link->token_file);
	free(link->method);
	free(link->request);
	free(link);
}
