/* SPDX-License-Identifier: MIT */
/*
 * A forward's UDP sockets and the table of the flows: which one a datagram belongs to, and who has to go. Flows are
 * kept by their last use, so the first is the one that is least recently used.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "flow.h"
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
	TAILQ_HEAD(, flow) by_use;
	LIST_HEAD(, flow) buckets[BUCKETS];
	size_t count;
	struct loop_task sweep;
	uint64_t dropped;
};

static struct loop *flows_loop(const struct flows *flows)
{
	return flows->config.route->loop;
}

struct route *flow_route(const struct flow *flow)
{
	return flow->flows->config.route;
}

/* FNV-1a. */
static size_t key_bucket(const struct flow_key *key)
{
	const uint8_t *bytes = (const uint8_t *)key;
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < sizeof(*key); i++)
		hash = (hash ^ bytes[i]) * 16777619u;
	return (hash ^ hash >> 16) % BUCKETS;
}

static struct flow *flow_find(struct flows *flows, const struct flow_key *key)
{
	struct flow *flow;

	LIST_FOREACH (flow, &flows->buckets[key_bucket(key)], in_bucket) {
		if (memcmp(&flow->key, key, sizeof(*key)) == 0)
			return flow;
	}
	return NULL;
}

void flow_drop(struct flow *flow, const char *why)
{
	struct flows *flows = flow->flows;

	TAILQ_REMOVE(&flows->by_use, flow, by_use);
	LIST_REMOVE(flow, in_bucket);
	flows->count--;
	flow_end(flow, why);
}

void flow_used(struct flow *flow)
{
	struct flows *flows = flow->flows;

	flow->due = now_ms() + flows->config.idle_ms;
	TAILQ_REMOVE(&flows->by_use, flow, by_use);
	TAILQ_INSERT_TAIL(&flows->by_use, flow, by_use);
}

/* Ends what is due, and comes again when the next one will be. */
static void flows_sweep(void *arg)
{
	struct flows *flows = arg;
	struct flow *flow, *next;
	int64_t now = now_ms(), first = INT64_MAX;

	for (flow = TAILQ_FIRST(&flows->by_use); flow != NULL; flow = next) {
		next = TAILQ_NEXT(flow, by_use);
		if (flow->due <= now)
			flow_drop(flow, "idle");
		else if (flow->due < first)
			first = flow->due;
	}
	if (first != INT64_MAX)
		loop_later(flows_loop(flows), &flows->sweep, first - now, flows_sweep, flows);
}

void flow_expire(struct flow *flow, int ms)
{
	struct flows *flows = flow->flows;

	flow->due = now_ms() + ms;
	if (flows->sweep.due > flow->due)
		loop_later(flows_loop(flows), &flows->sweep, ms, flows_sweep, flows);
}

/* NULL if there may be no more of them: the datagram is lost. */
static struct flow *flow_new(struct flows *flows, const struct flow_key *key)
{
	struct accept_limit *limit = flows->config.limit;
	struct flow *flow;

	if (flows->count == FLOWS_MAX || limit->count >= limit->max) {
		if (flows->count > 0)
			flow_drop(TAILQ_FIRST(&flows->by_use), "another flow took its place");
		if (limit->count >= limit->max)
			return NULL;
	}
	limit->count++;
	flow = xcalloc(1, sizeof(*flow));
	flow->flows = flows;
	flow->key = *key;
	flow->id = ++*flows->config.last_id;
	flow->due = now_ms() + flows->config.idle_ms;
	TAILQ_INSERT_TAIL(&flows->by_use, flow, by_use);
	LIST_INSERT_HEAD(&flows->buckets[key_bucket(key)], flow, in_bucket);
	flows->count++;
	if (flows->sweep.list == NULL)
		loop_later(flows_loop(flows), &flows->sweep, flows->config.idle_ms, flows_sweep,
			   flows);
	return flow;
}

static void flows_received(struct flows *flows, const struct flow_key *key,
			   const struct sockaddr_storage *client, const uint8_t *data, size_t size)
{
	struct flow *flow = flow_find(flows, key);

	if (flow != NULL) {
		flow_put(flow, data, size);
		return;
	}
	flow = flow_new(flows, key);
	if (flow == NULL) {
		flows->dropped++;
		return;
	}
	flow->who = event_client_at(&flows->config.route->source, client);
	flow_start(flow, data, size);
	if (flows->config.accepted != NULL)
		flows->config.accepted(flows->config.arg);
}

/* Room for the one message that says or sets the address on our side. */
union control {
	struct cmsghdr align;
	char v4[CMSG_SPACE(sizeof(struct in_pktinfo))];
	char v6[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

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
	union control control;
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

static void control_set_local(struct msghdr *msg, const struct flow_key *key, sa_family_t family)
{
	struct cmsghdr *cmsg = msg->msg_control;

	if (family == AF_INET) {
		struct in_pktinfo info = { 0 };

		memcpy(&info.ipi_spec_dst, &key->local, sizeof(info.ipi_spec_dst));
		msg->msg_controllen = CMSG_SPACE(sizeof(info));
		cmsg->cmsg_level = IPPROTO_IP;
		cmsg->cmsg_type = IP_PKTINFO;
		cmsg->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(cmsg), &info, sizeof(info));
	} else {
		struct in6_pktinfo info = { .ipi6_addr = key->local,
					    .ipi6_ifindex = key->local_interface };

		msg->msg_controllen = CMSG_SPACE(sizeof(info));
		cmsg->cmsg_level = IPPROTO_IPV6;
		cmsg->cmsg_type = IPV6_PKTINFO;
		cmsg->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(cmsg), &info, sizeof(info));
	}
}

void flow_reply(struct flow *flow, const uint8_t *data, size_t size)
{
	struct flow_socket *s = flow->flows->sockets[flow->key.socket];
	struct sockaddr_storage ss;
	union control control = { 0 };
	struct iovec iov = { (void *)data, size };
	struct msghdr msg = { .msg_name = &ss,
			      .msg_namelen = key_client(&flow->key, s->family, &ss),
			      .msg_iov = &iov,
			      .msg_iovlen = 1 };

	if (s->wildcard) {
		msg.msg_control = &control;
		control_set_local(&msg, &flow->key, s->family);
	}
	/* What can't be sent is lost, on this hop as on any other. */
	if (sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		flow->flows->dropped++;
}

struct flows *flows_new(const struct flows_config *config)
{
	struct flows *flows = xcalloc(1, sizeof(*flows));

	flows->config = *config;
	TAILQ_INIT(&flows->by_use);
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
	struct flow *flow;
	unsigned overflows = 0;

	while ((flow = TAILQ_FIRST(&flows->by_use)) != NULL)
		flow_drop(flow, "the forward was stopped");
	loop_cancel(&flows->sweep);
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
