/* SPDX-License-Identifier: MIT */
/*
 * DOC: Theory of Operation
 *
 * All datagrams of a listener come to its own sockets, and the table of flows tells whose they are. A flow's first datagrams wait for
 * a link, and go along with it when its copy of datagrams joins; then each goes there at once. When that copy has released it the
 * next datagram is the first of another flow.
 *
 * There is no connected socket for a flow, though the kernel would do the table's work then. It does so from some moment within
 * bind(2) and connect(2) on: what is on its way just then comes to the listener's socket, to the new one, to that of another client whose
 * address was not compared any more (__udp4_lib_lookup() reads a socket's state after its addresses), or, if it is late
 * enough, is the second flow of its client. And what comes while such a socket is being closed is lost.
 *
 * Answers of egress leave by a socket that can send as any destination (steer_udp_replies()).
 *
 * That a client has gone is told by ICMP. The kernel looks for the socket of that as if the client had sent something, so it is the
 * listener's, too, that has it in its error queue, whichever the answer has left by.
 *
 * What is lost: what finds no room in the socket, or more than these limits in the flows that wait, or in the link's queue
 * (datagrams_put()).
 */
#include "config.h"

#include <errno.h>
#include <event2/util.h>
#include <string.h>

#include "lib/datagrams.h"
#include "lib/log.h"
#include "lib/packets.h"
#include "lib/sock.h"
#include "lib/watch.h"
#include "accept.h"
#include "accept-udp.h"
#include "addresses.h"
#include "steer.h"
#include "udp.h"

#define SOCKETS_MAX 2
#define BATCH 256      /* datagrams at a time; then others have their turn */
#define FLOWS_MAX 1024 /* that wait for a link */
#define PENDING_MAX \
	(1024u * 1024) /* bytes, of all that are not joined; each: DATAGRAMS_QUEUE_MAX */
#define BUCKETS 256

/* From its first datagram until it is released. */
struct udp_flow {
	struct datagrams_client client;
	LIST_ENTRY(udp_flow) in_bucket;
	TAILQ_ENTRY(udp_flow) next; /* while it waits for a link */
	struct udp_socket *socket;  /* that it has come by */
	struct address from, destination;
	struct packets first;        /* until it is joined */
	struct datagrams *datagrams; /* from then on */
	bool waits;
};

struct udp_socket {
	struct accept_udp *udp;
	struct watch watch;
	int fd;
	int replies_fd;  /* egress: answers leave by it; else -1 */
	bool has_errors; /* of what was sent, to be read */
};

struct accept_udp {
	struct loop *loop;
	struct accept_listener *listener;
	struct netns *ns; /* egress; else NULL */
	uint32_t seed;    /* of the buckets: clients choose their ports */
	struct udp_socket sockets[SOCKETS_MAX];
	size_t count;
	LIST_HEAD(, udp_flow) buckets[BUCKETS];
	TAILQ_HEAD(, udp_flow) waiting;
	size_t waiting_count;
	size_t pending;
	uint64_t dropped;
	struct loop_task reading;
};

static void flow_leave_queue(struct udp_flow *flow)
{
	struct accept_udp *udp = flow->socket->udp;

	if (!flow->waits)
		return;
	flow->waits = false;
	TAILQ_REMOVE(&udp->waiting, flow, next);
	udp->waiting_count--;
}

static void flow_free(struct udp_flow *flow)
{
	flow_leave_queue(flow);
	LIST_REMOVE(flow, in_bucket);
	flow->socket->udp->pending -= flow->first.size;
	packets_clear(&flow->first);
	free(flow);
}

static struct udp_flow *flow_of(struct datagrams_client *client)
{
	return container_of(client, struct udp_flow, client);
}

/* An answer: what can't be sent is lost, on this hop as on any other. */
static void flow_got(struct datagrams_client *client, const uint8_t *data, size_t size)
{
	struct udp_flow *flow = flow_of(client);
	struct udp_socket *s = flow->socket;
	bool sent = s->replies_fd >= 0 ? udp_send_as(s->replies_fd, &flow->destination, &flow->from,
						     data, size)
				       : udp_send(s->fd, &flow->from, data, size);

	if (!sent)
		s->udp->dropped++;
}

