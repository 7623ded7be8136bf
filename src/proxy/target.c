/* SPDX-License-Identifier: MIT */
/* The connection to what a client wants, and the answer to how that went. */
#include "config.h"

#include <string.h>

#include "fetch.h"
#include "own.h"

void client_answer_reply(struct client *c, enum socks_reply reply)
{
	uint8_t out[SOCKS_REPLY_MAX];

	client_answer_bytes(c, out, socks_put_reply(out, reply, NULL));
}

/* There is no target for it. */
void client_answer_error(struct client *c, const struct error *err)
{
	_cleanup_free_ char *text = NULL;

	if (!c->http) {
		client_answer_reply(c, socks_reply_to(err));
		return;
	}
	text = c->aim.label != NULL ? xasprintf("%s: %s", c->aim.label, err->message)
				    : xstrdup(err->message);
	client_answer_text(c, own_error(http_status_to(err), "", text));
}

static void target_opened(struct client *c, const struct connection_event *event)
{
	struct address bound = { .family = AF_UNSPEC };
	uint8_t reply[SOCKS_REPLY_MAX];
	const char *data = HTTP_CONNECTED;
	size_t size = strlen(HTTP_CONNECTED);

	if (!c->http) {
		if (address_parse(&bound, event->dialed->local, NULL) < 0)
			bound.family = AF_UNSPEC;
		size = socks_put_reply(reply, SOCKS_SUCCEEDED, &bound);
		data = (const char *)reply;
	}
	/* A socket that does not take this is one that has been reset. */
	if (send(*event->client, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size)
		c->fd = steal_fd(event->client);
}

static void target_failed(struct client *c, const struct connection_event *event)
{
	if (c->fetch != NULL)
		fetch_release(c->fetch);
	else if (c->fd < 0)
		c->fd = steal_fd(event->client);
	if (event->err->reason == REASON_BROKEN) {
		client_reset(c);
		return;
	}
	client_answer_error(c, event->err);
	client_step(c);
}

static void target_event(const struct connection_event *event, void *arg)
{
	struct client *c = arg;

	switch (event->type) {
	case CONNECTION_OPENED:
		if (c->fetch == NULL)
			target_opened(c, event);
		break;
	case CONNECTION_CLOSED:
		if (c->fetch != NULL)
			fetch_over(c->fetch, event->result);
		else
			client_close(c);
		break;
	case CONNECTION_FAILED:
		target_failed(c, event);
	}
}

bool client_aim(struct client *c, const char *host, uint16_t port)
{
	struct log_name name;
	struct error err;
	int rc = aim_at(&c->aim, c->proxy, NETWORK_TCP, host, port, &err);

	name = client_name(c);
	if (rc < 0) {
		log_info(&name, "%s", err.message);
		client_answer_error(c, &err);
		return false;
	}
	c->aim.route.event = target_event;
	c->aim.route.arg = c;
	client_set_state(c, CLIENT_TARGET);
	loop_cancel(&c->task);
	watch_stop(client_loop(c), &c->watch);
	free(c->in);
	c->in = NULL;
	return true;
}

void client_connect(struct client *c, int fd, int who)
{
	const struct proxy_config *config = &c->proxy->config;

	connection_new(&c->aim.route, fd, who, c->id);
	config->asked(c->aim.label, config->arg);
}
