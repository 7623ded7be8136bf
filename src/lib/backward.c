/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>

#include "backward-state.h"
#include "child.h"
#include "local.h"
#include "records.h"
#include "sock.h"

static struct log_name backward_name(const struct backward *b)
{
	return (struct log_name){ b->config.label, b->config.id };
}

static struct loop *backward_loop(const struct backward *b)
{
	return b->config.all->loop;
}

int backward_fd(const struct backward *b)
{
	return b->fd;
}

enum framing backward_framing(const struct backward *b)
{
	return b->framing;
}

const struct port_accepted *backward_told(const struct backward *b)
{
	return &b->told;
}

bool backward_is_udp(const struct backward *b)
{
	return b->network == NETWORK_UDP;
}

/* It has its service, or will have none: what was waited for is over. */
static void backward_settle(struct backward *b)
{
	watch_stop(backward_loop(b), &b->watch);
	if (b->connecting != NULL)
		connect_cancel(b->connecting);
	b->connecting = NULL;
	link_dial_cancel(b->dialing);
	b->dialing = NULL;
	loop_cancel(&b->failed);
	free(b->err);
	b->err = NULL;
	b->config.readable = NULL;
	if (b->config.over != NULL)
		b->config.over(b->config.arg);
	b->config.over = NULL;
}

void backward_end(struct backward *b)
{
	struct backwards *all = b->config.all;
	struct accept_listener *listener = b->listener;

	backward_settle(b);
	TAILQ_REMOVE(&all->list, b, next);
	all->flows -= backward_is_udp(b);
	if (b->denied) {
		all->denied--;
	} else {
		all->traffic.open--;
		++*all->room;
	}
	child_end(all->loop, b->child);
	child_end(all->loop, b->service_child);
	datagrams_client_release(b->client);
	free((char *)b->config.source.target);
	free((char *)b->config.source.name);
	free(b->who);
	free(b);
	local_release(all->loop, listener);
	all->gone(all->arg);
}

/* Tells a link why there is no stream, as far as it takes that at once, and closes it. */
static void refuse(int fd, enum framing framing, const struct error *err)
{
	uint8_t record[RECORD_HEADER_SIZE + RECORD_RESET_MAX];

	if (fd < 0)
		return;
	if (framing == FRAMING_RECORDS)
		sock_send_some(fd, record, record_encode_reset(record, err));
	sock_close_reset(fd);
}

static void backward_refuse(struct backward *b, const struct error *err)
{
	b->config.all->traffic.failed[err->reason]++;
	watch_stop(backward_loop(b), &b->watch);
	refuse(steal_fd(&b->fd), b->framing, err);
	backward_end(b);
}

void backward_fail(struct backward *b, const struct error *err)
{
	struct log_name name = backward_name(b);

	if (err->reason == REASON_BROKEN)
		log_debug(&name, "%s", err->message);
	else if (backwards_may_log(b))
		log_error(&name, "%s", err->message);
	event_failed(&b->config.source, b->config.id, b->who, err);
	backward_refuse(b, err);
}

void backward_set_name(struct backward *b, const char *name)
{
	free((char *)b->config.source.name);
	b->config.source.name = name != NULL ? xstrdup(name) : NULL;
}

static void backward_failed(void *arg)
{
	struct backward *b = arg;
	struct error err = *b->err;

	backward_fail(b, &err);
}

static void fail_later(struct backward *b, const struct error *err)
{
	if (b->err != NULL)
		return;
	b->err = xmalloc(sizeof(*err));
	*b->err = *err;
	loop_later(backward_loop(b), &b->failed, 0, backward_failed, b);
}

