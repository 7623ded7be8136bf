/* SPDX-License-Identifier: MIT */
/*
 * Talking to the proxy: a message, its answer, and the next. What is short and has a size that its bytes tell (SOCKS) is
 * read to that size, lines (HTTP) by line.c.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "host-name.h"
#include "lib/line.h"
#include "lib/sock.h"
#include "lib/watch.h"
#include "proxy/forward-http.h"
#include "proxy/socks.h"
#include "upstream.h"

/* Which answer is waited for. */
enum step { STEP_STATUS, STEP_FIELDS, STEP_METHOD, STEP_AUTH, STEP_REPLY };

struct upstream_call {
	struct loop *loop;
	const struct upstream *upstream;
	int fd;
	struct watch watch;
	struct loop_task deadline, task;
	enum step step;
	char *name; /* or NULL */
	struct address addr;
	struct line line;                 /* HTTP's */
	unsigned status;                  /* the last status line's */
	size_t head;                      /* bytes of lines that were read */
	uint8_t reply[SOCKS_MESSAGE_MAX]; /* SOCKS's */
	size_t have;
	struct error err;
	upstream_cb cb;
	void *arg;
};

static void call_free(struct upstream_call *call)
{
	watch_stop(call->loop, &call->watch);
	loop_cancel(&call->deadline);
	loop_cancel(&call->task);
	line_clear(&call->line);
	if (call->fd >= 0)
		close(call->fd);
	free(call->name);
	free(call);
}

void upstream_cancel(struct upstream_call *call)
{
	call_free(call);
}

static void call_done(struct upstream_call *call)
{
	upstream_cb cb = call->cb;
	void *arg = call->arg;
	int fd = steal_fd(&call->fd);

	call_free(call);
	cb(fd, NULL, arg);
}

/* It has failed for call->err. */
static void call_failed(void *arg)
{
	struct upstream_call *call = arg;
	struct error err = call->err;
	upstream_cb cb = call->cb;
	void *cb_arg = call->arg;

	call_free(call);
	cb(-1, &err, cb_arg);
}

static void call_timeout(void *arg)
{
	struct upstream_call *call = arg;

	error_set(&call->err, REASON_TIMEOUT, ETIMEDOUT, "the proxy has not answered in time");
	call_failed(call);
}

/* The proxy's end of the connection has ended, or sys_errno. */
static int lost(struct upstream_call *call, int sys_errno)
{
	if (sys_errno != 0)
		return error_set(&call->err, REASON_UNREACHABLE, sys_errno,
				 "the connection to the proxy: %s", errno_text(sys_errno));
	return error_set(&call->err, REASON_UNREACHABLE, 0,
			 "the proxy closed the connection before it answered");
}

static int garbage(struct upstream_call *call)
{
	return error_set(&call->err, REASON_INTERNAL, 0, "what the proxy answered is no %s",
			 call->upstream->kind == UPSTREAM_HTTP ? "HTTP" : "SOCKS 5");
}

/* In one write: a socket that has sent so little takes it. */
static int say(struct upstream_call *call, const void *data, size_t size)
{
	ssize_t n = send(call->fd, data, size, MSG_NOSIGNAL);

	return n == (ssize_t)size ? 0 : lost(call, n < 0 ? errno : EPIPE);
}

static int say_connect(struct upstream_call *call)
{
	_cleanup_free_ char *credentials = NULL, *host = NULL, *text = NULL;
	char literal[ADDRESS_TEXT_MAX];

	address_format(&call->addr, literal);
	host = call->name != NULL ? xasprintf("%s:%u", call->name, call->addr.port)
				  : xstrdup(literal);
	if (call->upstream->credentials != NULL)
		credentials = http_put_credentials(call->upstream->credentials);
	text = xasprintf("CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", host, host,
			 credentials != NULL ? "Proxy-Authorization: " : "",
			 credentials != NULL ? credentials : "", credentials != NULL ? "\r\n" : "");
	call->step = STEP_STATUS;
	return say(call, text, strlen(text));
}

/* The next of SOCKS's messages, whose answer is `step`. */
static int say_socks(struct upstream_call *call, enum step step)
{
	const char *credentials = call->upstream->credentials;
	uint8_t message[SOCKS_MESSAGE_MAX];
	size_t size, user;

	call->step = step;
	call->have = 0;
	if (step == STEP_METHOD) {
		size = socks_put_greeting(message, credentials != NULL);
	} else if (step == STEP_AUTH) {
		user = strcspn(credentials, ":");
		size = socks_put_auth(message, credentials, user, credentials + user + 1);
	} else {
		size = socks_put_connect(message, call->name, &call->addr);
	}
	return say(call, message, size);
}

/* 0, or a negative number with what the status means. */
static int check_status(struct upstream_call *call)
{
	static const struct {
		unsigned status;
		enum reason reason;
	} statuses[] = {
		{ 401, REASON_DENIED },    { 403, REASON_DENIED },    { 407, REASON_DENIED },
		{ 429, REASON_EXHAUSTED }, { 503, REASON_EXHAUSTED }, { 504, REASON_TIMEOUT },
	};
	enum reason reason = REASON_UNREACHABLE;

	if (call->status / 100 == 2)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		if (statuses[i].status == call->status)
			reason = statuses[i].reason;
	}
	return error_set(&call->err, reason, 0, "the proxy answered %u%s", call->status,
			 call->status == 407 ? ": it wants a user and a password" : "");
}

