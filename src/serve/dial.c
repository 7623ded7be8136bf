/* SPDX-License-Identifier: MIT */
/*
 * pod.portDial for a caller: a link, and then either its descriptor goes to the caller, or the caller's
 * connection becomes the stream, relayed to the link. To the dialer the link speaks records whatever the
 * caller speaks, so that a cut can be told from an end for as long as that can be.
 */
#include "config.h"

#include <errno.h>

#include "lib/child.h"
#include "lib/sock.h"
#include "caller.h"
#include "dialed.h"

static void uncount(struct caller *c)
{
	if (c->counted)
		accept_limit_release(&caller_share(c)->connections);
	c->counted = false;
}

/* `err`: why it got nowhere, if that was not told. */
static void dial_end(struct caller *c, const struct error *err)
{
	if (c->dialed != NULL)
		dialed_failed(c->dialed, err);
	c->dialed = NULL;
	if (c->stream >= 0)
		sock_close_reset(steal_fd(&c->stream));
	child_end(c->serve->config.loop, c->child);
	c->child = 0;
	uncount(c);
	free(c->label);
	c->label = NULL;
}

void caller_dial_cancel(struct caller *c)
{
	struct error err;

	error_set(&err, REASON_BROKEN, ECONNRESET, "the caller is gone");
	link_dial_cancel(c->dialing);
	c->dialing = NULL;
	dial_end(c, &err);
}

/* Bytes of a stream may follow a request to become one, and must not be taken for the next request. */
static void dial_fail(struct caller *c, const struct error *err)
{
	dial_end(c, err);
	session_fail(&c->session, err, c->pass_fd ? SESSION_GO_ON : SESSION_END);
}

/* The descriptor leaves: nobody of us stays in the path. */
static void pass(struct caller *c, const struct port_dialed *result)
{
	struct session *s = &c->session;
	int rc = fd_set_nonblock(c->stream, false), fd;
	struct error err;

	if (rc < 0) {
		error_set(&err, REASON_INTERNAL, -rc, "%s", errno_text(-rc));
		dial_fail(c, &err);
		return;
	}
	fd = steal_fd(&c->stream);
	dialed_passed(c->dialed);
	c->dialed = NULL;
	dial_end(c, NULL);
	session_answer_fd(s, rpc_format_port_dialed(s->request.id, result), fd);
}

static void dialed(const struct link_dialed *dialed, const struct error *err, void *arg)
{
	struct caller *c = arg;
	struct session *s = &c->session;
	struct port_dialed result;

	c->dialing = NULL;
	if (err != NULL) {
		dial_fail(c, err);
		return;
	}
	c->stream = dialed->fd;
	c->stream_framing = dialed->result->framing;
	c->child = dialed->child;
	result = *dialed->result;
	if (c->pass_fd) {
		pass(c, &result);
		return;
	}
	result.framing = c->framing;
	session_answer(s, rpc_format_port_dialed(s->request.id, &result), SESSION_HAND_OVER);
}

/* What can't be done with this pod's link. */
static int check_passing(const struct caller *c, const struct pod *pod, struct error *err)
{
	if (!c->pass_fd)
		return 0;
	if (pod->endpoint.type == ENDPOINT_EXEC)
		return error_set(err, REASON_UNSUPPORTED, 0,
				 METHOD_PORT_DIAL
				 ": passFd: the command of an exec: pod ends with its link here");
	if (link_is_local(&pod->endpoint) && c->framing == FRAMING_RECORDS)
		return error_set(err, REASON_UNSUPPORTED, 0,
				 METHOD_PORT_DIAL
				 ": passFd: the socket in a netns: or pid: pod is raw");
	return 0;
}

static int count(struct caller *c, struct error *err)
{
	struct accept_limit *limit = &caller_share(c)->connections;

	if (limit->count >= limit->max)
		return error_set(err, REASON_EXHAUSTED, 0,
				 "%zu connections: no more until one ends", limit->count);
	limit->count++;
	c->counted = true;
	return 0;
}

