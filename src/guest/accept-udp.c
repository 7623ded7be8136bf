/* SPDX-License-Identifier: MIT */
/*
 * DOC: Theory of Operation
 *
 * A datagram of a new flow comes to the listener's socket. The flow gets a socket of its own, bound to where the datagram was
 * sent and connected to where it came from: the kernel prefers that one for all that follows (and before it asks
 * a program of sk_lookup, udp(7) does not say so, but __udp4_lib_lookup() does). What had come before that is still in
 * the listener's socket, so that is read until it is empty before any new flow is handed over, and what belongs to a
 * flow goes along with it.
 *
 * Of clients that have no link yet PENDING_MAX bytes are kept, and FLOWS_MAX of them; then the socket is not read until there is a
 * link, and what finds no room in it is lost.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "lib/datagrams.h"
#include "lib/log.h"
#include "lib/sock.h"
#include "lib/watch.h"
#include "accept.h"
#include "accept-udp.h"
#include "steer.h"
#include "udp.h"

#define SOCKETS_MAX 2
#define BATCH 256 /* datagrams at a time; then those whose flow is new are handed over */
#define PENDING_MAX (256u * 1024)
#define FLOWS_MAX 256 /* new ones, each with a socket */

/* From its first datagram until it is handed over. */
struct new_flow {
	TAILQ_ENTRY(new_flow) next;
	struct address client, destination;
	struct packets first;
	int fd; /* -1: there is no link for it yet */
};

struct udp_socket {
	struct accept_udp *udp;
	struct watch watch;
	int fd;
	sa_family_t family;
};

struct accept_udp {
	struct loop *loop;
	struct accept_listener *listener;
	struct netns *ns;
	bool egress;
	struct udp_socket sockets[SOCKETS_MAX];
	size_t count;
	TAILQ_HEAD(, new_flow) flows;
	size_t flow_count;
	size_t pending; /* bytes that they hold */
	uint64_t dropped;
	bool complained; /* of a flow that could have no socket */
	struct loop_task reading;
};

struct accept_udp *accept_udp_new(struct loop *loop, struct accept_listener *listener,
				  struct netns *ns, bool egress)
{
	struct accept_udp *udp = xcalloc(1, sizeof(*udp));

	udp->loop = loop;
	udp->listener = listener;
	udp->ns = ns;
	udp->egress = egress;
	TAILQ_INIT(&udp->flows);
	return udp;
}

static void flow_free(struct accept_udp *udp, struct new_flow *flow)
{
	TAILQ_REMOVE(&udp->flows, flow, next);
	udp->flow_count--;
	udp->pending -= flow->first.size;
	packets_clear(&flow->first);
	if (flow->fd >= 0)
		close(flow->fd);
	free(flow);
}

static bool same_address(const struct address *a, const struct address *b)
{
	return a->family == b->family && a->port == b->port &&
	       memcmp(&a->v6, &b->v6, sizeof(a->v6)) == 0;
}

static struct new_flow *flow_get(struct accept_udp *udp, const struct address *client,
				 const struct address *destination)
{
	struct new_flow *flow;

	TAILQ_FOREACH (flow, &udp->flows, next) {
		if (same_address(&flow->client, client) &&
		    same_address(&flow->destination, destination))
			return flow;
	}
	flow = xcalloc(1, sizeof(*flow));
	flow->client = *client;
	flow->destination = *destination;
	flow->fd = -1;
	packets_init(&flow->first);
	TAILQ_INSERT_TAIL(&udp->flows, flow, next);
	udp->flow_count++;
	return flow;
}

/* Its own socket, from when on nothing of it comes to the listener's. False: it can't have one. */
static bool flow_connect(struct accept_udp *udp, struct new_flow *flow)
{
	struct error err;

	flow->fd = udp->egress ? steer_udp_reply(udp->ns, &flow->destination, &flow->client, &err)
			       : udp_connected(udp->ns, &flow->destination, &flow->client, &err);
	/* Once: the pod could have it said for each datagram. */
	if (flow->fd < 0 && !udp->complained)
		log_warning(NULL, "%s", err.message);
	udp->complained |= flow->fd < 0;
	return flow->fd >= 0;
}

static void flow_hand_over(struct accept_udp *udp, struct new_flow *flow)
{
	struct accept_client client = { .fd = steal_fd(&flow->fd),
					.is_udp = true,
					.told = { flow->client, flow->destination } };

	udp->pending -= flow->first.size;
	packets_init(&client.first);
	packets_move(&client.first, &flow->first);
	flow_free(udp, flow);
	accept_hand_over(udp->listener, &client);
}

/*
 * First all get their sockets, so that nothing new of them comes here; what is here of them already is read by then,
 * or in the next round, before any of them is handed over.
 */
