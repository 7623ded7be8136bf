/* SPDX-License-Identifier: MIT */
/*
 * DOC: Theory of Operation
 *
 * A datagram of a new flow comes to the listener's socket. The flow gets a socket of its own, bound to where the datagram was
 * sent and connected to where it came from: the kernel prefers that one for all that follows (and before it asks
 * a program of sk_lookup, udp(7) does not say so, but __udp4_lib_lookup() does). What had come before that is still in
 * the listener's socket, and goes along with the flow: that is not handed over before the socket was empty once, or
 * as much was read from it as it can hold. Between bind(2) and connect(2) the new socket gets some of what others send
 * there, too (of egress; else hardly any: udp_keep_all()), which is taken from it and treated as if it had come to the listener's.
 * What is still on its way to it by then is lost.
 *
 * While no link waits nothing is read, and what finds no room in the socket is lost. Flows that have no link yet are FLOWS_MAX at
 * most, and what came for them PENDING_MAX bytes; more of either is lost, too.
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
#define BATCH 256     /* datagrams at a time; then others have their turn */
#define FLOWS_MAX 256 /* each has a descriptor */
#define PENDING_MAX (256u * 1024)
#define DATAGRAM_MEMORY 512 /* that one of no bytes takes of a socket's buffer, at least */

/* From its first datagram until it is handed over. */
struct new_flow {
	TAILQ_ENTRY(new_flow) next;
	struct address client, destination;
	struct packets first; /* from the listener's socket, */
	struct packets own;   /* and from its own, until that took nothing from others any more */
	int fd;               /* its own socket */
	struct udp_socket *socket; /* that it has come by */
	uint64_t complete;         /* nothing of it is left there when so many were read */
};

struct udp_socket {
	struct accept_udp *udp;
	struct watch watch;
	int fd;
	sa_family_t family;
	uint64_t read; /* datagrams; when it was empty, as many more as it can hold */
	uint64_t holds;
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
	bool complained; /* that a flow can't have a socket */
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
	udp->pending -= flow->first.size + flow->own.size;
	packets_clear(&flow->first);
	packets_clear(&flow->own);
	if (flow->fd >= 0)
		close(flow->fd);
	free(flow);
}

static bool same_address(const struct address *a, const struct address *b)
{
	return a->family == b->family && a->port == b->port &&
	       memcmp(&a->v6, &b->v6, sizeof(a->v6)) == 0;
}