/* A link that is closed, or a client that was reset, needs no service any more. What a client has sent that has just closed may matter. */
static void client_event(struct watch *watch, unsigned ready)
{
	struct backward *b = container_of(watch, struct backward, watch);
	struct pollfd pfd = { .fd = b->fd };
	struct error err;
	char byte;

	if (!(ready & WATCH_HANGUP) || poll(&pfd, 1, 0) != 1 ||
	    !(pfd.revents & (POLLERR | POLLHUP))) {
		if ((ready & (WATCH_READ | WATCH_END)) && b->config.readable != NULL)
			b->config.readable(b->config.arg);
		return;
	}
	if (b->framing == FRAMING_RAW && !(pfd.revents & POLLERR) &&
	    recv(b->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
		return;
	error_set(&err, REASON_BROKEN, ECONNRESET, "the client is gone");
	backward_fail(b, &err);
}

/* As it is from the client's side, where an end is local that was the client's, and a reset if the service's. */
static void turn_round(const struct backward *b, struct relay_result *result)
{
	int service = b->service_last;
	uint64_t in = result->bytes_in;

	if ((result->outcome == RELAY_LOCAL || result->outcome == RELAY_RESET) && result->gone >= 0)
		result->outcome = result->gone == service ? RELAY_RESET : RELAY_LOCAL;
	if (service == 0) {
		result->bytes_in = result->bytes_out;
		result->bytes_out = in;
	}
}

/* What a UDP service that is closed comes to: connect(2) does not tell. */
static bool is_not_there(const struct relay_result *result)
{
	return result->outcome == RELAY_RESET && result->gone == 1 &&
	       (result->err.reason == REASON_REFUSED || result->err.reason == REASON_UNREACHABLE);
}

void backward_done(const struct relay_result *result, void *arg)
{
	struct backward *b = arg;
	struct log_name name = backward_name(b);
	struct relay_result told = *result;

	if (b->denied) {
		backward_end(b);
		return;
	}
	if (!backward_is_udp(b))
		turn_round(b, &told);
	else if (is_not_there(result) && backwards_may_log(b))
		log_error(&name, "%s", result->err.message);
	log_debug(&name, "closed: %s, %llu bytes in, %llu out", relay_outcome_name(told.outcome),
		  (unsigned long long)told.bytes_in, (unsigned long long)told.bytes_out);
	event_closed(&b->config.source, b->config.id, b->who, &told);
	b->config.all->traffic.bytes_in += told.bytes_in;
	b->config.all->traffic.bytes_out += told.bytes_out;
	backward_end(b);
}

static void become_datagrams(struct backward *b, const struct datagrams_end_config *service)
{
	struct datagrams_config config = {
		.end = { { b->client != NULL ? DATAGRAMS_CALLS : DATAGRAMS_RECORDS, b->fd, b->fd },
			 *service },
		.linger_ms = b->config.all->udp_idle_ms,
		.idle_ms = b->config.all->udp_idle_ms,
		.client = b->client,
		.name = backward_name(b),
		.done = backward_done,
		.arg = b,
	};

	b->fd = -1;
	b->client = NULL;
	backward_settle(b);
	b->datagrams = datagrams_new(backward_loop(b), &config);
}

/* What else comes of the flow is lost, and not one more client that is denied. It is in nobody's way. */
static void backward_hold(struct backward *b, const struct error *err)
{
	struct backwards *all = b->config.all;

	if (all->denied >= BACKWARD_HELD_MAX)
		backwards_make_room(all, true);
	all->traffic.failed[err->reason]++;
	all->traffic.open--;
	all->denied++;
	b->denied = true;
	++*all->room;
	become_datagrams(b, &(struct datagrams_end_config){ DATAGRAMS_NOWHERE, -1, -1 });
	all->gone(all->arg);
}

void backward_deny(struct backward *b, const char *rule, const struct error *err)
{
	const struct event_source *source = &b->config.source;
	struct log_name name = backward_name(b);

	if (backwards_may_log(b))
		log_warning(&name, "denied: %s%s%s%s: %s (rule: %s)",
			    source->target != NULL ? source->target : "?",
			    source->name != NULL ? " (" : "",
			    source->name != NULL ? source->name : "",
			    source->name != NULL ? ")" : "", err->message, rule);
	event_denied(source, b->config.id, b->who, rule, err);
	if (backward_is_udp(b))
		backward_hold(b, err);
	else
		backward_refuse(b, err);
}

/* The service is the near side; the other one is that whose link is a command, if only one is. */
static void become_relay(struct backward *b, int fd, enum framing framing, struct watch *watch)
{
	struct relay_end_config service = { fd, fd, framing, true, watch };
	struct relay_end_config client = { b->fd, b->fd, b->framing, true,
					   b->watch.cb != NULL ? &b->watch : NULL };
	bool last = b->service_child != 0 && b->child == 0;
	struct relay_config config = {
		.end = { last ? client : service, last ? service : client },
		.flags = RELAY_ACKED | (last || b->child != 0 ? RELAY_CONFIRM | RELAY_COMMAND : 0u),
		.name = backward_name(b),
		.done = backward_done,
		.arg = b,
	};

	b->fd = -1;
	b->service_last = last;
	b->relay = relay_new(backward_loop(b), &config);
	backward_settle(b);
}

static void backward_open(struct backward *b, int fd, enum framing framing, struct watch *watch)
{
	event_opened(&b->config.source, b->config.id, b->who);
	if (backward_is_udp(b)) {
		if (watch != NULL)
			watch_stop(backward_loop(b), watch);
		become_datagrams(b, &(struct datagrams_end_config){ datagrams_type_of(framing), fd,
								    fd });
	} else {
		become_relay(b, fd, framing, watch);
	}
}

void backward_join(struct backward *b, int fd)
{
	backward_open(b, fd, FRAMING_RAW, NULL);
}

static void on_connected(const struct connected *connected, const struct error *err, void *arg)
{
	struct backward *b = arg;

	b->connecting = NULL;
	if (err != NULL)
		backward_fail(b, err);
	else
		backward_open(b, connected->fd, FRAMING_RAW, NULL);
}

void backward_connect(struct backward *b, const struct address *addrs, size_t count, int timeout_ms)
{
	struct connect_config config = {
		.type = backward_is_udp(b) ? SOCK_DGRAM : SOCK_STREAM,
		.count = count < CONNECT_MAX ? count : CONNECT_MAX,
		.timeout_ms = timeout_ms,
		.done = on_connected,
		.arg = b,
	};
	struct connecting *connecting;

	for (size_t i = 0; i < config.count; i++)
		config.addrs[i] = addrs[i];
	connecting = connect_start(backward_loop(b), &config);
	if (connecting != NULL)
		b->connecting = connecting;
}

void backward_connect_unix(struct backward *b, const char *path)
{
	struct sockaddr_storage ss;
	socklen_t len;
	struct error err;
	int fd = sock_new(AF_UNIX, SOCK_STREAM, 0), rc = fd;

	if (rc >= 0)
		rc = sock_unix_address(&ss, &len, path);
	if (rc >= 0 && connect(fd, (struct sockaddr *)&ss, len) < 0)
		rc = -errno;
	if (rc >= 0) {
		backward_join(b, fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	error_set_connect(&err, rc == -ENOENT ? ECONNREFUSED : -rc);
	error_prefix(&err, "unix:%s", path);
	fail_later(b, &err);
}

static void on_dialed(const struct link_dialed *dialed, const struct error *err, void *arg)
{
	struct backward *b = arg;

	b->dialing = NULL;
	if (err != NULL) {
		backward_fail(b, err);
		return;
	}
	b->service_child = dialed->child;
	backward_open(b, dialed->fd, dialed->result->framing, dialed->watch);
}

void backward_dial(struct backward *b, const char *pods_dir, const char *pod_arg,
		   const struct policy *policy, enum network network, const char *address,
		   int timeout_ms)
{
	struct link_options options = { .policy = policy,
					.name = backward_name(b),
					.wants_watch = true };
	struct port_dial dial = { .network = network,
				  .address = address,
				  .timeout_ms = timeout_ms,
				  .framing = FRAMING_RECORDS };
	struct pod pod;
	struct error err;

	if (pods_resolve(pods_dir, pod_arg, &pod, &err) < 0) {
		fail_later(b, &err);
		return;
	}
	dial.handle = pod.handle;
	options.pod = &pod;
	b->dialing = link_dial(backward_loop(b), &options, &dial, on_dialed, b);
	pod_clear(&pod);
}

static char *copy(const char *text)
{
	return text != NULL ? xstrdup(text) : NULL;
}

struct backward *backward_new(const struct backward_config *config,
			      const struct park_client *client)
{
	struct backwards *all = config->all;
	struct backward *b = xcalloc(1, sizeof(*b));
	struct sockaddr_storage ss = { 0 };
	struct error err;
	unsigned what = config->readable != NULL ? WATCH_READ : 0;
	int rc = 0;

	b->config = *config;
	b->config.source.target = copy(config->source.target);
	b->config.source.name = copy(config->source.name);
	b->told = client->told;
	b->network = client->network;
	b->framing = client->framing;
	b->fd = client->fd;
	b->client = client->datagrams;
	b->child = client->child;
	b->listener = client->listener;
	if (b->told.remote.family != AF_UNSPEC)
		address_to_sockaddr(&b->told.remote, &ss);
	b->who = event_client_at(&config->source, &ss);
	if (backward_is_udp(b) && all->flows >= BACKWARD_FLOWS_MAX)
		backwards_make_room(all, false);
	TAILQ_INSERT_TAIL(&all->list, b, next);
	all->flows += backward_is_udp(b);
	all->traffic.open++;
	all->traffic.total++;
	if (client->watch != NULL)
		watch_move(all->loop, client->watch, &b->watch, what, client_event);
	else if (b->fd >= 0)
		rc = watch_start(all->loop, &b->watch, b->fd, what, client_event);
	if (rc < 0) {
		error_set(&err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
		fail_later(b, &err);
	}
	return b;
}
