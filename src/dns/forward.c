/* SPDX-License-Identifier: MIT */
/*
 * Questions under way. Each goes to one resolver after the other, and round again, until somebody answers. A
 * socket that a question was sent on stays open while others are asked: a late answer is one too.
 *
 * Against forged answers (RFC 5452) a question has a socket of its own to each resolver, connected, so that
 * only the resolver's address and port get through, from a random port, with a random ID.
 */
#include "config.h"

#include <errno.h>
#include <event2/util.h>
#include <string.h>
#include <sys/queue.h>

#include "dns/forward.h"
#include "dns/resolv.h"
#include "dns/stream.h"
#include "log.h"
#include "sock.h"
#include "watch.h"

/* After so many replies that are none to the question somebody is guessing: not on this socket any more. */
#define WRONG_MAX 32
/* For so long a resolver that did not answer is not the first to be asked. */
#define AVOID_MS 30000

/* A question at one of the resolvers. */
struct
try {
	struct dns_question *question;
	struct watch watch;
	int fd; /* -1: not asked, or failed */
	uint16_t id;
	bool answered;  /* it is there, even if it could not tell */
	unsigned wrong; /* replies */
	size_t sent;    /* over TCP, of what has its length in front */
	struct dns_stream stream;
};

struct dns_question {
	TAILQ_ENTRY(dns_question) next;
	struct dns_forward *forward;
	struct dns_query query; /* its question points into the message */
	bool tcp;
	uint8_t *message; /* with its length in front */
	size_t size;      /* without */
	struct resolv resolv;
	bool left;      /* it is not among the forward's questions any more */
	unsigned first; /* the resolver that is asked first */
	unsigned asked; /* how often resolvers were asked */
	struct try tries[RESOLV_SERVERS_MAX];
	struct loop_task next_task;
	dns_reply_cb cb;
	void *arg;
};

struct dns_forward {
	struct loop *loop;
	struct resolv_file file;
	unsigned first;      /* the resolver that questions begin with, */
	int64_t first_until; /* until now_ms() is this; then it is 0 again */
	unsigned max, count;
	TAILQ_HEAD(, dns_question) questions; /* the oldest one first */
};

static void question_next(void *arg);

struct dns_forward *dns_forward_new(struct loop *loop, const char *resolv_conf, uint16_t port,
				    unsigned max)
{
	struct dns_forward *forward = xcalloc(1, sizeof(*forward));

	forward->loop = loop;
	forward->file.path = resolv_conf;
	forward->file.port = port;
	forward->max = max;
	TAILQ_INIT(&forward->questions);
	return forward;
}

void dns_forward_free(struct dns_forward *forward)
{
	free(forward);
}

static void try_close(struct try *try)
{
	watch_stop(try->question->forward->loop, &try->watch);
	if (try->fd >= 0)
		close(steal_fd(&try->fd));
}

/* Takes it out of everything; only the memory stays. Harmless if it has left already. */
static void question_leave(struct dns_question *question)
{
	struct dns_forward *forward = question->forward;

	loop_cancel(&question->next_task);
	if (question->left)
		return;
	question->left = true;
	for (unsigned i = 0; i < RESOLV_SERVERS_MAX; i++)
		try_close(&question->tries[i]);
	TAILQ_REMOVE(&forward->questions, question, next);
	forward->count--;
}

static void question_free(struct dns_question *question)
{
	for (unsigned i = 0; i < RESOLV_SERVERS_MAX; i++)
		dns_stream_clear(&question->tries[i].stream);
	free(question->message);
	free(question);
}

void dns_forward_cancel(struct dns_question *question)
{
	question_leave(question);
	question_free(question);
}

/* Calls back, which may free everything but this question, and frees. `reply` may be in its memory. */
static void question_done(struct dns_question *question, uint8_t *reply, size_t size)
{
	question_leave(question);
	if (size > 0)
		dns_id_set(reply, question->query.id);
	question->cb(&question->query, reply, size, question->arg);
	question_free(question);
}