static int start(struct caller *c, struct pod *pod, struct error *err)
{
	const struct rpc_params *params = &c->session.request.params;
	struct serve *serve = c->serve;
	struct port_target target;
	char address[ADDRESS_TEXT_MAX];
	struct port_dial dial = { .address = address, .handle = pod->handle };
	struct link_options options = { .pod = pod, .policy = serve->config.policy };

	if (rpc_get_string(METHOD_PORT_DIAL, params, "containerID", false, &dial.container_id,
			   err) < 0 ||
	    rpc_get_port_target(METHOD_PORT_DIAL, params, FRAMING_RAW, &target, err) < 0)
		return -EPROTO;
	c->framing = target.framing;
	c->is_udp = network_is_udp(target.network);
	if (check_passing(c, pod, err) < 0 || count(c, err) < 0)
		return -EPROTO;
	if (target.network == NETWORK_UNIX)
		dial.address = target.path;
	else
		address_format(&target.addr, address);
	dial.network = target.network;
	dial.timeout_ms = target.timeout_ms;
	dial.framing = c->pass_fd ? c->framing : FRAMING_RECORDS;
	c->label = target.network == NETWORK_UNIX
			   ? xasprintf("%s:%s", pod->name, network_name(NETWORK_UNIX))
			   : xasprintf("%s:%u", pod->name, target.addr.port);
	c->dialed = dialed_new(serve, pod->name, dial.address, c->session.id, c->session.rfd);
	options.name = (struct log_name){ c->label, c->session.id };
	c->dialing = link_dial(serve->config.loop, &options, &dial, dialed, c);
	return 0;
}

void caller_dial(struct caller *c)
{
	const struct rpc_params *params = &c->session.request.params;
	struct pod pod;
	struct error err;
	int rc;

	c->pass_fd = false;
	rc = rpc_get_boolean(METHOD_PORT_DIAL, params, "passFd", &c->pass_fd, &err);
	if (rc < 0) {
		dial_fail(c, &err);
		return;
	}
	rc = method_pod(c->serve, METHOD_PORT_DIAL, params, "handle", &pod, &err);
	if (rc == 0)
		rc = start(c, &pod, &err);
	pod_clear(&pod);
	if (rc < 0)
		dial_fail(c, &err);
}

static void become_datagrams(struct caller *c)
{
	struct session *s = &c->session;
	struct datagrams_config config = {
		.end = { { DATAGRAMS_RECORDS, s->rfd, s->wfd },
			 { datagrams_type_of(c->stream_framing), c->stream, c->stream } },
		.linger_ms = DATAGRAMS_IDLE_MS,
		.name = { c->label, s->id },
	};

	watch_stop(s->loop, &s->read_watch);
	watch_stop(s->loop, &s->write_watch);
	streams_add_datagrams(&caller_share(c)->streams, &config, c->child, c->dialed);
}

static void become_relay(struct caller *c)
{
	struct session *s = &c->session;
	struct relay_config config = {
		.end = { { .rfd = s->rfd,
			   .wfd = s->wfd,
			   .framing = c->framing,
			   .socket = true,
			   .watch = s->read_watch.cb != NULL ? &s->read_watch : NULL },
			 { .rfd = c->stream,
			   .wfd = c->stream,
			   .framing = c->stream_framing,
			   .socket = true } },
		/* A command gets the time to pass on what it was given. */
		.flags = c->child != 0 ? RELAY_CONFIRM | RELAY_COMMAND : 0,
		.name = { c->label, s->id },
	};

	streams_add(&caller_share(c)->streams, &config, c->child, c->dialed);
}

void caller_become_stream(struct caller *c)
{
	dialed_opened(c->dialed);
	c->counted = false; /* released when the stream has ended */
	if (c->is_udp)
		become_datagrams(c);
	else
		become_relay(c);
	c->dialed = NULL; /* the stream's now */
	c->stream = -1;
	c->child = 0;
	dial_end(c, NULL);
	caller_unlimit(c);
}
