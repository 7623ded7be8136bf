/* SPDX-License-Identifier: MIT */
/*
 * One client's datagrams. They come from the address that the client's connection comes from, by the port that it named or the
 * first that sent something, and each says where it goes; what the target says comes back behind the same words.
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "lib/flow.h"
#include "associate.h"

/* Of one client; the least recently used one makes room for another. */
#define ASSOCIATE_FLOWS_MAX 128
#define BATCH 64
#define PAUSE_MS 100

struct associate {
	struct client *client;
	struct flow_table table;
	LIST_HEAD(, flow) flows;
	struct watch watch;
	struct loop_task more; /* goes on reading */
	int fd;
	struct sockaddr_storage peer; /* whose datagrams are taken; port 0: not known yet */
	socklen_t peer_len;
};

struct associated {
	struct flow flow;
	struct associate *associate;
	struct aim aim;
	size_t head_size;
	uint8_t head[SOCKS_DATAGRAM_HEAD_MAX];
};

static struct associated *associated(struct flow *flow)
{
	return container_of(flow, struct associated, flow);
}

static uint16_t *port_of(struct sockaddr_storage *ss)
{
	return ss->ss_family == AF_INET ? &((struct sockaddr_in *)ss)->sin_port
					: &((struct sockaddr_in6 *)ss)->sin6_port;
}

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in *a4 = (const struct sockaddr_in *)a,
				 *b4 = (const struct sockaddr_in *)b;
	const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)a,
				  *b6 = (const struct sockaddr_in6 *)b;

	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET)
		return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	return IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr) &&
	       a6->sin6_scope_id == b6->sin6_scope_id;
}

