/* SPDX-License-Identifier: MIT */
/*
 * One end of a relay: its descriptors, their events, and what they have not taken
 * yet. Used by relay.c alone, which decides what happens; here it is done.
 */
#ifndef VZFWD_RELAY_END_H
#define VZFWD_RELAY_END_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "loop.h"
#include "records.h"
#include "rpc.h"

struct evbuffer;

struct relay_end {
	int rfd, wfd; /* -1 when closed */
	enum framing framing;
	bool rsock, wsock;       /* sockets: MSG_DONTWAIT, shutdown(2) */
	bool readable, writable; /* as far as is known: until EAGAIN says otherwise */
	bool read_done;          /* an end or an error was read */
	bool write_dead;         /* a write failed: nothing more is sent */
	bool reset;              /* to be closed with a reset as soon as the queue is out */
	bool unseen;             /* an event came since end_gone() was asked last */
	int error;               /* errno of the first failure, 0 if none */
	uint64_t payload;        /* bytes that wfd has taken; for records: or that wait for it */
	struct evbuffer *queue;  /* what wfd has not taken; NULL while there is nothing */
	struct record_reader reader;
	struct event event;   /* rfd, and wfd where it is the same */
	struct event *wevent; /* wfd where it is another one */
};

/*
 * Takes the descriptors over and arms their events for good; 0 or -errno. Two descriptors of one
 * socket become one.
 */
int end_init(struct relay_end *end, struct loop *loop, int rfd, int wfd, enum framing framing,
	     event_callback_fn cb, void *arg);

/* Up to `size` bytes: their number, 0 at the end, -EAGAIN, or -errno. */
ssize_t end_read(struct relay_end *end, uint8_t *buf, size_t size);

/*
 * Sends straight through what the descriptor takes; the rest is queued. A failure sets
 * write_dead and error, and what was queued is gone.
 */
void end_send(struct relay_end *end, const uint8_t *data, size_t size);

/* The same for payload, as a DATA record in records: RECORD_HEADER_SIZE bytes before it are overwritten. */
void end_send_data(struct relay_end *end, uint8_t *payload, size_t size);
void end_flush(struct relay_end *end);
size_t end_queued(const struct relay_end *end);

/* No more will be written: shutdown(SHUT_WR) on a socket, close(2) on anything else. */
void end_shut_write(struct relay_end *end);

/*
 * Looks whether the peer is gone although nothing can be read (reading is paused, or
 * done): the errno behind it (kept in end->error), END_HUNG_UP if it closed without one, 0 if
 * it is still there, and no event has come since then (unseen).
 */
#define END_HUNG_UP ESHUTDOWN
int end_gone(struct relay_end *end);

/* True if the peer's kernel has acknowledged all (true where that can't be told). */
bool end_acked(const struct relay_end *end);

/* After an end was read: true if the peer still reads, false if it has closed or that can't be told. */
bool end_half_closed(struct relay_end *end);

bool end_is_closed(const struct relay_end *end);
void end_close(struct relay_end *end); /* with a RST if end->reset; harmless when closed */

#endif
