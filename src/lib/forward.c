/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "bind.h"
#include "datagrams.h"
#include "relay.h"
#include "sock.h"

struct forward {
	struct forward_config config;
	struct route route;
	char *label;   /* "web:80" */
	char *local;   /* "8080" */
	char *remote;  /* "80" */
	char *address; /* what the dialer is asked for */
	struct bound *bound;
	size_t bound_count;
	struct acceptor **acceptors; /* as many; NULL after forward_stop() */
	struct flows *flows;         /* udp: in their place */
	/* How many forwards have the Unix socket's file; NULL: none, or it is none. */
	unsigned *sharing;
};

static void forward_event(const struct connection_event *event, void *arg)
{
	struct forward *f = arg;

	if (event->type != CONNECTION_OPENED)
		accept_limit_release(f->config.limit);
	if (f->config.event != NULL)
		f->config.event(f, event, f->config.arg);
}

static void forward_accepted(int fd, const struct sockaddr_storage *peer, void *arg)
{
	struct forward *f = arg;

	if (peer->ss_family != AF_UNIX)
		sock_tune_accepted(fd);
	/* First: what is told meanwhile costs the client no time. */
	connection_new(&f->route, fd, fd, ++*f->config.last_id);
	if (f->config.accepted != NULL)
		f->config.accepted(f, f->config.arg);
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

	f->address = xstrdup(spec->network == NETWORK_UNIX ? spec->remote_path
							   : address_format(&spec->remote, text));
	f->remote = forward_spec_remote(spec);
	f->label = xasprintf("%s:%s", f->config.pod_arg, f->remote);
	f->local = port != 0 ? xasprintf("%u", port) : xstrdup(spec->local_path);
}

/* A descriptor of its own for each of the predecessor's listeners. */
static int share_listeners(struct forward *f, uint16_t *port, struct error *err)
{
	const struct forward *from = f->config.predecessor;

	f->bound = xcalloc(from->bound_count, sizeof(*f->bound));
	for (; f->bound_count < from->bound_count; f->bound_count++) {
		struct bound *bound = &f->bound[f->bound_count];

		*bound = from->bound[f->bound_count];
		bound->fd = fcntl(acceptor_fd(from->acceptors[f->bound_count]), F_DUPFD_CLOEXEC, 0);
		if (bound->fd < 0)
			break;
	}
	if (f->bound_count < from->bound_count) {
		error_set(err, REASON_EXHAUSTED, errno, "%s", errno_text(errno));
		while (f->bound_count > 0)
			close(f->bound[--f->bound_count].fd);
		free(f->bound);
		return -EMFILE;
	}
	f->sharing = from->sharing;
	if (f->sharing != NULL)
		++*f->sharing;
	*port = f->config.spec->local_port;
	return 0;
}

static int make_listeners(struct forward *f, const struct forward_bind *binds, size_t bind_count,
			  uint16_t *port, struct error *err)
{
	const struct forward_spec *spec = f->config.spec;
	int rc;

	if (f->config.predecessor != NULL)
		return share_listeners(f, port, err);
	rc = bind_all(spec, binds, bind_count, &f->bound, &f->bound_count, port, err);
	if (rc == 0 && spec->bind_type == BIND_UNIX) {
		f->sharing = xmalloc(sizeof(*f->sharing));
		*f->sharing = 1;
	}
	return rc;
}

static int check_spec(const struct forward_spec *spec, struct error *err)
{
	if (spec->network != NETWORK_TCP && spec->network != NETWORK_UNIX &&
	    !network_is_udp(spec->network))
		return error_set(err, REASON_UNSUPPORTED, 0, "%s forwards are not supported",
				 network_name(spec->network));
	if (spec->bind_type == BIND_UNIX && network_is_udp(spec->network))
		return error_set(err, REASON_INVALID, EINVAL,
				 "a Unix socket cannot be forwarded to udp");
	return 0;
}

static void add_acceptors(struct forward *f)
{
	f->acceptors = xcalloc(f->bound_count, sizeof(struct acceptor *));
	for (size_t i = 0; i < f->bound_count; i++) {
		if (f->config.spec->bind_type != BIND_UNIX)
			sock_tune_tcp(f->bound[i].fd);
		f->acceptors[i] = acceptor_new(f->route.loop, steal_fd(&f->bound[i].fd),
					       f->config.limit, f->label, forward_accepted, f);
	}
}

static void flow_accepted(void *arg)
{
	struct forward *f = arg;

	if (f->config.accepted != NULL)
		f->config.accepted(f, f->config.arg);
}

