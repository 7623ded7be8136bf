/* SPDX-License-Identifier: MIT */
/* A forward's UDP sockets: which flow a datagram belongs to. */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "flow.h"
#include "flows.h"
#include "sock.h"
#include "watch.h"

#define BUCKETS 256
#define BATCH 64
#define PAUSE_MS 100

struct flow_socket {
	struct flows *flows;
	struct watch watch;
	struct loop_task more; /* goes on reading */
	int fd;
	uint16_t number;
	sa_family_t family;
	bool wildcard; /* bound to all addresses: answers come from the one that was asked */
};

struct flows {
	struct flows_config config;
	struct flow_socket **sockets;
	size_t socket_count;
	struct flow_table table;
	LIST_HEAD(, flow) buckets[BUCKETS];
	uint64_t dropped;
};

/* Who sent it, and to which address of ours. IPv4 addresses are in the first four bytes. All of it counts: no padding. */
struct flow_key {
	uint16_t socket; /* its number */
	uint16_t port;   /* of the client, as on the wire */
	uint32_t scope;  /* of the client's link-local address */
	struct in6_addr client;
	struct in6_addr local;    /* zero if the socket has one address only */
	uint32_t local_interface; /* of a link-local one */
};
static_assert(sizeof(struct flow_key) == 44, "compared as bytes");

struct flows_flow {
	struct flow flow;
	struct flows *flows;
	struct flow_key key;
};

static struct flows_flow *flows_flow(struct flow *flow)
{
	return container_of(flow, struct flows_flow, flow);
}

static struct loop *flows_loop(const struct flows *flows)
{
	return flows->config.route->loop;
}

static size_t key_bucket(const struct flow_key *key)
{
	return hash_bits(hash_bytes(HASH_START, key, sizeof(*key))) % BUCKETS;
}

static struct flow *flow_find(struct flows *flows, const struct flow_key *key)
{
	struct flow *flow;

	LIST_FOREACH (flow, &flows->buckets[key_bucket(key)], in_bucket) {
		if (memcmp(&flows_flow(flow)->key, key, sizeof(*key)) == 0)
			return flow;
	}
	return NULL;
}

static void flows_reply(struct flow *flow, const uint8_t *data, size_t size);

static void flows_free_flow(struct flow *flow)
{
	free(flows_flow(flow));
}

static const struct flow_ops flows_ops = { .reply = flows_reply, .free = flows_free_flow };

static void flows_received(struct flows *flows, const struct flow_key *key,
			   const struct sockaddr_storage *client, const uint8_t *data, size_t size)
{
	struct flow *flow = flow_find(flows, key);
	struct flows_flow *new;

	if (flow != NULL) {
		flow_put(flow, data, size);
		return;
	}
	if (!flow_table_room(&flows->table)) {
		flows->dropped++;
		return;
	}
	new = xcalloc(1, sizeof(*new));
	new->flows = flows;
	new->key = *key;
	new->flow.ops = &flows_ops;
	new->flow.route = flows->config.route;
	new->flow.who = event_client_at(&flows->config.route->source, client);
	LIST_INSERT_HEAD(&flows->buckets[key_bucket(key)], &new->flow, in_bucket);
	flow_table_add(&flows->table, &new->flow);
	if (flows->config.route->capture != NULL)
		new->flow.captured =
			capture_stream_new(flows->config.route->capture, CAPTURE_UDP, client,
					   flows->config.route->address, new->flow.id);
	flow_start(&new->flow, data, size);
	if (flows->config.accepted != NULL)
		flows->config.accepted(flows->config.arg);
}

static void key_set_local(struct flow_key *key, struct msghdr *msg)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
			memcpy(&key->local, &info.ipi_spec_dst, sizeof(info.ipi_spec_dst));
		} else if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
			/* A group is no address to answer from. */
			if (!IN6_IS_ADDR_MULTICAST(&info.ipi6_addr))
				key->local = info.ipi6_addr;
			if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
				key->local_interface = info.ipi6_ifindex;
		}
	}
}

static void key_set_client(struct flow_key *key, const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)ss;
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)ss;

	if (ss->ss_family == AF_INET) {
		key->port = sin->sin_port;
		memcpy(&key->client, &sin->sin_addr, sizeof(sin->sin_addr));
	} else {
		key->port = sin6->sin6_port;
		key->client = sin6->sin6_addr;
		key->scope = sin6->sin6_scope_id;
	}
}

static socklen_t key_client(const struct flow_key *key, sa_family_t family,
			    struct sockaddr_storage *ss)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	ss->ss_family = family;
	if (family == AF_INET) {
		sin->sin_port = key->port;
		memcpy(&sin->sin_addr, &key->client, sizeof(sin->sin_addr));
		return sizeof(*sin);
	}
	sin6->sin6_port = key->port;
	sin6->sin6_addr = key->client;
	sin6->sin6_scope_id = key->scope;
	return sizeof(*sin6);
}