static void flow_joined(struct datagrams_client *client, struct datagrams *d)
{
	struct udp_flow *flow = flow_of(client);
	struct packet *packet;

	flow->socket->udp->pending -= flow->first.size;
	flow->datagrams = d;
	while ((packet = packets_take(&flow->first)) != NULL) {
		datagrams_put(d, packet->data, packet->size);
		free(packet);
	}
}

static void flow_released(struct datagrams_client *client)
{
	flow_free(flow_of(client));
}

static const struct datagrams_client_ops flow_ops = { .got = flow_got,
						      .joined = flow_joined,
						      .released = flow_released };

static size_t bucket_of(const struct accept_udp *udp, const struct address *from,
			const struct address *destination)
{
	uint32_t hash = udp->seed;

	hash = hash_bytes(hash, &from->v6, sizeof(from->v6));
	hash = hash_bytes(hash, &from->port, sizeof(from->port));
	hash = hash_bytes(hash, &destination->v6, sizeof(destination->v6));
	hash = hash_bytes(hash, &destination->port, sizeof(destination->port));
	return hash_bits(hash) % BUCKETS;
}

static struct udp_flow *flow_find(const struct accept_udp *udp, const struct address *from,
				  const struct address *destination)
{
	struct udp_flow *flow;

	LIST_FOREACH (flow, &udp->buckets[bucket_of(udp, from, destination)], in_bucket) {
		if (address_same(&flow->from, from) &&
		    address_same(&flow->destination, destination))
			return flow;
	}
	return NULL;
}

static struct udp_flow *flow_new(struct udp_socket *s, const struct address *from,
				 const struct address *destination)
{
	struct accept_udp *udp = s->udp;
	struct udp_flow *flow = xcalloc(1, sizeof(*flow));

	flow->client.ops = &flow_ops;
	flow->socket = s;
	flow->from = *from;
	flow->destination = *destination;
	packets_init(&flow->first);
	LIST_INSERT_HEAD(&udp->buckets[bucket_of(udp, from, destination)], flow, in_bucket);
	TAILQ_INSERT_TAIL(&udp->waiting, flow, next);
	flow->waits = true;
	udp->waiting_count++;
	return flow;
}

/* The client does not take what comes from `destination` (AF_UNSPEC: from anywhere), whichever port that was of. */
static void client_failed(struct accept_udp *udp, const struct address *client,
			  const struct address *destination, int sys_errno)
{
	struct udp_flow *flow, *next;

	for (size_t i = 0; i < BUCKETS; i++) {
		for (flow = LIST_FIRST(&udp->buckets[i]); flow != NULL; flow = next) {
			next = LIST_NEXT(flow, in_bucket);
			if (flow->datagrams != NULL && address_same(&flow->from, client) &&
			    (destination->family == AF_UNSPEC ||
			     address_same_host(&flow->destination, destination)))
				datagrams_client_failed(flow->datagrams, sys_errno);
		}
	}
}

/* True if there may be more. */
static bool read_errors(struct udp_socket *s)
{
	struct address client, destination;
	int error;

	for (int n = 0; n < BATCH && s->has_errors; n++) {
		error = udp_take_error(s->fd, &client, &destination);
		s->has_errors = error != 0;
		if (s->has_errors)
			client_failed(s->udp, &client, &destination, error);
	}
	return s->has_errors;
}

/* To the links that wait. */
static void hand_over(struct accept_udp *udp)
{
	struct udp_flow *flow;

	while ((flow = TAILQ_FIRST(&udp->waiting)) != NULL && accept_wanted(udp->listener)) {
		struct accept_client client = { .fd = -1,
						.datagrams = &flow->client,
						.told = { flow->from, flow->destination } };

		flow_leave_queue(flow);
		accept_hand_over(udp->listener, &client);
	}
}

