/* SPDX-License-Identifier: MIT */
/* One client of the proxy. Theory of Operation: client.c. */
#ifndef VZFWD_PROXY_CLIENT_H
#define VZFWD_PROXY_CLIENT_H

#include "lib/watch.h"
#include "aim.h"
#include "http.h"
#include "proxy.h"
#include "socks.h"

enum client_state {
	CLIENT_PEEKING,
	CLIENT_GREETING,
	CLIENT_AUTH,
	CLIENT_REQUEST,
	CLIENT_HEAD,
	CLIENT_TARGET,
	CLIENT_ASSOCIATED,
	CLIENT_ANSWERING,
	CLIENT_DRAINING,
	CLIENT_CLOSED,
	CLIENT_STATE_COUNT
};

struct associate;
struct fetch;

struct client {
	TAILQ_ENTRY(client) next; /* in one of the proxy's lists */
	struct proxy *proxy;
	uint64_t id;
	int64_t since; /* now_ms() when it came */
	enum client_state state;
	bool http;
	int fd; /* -1 while the connection or the fetch has it */
	struct watch watch;
	struct loop_task task; /* the deadline; once closed: freeing it */
	char *in;              /* of what it says, as much as belongs together */
	size_t in_size;
	char *out; /* the last answer */
	size_t out_size, out_sent;
	size_t drained;
	struct aim aim;
	struct fetch *fetch;         /* a plain HTTP request, which has the socket then */
	struct associate *associate; /* CLIENT_ASSOCIATED */
};

/* For acceptor_new(), with a struct proxy. Forgets all about it some time after it has ended. */
void client_accepted(int fd, const struct sockaddr_storage *peer, void *proxy);

/* Ends it without an answer. */
void client_abort(struct client *client);

static inline struct loop *client_loop(const struct client *client)
{
	return client->proxy->config.loop;
}

static inline struct log_name client_name(const struct client *client)
{
	return (struct log_name){ client->aim.label != NULL ? client->aim.label : "proxy",
				  client->id };
}

void client_set_state(struct client *client, enum client_state state);

/* As many steps as its state allows; then it waits. After an answer that did not come from a step. */
void client_step(struct client *client);

/* What a recv(2) or send(2) came to: true if something was done; false: to be waited for, or it is closed. */
bool client_moved(struct client *client, ssize_t n);

/* A last answer: bytes, a text (fresh memory, taken over), a SOCKS reply, or the error by what it speaks. */
void client_answer_bytes(struct client *client, const void *bytes, size_t size);
void client_answer_text(struct client *client, char *text);
void client_answer_reply(struct client *client, enum socks_reply reply);
void client_answer_error(struct client *client, const struct error *err);

void client_close(struct client *client);
void client_reset(struct client *client);
/* All was said, and the socket shut down: waits for what is under way from there. */
void client_drain(struct client *client);

/* A few bytes, which a fresh socket takes at once; false: it has gone. */
bool client_send(struct client *client, const void *data, size_t size);

/* The steps of asking.c: true if there may be more to do at once. */
bool client_peek(struct client *client);
bool client_greet(struct client *client);
bool client_authenticate(struct client *client);
bool client_request(struct client *client);
bool client_head(struct client *client);

/* target.c: finds the route to a host; false: it was answered that there is none. */
bool client_aim(struct client *client, const char *host, uint16_t port);
/* Gives a socket to a connection by that route: the client's own, `who`, or a fetch's in its place. */
void client_connect(struct client *client, int fd, int who);

#endif