/* Reads one: 0, or -errno. */
static int socket_receive(struct flow_socket *s)
{
	uint8_t *data = flows_loop(s->flows)->scratch;
	struct sockaddr_storage ss;
	union sock_source control;
	struct iovec iov = { data, DATAGRAM_MAX + 1 };
	struct msghdr msg = { .msg_name = &ss,
			      .msg_namelen = sizeof(ss),
			      .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = s->wildcard ? &control : NULL,
			      .msg_controllen = s->wildcard ? sizeof(control) : 0 };
	struct flow_key key = { .socket = s->number };
	ssize_t n = recvmsg(s->fd, &msg, MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	if (n > DATAGRAM_MAX) { /* IPv6 has room for 20 bytes more */
		s->flows->dropped++;
		return 0;
	}
	key_set_client(&key, &ss);
	key_set_local(&key, &msg);
	flows_received(s->flows, &key, &ss, data, (size_t)n);
	return 0;
}

/* Some at a time, so that nobody else has to wait for a flood. */
static void socket_read(void *arg)
{
	struct flow_socket *s = arg;
	int rc = 0;

	for (int i = 0; i < BATCH && (rc == 0 || rc == -EINTR); i++)
		rc = socket_receive(s);
	if (rc == -EAGAIN || rc == -EWOULDBLOCK)
		return;
	if (rc < 0 && rc != -EINTR)
		log_debug(&(struct log_name){ s->flows->config.route->label, 0 }, "receiving: %s",
			  errno_text(-rc));
	loop_later(flows_loop(s->flows), &s->more, rc == 0 || rc == -EINTR ? 0 : PAUSE_MS,
		   socket_read, s);
}

static void socket_event(struct watch *watch, unsigned ready)
{
	struct flow_socket *s = container_of(watch, struct flow_socket, watch);

	(void)ready;
	if (s->more.list == NULL)
		socket_read(s);
}

static void flows_reply(struct flow *flow, const uint8_t *data, size_t size)
{
	const struct flow_key *key = &flows_flow(flow)->key;
	struct flows *flows = flows_flow(flow)->flows;
	struct flow_socket *s = flows->sockets[key->socket];
	struct sockaddr_storage ss;
	union sock_source source;
	struct iovec iov = { (void *)data, size };
	struct msghdr msg = { .msg_name = &ss,
			      .msg_namelen = key_client(key, s->family, &ss),
			      .msg_iov = &iov,
			      .msg_iovlen = 1 };

	if (s->wildcard)
		sock_set_source(&msg, &source, s->family, &key->local, key->local_interface);
	/* What can't be sent is lost, on this hop as on any other. */
	if (sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		flows->dropped++;
}

struct flows *flows_new(const struct flows_config *config)
{
	struct flows *flows = xcalloc(1, sizeof(*flows));

	flows->config = *config;
	flows->table = (struct flow_table){
		.loop = config->route->loop,
		.limit = config->limit,
		.last_id = config->last_id,
		.idle_ms = config->idle_ms,
		.max = FLOWS_MAX,
	};
	TAILQ_INIT(&flows->table.by_use);
	return flows;
}

/* Asks for the address that a datagram was sent to. */
static int ask_local(int fd, sa_family_t family)
{
	int on = 1;

	return setsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
			  family == AF_INET ? IP_PKTINFO : IPV6_RECVPKTINFO, &on, sizeof(on));
}

int flows_add(struct flows *flows, int fd)
{
	struct flow_socket *s = xcalloc(1, sizeof(*s));
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct address address = { 0 };

	s->flows = flows;
	s->fd = fd;
	s->number = (uint16_t)flows->socket_count;
	flows->sockets =
		xrealloc(flows->sockets, (flows->socket_count + 1) * sizeof(*flows->sockets));
	flows->sockets[flows->socket_count++] = s;
	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	address_from_sockaddr(&address, (struct sockaddr *)&ss);
	s->family = address.family;
	s->wildcard = address.family == AF_INET ? address.v4.s_addr == htonl(INADDR_ANY)
						: IN6_IS_ADDR_UNSPECIFIED(&address.v6);
	if (s->wildcard && ask_local(fd, s->family) < 0)
		return -errno;
	sock_tune_udp(fd);
	return watch_start(flows_loop(flows), &s->watch, fd, WATCH_READ, socket_event);
}

void flows_stop(struct flows *flows)
{
	unsigned overflows = 0;

	flow_table_clear(&flows->table, "the forward was stopped");
	for (size_t i = 0; i < flows->socket_count; i++) {
		struct flow_socket *s = flows->sockets[i];

		overflows += sock_overflows(s->fd);
		watch_stop(flows_loop(flows), &s->watch);
		loop_cancel(&s->more);
		close(s->fd);
		free(s);
	}
	flows->socket_count = 0;
	if (flows->dropped + overflows > 0)
		log_debug(&(struct log_name){ flows->config.route->label, 0 },
			  "%llu datagrams dropped, and %u that found no room in a socket",
			  (unsigned long long)flows->dropped, overflows);
}

void flows_free(struct flows *flows)
{
	if (flows == NULL)
		return;
	flows_stop(flows);
	free(flows->sockets);
	free(flows);
}