/* The flow's own socket, from when on nothing of it comes to the listener's. fd, or a negative number. */
static int flow_socket(struct accept_udp *udp, const struct address *client,
		       const struct address *destination)
{
	struct error err;
	int fd = udp->egress ? steer_udp_reply(udp->ns, destination, client, &err)
			     : udp_connected(udp->ns, destination, client, &err);
	int rc = fd < 0 ? 0 : udp_keep_to(fd, client);

	if (rc < 0) {
		close(fd);
		fd = error_set(&err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
	}
	if (fd < 0 && !udp->complained)
		log_warning(NULL, "a client of the pod: %s", err.message);
	udp->complained = fd < 0;
	return fd;
}

/* The flow that a datagram from `s` belongs to, maybe a new one; NULL: it can't have any. */
static struct new_flow *flow_get(struct udp_socket *s, const struct address *client,
				 const struct address *destination)
{
	struct accept_udp *udp = s->udp;
	struct new_flow *flow;
	int fd;

	TAILQ_FOREACH (flow, &udp->flows, next) {
		if (same_address(&flow->client, client) &&
		    same_address(&flow->destination, destination))
			return flow;
	}
	if (udp->flow_count == FLOWS_MAX)
		return NULL;
	fd = flow_socket(udp, client, destination);
	if (fd < 0)
		return NULL;
	flow = xcalloc(1, sizeof(*flow));
	flow->client = *client;
	flow->destination = *destination;
	flow->fd = fd;
	flow->socket = s;
	flow->complete = s->read + s->holds;
	packets_init(&flow->first);
	packets_init(&flow->own);
	TAILQ_INSERT_TAIL(&udp->flows, flow, next);
	udp->flow_count++;
	return flow;
}

static void flow_hand_over(struct accept_udp *udp, struct new_flow *flow)
{
	struct accept_client client = { .fd = steal_fd(&flow->fd),
					.is_udp = true,
					.told = { flow->client, flow->destination } };

	udp->pending -= flow->first.size + flow->own.size;
	packets_init(&client.first);
	packets_move(&client.first, &flow->first);
	packets_move(&client.first, &flow->own);
	flow_free(udp, flow);
	accept_hand_over(udp->listener, &client);
}

static void hand_over(struct accept_udp *udp)
{
	struct new_flow *flow, *next;

	for (flow = TAILQ_FIRST(&udp->flows); flow != NULL && accept_wanted(udp->listener);
	     flow = next) {
		next = TAILQ_NEXT(flow, next);
		if (flow->socket->read >= flow->complete)
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

static void keep(struct accept_udp *udp, struct packets *packets, const uint8_t *data, size_t size)
{
	size_t before = packets->size;

	packets_put(packets, NULL, 0, data, size, 0);
	udp->pending += packets->size - before;
}

static void take(struct udp_socket *s, const struct address *client,
		 const struct address *destination, bool is_stray, const uint8_t *data,
		 size_t size);

/*
 * What a new flow's socket has got by now, in the scratch buffer: from its client, which comes after what is in the listener's, or
 * from another one, see udp_keep_to().
 */
static void flow_drain(struct udp_socket *s, struct new_flow *flow)
{
	uint8_t *data = s->udp->loop->scratch;
	struct address client, destination = flow->destination;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	ssize_t n;

	while ((n = recvfrom(flow->fd, data, DATAGRAM_MAX, MSG_DONTWAIT, (struct sockaddr *)&ss,
			     &len)) >= 0) {
		memset(&client, 0, sizeof(client));
		address_from_sockaddr(&client, (struct sockaddr *)&ss);
		if (!same_address(&client, &flow->client))
			take(s, &client, &destination, true, data, (size_t)n);
		else if (s->udp->pending + (size_t)n <= PENDING_MAX)
			keep(s->udp, &flow->own, data, (size_t)n);
		else
			s->udp->dropped++;
		len = sizeof(ss);
	}
}

/* A stray may be behind others of its client that are still in the listener's socket. */
static void take(struct udp_socket *s, const struct address *client,
		 const struct address *destination, bool is_stray, const uint8_t *data, size_t size)
{
	struct accept_udp *udp = s->udp;
	struct new_flow *flow = NULL;
	bool is_new;

	/* Without a source port nothing can be answered, and without an address nothing be known. */
	if (client->port != 0 && destination->port != 0 && size <= DATAGRAM_MAX &&
	    udp->pending + size <= PENDING_MAX)
		flow = flow_get(s, client, destination);
	if (flow == NULL) {
		udp->dropped++;
		return;
	}
	is_new = packets_are_gone(&flow->first) && packets_are_gone(&flow->own);
	keep(udp, is_stray ? &flow->own : &flow->first, data, size);
	if (is_new)
		flow_drain(s, flow);
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
	s->read++;
	take(s, &client, &destination, false, iov.iov_base, (size_t)n);
	return 0;
}

/* True if there may be more. */
static bool read_some(struct udp_socket *s)
{
	int rc = 0;

	for (int n = 0; n < BATCH && rc == 0; n++)
		rc = receive(s);
	if (rc == -EAGAIN)
		s->read += s->holds;
	return rc != -EAGAIN;
}

static void read_all(void *arg)
{
	struct accept_udp *udp = arg;
	bool more = false;

	hand_over(udp);
	for (size_t i = 0; i < udp->count && accept_wanted(udp->listener); i++)
		more |= read_some(&udp->sockets[i]);
	hand_over(udp);
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
	socklen_t len = sizeof(ss), size_len = sizeof(int);
	int on = 1, size = 0, rc;

	s->udp = udp;
	s->fd = fd;
	getsockname(fd, (struct sockaddr *)&ss, &len);
	s->family = ss.ss_family;
	sock_tune_udp(fd);
	getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, &size_len);
	s->holds = (uint64_t)size / DATAGRAM_MEMORY + 1;
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
