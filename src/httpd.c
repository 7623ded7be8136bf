/* SPDX-License-Identifier: MIT */
/*
 * evhttp has neither a limit of connections nor one of a connection's time. So each gets its bufferevent from here,
 * which holds a reference to it: to see when evhttp is done with it, and to end it when its time is up.
 */
#include "config.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <string.h>
#include <strings.h>

#include "httpd.h"
#include "lib/bind.h"
#include "lib/log.h"
#include "lib/policy.h"

#define LIMIT_MS 5000
#define TICK_MS 50
#define PAUSE_MS 100
#define HEAD_MAX 8192

struct httpd {
	struct loop *loop;
	const struct httpd_page *page;
	struct evhttp *http;
	struct forward_spec spec;
	struct bound *bound;
	size_t bound_count;
	struct evconnlistener **listeners; /* as many; evhttp's */
	bool loopback;
	TAILQ_HEAD(, client) clients;
	size_t count;
	bool starved;
	struct loop_task resume, tick;
};

struct client {
	TAILQ_ENTRY(client) next;
	struct httpd *httpd;
	struct bufferevent *bufev; /* evhttp's; a reference is ours */
	int64_t due;               /* now_ms() when it has to be over */
};

static void accept_more(struct httpd *h, bool more)
{
	for (size_t i = 0; i < h->bound_count; i++) {
		if (more)
			evconnlistener_enable(h->listeners[i]);
		else
			evconnlistener_disable(h->listeners[i]);
	}
}

/* evhttp has freed it when its callbacks are gone. */
static bool is_over(const struct client *client)
{
	bufferevent_event_cb event = NULL;

	bufferevent_getcb(client->bufev, NULL, NULL, &event, NULL);
	return event == NULL;
}

/* Its descriptor is closed by this. */
static void client_free(struct client *client)
{
	struct httpd *h = client->httpd;

	TAILQ_REMOVE(&h->clients, client, next);
	h->count--;
	bufferevent_decref(client->bufev);
	free(client);
}

/* While there are clients: their places are free again when they are over, and their time is up by and by. */
static void on_tick(void *arg)
{
	struct httpd *h = arg;
	struct client *client, *next;
	int64_t now = now_ms();

	for (client = TAILQ_FIRST(&h->clients); client != NULL; client = next) {
		next = TAILQ_NEXT(client, next);
		if (is_over(client))
			client_free(client);
		else if (now > client->due)
			/* evhttp finds its end, and frees it. */
			shutdown(bufferevent_getfd(client->bufev), SHUT_RDWR);
	}
	if (h->count < HTTPD_CLIENTS_MAX && !h->starved)
		accept_more(h, true);
	if (h->count > 0)
		loop_later(h->loop, &h->tick, TICK_MS, on_tick, h);
}

/* evhttp_set_bevcb(): a connection was accepted, and has its descriptor soon. */
static struct bufferevent *on_accepted(struct event_base *base, void *arg)
{
	struct httpd *h = arg;
	struct client *client = xcalloc(1, sizeof(*client));

	client->httpd = h;
	client->due = now_ms() + LIMIT_MS;
	client->bufev = xcheck(bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE));
	bufferevent_incref(client->bufev);
	TAILQ_INSERT_TAIL(&h->clients, client, next);
	if (h->count++ == 0)
		loop_later(h->loop, &h->tick, TICK_MS, on_tick, h);
	if (h->count == HTTPD_CLIENTS_MAX)
		accept_more(h, false);
	return client->bufev;
}

static void on_resume(void *arg)
{
	struct httpd *h = arg;

	h->starved = false;
	if (h->count < HTTPD_CLIENTS_MAX)
		accept_more(h, true);
}

/* Out of descriptors: it pauses. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct httpd *h = arg;

	(void)listener;
	log_debug(NULL, "metrics: accepting pauses: %s", errno_text(errno));
	h->starved = true;
	accept_more(h, false);
	loop_later(h->loop, &h->resume, PAUSE_MS, on_resume, h);
}

static bool is_called_by_address(struct evhttp_request *request)
{
	const char *host = evhttp_request_get_host(request);
	struct address address = { 0 };

	return host == NULL || strcasecmp(host, "localhost") == 0 ||
	       address_parse_host(&address, host, NULL) == 0;
}

static void on_request(struct evhttp_request *request, void *arg)
{
	struct httpd *h = arg;
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	struct evbuffer *body;

	/* The next one is another connection's, so that nobody keeps a place. */
	evhttp_add_header(headers, "Connection", "close");
	if (h->loopback && !is_called_by_address(request)) {
		evhttp_send_error(request, 403, "Forbidden");
		return;
	}
	body = xcheck(evbuffer_new());
	h->page->write(body, h->page->arg);
	evhttp_add_header(headers, "Content-Type", h->page->type);
	evhttp_send_reply(request, 200, "OK", body);
	evbuffer_free(body);
}

static bool is_loopback(const struct forward_spec *spec)
{
	return spec->bind_type == BIND_DEFAULT || spec->bind_type == BIND_LOCALHOST ||
	       (spec->bind_type == BIND_ADDRESS && address_is_loopback(&spec->bind));
}

static int httpd_listen(struct httpd *h, const char *where, struct error *err)
{
	const struct forward_bind localhost = { .type = BIND_LOCALHOST };
	struct evhttp_bound_socket *socket;
	uint16_t port;
	int rc = listener_parse(&h->spec, where, err);

	if (rc < 0)
		return rc;
	if (h->spec.bind_type == BIND_UNIX)
		return error_set(err, REASON_INVALID, EINVAL, "%s: it listens on TCP alone", where);
	h->loopback = is_loopback(&h->spec);
	rc = bind_all(&h->spec, &localhost, 1, &h->bound, &h->bound_count, &port, err);
	if (rc < 0) {
		h->bound_count = 0;
		return rc;
	}
	h->listeners = xcalloc(h->bound_count, sizeof(struct evconnlistener *));
	for (size_t i = 0; i < h->bound_count; i++) {
		socket = xcheck(
			evhttp_accept_socket_with_handle(h->http, steal_fd(&h->bound[i].fd)));
		h->listeners[i] = evhttp_bound_socket_get_listener(socket);
		evconnlistener_set_error_cb(h->listeners[i], on_accept_error);
	}
	return 0;
}

struct httpd *httpd_open(struct loop *loop, const char *where, const struct httpd_page *page,
			 struct error *err)
{
	struct httpd *h = xcalloc(1, sizeof(*h));

	h->loop = loop;
	h->page = page;
	TAILQ_INIT(&h->clients);
	h->http = xcheck(evhttp_new(loop->base));
	evhttp_set_bevcb(h->http, on_accepted, h);
	evhttp_set_allowed_methods(h->http, EVHTTP_REQ_GET);
	evhttp_set_max_headers_size(h->http, HEAD_MAX);
	evhttp_set_max_body_size(h->http, 0);
	if (evhttp_set_cb(h->http, page->path, on_request, h) < 0)
		abort();
	if (httpd_listen(h, where, err) == 0)
		return h;
	httpd_close(h);
	return NULL;
}

const char *httpd_listener(const struct httpd *h, size_t i)
{
	return i < h->bound_count ? h->bound[i].text : NULL;
}

void httpd_close(struct httpd *h)
{
	if (h == NULL)
		return;
	evhttp_free(h->http);
	while (!TAILQ_EMPTY(&h->clients))
		client_free(TAILQ_FIRST(&h->clients));
	loop_cancel(&h->resume);
	loop_cancel(&h->tick);
	free(h->listeners);
	free(h->bound);
	forward_spec_clear(&h->spec);
	free(h);
}