/* What can't be sent is lost, on this hop as on any other. */
static void associated_reply(struct flow *flow, const uint8_t *data, size_t size)
{
	struct associated *to = associated(flow);
	struct associate *a = to->associate;
	struct iovec iov[2] = { { to->head, to->head_size }, { (void *)data, size } };
	struct msghdr msg = {
		.msg_name = &a->peer, .msg_namelen = a->peer_len, .msg_iov = iov, .msg_iovlen = 2
	};
	struct log_name name = client_name(a->client);

	if (sendmsg(a->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_debug(&name, "a datagram of %zu bytes: %s", size, errno_text(errno));
}

static void associated_free(struct flow *flow)
{
	struct associated *to = associated(flow);

	aim_clear(&to->aim);
	free(to);
}

static const struct flow_ops associated_ops = { .reply = associated_reply,
						.free = associated_free };

static void associated_event(const struct connection_event *event, void *arg)
{
	struct associate *a = arg;

	if (event->type != CONNECTION_OPENED)
		accept_limit_release(a->client->proxy->config.limit);
}

static void associated_new(struct associate *a, const struct socks_request *request,
			   const uint8_t *data, size_t head_size, size_t size)
{
	const struct proxy_config *config = &a->client->proxy->config;
	struct log_name name = client_name(a->client);
	struct associated *to;
	struct error err;

	if (!flow_table_room(&a->table))
		return;
	to = xcalloc(1, sizeof(*to));
	to->associate = a;
	to->flow.ops = &associated_ops;
	to->flow.route = &to->aim.route;
	if (aim_at(&to->aim, a->client->proxy, NETWORK_UDP, request->host, request->port, &err) <
	    0) {
		log_debug(&name, "%s: %s", to->aim.label, err.message);
		associated_free(&to->flow);
		return;
	}
	to->aim.route.event = associated_event;
	to->aim.route.arg = a;
	to->flow.who = event_client_at(&to->aim.route.source, &a->peer);
	memcpy(to->head, data, head_size);
	to->head_size = head_size;
	LIST_INSERT_HEAD(&a->flows, &to->flow, in_bucket);
	flow_table_add(&a->table, &to->flow);
	flow_start(&to->flow, data + head_size, size - head_size);
	config->asked(to->aim.label, config->arg);
}

static void associate_received(struct associate *a, const uint8_t *data, size_t size)
{
	struct socks_request request;
	ssize_t head_size = socks_parse_datagram(data, size, &request);
	struct flow *flow;

	if (head_size < 0)
		return;
	LIST_FOREACH (flow, &a->flows, in_bucket) {
		struct associated *to = associated(flow);

		if (to->head_size != (size_t)head_size ||
		    memcmp(to->head, data, to->head_size) != 0)
			continue;
		flow_put(flow, data + head_size, size - (size_t)head_size);
		return;
	}
	associated_new(a, &request, data, (size_t)head_size, size);
}

/* Reads one: 0, or -errno. */
static int associate_receive(struct associate *a)
{
	uint8_t *data = client_loop(a->client)->scratch;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	ssize_t n = recvfrom(a->fd, data, LOOP_SCRATCH_SIZE, MSG_DONTWAIT, (struct sockaddr *)&ss,
			     &len);

	if (n < 0)
		return -errno;
	if (!same_host(&ss, &a->peer))
		return 0;
	if (*port_of(&a->peer) == 0)
		*port_of(&a->peer) = *port_of(&ss);
	if (*port_of(&a->peer) == *port_of(&ss))
		associate_received(a, data, (size_t)n);
	return 0;
}

/* Some at a time, so that nobody else has to wait for a flood. */
static void associate_read(void *arg)
{
	struct associate *a = arg;
	int rc = 0;

	for (int i = 0; i < BATCH && rc == 0; i++)
		rc = associate_receive(a);
	if (rc != -EAGAIN && rc != -EWOULDBLOCK)
		loop_later(client_loop(a->client), &a->more, rc == 0 ? 0 : PAUSE_MS, associate_read,
			   a);
}

static void associate_event(struct watch *watch, unsigned ready)
{
	struct associate *a = container_of(watch, struct associate, watch);

	(void)ready;
	if (a->more.list == NULL)
		associate_read(a);
}

/* A socket on the address of ours that the client's connection came to: 0, or -errno. */
static int make_socket(const struct client *c, int *fd, struct address *bound)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (getsockname(c->fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	if (ss.ss_family == AF_UNIX)
		return -EAFNOSUPPORT;
	*fd = sock_new(ss.ss_family, SOCK_DGRAM, 0);
	if (*fd < 0)
		return *fd;
	*port_of(&ss) = 0;
	if (bind(*fd, (struct sockaddr *)&ss, len) < 0 ||
	    getsockname(*fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	sock_tune_udp(*fd);
	return address_from_sockaddr(bound, (struct sockaddr *)&ss);
}

enum socks_reply associate_start(struct client *c, uint16_t port, struct error *err)
{
	const struct proxy_config *config = &c->proxy->config;
	_cleanup_close_ int fd = -1;
	uint8_t reply[SOCKS_REPLY_MAX];
	struct associate *a;
	struct address bound;
	int rc = make_socket(c, &fd, &bound);

	if (rc < 0) {
		error_set(err, REASON_EXHAUSTED, -rc, "a socket for datagrams: %s",
			  errno_text(-rc));
		return rc == -EAFNOSUPPORT ? SOCKS_COMMAND_UNSUPPORTED : SOCKS_FAILURE;
	}
	a = xcalloc(1, sizeof(*a));
	a->client = c;
	a->peer_len = sizeof(a->peer);
	getpeername(c->fd, (struct sockaddr *)&a->peer, &a->peer_len);
	*port_of(&a->peer) = htons(port);
	a->table = (struct flow_table){
		.loop = config->loop,
		.limit = config->limit,
		.last_id = config->last_id,
		.idle_ms = DATAGRAMS_IDLE_MS,
		.max = ASSOCIATE_FLOWS_MAX,
	};
	TAILQ_INIT(&a->table.by_use);
	a->fd = steal_fd(&fd);
	c->associate = a;
	client_set_state(c, CLIENT_ASSOCIATED);
	loop_cancel(&c->task);
	rc = watch_start(config->loop, &a->watch, a->fd, WATCH_READ, associate_event);
	if (rc < 0 || !client_send(c, reply, socks_put_reply(reply, SOCKS_SUCCEEDED, &bound)))
		client_close(c);
	return SOCKS_SUCCEEDED;
}

void associate_end(struct associate *a)
{
	flow_table_clear(&a->table, "the client has gone");
	watch_stop(client_loop(a->client), &a->watch);
	loop_cancel(&a->more);
	close(a->fd);
	a->client->associate = NULL;
	free(a);
}

void associate_traffic(const struct associate *a, struct traffic *sum)
{
	struct flow *flow;

	LIST_FOREACH (flow, &a->flows, in_bucket)
		traffic_add(sum, &flow->route->traffic);
}
