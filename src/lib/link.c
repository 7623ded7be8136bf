/* SPDX-License-Identifier: MIT */
/*
 * A link from the host: a transport, and one request and its answer at a time. Lines are
 * read byte-exactly (line.h), so that after pod.portDial the descriptor is handed over as
 * it is, to a relay or to another process.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "link-internal.h"
#include "local.h"
#include "records.h"
#include "sock.h"
#include "transport.h"

#define REQUEST_TIMEOUT_MS 5000

static const char *const state_names[] = { "opening", "idle",     "sending",
					   "waiting", "notified", "over" };
static_assert(ARRAY_SIZE(state_names) == LINK_OVER + 1, "a name for each");

void link_set_state(struct link *link, enum link_state state)
{
	assert(link->state != LINK_OVER);
	log_debug(&link->name, "link %s -> %s", state_names[link->state], state_names[state]);
	link->state = state;
}

void link_stop(struct link *link)
{
	watch_stop(link->loop, &link->watch);
	loop_cancel(&link->deadline);
	loop_cancel(&link->task);
}

/* Tells the end of the call: one of the two kinds of results, or the error. */
static void call_tell(struct link *link, json_t *result, const struct port_dialed *dialed,
		      const struct error *err)
{
	if (link->dial != NULL)
		link->dialed(link, dialed, err, link->answer_arg);
	else
		link->answer(link, result, err, link->answer_arg);
}

/* Ends the call that runs with link->err; the link is of no use afterwards. */
static void call_failed(void *arg)
{
	struct link *link = arg;
	struct error err = link->err;

	link_stop(link);
	link_set_state(link, LINK_OVER);
	call_tell(link, NULL, NULL, &err);
}

/* The early bytes are the target's now. */
static void take_early(struct link *link)
{
	uint32_t left = link->early != NULL ? link->early->sent : 0;

	while (left > 0) {
		ssize_t n = recv(link->early->fd, link->loop->scratch, left, MSG_DONTWAIT);

		if (n <= 0)
			break; /* the client has failed meanwhile: there is nothing behind them, either */
		left -= (uint32_t)n;
	}
}

static void call_answered(struct link *link)
{
	_cleanup_json_ json_t *result = NULL;
	struct port_dialed dialed;
	struct error err;
	int rc;

	loop_cancel(&link->deadline);
	link_set_state(link, LINK_IDLE);
	if (link->dial != NULL)
		rc = rpc_parse_port_dialed(link->line.text, link->line.length, link->id, &dialed,
					   &err);
	else
		rc = rpc_parse_answer(link->line.text, link->line.length, link->id, &result, &err);
	if (rc == 0)
		take_early(link);
	call_tell(link, result, rc < 0 ? NULL : &dialed, rc < 0 ? &err : NULL);
}

