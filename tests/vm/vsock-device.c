/* SPDX-License-Identifier: MIT */
/* Connections between the host's Unix sockets and the guest's vsock. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vsock-device.h"

#define BURST 16            /* packets at a time, so that others have their turn */
#define PACKETS_ENOUGH 4096 /* unread ones; until the guest reads none of its own are taken */
#define SPLIT_US 5000

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void tell(struct device *d, struct connection *c, uint16_t op, uint32_t flags)
{
	outbox_tell(&d->outbox, &c->channel, op, flags);
}

static void connection_free(struct device *d, struct connection *c)
{
	if (c->runnable)
		TAILQ_REMOVE(&d->run, c, run);
	if (c->state == CONNECTION_OPENING)
		TAILQ_REMOVE(&d->opening, c, opening);
	d->connections[c->slot] = NULL;
	d->count--;
	close(c->fd);
	free(c->buffer);
	free(c);
}

static void connection_reset(struct device *d, struct connection *c)
{
	if (c->state != CONNECTION_HELLO)
		tell(d, c, VIRTIO_VSOCK_OP_RST, 0);
	connection_free(d, c);
}

static void runnable(struct device *d, struct connection *c)
{
	if (c->runnable)
		return;
	c->runnable = true;
	TAILQ_INSERT_TAIL(&d->run, c, run);
}

void device_init(struct device *d, uint64_t guest_cid, int epoll)
{
	*d = (struct device){ .epoll = epoll, .config.guest_cid = guest_cid };
	d->vhost.config = &d->config;
	d->vhost.config_size = sizeof(d->config);
	d->vhost.queue_count = QUEUE_COUNT;
	vhost_user_init(&d->vhost);
	TAILQ_INIT(&d->run);
	TAILQ_INIT(&d->opening);
}

static void dial(struct device *d, struct connection *c, uint32_t guest_port)
{
	c->channel.guest_port = guest_port;
	c->state = CONNECTION_DIALING;
	tell(d, c, VIRTIO_VSOCK_OP_REQUEST, 0);
}

void device_accept(struct device *d, int fd, uint32_t guest_port)
{
	struct connection *c = calloc(1, sizeof(*c));
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };
	uint32_t slot = 0;

	while (slot < CONNECTIONS_MAX && d->connections[slot] != NULL)
		slot++;
	if (c == NULL || slot == CONNECTIONS_MAX) {
		free(c);
		close(fd);
		return;
	}
	event.data.u64 = slot;
	epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &event);
	c->fd = fd;
	c->slot = slot;
	c->channel.guest_cid = d->config.guest_cid;
	/* Not soon the same again, whatever the guest remembers. */
	c->channel.host_port = (1u << 30) + (d->generation++ & 0xffff) * CONNECTIONS_MAX + slot;
	d->connections[slot] = c;
	d->count++;
	if (guest_port != 0)
		dial(d, c, guest_port);
}

/* From the guest to the host */

/* The host has ended its side, or will read no more. */
static void host_ended(struct device *d, struct connection *c)
{
	bool both = d->merge || c->hung_up;

	c->host_ended = true;
	tell(d, c, VIRTIO_VSOCK_OP_SHUTDOWN,
	     VIRTIO_VSOCK_SHUTDOWN_SEND | (both ? VIRTIO_VSOCK_SHUTDOWN_RCV : 0));
}

/* Once everything of the guest's is with the host, its ends are passed on. True if c is gone. */
static bool pass_ends(struct device *d, struct connection *c)
{
	const uint32_t both = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;

	if (c->length > 0 || c->state != CONNECTION_UP)
		return false;
	if (c->guest_shut == both || (d->merge && c->guest_shut != 0)) {
		connection_reset(d, c);
		return true;
	}
	if ((c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) && !c->shut) {
		c->shut = true;
		shutdown(c->fd, SHUT_WR);
	}
	return false;
}

/* Writes what is kept. True if c is gone. */
static bool flush(struct device *d, struct connection *c)
{
	while (c->length > 0 && c->state == CONNECTION_UP) {
		ssize_t n = send(c->fd, c->buffer + c->start, c->length, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0) {
			connection_reset(d, c);
			return true;
		}
		c->start += (size_t)n;
		c->length -= (size_t)n;
		channel_took(&c->channel, &d->outbox, (size_t)n);
	}
	if (c->length == 0) {
		free(c->buffer);
		c->buffer = NULL;
	}
	return pass_ends(d, c);
}

