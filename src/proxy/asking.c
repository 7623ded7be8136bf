/* SPDX-License-Identifier: MIT */
/* What a client says until it is known what it wants: a client's first states (client.c). */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "associate.h"
#include "fetch.h"
#include "own.h"

bool client_peek(struct client *c)
{
	uint8_t first;

	if (!client_moved(c, recv(c->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT)))
		return false;
	if (first == SOCKS_VERSION) {
		client_set_state(c, CLIENT_GREETING);
	} else if (first == SOCKS4_VERSION) {
		client_answer_bytes(c, SOCKS4_REFUSAL, SOCKS4_REFUSAL_SIZE);
	} else {
		c->http = true;
		client_set_state(c, CLIENT_HEAD);
	}
	return true;
}

/* True if all of it is in c->in. */
static bool read_message(struct client *c, enum socks_message message)
{
	uint8_t *in;
	size_t size;

	if (c->in == NULL)
		c->in = xmalloc(SOCKS_MESSAGE_MAX);
	in = (uint8_t *)c->in;
	while ((size = socks_size(message, in, c->in_size)) > c->in_size) {
		ssize_t n = recv(c->fd, in + c->in_size, size - c->in_size, MSG_DONTWAIT);

		if (!client_moved(c, n))
			return false;
		c->in_size += (size_t)n;
	}
	c->in_size = 0; /* for the next one */
	return true;
}

bool client_send(struct client *c, const void *data, size_t size)
{
	return send(c->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

bool client_greet(struct client *c)
{
	uint8_t reply[2] = { SOCKS_VERSION };

	if (!read_message(c, SOCKS_GREETING))
		return false;
	reply[1] = socks_choose((uint8_t *)c->in, c->proxy->config.auth.count > 0);
	if (reply[1] == SOCKS_METHOD_UNACCEPTABLE)
		client_answer_bytes(c, reply, sizeof(reply));
	else if (!client_send(c, reply, sizeof(reply)))
		client_close(c);
	else
		client_set_state(c,
				 reply[1] == SOCKS_METHOD_PASSWORD ? CLIENT_AUTH : CLIENT_REQUEST);
	return true;
}

/* Said of each, so that somebody who guesses is seen. */
static void log_denied(struct client *c)
{
	struct log_name name = client_name(c);

	log_warning(&name, "a client's user and password were refused");
}

bool client_authenticate(struct client *c)
{
	static const uint8_t allowed[2] = { 1, 0 }, denied[2] = { 1, 1 };
	_cleanup_free_ char *credentials = NULL;

	if (!read_message(c, SOCKS_AUTH))
		return false;
	credentials = socks_credentials((uint8_t *)c->in);
	if (!auth_allows(&c->proxy->config.auth, credentials)) {
		log_denied(c);
		client_answer_bytes(c, denied, sizeof(denied));
	} else if (!client_send(c, allowed, sizeof(allowed))) {
		client_close(c);
	} else {
		client_set_state(c, CLIENT_REQUEST);
	}
	return true;
}

static void client_dial(struct client *c, const char *host, uint16_t port)
{
	int fd = c->fd;

	if (!client_aim(c, host, port))
		return;
	c->fd = -1;
	client_connect(c, fd, fd);
}

static enum socks_reply socks_unsupported(const struct socks_request *request, struct error *err)
{
	error_set(err, REASON_UNSUPPORTED, 0, "SOCKS command %u", request->command);
	return SOCKS_COMMAND_UNSUPPORTED;
}

bool client_request(struct client *c)
{
	struct log_name name = client_name(c);
	struct socks_request request;
	enum socks_reply reply;
	struct error err;

	if (!read_message(c, SOCKS_REQUEST))
		return false;
	reply = socks_parse_request((uint8_t *)c->in, &request, &err);
	if (reply == SOCKS_SUCCEEDED && request.command == SOCKS_CONNECT) {
		client_dial(c, request.host, request.port);
		return true;
	}
	if (reply == SOCKS_SUCCEEDED && request.command == SOCKS_UDP_ASSOCIATE)
		reply = associate_start(c, request.port, &err);
	else if (reply == SOCKS_SUCCEEDED)
		reply = socks_unsupported(&request, &err);
	if (reply != SOCKS_SUCCEEDED) {
		log_info(&name, "%s", err.message);
		client_answer_reply(c, reply);
	}
	return true;
}

/* A whole head is there. */
static void take_head(struct client *c)
{
	const struct auth *auth = &c->proxy->config.auth;
	struct log_name name = client_name(c);
	_cleanup_free_ char *credentials = NULL;
	struct http_request request;
	struct error err;

	if (http_parse(c->in, c->in_size, &request, &err) < 0) {
		log_info(&name, "%s", err.message);
		client_answer_error(c, &err);
		return;
	}
	if (request.form == HTTP_ORIGIN) {
		client_answer_text(c, own_answer(c->proxy, c->fd, &request));
		return;
	}
	credentials = auth->count > 0 ? http_credentials(&request) : NULL;
	if (auth->count > 0 && !auth_allows(auth, credentials)) {
		if (credentials != NULL)
			log_denied(c);
		client_answer_text(c,
				   own_error(407, "Proxy-Authenticate: Basic realm=\"vzfwd\"\r\n",
					     "a user and a password are wanted"));
		return;
	}
	if (request.form == HTTP_AUTHORITY)
		client_dial(c, request.host, request.port);
	else
		fetch_start(c, &request);
}

/* Looks at what is there and takes what belongs to the head. */
bool client_head(struct client *c)
{
	char *seen = (char *)client_loop(c)->scratch;
	size_t room = HTTP_HEAD_MAX - c->in_size, head;
	ssize_t n = recv(c->fd, seen, room, MSG_PEEK | MSG_DONTWAIT);

	if (!client_moved(c, n))
		return false;
	c->in = xrealloc(c->in, c->in_size + (size_t)n + 1);
	memcpy(c->in + c->in_size, seen, (size_t)n);
	head = http_head_size(c->in, c->in_size + (size_t)n, c->in_size);
	if (head > 0)
		n = (ssize_t)(head - c->in_size);
	if (recv(c->fd, seen, (size_t)n, MSG_DONTWAIT) != n) {
		client_close(c);
		return false;
	}
	c->in_size += (size_t)n;
	if (head > 0)
		take_head(c);
	else if (c->in_size == HTTP_HEAD_MAX)
		client_answer_text(c, own_error(431, "", "the request's head is too long"));
	return true;
}