static void hand_over_all(struct accept_udp *udp)
{
	struct new_flow *flow, *next;

	for (flow = TAILQ_FIRST(&udp->flows); flow != NULL && accept_wanted(udp->listener);
	     flow = next) {
		next = TAILQ_NEXT(flow, next);
		if (flow->fd >= 0)
			flow_hand_over(udp, flow);
	}
}

static void set_destination(const struct udp_socket *s, struct msghdr *msg, struct address *addr)
{
	struct sockaddr_storage ss = { 0 };
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if ((cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_ORIGDSTADDR) ||
		    (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_ORIGDSTADDR))
			memcpy(&ss, CMSG_DATA(cmsg),
			       s->family == AF_INET ? sizeof(struct sockaddr_in)
						    : sizeof(struct sockaddr_in6));
	}
	address_from_sockaddr(addr, (struct sockaddr *)&ss);
}

static void take(struct accept_udp *udp, const struct address *client,
		 const struct address *destination, const uint8_t *data, size_t size)
{
	struct new_flow *flow;
	size_t before;

	/* Without a source port nothing can be answered, and without an address nothing be known. */
	if (client->port == 0 || destination->port == 0 || size > DATAGRAM_MAX ||
	    udp->pending + size > PENDING_MAX) {
		udp->dropped++;
		return;
	}
	flow = flow_get(udp, client, destination);
	if (flow->fd < 0 && !flow_connect(udp, flow)) {
		flow_free(udp, flow);
		udp->dropped++;
		return;
	}
	before = flow->first.size;
	packets_put(&flow->first, NULL, 0, data, size, 0);
	udp->pending += flow->first.size - before;
}

/* Reads one: 0, or -errno. */
static int receive(struct udp_socket *s)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(struct sockaddr_in6))];
	} control;
	struct sockaddr_storage ss;
	struct iovec iov = { s->udp->loop->scratch, DATAGRAM_MAX + 1 };
	struct msghdr msg = { .msg_name = &ss,
			      .msg_namelen = sizeof(ss),
			      .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct address client = { 0 }, destination = { 0 };
	ssize_t n = recvmsg(s->fd, &msg, MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	address_from_sockaddr(&client, (struct sockaddr *)&ss);
	set_destination(s, &msg, &destination);
	take(s->udp, &client, &destination, iov.iov_base, (size_t)n);
	return 0;
}

static void read_all(void *arg)
{
	struct accept_udp *udp = arg;
	bool more = false;

	for (size_t i = 0; i < udp->count; i++) {
		int rc = 0;

		for (int n = 0; n < BATCH && rc != -EAGAIN && accept_wanted(udp->listener) &&
				udp->pending < PENDING_MAX / 2 && udp->flow_count < FLOWS_MAX;
		     n++)
			rc = receive(&udp->sockets[i]);
		more |= rc != -EAGAIN;
	}
	hand_over_all(udp);
	if (more && accept_wanted(udp->listener))
		loop_later(udp->loop, &udp->reading, 0, read_all, udp);
}

static void socket_event(struct watch *watch, unsigned ready)
{
	struct accept_udp *udp = container_of(watch, struct udp_socket, watch)->udp;

	(void)ready;
	if (udp->reading.list == NULL)
		read_all(udp);
}

void accept_udp_go_on(struct accept_udp *udp)
{
	if (udp != NULL)
		loop_later(udp->loop, &udp->reading, 0, read_all, udp);
}

int accept_udp_add(struct accept_udp *udp, int fd, struct error *err)
{
	struct udp_socket *s = &udp->sockets[udp->count++];
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	int on = 1, rc;

	s->udp = udp;
	s->fd = fd;
	getsockname(fd, (struct sockaddr *)&ss, &len);
	s->family = ss.ss_family;
	sock_tune_udp(fd);
	rc = setsockopt(fd, s->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
			s->family == AF_INET ? IP_RECVORIGDSTADDR : IPV6_RECVORIGDSTADDR, &on,
			sizeof(on));
	if (rc == 0)
		rc = watch_start(udp->loop, &s->watch, fd, WATCH_READ, socket_event);
	else
		rc = -errno;
	return rc < 0 ? error_set(err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc)) : 0;
}

void accept_udp_free(struct accept_udp *udp)
{
	struct new_flow *flow;

	if (udp == NULL)
		return;
	while ((flow = TAILQ_FIRST(&udp->flows)) != NULL)
		flow_free(udp, flow);
	for (size_t i = 0; i < udp->count; i++) {
		watch_stop(udp->loop, &udp->sockets[i].watch);
		close(udp->sockets[i].fd);
	}
	if (udp->dropped > 0)
		log_debug(NULL, "%llu datagrams dropped", (unsigned long long)udp->dropped);
	loop_cancel(&udp->reading);
	free(udp);
}