/* Keeps the rest of a packet's payload. The credit sees to it that there is room. */
static void keep(struct connection *c, const struct iovec *pieces, int count, size_t skip)
{
	if (c->buffer == NULL) {
		c->buffer = malloc(BUFFER_SIZE);
		if (c->buffer == NULL)
			abort();
		c->start = 0;
	}
	memmove(c->buffer, c->buffer + c->start, c->length);
	c->start = 0;
	for (int i = 0; i < count; i++) {
		size_t n = pieces[i].iov_len;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		memcpy(c->buffer + c->length, (uint8_t *)pieces[i].iov_base + skip, n - skip);
		c->length += n - skip;
		skip = 0;
	}
}

static void payload(struct device *d, struct connection *c, const struct chain *chain, size_t size)
{
	struct iovec pieces[CHAIN_MAX];
	int count = chain_slice(chain, PACKET_SIZE, size, pieces);
	struct msghdr message = { .msg_iov = pieces, .msg_iovlen = (size_t)count };
	ssize_t n = 0;

	if (size > BUFFER_SIZE - c->length || chain_size(chain) < PACKET_SIZE + size) {
		connection_reset(d, c);
		return;
	}
	if (c->length == 0 && c->state == CONNECTION_UP) {
		n = sendmsg(c->fd, &message, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN) {
			connection_reset(d, c);
			return;
		}
		n = n < 0 ? 0 : n;
		channel_took(&c->channel, &d->outbox, (size_t)n);
	}
	if ((size_t)n < size)
		keep(c, pieces, count, (size_t)n);
}

/* The guest has accepted: the answer to the host, now or later. */
static void opening(struct device *d, struct connection *c)
{
	if (c->state != CONNECTION_DIALING)
		return;
	c->line_length = 0;
	if (c->asked)
		c->line_length =
			(size_t)snprintf(c->line, sizeof(c->line), "OK %u\n", c->channel.host_port);
	c->line_due = now_us() + d->delay;
	c->state = CONNECTION_OPENING;
	TAILQ_INSERT_TAIL(&d->opening, c, opening);
}

/* A step of it. A fresh socket takes a line. */
static void open_on(struct device *d, struct connection *c)
{
	size_t n = c->line_length - c->line_sent;

	if (d->split && n > 1)
		n = 1;
	if (n > 0 && send(c->fd, c->line + c->line_sent, n, MSG_NOSIGNAL) != (ssize_t)n) {
		connection_reset(d, c);
		return;
	}
	c->line_sent += n;
	c->line_due = now_us() + SPLIT_US;
	if (c->line_sent < c->line_length)
		return;
	TAILQ_REMOVE(&d->opening, c, opening);
	c->state = CONNECTION_UP;
	if (!flush(d, c))
		runnable(d, c);
}

