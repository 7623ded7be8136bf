/* SPDX-License-Identifier: MIT */
/*
 * From an accepted client to a relay: each connection reads the pod's file anew, opens a link of its
 * own and asks for the target. A client whose target can't be had is reset.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "bind.h"
#include "child.h"
#include "relay.h"
#include "sock.h"
#include "watch.h"

/* What a connection needs until it is a relay. */
struct pending {
	struct connection *connection;
	struct watch watch;      /* has the client gone? */
	struct dialing *dialing; /* NULL: could not be begun, which is told from the loop */
	struct loop_task failed;
};

struct connection {
	TAILQ_ENTRY(connection) next;
	struct forward *forward;
	uint64_t id;
	struct link_early client; /* its fd until the relay has it, then -1 */
	struct pending *pending;  /* one of the two, or neither: it is being freed */
	struct relay *relay;
	pid_t child;
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

static struct log_name connection_name(const struct connection *c)
{
	return (struct log_name){ c->forward->label, c->id };
}

static void connection_settle(struct connection *c)
{
	struct pending *pending = c->pending;

	c->pending = NULL;
	if (pending == NULL)
		return;
	watch_stop(c->forward->loop, &pending->watch);
	link_dial_cancel(pending->dialing);
	loop_cancel(&pending->failed);
	free(pending);
}

static void connection_free(struct connection *c)
{
	struct forward *f = c->forward;

	TAILQ_REMOVE(&f->connections, c, next);
	connection_settle(c);
	if (c->client.fd >= 0)
		sock_close_reset(c->client.fd);
	child_end(f->loop, c->child);
	free(c);
	accept_limit_release(f->config.limit);
	if (f->config.closed != NULL)
		f->config.closed(f, f->config.arg);
}

static void connection_relayed(const struct relay_result *result, void *arg)
{
	struct connection *c = arg;
	struct log_name name = connection_name(c);

	if (result->outcome == RELAY_CUT)
		log_error(&name, "%s", result->err.message);
	else
		log_debug(&name, "closed: %s, %llu bytes in, %llu out",
			  relay_outcome_name(result->outcome), (unsigned long long)result->bytes_in,
			  (unsigned long long)result->bytes_out + c->client.sent);
	connection_free(c);
}

static void connection_dialed(const struct link_dialed *dialed, const struct error *err, void *arg)
{
	struct connection *c = arg;
	struct pending *pending = c->pending;
	struct log_name name = connection_name(c);
	struct relay_config config;

	pending->dialing = NULL;
	if (err != NULL) {
		log_error(&name, "%s", err->message);
		connection_free(c);
		return;
	}
	c->child = dialed->child;
	config = (struct relay_config){
		.end = { { .rfd = c->client.fd,
			   .wfd = c->client.fd,
			   .framing = FRAMING_RAW,
			   .socket = true,
			   .watch = &pending->watch },
			 { .rfd = dialed->fd,
			   .wfd = dialed->fd,
			   .framing = dialed->result->framing,
			   .socket = true,
			   .watch = dialed->watch } },
		/* A command gets the time to pass on what it was given. */
		.flags = dialed->child != 0 ? RELAY_CONFIRM | RELAY_COMMAND : 0,
		.name = name,
		.done = connection_relayed,
		.arg = c,
	};
	c->client.fd = -1;
	c->relay = relay_new(c->forward->loop, &config);
	connection_settle(c);
}

/*
 * A client that was reset, or has closed altogether, needs no target any more. A Unix client that
 * has closed may have sent all that it had to say: that is still delivered.
 */
static void connection_watch(struct watch *watch, unsigned ready)
{
	struct connection *c = container_of(watch, struct pending, watch)->connection;
	struct pollfd pfd = { .fd = c->client.fd };
	struct log_name name = connection_name(c);
	char byte;

	if (!(ready & WATCH_HANGUP) || poll(&pfd, 1, 0) != 1 ||
	    !(pfd.revents & (POLLERR | POLLHUP)))
		return;
	if (!(pfd.revents & POLLERR) &&
	    (c->client.sent > 0 || recv(c->client.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0))
		return;
	log_debug(&name, "the client is gone");
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
	struct link_options options = { .pod = &pod,
					.policy = config->policy,
					.name = connection_name(c),
					.early = &c->client,
					.wants_watch = true };
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
	c->pending->dialing = link_dial(f->loop, &options, &dial, connection_dialed, c);
	pod_clear(&pod);
	/* An end or an error is reported, asked for or not. */
	rc = watch_start(f->loop, &c->pending->watch, c->client.fd, 0, connection_watch);
	if (rc == 0)
		return 0;
	link_dial_cancel(c->pending->dialing);
	c->pending->dialing = NULL;
	return error_set(err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
}

static void forward_accepted(int fd, const struct sockaddr_storage *peer, void *arg)
{
	struct forward *f = arg;
	struct connection *c = xcalloc(1, sizeof(*c));
	struct log_name name;
	struct error err;
	int rc;

	c->forward = f;
	c->client.fd = fd;
	c->id = ++*f->config.last_id;
	c->pending = xcalloc(1, sizeof(*c->pending));
	c->pending->connection = c;
	TAILQ_INSERT_TAIL(&f->connections, c, next);
	if (peer->ss_family != AF_UNIX)
		sock_tune_accepted(fd);
	/* First: what is told meanwhile costs the client no time. */
	rc = connection_dial(c, &err);
	if (f->config.accepted != NULL)
		f->config.accepted(f, f->config.arg);
	if (rc < 0) {
		name = connection_name(c);
		log_error(&name, "%s", err.message);
		loop_later(f->loop, &c->pending->failed, 0, connection_failed, c);
	}
}

size_t forward_connections_max(uint64_t wanted, size_t spare)
{
	size_t limit = fd_limit_raise(), used = fd_count() + spare + relay_bulk_descriptors();
	size_t max = limit > used + 2 ? (limit - used) / 2 : 1;

	if (wanted == 0)
		return max;
	if (wanted > max)
		log_warning(NULL, "--max-connections: the descriptor limit is enough for %zu", max);
	return wanted < max ? (size_t)wanted : max;
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
	for (size_t i = 0; i < f->bound_count; i++) {
		if (spec->bind_type != BIND_UNIX)
			sock_tune_tcp(f->bound[i].fd);
		f->acceptors[i] = acceptor_new(loop, steal_fd(&f->bound[i].fd), config->limit,
					       f->label, forward_accepted, f);
	}
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
