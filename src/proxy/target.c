/* SPDX-License-Identifier: MIT */
/* From the host that a client wants to a pod, and the answer to how that went. */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

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
	text = c->label != NULL ? xasprintf("%s: %s", c->label, err->message)
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

/* Where a host leads, by its name alone; *pod is NULL for the proxy's own. */
static int find_target(const struct client *c, const char *host, struct address *address,
		       const char **pod, struct error *err)
{
	bool own = strcasecmp(host, "localhost") == 0;

	if (address->port == 0)
		return error_set(err, REASON_INVALID, EINVAL, "port 0");
	*pod = NULL;
	if (!own && *host != '\0' && address_parse_host(address, host, NULL) == 0)
		own = true;
	if (own && c->proxy->config.own_pod == NULL)
		return error_set(err, REASON_DENIED, EACCES,
				 "localhost and addresses lead nowhere without -p POD");
	/* A name, and no endpoint: clients choose among pods, and what is behind those is not theirs to say. */
	if (!own && !name_is_valid(host))
		return error_set(err, REASON_NOT_FOUND, ENOENT, "no such pod");
	*pod = own ? NULL : host;
	return 0;
}

bool client_aim(struct client *c, const char *host, uint16_t port)
{
	const struct proxy_config *config = &c->proxy->config;
	struct address address = { .family = AF_UNSPEC, .port = port };
	struct log_name name;
	const char *pod = NULL, *target = c->address;
	struct error err;

	c->label = strchr(host, ':') != NULL && *host != '[' ? xasprintf("[%s]:%u", host, port)
							     : xasprintf("%s:%u", host, port);
	name = client_name(c);
	if (find_target(c, host, &address, &pod, &err) < 0) {
		log_info(&name, "%s", err.message);
		client_answer_error(c, &err);
		return false;
	}
	c->pod = pod != NULL ? xstrdup(pod) : NULL;
	address_format(&address, c->address);
	if (address.family == AF_UNSPEC)
		target = strrchr(c->address, ':') + 1;
	c->route = (struct route){
		.loop = config->loop,
		.pods_dir = pod != NULL ? config->pods_dir : config->own_pods_dir,
		.pod_arg = pod != NULL ? c->pod : config->own_pod,
		.policy = config->policy,
		.network = NETWORK_TCP,
		.address = c->address,
		.timeout_ms = config->timeout_ms,
		.label = c->label,
		.source = { config->events, pod != NULL ? c->pod : config->own_pod,
			    c->proxy->source.forward, target },
		.event = target_event,
		.arg = c,
	};
	TAILQ_INIT(&c->route.connections);
	client_set_state(c, CLIENT_TARGET);
	loop_cancel(&c->task);
	watch_stop(config->loop, &c->watch);
	free(c->in);
	c->in = NULL;
	return true;
}

void client_connect(struct client *c, int fd)
{
	const struct proxy_config *config = &c->proxy->config;

	connection_new(&c->route, fd, c->id);
	config->asked(c->label, config->arg);
}