/* A line of an answer's head: 1 once the one that counts is whole, else 0 or a negative number. */
static int take_line(struct upstream_call *call)
{
	const struct line *line = &call->line;
	bool empty = *line->text == '\n' || (*line->text == '\r' && line->text[1] == '\n');

	call->head += line->length;
	if (call->head > HTTP_HEAD_MAX)
		return garbage(call);
	if (call->step == STEP_STATUS) {
		call->status = http_status_of(line->text, line->length);
		/* Nothing that was refused needs more. */
		if (call->status < 100 || call->status == 101)
			return garbage(call);
		call->step = STEP_FIELDS;
		return call->status < 200 ? 0 : check_status(call);
	}
	if (!empty)
		return 0;
	call->step = STEP_STATUS;
	return call->status >= 200; /* else there comes another */
}

static int read_http(struct upstream_call *call)
{
	int rc = 0;

	while (rc == 0) {
		rc = line_read(&call->line, call->fd);
		if (rc == 1)
			rc = take_line(call);
		else if (rc == -EMSGSIZE)
			return garbage(call);
		else if (rc != -EAGAIN)
			return lost(call, -rc);
	}
	return rc == -EAGAIN ? 0 : rc;
}

/* How much of an answer is needed, as far as what is there tells. */
static size_t wanted(const struct upstream_call *call)
{
	/* A refusal is in the first two bytes, and may be all that comes. */
	if (call->step != STEP_REPLY || call->have < 2 || call->reply[1] != SOCKS_SUCCEEDED)
		return 2;
	return socks_reply_size(call->reply, call->have);
}

/* A whole answer: 1 if it was the last, else 0 or a negative number. */
static int take_reply(struct upstream_call *call)
{
	const uint8_t *reply = call->reply;

	if (call->step == STEP_AUTH) {
		if (reply[1] != 0)
			return error_set(&call->err, REASON_DENIED, EACCES,
					 "the proxy refuses the user and the password");
		return say_socks(call, STEP_REPLY);
	}
	/* An unknown type of address has no end. */
	if (reply[0] != SOCKS_VERSION || call->have == SOCKS_REQUEST_HEAD)
		return garbage(call);
	if (call->step == STEP_REPLY)
		return reply[1] != SOCKS_SUCCEEDED ? socks_reply_error(reply[1], &call->err) : 1;
	if (reply[1] == SOCKS_METHOD_NONE)
		return say_socks(call, STEP_REPLY);
	if (reply[1] == SOCKS_METHOD_PASSWORD && call->upstream->credentials != NULL)
		return say_socks(call, STEP_AUTH);
	return error_set(&call->err, REASON_DENIED, EACCES,
			 call->upstream->credentials != NULL
				 ? "the proxy takes no user and password"
				 : "the proxy wants a user and a password");
}

static int read_socks(struct upstream_call *call)
{
	int rc = 0;

	while (rc == 0) {
		size_t want = wanted(call);
		ssize_t n;

		if (call->have == want) {
			rc = take_reply(call);
			continue;
		}
		n = recv(call->fd, call->reply + call->have, want - call->have, 0);
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return lost(call, n < 0 ? errno : 0);
		call->have += (size_t)n;
	}
	return rc;
}

static void call_event(struct watch *watch, unsigned ready)
{
	struct upstream_call *call = container_of(watch, struct upstream_call, watch);
	int rc = call->upstream->kind == UPSTREAM_HTTP ? read_http(call) : read_socks(call);

	(void)ready;
	if (rc == 1)
		call_done(call);
	else if (rc < 0)
		call_failed(call);
}

/* 0, or a negative number in call->err. */
static int call_start(struct upstream_call *call)
{
	int rc = call->upstream->kind == UPSTREAM_HTTP ? say_connect(call)
						       : say_socks(call, STEP_METHOD);

	if (rc < 0)
		return rc;
	rc = watch_start(call->loop, &call->watch, call->fd, WATCH_READ, call_event);
	return rc < 0 ? lost(call, -rc) : 0;
}

struct upstream_call *upstream_open(struct loop *loop, const struct upstream *upstream, int fd,
				    const char *name, const struct address *addr, int timeout_ms,
				    upstream_cb cb, void *arg)
{
	struct upstream_call *call = xcalloc(1, sizeof(*call));

	assert(name == NULL || strlen(name) <= DOMAIN_NAME_MAX);
	call->loop = loop;
	call->upstream = upstream;
	call->fd = fd;
	call->name = name != NULL ? xstrdup(name) : NULL;
	call->addr = *addr;
	call->line.max = HTTP_HEAD_MAX;
	call->cb = cb;
	call->arg = arg;
	if (call_start(call) < 0)
		loop_later(loop, &call->task, 0, call_failed, call);
	else
		loop_later(loop, &call->deadline, timeout_ms, call_timeout, call);
	return call;
}