static int add_flows(struct forward *f, struct error *err)
{
	const struct flows_config config = {
		.route = &f->route,
		.limit = f->config.limit,
		.last_id = f->config.last_id,
		.idle_ms = f->config.udp_idle_ms > 0 ? f->config.udp_idle_ms : DATAGRAMS_IDLE_MS,
		.accepted = flow_accepted,
		.arg = f,
	};
	int rc = 0, failed;

	f->flows = flows_new(&config);
	for (size_t i = 0; i < f->bound_count; i++) {
		failed = flows_add(f->flows, steal_fd(&f->bound[i].fd));
		if (failed < 0)
			rc = error_set(err, REASON_EXHAUSTED, -failed, "%s", errno_text(-failed));
	}
	return rc;
}

struct forward *forward_new(struct loop *loop, const struct forward_config *config,
			    const struct forward_bind *binds, size_t bind_count, struct error *err)
{
	const struct forward_spec *spec = config->spec;
	const struct retry_pod pod = { config->pods_dir, config->pod_arg, config->handle,
				       config->container_id, config->events };
	struct forward *f;
	uint16_t port;

	if (check_spec(spec, err) < 0)
		return NULL;
	f = xcalloc(1, sizeof(*f));
	f->config = *config;
	if (make_listeners(f, binds, bind_count, &port, err) < 0) {
		free(f);
		return NULL;
	}
	f->config.predecessor = NULL;
	name_forward(f, port);
	f->route = (struct route){
		.loop = loop,
		.pods_dir = config->pods_dir,
		.pod_arg = config->pod_arg,
		.handle = config->handle,
		.container_id = config->container_id,
		.policy = config->policy,
		.network = spec->network,
		.address = f->address,
		.timeout_ms = config->timeout_ms,
		.retry = retry_get(loop, &pod),
		.retry_ms = config->retry_ms,
		.label = f->label,
		.source = { config->events, config->pod_arg, f->bound[0].text, f->remote, NULL },
		.capture = config->capture,
		.event = forward_event,
		.arg = f,
	};
	TAILQ_INIT(&f->route.connections);
	if (!network_is_udp(spec->network)) {
		add_acceptors(f);
	} else if (add_flows(f, err) < 0) {
		forward_free(f);
		return NULL;
	}
	event_listening(&f->route.source, config->events != NULL ? forward_listeners(f) : NULL);
	return f;
}

json_t *forward_listeners(const struct forward *f)
{
	json_t *array = json_array();

	for (size_t i = 0; i < f->bound_count; i++)
		json_array_append_new(array, rpc_system_string(f->bound[i].text));
	return array;
}

json_t *forward_to_json(const struct forward *f)
{
	const struct forward_config *config = &f->config;
	struct traffic traffic = connections_traffic(&f->route);
	json_t *json = xcheck(json_pack(
		"{s:o, s:o, s:o, s:s, s:o, s:o}", "listen", rpc_system_string(f->bound[0].text),
		"listeners", forward_listeners(f), "pod", rpc_system_string(config->pod_arg),
		"network", network_name(config->spec->network), "address",
		rpc_system_string(f->address), "target", rpc_system_string(f->remote)));

	if (config->container_id != NULL)
		json_object_set_new(json, "containerID", json_string(config->container_id));
	traffic_put(json, &traffic);
	return json;
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

struct traffic forward_traffic(const struct forward *forward)
{
	return connections_traffic(&forward->route);
}

void forward_stop(struct forward *f)
{
	event_stopped(&f->route.source);
	/* First: once nobody listens, the next vzfwd may put its own in this one's place. */
	if (f->sharing != NULL && --*f->sharing == 0) {
		sock_file_unlink(&f->bound[0].file, f->config.spec->local_path);
		free(f->sharing);
	}
	f->sharing = NULL;
	if (f->flows != NULL)
		flows_stop(f->flows);
	for (size_t i = 0; f->acceptors != NULL && i < f->bound_count; i++) {
		acceptor_free(f->acceptors[i]);
		f->acceptors[i] = NULL;
	}
}

void forward_abort(struct forward *f)
{
	connections_abort(&f->route);
}

void forward_abort_silent(struct forward *f)
{
	connections_abort_silent(&f->route);
}

void forward_free(struct forward *f)
{
	if (f == NULL)
		return;
	assert(TAILQ_EMPTY(&f->route.connections));
	if (f->acceptors != NULL && f->acceptors[0] != NULL)
		forward_stop(f);
	flows_free(f->flows);
	retry_put(f->route.retry);
	free(f->acceptors);
	free(f->bound);
	free(f->label);
	free(f->local);
	free(f->remote);
	free(f->address);
	free(f);
}
