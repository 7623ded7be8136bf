/* SPDX-License-Identifier: MIT */
/*
 * A virtio-vsock device whose host side is hybrid vsock, as Firecracker's: who connects to its Unix socket, says
 * "CONNECT <port>\n" and reads "OK <port>\n" is connected to that port of the guest. The guest
 * cannot connect to the host. It can be told to misbehave in the ways that VMMs do.
 *
 * Sources: VIRTIO 1.2, 5.10 (socket device); Firecracker's docs/vsock.md.
 */
#ifndef VZFWD_VSOCK_DEVICE_H
#define VZFWD_VSOCK_DEVICE_H

#include <sys/queue.h>

#include "vhost-user.h"
#include "vsock-packet.h"

#define CONNECTIONS_MAX 8192 /* a power of two */

enum { QUEUE_RX, QUEUE_TX, QUEUE_EVENT, QUEUE_COUNT };

enum connection_state {
	CONNECTION_HELLO,   /* waits for the host's CONNECT */
	CONNECTION_DIALING, /* for the guest's answer */
	CONNECTION_OPENING, /* "OK" is on its way */
	CONNECTION_UP,
};

struct connection {
	uint32_t slot;
	int fd;
	enum connection_state state;
	struct channel channel;
	bool asked;    /* by CONNECT, which is answered */
	char line[32]; /* the request, then the answer */
	size_t line_length, line_sent;
	int64_t line_due;       /* us: when more of the answer may go */
	bool readable, hung_up; /* as epoll told */
	bool host_ended;        /* nothing more is read from fd */
	uint32_t guest_shut;    /* VIRTIO_VSOCK_SHUTDOWN_* */
	bool shut;              /* so is fd, for writing */
	uint8_t *buffer; /* what fd does not take yet, from start; NULL if there is nothing */
	size_t start, length;
	bool runnable;
	TAILQ_ENTRY(connection) run, opening;
};

struct device {
	struct vhost_user vhost;
	struct virtio_vsock_config config;
	int epoll;
	struct connection *connections[CONNECTIONS_MAX];
	size_t count;
	uint32_t generation;
	TAILQ_HEAD(, connection) run, opening;
	struct outbox outbox; /* goes before all else */

	/* Misbehaviour */
	bool merge;    /* one end is the end of both */
	bool split;    /* "OK" comes byte by byte */
	int64_t delay; /* us, before "OK" */
	bool paused;
};

void device_init(struct device *d, uint64_t guest_cid, int epoll);

/*
 * A connection of the host's, already accepted; epoll tells of it by its slot. With a `guest_port` it is connected to
 * that without a word; 0: it says CONNECT.
 */
void device_accept(struct device *d, int fd, uint32_t guest_port);

/* What epoll told about a connection. */
void device_event(struct device *d, uint32_t slot, uint32_t events);

/* Does all that can be done now; when to be called again at the latest: us from now, -1: not until an event. */
int64_t device_run(struct device *d);

/* Resets every connection. */
void device_reset(struct device *d);

/* The guest is gone: closes them. */
void device_clear(struct device *d);

#endif