static void question_unanswered(void *arg)
{
	question_done(arg, NULL, 0);
}

/* Ends it, but not within the call of somebody else who asks. */
static void question_put_out(struct dns_question *question)
{
	question_leave(question);
	loop_later(question->forward->loop, &question->next_task, 0, question_unanswered, question);
}

static struct try *question_try(struct dns_question *question)
{
	return &question->tries[(question->first + question->asked - 1) % question->resolv.count];
}

/* True if it has been asked last, and others wait for it. */
static bool try_is_current(const struct try *try)
{
	return try == question_try(try->question);
}

/* Goes on to the next resolver if this one was waited for. */
static void try_failed(struct try *try)
{
	struct dns_question *question = try->question;

	try_close(try);
	if (try_is_current(try))
		loop_after(question->forward->loop, &question->next_task, question_next, question);
}

/* The one that was asked last did not answer: others begin with the next one for a while. */
static void question_avoid(struct dns_question *question)
{
	struct dns_forward *forward = question->forward;
	unsigned server = (unsigned)(question_try(question) - question->tries);

	if (question_try(question)->answered || server != forward->first ||
	    forward->file.resolv.count < 2)
		return;
	forward->first = (server + 1) % forward->file.resolv.count;
	forward->first_until = now_ms() + AVOID_MS;
	log_debug(NULL, "dns: nameserver %u of %u does not answer", server + 1,
		  forward->file.resolv.count);
}

/* A reply by which somebody else may know better. */
static bool is_failure(const uint8_t *reply)
{
	enum dns_rcode rcode = dns_rcode(reply);

	return rcode == DNS_SERVFAIL || rcode == DNS_NOTIMP || rcode == DNS_REFUSED;
}

/* False if it was none to the question, else it may be over. */
static bool try_take(struct try *try, uint8_t *reply, size_t size)
{
	struct dns_question *question = try->question;

	if (!dns_reply_matches(&question->query, try->id, reply, size))
		return false;
	try->answered = true;
	/* In the first round only: whoever is asked again says the same. */
	if (is_failure(reply) && (question->asked < question->resolv.count || !try_is_current(try)))
		try_failed(try);
	else
		question_done(question, reply, size);
	return true;
}

static void udp_ready(struct watch *watch, unsigned ready)
{
	struct try *try = container_of(watch, struct try, watch);
	uint8_t *reply = try->question->forward->loop->scratch;

	(void)ready;
	for (;;) {
		ssize_t n = recv(try->fd, reply, DNS_MESSAGE_MAX, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n >= 0 && try_take(try, reply, (size_t)n))
			return;
		if (n < 0 || ++try->wrong == WRONG_MAX) {
			try_failed(try);
			return;
		}
	}
}

/* Sends what is left of the question. 0, also where there is no room, or -errno. */
static int tcp_send(struct try *try)
{
	struct dns_question *question = try->question;
	size_t size = question->size + DNS_LENGTH_SIZE;

	while (try->sent < size) {
		ssize_t n = send(try->fd, question->message + try->sent, size - try->sent,
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN || errno == EINPROGRESS || errno == ENOTCONN
				       ? 0
				       : -errno;
		try->sent += (size_t)n;
	}
	return 0;
}

static void tcp_ready(struct watch *watch, unsigned ready)
{
	struct try *try = container_of(watch, struct try, watch);
	uint8_t *scratch = try->question->forward->loop->scratch;
	struct dns_stream *stream = &try->stream;

	(void)ready;
	if (tcp_send(try) < 0) {
		try_failed(try);
		return;
	}
	for (;;) {
		ssize_t n = recv(try->fd, scratch, LOOP_SCRATCH_SIZE, 0);
		const uint8_t *data = scratch;
		size_t size = n > 0 ? (size_t)n : 0;
		int rc = 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOTCONN))
			return;
		if (n > 0)
			rc = dns_stream_take(stream, DNS_MESSAGE_MAX, &data, &size);
		/* Nothing else was asked on this connection: what is no reply to it is none at all. */
		if (n <= 0 || rc < 0 || (rc > 0 && !try_take(try, stream->message, stream->size))) {
			try_failed(try);
			return;
		}
		if (rc > 0)
			return;
	}
}