static void read_answer(struct link *link)
{
	int rc = line_read(&link->line, link->fd);

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

static void link_set_waiting(struct link *link)
{
	link_set_state(link, LINK_WAITING);
	loop_later(link->loop, &link->deadline, link->timeout_ms, call_timeout, link);
}

static void link_event(struct watch *watch, unsigned ready)
{
	struct link *link = container_of(watch, struct link, watch);

	(void)ready;
	if (link->state == LINK_NOTIFIED) {
		link_notified(link);
		return;
	}
	if (link->state == LINK_SENDING) {
		link->sent += sock_send_some(link->fd, link->rest + link->sent,
					     link->rest_size - link->sent);
		if (link->sent < link->rest_size)
			return;
		link_set_waiting(link);
	}
	if (link->state == LINK_WAITING)
		read_answer(link);
}

/*
 * Sends what the loop's scratch buffer begins with: the request's line, and maybe early bytes. What is not
 * taken is kept, and goes out by and by; early bytes may have to wait for the answer.
 */
static void send_request(struct link *link, size_t line_size, size_t size)
{
	const uint8_t *request = link->loop->scratch;
	size_t sent = sock_send_some(link->fd, request, size);
	unsigned what = WATCH_READ;
	int rc = 0;

	free(link->rest);
	link->rest = NULL;
	link_set_state(link, LINK_SENDING);
	if (sent < size) {
		what |= WATCH_WRITE;
		link->rest_size = size - sent;
		link->rest = xmalloc(link->rest_size);
		memcpy(link->rest, request + sent, link->rest_size);
		link->sent = 0;
		loop_later(link->loop, &link->deadline,
			   sent < line_size ? REQUEST_TIMEOUT_MS : link->timeout_ms, call_timeout,
			   link);
	} else {
		link_set_waiting(link);
	}
	if (link->watch.cb == NULL)
		rc = watch_start(link->loop, &link->watch, link->fd, what, link_event);
	else
		watch_change(link->loop, &link->watch, what);
	if (rc < 0) {
		error_set(&link->err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
		loop_later(link->loop, &link->task, 0, call_failed, link);
	}
}

/* What the pod's token is, owned by the caller; NULL: none is sent. */
static int get_token(struct link *link, char **token, struct error *err)
{
	bool to_peer = link->local == NULL && link->endpoint.type != ENDPOINT_EXEC;

	*token = NULL;
	if (link->token_file == NULL || strncmp(link->method, "pod.", 4) != 0)
		return 0;
	return token_read_for(link->token_file, to_peer ? link->fd : -1, token, err);
}

static void local_answered(json_t *result, const struct port_dialed *dialed, int fd,
			   const struct error *err, void *arg)
{
	struct link *link = arg;

	link->local_call = NULL;
	link->fd = fd;
	link_set_state(link, err == NULL ? LINK_IDLE : LINK_OVER);
	call_tell(link, result, dialed, err);
}

/* Puts what the client has sent already behind the request; the whole's size. */
static size_t add_early(struct link *link, size_t size)
{
	uint8_t *record = link->loop->scratch + size;
	ssize_t n;

	if (link->early == NULL || link->dial->framing != FRAMING_RECORDS)
		return size;
	n = recv(link->early->fd, record + RECORD_HEADER_SIZE, EARLY_MAX, MSG_DONTWAIT | MSG_PEEK);
	/* An end or an error is met by others, again. */
	if (n <= 0)
		return size;
	link->early->sent = (uint32_t)n;
	record_put_header(record, RECORD_DATA, (uint32_t)n);
	return size + RECORD_HEADER_SIZE + (size_t)n;
}

/* Writes the request to the loop's scratch buffer: its size, or -EMSGSIZE. */
static int format_request(struct link *link, const char *token)
{
	_cleanup_free_ char *line = NULL;
	struct port_dial dial;
	size_t size;

	link->id++;
	if (link->dial != NULL) {
		dial = *link->dial;
		dial.token = token;
		return rpc_format_port_dial(link->id, &dial, (char *)link->loop->scratch);
	}
	if (token != NULL)
		json_object_set_new(link->params, "token", json_string(token));
	line = rpc_format_request(link->id, link->method, link->params);
	size = strlen(line);
	if (size > RPC_LINE_MAX)
		return -EMSGSIZE;
	memcpy(link->loop->scratch, line, size);
	return (int)size;
}

/* The callback comes from the loop. */
static void call_local(struct link *link)
{
	_cleanup_json_ json_t *params =
		link->dial != NULL ? rpc_port_dial_params(link->dial) : NULL;

	link_set_state(link, LINK_WAITING);
	link->local_call = local_call(link->local, link->method,
				      params != NULL ? params : link->params, local_answered, link);
}

static void call_remote(struct link *link, const char *token)
{
	int size = format_request(link, token);

	if (size < 0) {
		error_set(&link->err, REASON_INVALID, EMSGSIZE,
			  "the request is longer than %u bytes", RPC_LINE_MAX);
		loop_later(link->loop, &link->task, 0, call_failed, link);
		return;
	}
	send_request(link, (size_t)size, add_early(link, (size_t)size));
}

/* No callback comes before this has returned. */
static void call_start(struct link *link)
{
	_cleanup_free_ char *token = NULL;

	if (get_token(link, &token, &link->err) < 0)
		loop_later(link->loop, &link->task, 0, call_failed, link);
	else if (link->local != NULL)
		call_local(link);
	else
		call_remote(link, token);
}

static void call_begin(struct link *link, const char *method, size_t answer_max, int timeout_ms,
		       void *arg)
{
	assert(link->state == LINK_IDLE);
	link->method = method;
	link->timeout_ms = timeout_ms;
	link->answer_arg = arg;
	line_clear(&link->line);
	link->line.max = answer_max;
	call_start(link);
}

void link_call(struct link *link, const char *method, json_t *params, int timeout_ms,
	       link_answer_cb cb, void *arg)
{
	json_decref(link->params);
	link->params = params;
	link->dial = NULL;
	link->early = NULL;
	link->answer = cb;
	call_begin(link, method, RPC_ANSWER_MAX, timeout_ms, arg);
}

void link_port_dial(struct link *link, const struct port_dial *dial, struct link_early *early,
		    int timeout_ms, link_port_dialed_cb cb, void *arg)
{
	link->dial = dial;
	link->early = early;
	link->dialed = cb;
	call_begin(link, METHOD_PORT_DIAL, RPC_LINE_MAX, timeout_ms, arg);
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

int link_take_fd(struct link *link, pid_t *child, struct watch **watch)
{
	assert(link->state == LINK_IDLE);
	if (link->local == NULL)
		link_set_state(link, LINK_OVER);
	*watch = link->watch.cb != NULL ? &link->watch : NULL;
	*child = link->child;
	link->child = 0;
	return steal_fd(&link->fd);
}

struct datagrams_client *link_take_datagrams(struct link *link)
{
	return link->local != NULL ? local_take_datagrams(link->local) : NULL;
}

struct accept_listener *link_take_listener(struct link *link)
{
	return link->local != NULL ? local_take_listener(link->local) : NULL;
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
	free(link->rest);
	free(link);
}