static void from_guest(struct device *d, const struct chain *chain)
{
	struct virtio_vsock_hdr p;
	struct connection *c;

	if (!chain_read(chain, &p, sizeof(p)))
		return;
	c = d->connections[p.dst_port % CONNECTIONS_MAX];
	if (c == NULL || p.dst_cid != HOST_CID || p.src_cid != d->config.guest_cid ||
	    p.type != VIRTIO_VSOCK_TYPE_STREAM || c->channel.host_port != p.dst_port ||
	    c->channel.guest_port != p.src_port || c->state == CONNECTION_HELLO) {
		outbox_refuse(&d->outbox, &p);
		return;
	}
	channel_heard(&c->channel, &p);
	runnable(d, c);
	switch (p.op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		opening(d, c);
		break;
	case VIRTIO_VSOCK_OP_RW:
		payload(d, c, chain, p.len);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		c->guest_shut |= p.flags;
		flush(d, c);
		break;
	case VIRTIO_VSOCK_OP_RST:
		connection_free(d, c);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		tell(d, c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
		break;
	default:
		break;
	}
}

/* From the host to the guest */

/* Byte by byte, as what follows the line is the guest's. */
static void hello(struct device *d, struct connection *c)
{
	uint32_t port;
	char end;

	while (c->line_length < sizeof(c->line) - 1) {
		ssize_t n = recv(c->fd, c->line + c->line_length, 1, 0);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			break;
		if (c->line[c->line_length++] != '\n')
			continue;
		c->line[c->line_length] = '\0';
		if (sscanf(c->line, "CONNECT %u%c", &port, &end) != 2 || end != '\n')
			break;
		c->asked = true;
		dial(d, c, port);
		return;
	}
	connection_free(d, c);
}

/* Reads from the host right into the guest's next buffers. False if c has no more now, or is gone. */
static bool to_guest(struct device *d, struct connection *c)
{
	struct virtqueue *rx = &d->vhost.queues[QUEUE_RX];
	size_t room = channel_credit(&c->channel);
	struct iovec pieces[CHAIN_MAX];
	struct virtio_vsock_hdr packet;
	struct msghdr message = { .msg_iov = pieces };
	struct chain chain;
	ssize_t n;

	if (room == 0)
		return false; /* until the guest tells of more */
	if (vq_pop(&d->vhost, rx, &chain) <= 0)
		return true;
	message.msg_iovlen = (size_t)chain_slice(&chain, PACKET_SIZE, room, pieces);
	n = recvmsg(c->fd, &message, 0);
	if (n <= 0) {
		vq_unpop(rx);
		c->readable = false;
		if (n == 0)
			host_ended(d, c);
		else if (errno != EAGAIN)
			connection_reset(d, c);
		return false;
	}
	packet = channel_header(&c->channel, VIRTIO_VSOCK_OP_RW);
	packet.len = (uint32_t)n;
	c->channel.sent += (uint32_t)n;
	if (!chain_write(&chain, &packet, sizeof(packet)))
		abort(); /* there was room for more than that */
	vq_push(rx, &chain, PACKET_SIZE + (size_t)n);
	return true;
}

/* A turn of one that has something for the guest. */
static void turn(struct device *d, struct connection *c)
{
	if (c->state == CONNECTION_HELLO) {
		hello(d, c);
		return;
	}
	if (c->state != CONNECTION_UP)
		return;
	for (int i = 0; c->readable && !c->host_ended; i++) {
		if (i == BURST || vq_is_empty(&d->vhost.queues[QUEUE_RX])) {
			runnable(d, c);
			return;
		}
		if (!to_guest(d, c))
			return;
	}
}

/* One of everybody. Without buffers of the guest's they wait. */
static void turns(struct device *d)
{
	struct connection *c;

	for (size_t n = d->count; n > 0 && (c = TAILQ_FIRST(&d->run)) != NULL; n--) {
		if (vq_is_empty(&d->vhost.queues[QUEUE_RX]))
			return;
		TAILQ_REMOVE(&d->run, c, run);
		c->runnable = false;
		turn(d, c);
	}
}

int64_t device_run(struct device *d)
{
	struct virtqueue *rx = &d->vhost.queues[QUEUE_RX], *tx = &d->vhost.queues[QUEUE_TX];
	struct connection *c, *next;
	int64_t now = now_us(), due = INT64_MAX;
	struct chain chain;
	int rc = 1;

	if (d->paused)
		return -1;
	for (int i = 0; i < 256 && d->outbox.count < PACKETS_ENOUGH && rc != 0; i++) {
		rc = vq_pop(&d->vhost, tx, &chain);
		if (rc > 0) {
			from_guest(d, &chain);
			vq_push(tx, &chain, 0);
		}
	}
	for (c = TAILQ_FIRST(&d->opening); c != NULL; c = next) {
		next = TAILQ_NEXT(c, opening);
		if (c->line_due <= now)
			open_on(d, c);
	}
	TAILQ_FOREACH (c, &d->opening, opening)
		due = c->line_due < due ? c->line_due : due;
	/* Packets without payload first: they belong before what is sent later. */
	if (outbox_send(&d->outbox, &d->vhost, rx))
		turns(d);
	outbox_send(&d->outbox, &d->vhost, rx);
	if (d->vhost.fd >= 0) {
		bool again = vq_notify(tx);

		if ((vq_notify(rx) || again) && due > now + VQ_AGAIN_US)
			due = now + VQ_AGAIN_US;
	}
	if (rc != 0 || (!vq_is_empty(rx) && (d->outbox.count > 0 || !TAILQ_EMPTY(&d->run))))
		return 0;
	return due == INT64_MAX ? -1 : due > now ? due - now : 0;
}

void device_event(struct device *d, uint32_t slot, uint32_t events)
{
	struct connection *c = d->connections[slot];

	if (c == NULL)
		return;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->readable = true;
	if (events & EPOLLHUP)
		c->hung_up = true;
	if ((events & EPOLLOUT) && c->length > 0 && flush(d, c))
		return;
	runnable(d, c);
}

void device_reset(struct device *d)
{
	for (uint32_t slot = 0; slot < CONNECTIONS_MAX; slot++) {
		if (d->connections[slot] != NULL)
			connection_reset(d, d->connections[slot]);
	}
}

void device_clear(struct device *d)
{
	device_reset(d);
	outbox_clear(&d->outbox);
}
