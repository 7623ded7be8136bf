/* SPDX-License-Identifier: MIT */
/* A link in the guest, from accept to relay: a session (lib/session.c) whose requests the dialer answers. */
#include "config.h"

#include <string.h>

#include "lib/session.h"
#include "lib/sock.h"
#include "accept.h"
#include "handshake.h"
#include "hosts-block.h"
#include "ports-watch.h"

#define SPARE_MAX 64
#define REFUSED_LOG_MS 1000

struct guest_link {
	TAILQ_ENTRY(guest_link) next;
	struct session session;
	struct server *server;
	struct dialer_call *call;
	struct port_watch *watch;  /* NULL: none */
	struct hosts_block *hosts; /* NULL: none */
	struct parked *parked;     /* pod.portAccept: until its client is there; NULL: none */
	struct accept_listener *listener;   /* where that was accepted; NULL: none */
	bool counted;                       /* a pod.portDial: in server->connections */
	bool limited;                       /* in server->config.handshakes */
	int target;                         /* -1: none */
	struct datagrams_client *datagrams; /* in its place, of a pod's client; NULL: none */
	enum framing framing;
	uint16_t target_port;
	bool is_udp;
};

static struct guest_link *link_of(struct session *session)
{
	return container_of(session, struct guest_link, session);
}

/* It is no connection in the making (any more). */
static void link_uncount(struct guest_link *link)
{
	if (link->counted)
		link->server->connections--;
	link->counted = false;
}

/* It is no handshake (any more): the next link may come. */
static void link_unlimit(struct guest_link *link)
{
	if (link->limited)
		accept_limit_release(link->server->config.handshakes);
	link->limited = false;
}

static void link_closed(struct session *session)
{
	struct guest_link *link = link_of(session);

	if (link->call != NULL)
		dialer_cancel(link->call);
	port_watch_free(link->watch);
	link->watch = NULL;
	hosts_block_free(link->hosts);
	link->hosts = NULL;
	parked_free(link->parked);
	link->parked = NULL;
	datagrams_client_release(link->datagrams);
	link->datagrams = NULL;
	accept_release(link->listener, true);
	if (link->target >= 0)
		sock_close_reset(link->target);
	link_uncount(link);
	link_unlimit(link);
}

/*
 * As many as are accepted in a turn are kept for the next ones: given back, their memory would be cut up for the relays
 * that they become, with a rest each time that nothing fits (110 bytes a connection).
 */
static void link_free(struct server *server, struct guest_link *link)
{
	if (server->spare_count >= SPARE_MAX) {
		free(link);
		return;
	}
	TAILQ_INSERT_HEAD(&server->spare, link, next);
	server->spare_count++;
}

static struct guest_link *link_new(struct server *server)
{
	struct guest_link *link = TAILQ_FIRST(&server->spare);

	if (link == NULL)
		return xcalloc(1, sizeof(*link));
	TAILQ_REMOVE(&server->spare, link, next);
	server->spare_count--;
	memset(link, 0, sizeof(*link));
	return link;
}

void handshake_free_spare(struct server *server)
{
	struct guest_link *link;

	while ((link = TAILQ_FIRST(&server->spare)) != NULL) {
		TAILQ_REMOVE(&server->spare, link, next);
		free(link);
	}
	server->spare_count = 0;
}

static void link_freed(struct session *session)
{
	struct guest_link *link = link_of(session);
	struct server *server = link->server;

	TAILQ_REMOVE(&server->links, link, next);
	link_free(server, link);
	server_check_idle(server);
}

/* Whose side is whose: a target is dialed for the host's client, a client of the pod is one itself. */
static void link_become_datagrams(struct guest_link *link, const char *label)
{
	struct session *session = &link->session;
	const struct datagrams_end_config host = { DATAGRAMS_RECORDS, session->rfd, session->wfd },
					  target = { DATAGRAMS_SOCKET, link->target, link->target },
					  client = { DATAGRAMS_CALLS, -1, -1 };
	bool accepted = link->datagrams != NULL;
	struct datagrams_config config = {
		.end = { accepted ? client : host, accepted ? host : target },
		.linger_ms = DATAGRAMS_IDLE_MS,
		.client = link->datagrams,
		.name = { label, session->id },
	};

	watch_stop(session->loop, &session->read_watch);
	watch_stop(session->loop, &session->write_watch);
	server_add_datagrams(link->server, &config, link->listener);
}

