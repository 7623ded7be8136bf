/* SPDX-License-Identifier: MIT */
/*
 * From an accepted client to a relay: each connection reads the pod's file anew, opens a link of its
 * own and asks for the target. A client whose target can't be had is reset.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "bind.h"
#include "child.h"
#include "relay.h"
#include "sock.h"

struct connection {
	TAILQ_ENTRY(connection) next;
	struct forward *forward;
	struct log_name name;
	int client;              /* until the relay has it */
	struct event *watch;     /* while dialing: has the client gone? */
	struct dialing *dialing; /* one of the two, or neither: the loop is going to free it */
	struct relay *relay;
	pid_t child;
	struct loop_task failed; /* the pod can't be read: told from the loop */
};

struct forward {
	struct loop *loop;
	struct forward_config config;
	char *label;   /* "web:80" */
	char *local;   /* "8080" */
	char *remote;  /* "80" */
	char *address; /* what the dialer is asked for */
	struct bound *bound;
	size_t bound_count;
	struct acceptor **acceptors; /* as many; NULL after forward_stop() */
	TAILQ_HEAD(, connection) connections;
};

static void connection_free(struct connection *c)
{
	struct forward *f = c->forward;

	TAILQ_REMOVE(&f->connections, c, next);
	if (c->watch != NULL)
		event_free(c->watch);
	link_dial_cancel(c->dialing);
	loop_cancel(&c->failed);
	if (c->client >= 0)
		sock_close_reset(c->client);
	child_end(f->loop, c->child);
	free(c);
	accept_limit_release(f->config.limit);
	if (f->config.closed != NULL)
		f->config.closed(f, f->config.arg);
}

static void connection_relayed(const struct relay_result *result, void *arg)
{
	struct connection *c = arg;

	if (result->outcome == RELAY_CUT)
		log_error(&c->name, "%s", result->err.message);
	else
		log_debug(&c->name, "closed: %s, %llu bytes in, %llu out",
			  relay_outcome_name(result->outcome), (unsigned long long)result->bytes_in,
			  (unsigned long long)result->bytes_out);
	connection_free(c);
}

static void connection_dialed(const struct link_dialed *dialed, const struct error *err, void *arg)
{
	struct connection *c = arg;
	struct relay_config config;

	c->dialing = NULL;
	if (err != NULL) {
		log_error(&c->name, "%s", err->message);
		connection_free(c);
		return;
	}
	event_free(c->watch);
	c->watch = NULL;
	c->child = dialed->child;
	config = (struct relay_config){
		.end = { { c->client, c->client, FRAMING_RAW },
			 { dialed->fd, dialed->fd, dialed->result->framing } },
		/* A command gets the time to pass on what it was given. */
		.flags = dialed->child != 0 ? RELAY_CONFIRM | RELAY_COMMAND : 0,
		.name = c->name,
		.done = connection_relayed,
		.arg = c,
	};
	c->client = -1;
	c->relay = relay_new(c->forward->loop, &config);
}

/*
 * A client that was reset, or has closed altogether, needs no target any more. A Unix client that
 * has closed may have sent all that it had to say: that is still delivered.
 */