/* False: it is lost. */
static bool take(struct udp_socket *s, const struct address *from,
		 const struct address *destination, const uint8_t *data, size_t size)
{
	struct accept_udp *udp = s->udp;
	struct udp_flow *flow;
	size_t before;

	/* Without a source port nothing can be answered, and without an address nothing be known. */
	if (from->port == 0 || destination->port == 0 || size > DATAGRAM_MAX)
		return false;
	flow = flow_find(udp, from, destination);
	if (flow != NULL && flow->datagrams != NULL)
		return datagrams_put(flow->datagrams, data, size);
	if (udp->pending + size > PENDING_MAX)
		return false;
	if (flow == NULL && udp->waiting_count < FLOWS_MAX)
		flow = flow_new(s, from, destination);
	if (flow == NULL || !packets_fit(&flow->first, size, DATAGRAMS_QUEUE_MAX))
		return false;
	before = flow->first.size;
	packets_put(&flow->first, NULL, 0, data, size, 0);
	udp->pending += flow->first.size - before;
	return true;
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
	struct address from = { 0 }, destination;
	ssize_t n = recvmsg(s->fd, &msg, MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	address_from_sockaddr(&from, (struct sockaddr *)&ss);
	udp_destination(&msg, &destination);
	if (!take(s, &from, &destination, iov.iov_base, (size_t)n))
		s->udp->dropped++;
	return 0;
}

/* True if there may be more. */
static bool read_some(struct udp_socket *s)
{
	int rc = 0;

	for (int n = 0; n < BATCH && rc != -EAGAIN; n++)
		rc = receive(s);
	return rc != -EAGAIN;
}

static void read_all(void *arg)
{
	struct accept_udp *udp = arg;
	bool more = false;

	hand_over(udp);
	for (size_t i = 0; i < udp->count; i++) {
		more |= read_errors(&udp->sockets[i]);
		more |= read_some(&udp->sockets[i]);
	}
	hand_over(udp);
	if (more)
		loop_later(udp->loop, &udp->reading, 0, read_all, udp);
}

static void socket_event(struct watch *watch, unsigned ready)
{
	struct udp_socket *s = container_of(watch, struct udp_socket, watch);
	struct accept_udp *udp = s->udp;

	s->has_errors |= (ready & WATCH_HANGUP) != 0;
	if (udp->reading.list == NULL)
		read_all(udp);
}

void accept_udp_go_on(struct accept_udp *udp)
{
	if (udp != NULL)
		loop_later(udp->loop, &udp->reading, 0, read_all, udp);
}

struct accept_udp *accept_udp_new(struct loop *loop, struct accept_listener *listener,
				  struct netns *ns, bool egress)
{
	struct accept_udp *udp = xcalloc(1, sizeof(*udp));

	udp->loop = loop;
	udp->listener = listener;
	if (egress)
		udp->ns = ns;
	evutil_secure_rng_get_bytes(&udp->seed, sizeof(udp->seed));
	TAILQ_INIT(&udp->waiting);
	return udp;
}

int accept_udp_add(struct accept_udp *udp, int fd, struct error *err)
{
	struct udp_socket *s = &udp->sockets[udp->count++];
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	int on = 1, rc;
	bool ipv4;

	s->udp = udp;
	s->fd = fd;
	s->replies_fd = -1;
	getsockname(fd, (struct sockaddr *)&ss, &len);
	ipv4 = ss.ss_family == AF_INET;
	if (udp->ns != NULL) {
		s->replies_fd = steer_udp_replies(udp->ns, ss.ss_family, err);
		if (s->replies_fd < 0)
			return s->replies_fd;
	}
	udp_hear_errors(fd, ss.ss_family);
	sock_tune_udp(fd);
	rc = setsockopt(fd, ipv4 ? IPPROTO_IP : IPPROTO_IPV6,
			ipv4 ? IP_RECVORIGDSTADDR : IPV6_RECVORIGDSTADDR, &on, sizeof(on));
	if (rc == 0)
		rc = watch_start(udp->loop, &s->watch, fd, WATCH_READ, socket_event);
	else
		rc = -errno;
	return rc < 0 ? error_set(err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc)) : 0;
}

void accept_udp_free(struct accept_udp *udp)
{
	struct udp_flow *flow;
	unsigned overflows = 0;

	if (udp == NULL)
		return;
	while ((flow = TAILQ_FIRST(&udp->waiting)) != NULL)
		flow_free(flow);
	for (size_t i = 0; i < udp->count; i++) {
		overflows += sock_overflows(udp->sockets[i].fd);
		watch_stop(udp->loop, &udp->sockets[i].watch);
		close(udp->sockets[i].fd);
		if (udp->sockets[i].replies_fd >= 0)
			close(udp->sockets[i].replies_fd);
	}
	if (udp->dropped + overflows > 0)
		log_debug(NULL, "%llu datagrams dropped, and %u that found no room in a socket",
			  (unsigned long long)udp->dropped, overflows);
	loop_cancel(&udp->reading);
	free(udp);
}