static void link_become_relay(struct guest_link *link, const char *label)
{
	struct session *session = &link->session;
	bool both = session->rfd == session->wfd;
	struct relay_config config = {
		.end = { { .rfd = link->target,
			   .wfd = link->target,
			   .framing = FRAMING_RAW,
			   .socket = true },
			 { .rfd = session->rfd,
			   .wfd = session->wfd,
			   .framing = link->framing,
			   .socket = both } },
		.flags = link->listener == NULL ? RELAY_ACKED : 0,
		.name = { label, session->id },
	};

	if (both && session->read_watch.cb != NULL)
		config.end[1].watch = &session->read_watch;
	else
		watch_stop(session->loop, &session->read_watch);
	watch_stop(session->loop, &session->write_watch);
	server_add_stream(link->server, &config, link->listener);
}

/* Hands the descriptors over; the link itself is done. */
static void link_become_stream(struct session *session)
{
	struct guest_link *link = link_of(session);
	const struct rpc_params *params = &session->request.params;
	/* "web:80", "web:unix", "web:192.168.127.254:5432": how the log names the stream. */
	char label[RPC_LINE_MAX + UINT_TEXT_MAX], *at;
	const char *handle = "", *listen = NULL;

	rpc_get_string(METHOD_PORT_DIAL, params, "handle", true, &handle, NULL);
	if (link->listener != NULL)
		rpc_get_string(METHOD_PORT_ACCEPT, params, "listen", true, &listen, NULL);
	at = stpcpy(stpcpy(label, handle), ":");
	if (link->target_port != 0)
		put_uint(at, link->target_port);
	else
		stpcpy(at, listen != NULL ? listen : network_name(NETWORK_UNIX));
	if (link->is_udp)
		link_become_datagrams(link, label);
	else
		link_become_relay(link, label);
	link->target = -1;
	link->datagrams = NULL;
	link->listener = NULL;
}

static void link_failed(struct session *session, const struct error *err)
{
	link_of(session)->server->exit_code = reason_exit_code(err->reason);
}

static void ports_changed(void *arg)
{
	struct guest_link *link = arg;

	if (port_watch_is_over(link->watch))
		session_close(&link->session);
	else
		session_notify(&link->session);
}

static char *link_notification(struct session *session)
{
	_cleanup_json_ json_t *changes = port_watch_take(link_of(session)->watch);

	return changes != NULL ? rpc_format_notification(METHOD_PORTS_CHANGED, changes) : NULL;
}

/*
 * The link stays for as long as it likes, in a place that is counted by the watches. One watch a link: the newest.
 */
static void link_watch(struct guest_link *link, struct port_watch *watch)
{
	port_watch_free(link->watch);
	link->watch = watch;
	port_watch_listen(watch, ports_changed, link);
	link->session.may_idle = true;
	link_unlimit(link);
}

static void hosts_gone(void *arg)
{
	struct guest_link *link = arg;

	session_close(&link->session);
}

/* It stays as one that watches does, counted by the blocks. */
static void link_keep_hosts(struct guest_link *link, struct hosts_block *hosts)
{
	hosts_block_free(link->hosts);
	link->hosts = hosts;
	hosts_block_listen(hosts, hosts_gone, link);
	link->session.may_idle = true;
	link_unlimit(link);
}

/* At the limit. Pods may come as often as they like, so it is told once a second. */
static void client_refuse(struct server *server, struct accept_client *client)
{
	int64_t now = now_ms();

	if (now - server->refused_at >= REFUSED_LOG_MS) {
		log_warning(NULL, "clients of pods are refused: %zu connections",
			    server->connections);
		server->refused_at = now;
	}
	if (client->fd >= 0)
		sock_close_reset(client->fd);
	datagrams_client_release(client->datagrams);
	accept_release(client->listener, false);
}