static void connection_watch(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;
	struct pollfd pfd = { .fd = fd };
	char byte;

	(void)what;
	if (poll(&pfd, 1, 0) != 1 || !(pfd.revents & (POLLERR | POLLHUP)))
		return;
	if (!(pfd.revents & POLLERR) && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
		return;
	log_debug(&c->name, "the client is gone");
	connection_free(c);
}

static void connection_failed(void *arg)
{
	connection_free(arg);
}

static int connection_dial(struct connection *c, struct error *err)
{
	struct forward *f = c->forward;
	const struct forward_config *config = &f->config;
	struct pod pod;
	struct link_options options = { .pod = &pod, .policy = config->policy, .name = c->name };
	struct port_dial dial = {
		.container_id = config->container_id,
		.network = NETWORK_TCP,
		.address = f->address,
		.timeout_ms = config->timeout_ms,
		.framing = FRAMING_RECORDS,
	};
	int rc = pods_resolve(config->pods_dir, config->pod_arg, &pod, err);

	if (rc < 0)
		return rc;
	dial.handle = config->handle != NULL ? config->handle : pod.handle;
	c->watch = event_new(f->loop->base, c->client, EV_READ | EV_WRITE | EV_ET | EV_PERSIST,
			     connection_watch, c);
	if (c->watch == NULL || event_add(c->watch, NULL) < 0)
		rc = error_set(err, REASON_EXHAUSTED, ENOMEM, "%s", errno_text(ENOMEM));
	else
		c->dialing = link_dial(f->loop, &options, &dial, connection_dialed, c);
	pod_clear(&pod);
	return rc;
}

static void forward_accepted(int fd, const struct sockaddr_storage *peer, void *arg)
{
	struct forward *f = arg;
	struct connection *c = xcalloc(1, sizeof(*c));
	struct error err;

	c->forward = f;
	c->client = fd;
	c->name = (struct log_name){ f->label, ++*f->config.last_id };
	TAILQ_INSERT_TAIL(&f->connections, c, next);
	if (peer->ss_family != AF_UNIX)
		sock_tune_tcp(fd);
	if (f->config.accepted != NULL)
		f->config.accepted(f, f->config.arg);
	if (connection_dial(c, &err) < 0) {
		log_error(&c->name, "%s", err.message);
		loop_later(f->loop, &c->failed, 0, connection_failed, c);
	}
}

static void name_forward(struct forward *f, uint16_t port)
{
	const struct forward_spec *spec = f->config.spec;
	char text[ADDRESS_TEXT_MAX];

	address_format(&spec->remote, text);
	f->address = xstrdup(text);
	f->remote = spec->remote.family == AF_UNSPEC ? xasprintf("%u", spec->remote.port)
						     : xstrdup(text);
	f->label = xasprintf("%s:%s", f->config.pod_arg, f->remote);
	f->local = port != 0 ? xasprintf("%u", port) : xstrdup(spec->local_path);
}

struct forward *forward_new(struct loop *loop, const struct forward_config *config,
			    const struct forward_bind *binds, size_t bind_count, struct error *err)
{
	const struct forward_spec *spec = config->spec;
	struct forward *f;
	uint16_t port;

	if (spec->network != NETWORK_TCP) {
		error_set(err, REASON_UNSUPPORTED, 0, "%s forwards are not supported",
			  network_name(spec->network));
		return NULL;
	}
	f = xcalloc(1, sizeof(*f));
	f->loop = loop;
	f->config = *config;
	TAILQ_INIT(&f->connections);
	if (bind_all(spec, binds, bind_count, &f->bound, &f->bound_count, &port, err) < 0) {
		free(f);
		return NULL;
	}
	name_forward(f, port);
	f->acceptors = xcalloc(f->bound_count, sizeof(struct acceptor *));
	for (size_t i = 0; i < f->bound_count; i++)
		f->acceptors[i] = acceptor_new(loop, steal_fd(&f->bound[i].fd), config->limit,
					       f->label, forward_accepted, f);
	return f;
}

const char *forward_listener(const struct forward *forward, size_t i)
{
	return i < forward->bound_count ? forward->bound[i].text : NULL;
}

const char *forward_local(const struct forward *forward)
{
	return forward->local;
}

const char *forward_remote(const struct forward *forward)
{
	return forward->remote;
}

void forward_stop(struct forward *f)
{
	/* First: once nobody listens, the next vzfwd may put its own in this one's place. */
	if (f->config.spec->bind_type == BIND_UNIX)
		sock_file_unlink(&f->bound[0].file, f->config.spec->local_path);
	for (size_t i = 0; i < f->bound_count; i++) {
		acceptor_free(f->acceptors[i]);
		f->acceptors[i] = NULL;
	}
}

void forward_abort(struct forward *f)
{
	struct connection *c, *next;

	for (c = TAILQ_FIRST(&f->connections); c != NULL; c = next) {
		next = TAILQ_NEXT(c, next);
		if (c->relay != NULL)
			relay_abort(c->relay, "the forward was stopped");
		else
			connection_free(c);
	}
}

void forward_free(struct forward *f)
{
	if (f == NULL)
		return;
	assert(TAILQ_EMPTY(&f->connections));
	if (f->bound_count > 0 && f->acceptors[0] != NULL)
		forward_stop(f);
	free(f->acceptors);
	free(f->bound);
	free(f->label);
	free(f->local);
	free(f->remote);
	free(f->address);
	free(f);
}
