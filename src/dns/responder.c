/* SPDX-License-Identifier: MIT */
/*
 * Each client is led to one end of a pair of sockets, as to any service, and its questions are read from the other: datagrams
 * from one that keeps their boundaries.
 */
#include "config.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "dns/responder.h"
#include "dns/stream.h"
#include "lib/sock.h"

#define DNS_PORT 53
#define ASKS_MAX 32      /* of a client, at a time */
#define STREAM_IDLE_S 10 /* RFC 7766, section 6.2.3 */
#define DATAGRAM_IDLE_MS 10000
#define ANSWERS_MAX (256u * 1024) /* bytes that a client has not taken; then it is gone */

struct place {
	struct responder *responder;
	enum network network;
	char *listen, *text;
	struct park *park; /* NULL: stopped */
	struct backwards clients;
};

struct responder {
	struct responder_config config;
	struct place places[2];
	TAILQ_HEAD(, asker) askers;
};

/* Our end of a client. */
struct asker {
	TAILQ_ENTRY(asker) next;
	struct place *place;
	struct event *event;     /* datagrams */
	struct bufferevent *bev; /* or a stream */
	struct dns_stream stream;
	LIST_HEAD(, asked) asks;
	unsigned count;
	bool ended; /* the stream: what it has asked before is still answered */
	int fd;
	struct loop_task ending; /* not from within the server's callback */
};

struct asked {
	LIST_ENTRY(asked) next;
	struct asker *asker;
	struct dns_ask *ask; /* NULL while it is being asked */
	bool answered;
};

static void asker_free(struct asker *a)
{
	struct asked *asked;

	while ((asked = LIST_FIRST(&a->asks)) != NULL) {
		LIST_REMOVE(asked, next);
		if (asked->ask != NULL)
			dns_server_cancel(asked->ask);
		free(asked);
	}
	TAILQ_REMOVE(&a->place->responder->askers, a, next);
	loop_cancel(&a->ending);
	dns_stream_clear(&a->stream);
	if (a->event != NULL)
		event_free(a->event);
	if (a->bev != NULL)
		bufferevent_free(a->bev); /* and its descriptor */
	else
		close(a->fd);
	free(a);
}

static void asker_ending(void *arg)
{
	asker_free(arg);
}

static void asker_end(struct asker *a)
{
	loop_later(a->place->responder->config.park.loop, &a->ending, 0, asker_ending, a);
}

/* True once a stream that has ended has all its answers. */
static bool asker_is_done(const struct asker *a)
{
	return a->ended && a->count == 0 &&
	       evbuffer_get_length(bufferevent_get_output(a->bev)) == 0;
}

static void read_stream(struct asker *a);