static void link_accepted(struct accept_client *client, void *arg)
{
	struct guest_link *link = arg;
	struct session *session = &link->session;
	struct server *server = link->server;
	_cleanup_json_ json_t *params = NULL;

	if (client == NULL) {
		session_close(session);
		return;
	}
	if (server->connections >= server->config.max_connections) {
		client_refuse(server, client);
		parked_ready(link->parked, link_accepted, link);
		return;
	}
	link->counted = true;
	server->connections++;
	link->target = client->fd;
	link->datagrams = client->datagrams;
	link->is_udp = client->datagrams != NULL;
	link->listener = client->listener;
	parked_free(link->parked);
	link->parked = NULL;
	params = rpc_port_accepted_params(&client->told);
	session_hand_over(session, rpc_format_notification(METHOD_PORT_ACCEPTED, params));
}

static void link_parked(struct session *session)
{
	struct guest_link *link = link_of(session);

	parked_ready(link->parked, link_accepted, link);
}

static void link_answered(const struct dialer_answer *answer, const struct error *err, void *arg)
{
	struct guest_link *link = arg;
	struct session *session = &link->session;
	enum session_next next = link->counted ? SESSION_END : SESSION_GO_ON;

	link->call = NULL;
	if (err != NULL) {
		link_uncount(link);
		session_fail(session, err, next);
		return;
	}
	link->server->exit_code = 0;
	link->target = answer->fd;
	if (answer->dialed != NULL) {
		link->framing = answer->dialed->framing;
		link->target_port = answer->port;
		link->is_udp = answer->is_udp;
		session_answer(session, rpc_format_port_dialed(session->request.id, answer->dialed),
			       SESSION_HAND_OVER);
	} else if (answer->parked != NULL) {
		link->parked = answer->parked;
		link->framing = answer->framing;
		link_unlimit(link); /* counted by what is parked */
		session_answer(session, rpc_format_result(session->request.id, answer->result),
			       SESSION_PARK);
	} else {
		if (answer->watch != NULL)
			link_watch(link, answer->watch);
		if (answer->hosts != NULL)
			link_keep_hosts(link, answer->hosts);
		session_answer(session, rpc_format_result(session->request.id, answer->result),
			       SESSION_GO_ON);
	}
}

static void link_request(struct session *session)
{
	struct guest_link *link = link_of(session);
	struct server *server = link->server;
	const struct rpc_request *request = &session->request;
	struct error err;

	if (strcmp(request->method, METHOD_PORT_DIAL) == 0) {
		link->counted = true;
		server->connections++;
		if (server->connections > server->config.max_connections) {
			if (dialer_authorize(server->config.dialer, request->method,
					     &request->params, &err) == 0)
				error_set(&err, REASON_EXHAUSTED, 0,
					  "%zu connections: no more until one ends",
					  server->config.max_connections);
			link_answered(NULL, &err, link);
			return;
		}
		/* From here on it counts as a connection: targets that hang must not keep others out. */
		link_unlimit(link);
	}
	link->call = dialer_call(server->config.dialer, request->method, &request->params,
				 link_answered, link);
}

static const struct session_ops link_ops = {
	.label = "link",
	.requests_max = 16,
	.request = link_request,
	.notification = link_notification,
	.failed = link_failed,
	.parked = link_parked,
	.handed_over = link_become_stream,
	.closed = link_closed,
	.freed = link_freed,
};

void handshake_start(struct server *server, int rfd, int wfd)
{
	struct guest_link *link = link_new(server);

	link->server = server;
	link->target = -1;
	link->limited = server->config.handshakes != NULL;
	TAILQ_INSERT_TAIL(&server->links, link, next);
	session_start(&link->session, &link_ops, server->config.loop, ++server->last_id, rfd, wfd);
}

void handshake_abort_all(struct server *server)
{
	struct guest_link *link;

	TAILQ_FOREACH (link, &server->links, next) {
		if (link->session.state != SESSION_CLOSED)
			session_close(&link->session);
	}
}