/* A socket to the resolver that is connected, or is being so. 0 or -errno. */
static int try_connect(struct try *try, const struct resolv_server *server)
{
	struct dns_question *question = try->question;
	bool tcp = question->tcp;

	try->fd = sock_new(server->ss.ss_family, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
	if (try->fd < 0)
		return try->fd;
	if (connect(try->fd, (const struct sockaddr *)&server->ss, server->len) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	evutil_secure_rng_get_bytes(&try->id, sizeof(try->id));
	dns_stream_clear(&try->stream);
	try->wrong = 0;
	try->sent = 0;
	return watch_start(question->forward->loop, &try->watch, try->fd,
			   tcp ? WATCH_READ | WATCH_WRITE : WATCH_READ,
			   tcp ? tcp_ready : udp_ready);
}

/* Asks a resolver, on the socket that there is, or a new one. 0 or -errno. */
static int try_ask(struct try *try, const struct resolv_server *server)
{
	struct dns_question *question = try->question;
	uint8_t *message = question->message + DNS_LENGTH_SIZE;

	if (question->tcp)
		try_close(try);
	if (try->fd < 0) {
		int rc = try_connect(try, server);

		if (rc < 0)
			return rc;
	}
	dns_id_set(message, try->id);
	if (question->tcp)
		return tcp_send(try);
	return send(try->fd, message, question->size, MSG_NOSIGNAL) < 0 && errno != EAGAIN ? -errno
											   : 0;
}

/* Nobody has answered so far: the next one is asked, and has its time. */
static void question_next(void *arg)
{
	struct dns_question *question = arg;
	struct loop *loop = question->forward->loop;
	const struct resolv *resolv = &question->resolv;
	struct try *try;

	if (question->asked > 0)
		question_avoid(question);
	if (question->asked == resolv->count * resolv->attempts) {
		question_done(question, NULL, 0);
		return;
	}
	question->asked++;
	try = question_try(question);
	if (try_ask(try, &resolv->servers[try - question->tries]) < 0) {
		try_close(try);
		loop_later(loop, &question->next_task, 0, question_next, question);
		return;
	}
	loop_later(loop, &question->next_task, resolv->timeout_ms, question_next, question);
}

struct dns_question *dns_forward_ask(struct dns_forward *forward, const struct dns_query *query,
				     bool tcp, const uint8_t *message, size_t size, dns_reply_cb cb,
				     void *arg)
{
	struct dns_question *question = xcalloc(1, sizeof(*question));

	if (resolv_file_read(&forward->file) || now_ms() >= forward->first_until)
		forward->first = 0;
	*question = (struct dns_question){
		.forward = forward,
		.query = *query,
		.tcp = tcp,
		.message = dns_frame(message, size),
		.size = size,
		.resolv = forward->file.resolv,
		.first = forward->first,
		.cb = cb,
		.arg = arg,
	};
	question->query.question = question->message + DNS_LENGTH_SIZE + DNS_HEADER_SIZE;
	for (unsigned i = 0; i < RESOLV_SERVERS_MAX; i++)
		question->tries[i] = (struct try){ .question = question, .fd = -1 };
	TAILQ_INSERT_TAIL(&forward->questions, question, next);
	if (++forward->count > forward->max) {
		log_debug(NULL, "dns: more than %u questions under way", forward->max);
		question_put_out(TAILQ_FIRST(&forward->questions));
	}
	loop_later(forward->loop, &question->next_task, 0, question_next, question);
	return question;
}