static void on_answer(const uint8_t *answer, size_t size, void *arg)
{
	struct asked *asked = arg;
	struct asker *a = asked->asker;
	bool later = asked->ask != NULL;

	asked->answered = true;
	a->count--;
	if (a->bev == NULL) {
		/* Lost, if there is no room: the client asks again. */
		if (size > 0)
			send(a->fd, answer, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else if (size > 0) {
		bufferevent_write(a->bev, answer, size);
		if (evbuffer_get_length(bufferevent_get_output(a->bev)) > ANSWERS_MAX)
			asker_end(a);
	}
	if (!later)
		return;
	LIST_REMOVE(asked, next);
	free(asked);
	if (a->bev != NULL)
		read_stream(a);
	if (a->bev != NULL && asker_is_done(a))
		asker_end(a);
}

static void ask(struct asker *a, const uint8_t *message, size_t size)
{
	struct asked *asked = xcalloc(1, sizeof(*asked));

	asked->asker = a;
	a->count++;
	LIST_INSERT_HEAD(&a->asks, asked, next);
	asked->ask = dns_server_ask(a->place->responder->config.server, a->bev != NULL, message,
				    size, on_answer, asked);
	if (asked->answered) {
		LIST_REMOVE(asked, next);
		free(asked);
	}
}

/* Questions that are there, as many as may be under way; the others stay in the buffer. */
static void read_stream(struct asker *a)
{
	struct evbuffer *in = bufferevent_get_input(a->bev);
	size_t length;

	while (a->count < ASKS_MAX && (length = evbuffer_get_contiguous_space(in)) > 0) {
		const uint8_t *data = evbuffer_pullup(in, (ev_ssize_t)length);
		size_t left = length;
		int rc = dns_stream_take(&a->stream, DNS_QUERY_MAX, &data, &left);

		evbuffer_drain(in, length - left);
		if (rc < 0) {
			asker_end(a);
			return;
		}
		if (rc > 0)
			ask(a, a->stream.message, a->stream.size);
	}
}

static void on_stream(struct bufferevent *bev, void *arg)
{
	(void)bev;
	read_stream(arg);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	(void)bev;
	if (asker_is_done(arg))
		asker_end(arg);
}

/* Nothing but an end in order waits for answers. */
static void on_stream_event(struct bufferevent *bev, short what, void *arg)
{
	struct asker *a = arg;

	(void)bev;
	a->ended = (what & BEV_EVENT_EOF) != 0;
	if (!a->ended || asker_is_done(a))
		asker_free(a);
}

static void on_datagram(evutil_socket_t fd, short what, void *arg)
{
	struct asker *a = arg;
	uint8_t *data = a->place->responder->config.park.loop->scratch;
	struct pollfd pfd = { .fd = fd };
	ssize_t n;

	(void)what;
	while ((n = recv(fd, data, DATAGRAM_MAX, MSG_DONTWAIT)) > 0) {
		if (a->count < ASKS_MAX)
			ask(a, data, (size_t)n);
	}
	/* An empty one looks like the end. */
	if ((n == 0 && poll(&pfd, 1, 0) == 1 && (pfd.revents & (POLLHUP | POLLERR))) ||
	    (n < 0 && errno != EAGAIN && errno != EINTR))
		asker_free(a);
}

/* Takes the descriptor over. */
static void asker_new(struct place *place, int fd)
{
	static const struct timeval idle = { .tv_sec = STREAM_IDLE_S };
	struct loop *loop = place->responder->config.park.loop;
	struct asker *a = xcalloc(1, sizeof(*a));

	a->place = place;
	a->fd = fd;
	LIST_INIT(&a->asks);
	TAILQ_INSERT_TAIL(&place->responder->askers, a, next);
	if (place->network == NETWORK_UDP) {
		a->event = event_new(loop->base, fd, EV_READ | EV_PERSIST, on_datagram, a);
		if (a->event == NULL || event_add(a->event, NULL) < 0)
			abort();
		return;
	}
	a->bev = bufferevent_socket_new(loop->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (a->bev == NULL)
		abort();
	bufferevent_setcb(a->bev, on_stream, on_written, on_stream_event, a);
	bufferevent_setwatermark(a->bev, EV_READ, 0, DNS_QUERY_MAX);
	bufferevent_set_timeouts(a->bev, &idle, &idle);
	bufferevent_enable(a->bev, EV_READ | EV_WRITE);
}

static void on_accepted(const struct park_client *client, void *arg)
{
	struct place *place = arg;
	struct responder *r = place->responder;
	struct backward_config config = {
		.all = &place->clients,
		.id = ++*r->config.last_id,
		.label = place->text,
	};
	struct backward *b = backward_new(&config, client);
	struct error err;
	int sv[2], rc;

	rc = sock_pair_of(place->network == NETWORK_UDP ? SOCK_SEQPACKET : SOCK_STREAM, sv);
	if (rc < 0) {
		error_set(&err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
		backward_fail(b, &err);
		return;
	}
	asker_new(place, sv[1]);
	backward_join(b, sv[0]);
}

static void on_listening(void *arg)
{
	struct place *place = arg;
	struct responder *r = place->responder;

	r->config.listening(place->text, r->config.arg);
}

static void on_failed(const struct error *err, void *arg)
{
	struct place *place = arg;
	struct responder *r = place->responder;

	r->config.failed(place->text, err, r->config.arg);
}

static void on_gone(void *arg)
{
	struct place *place = arg;
	struct responder *r = place->responder;

	r->config.gone(r->config.arg);
}

static void place_open(struct responder *r, struct place *place, enum network network)
{
	struct park_config park = r->config.park;
	char text[ADDRESS_TEXT_MAX];
	struct address at = r->config.address;

	at.port = DNS_PORT;
	place->responder = r;
	place->network = network;
	place->listen = xstrdup(address_format(&at, text));
	place->text = xasprintf("%s%s", text, network == NETWORK_UDP ? "/udp" : "");
	backwards_init(&place->clients, park.loop, park.room, on_gone, place);
	place->clients.udp_idle_ms = DATAGRAM_IDLE_MS;
	park.network = network;
	park.listen = place->listen;
	park.label = place->text;
	park.listening = on_listening;
	park.accepted = on_accepted;
	park.failed = on_failed;
	park.arg = place;
	place->park = park_new(&park);
}

struct responder *responder_new(const struct responder_config *config)
{
	struct responder *r = xcalloc(1, sizeof(*r));

	r->config = *config;
	TAILQ_INIT(&r->askers);
	place_open(r, &r->places[0], NETWORK_UDP);
	place_open(r, &r->places[1], NETWORK_TCP);
	return r;
}

void responder_go_on(struct responder *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(r->places); i++) {
		if (r->places[i].park != NULL)
			park_go_on(r->places[i].park);
	}
}

void responder_stop(struct responder *r)
{
	struct asker *a;

	for (size_t i = 0; i < ARRAY_SIZE(r->places); i++) {
		park_free(r->places[i].park);
		r->places[i].park = NULL;
		backwards_abort(&r->places[i].clients);
	}
	while ((a = TAILQ_FIRST(&r->askers)) != NULL)
		asker_free(a);
}

bool responder_is_idle(const struct responder *r)
{
	return TAILQ_EMPTY(&r->places[0].clients.list) && TAILQ_EMPTY(&r->places[1].clients.list);
}

void responder_free(struct responder *r)
{
	if (r == NULL)
		return;
	responder_stop(r);
	for (size_t i = 0; i < ARRAY_SIZE(r->places); i++) {
		free(r->places[i].listen);
		free(r->places[i].text);
	}
	free(r);
}
