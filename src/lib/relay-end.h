/* SPDX-License-Identifier: MIT */
/*
 * One end of a relay: its descriptors, their watches, and what they have not taken
 * yet. Used by relay*.c alone, which decide what happens; here it is done.
 */
#ifndef VZFWD_RELAY_END_H
#define VZFWD_RELAY_END_H

#include <stdatomic.h>

#include "pipes.h"
#include "records.h"
#include "relay.h"
#include "watch.h"

/*
 * What is read at a time: payload for one record, or such a record. It goes through AF_VSOCK as four packets (relay-io.c),
 * which fit into what that takes and gives at a time by its default, 256 KiB; if it were more, each
 * record would come in two pieces.
 */
#define RECORD_READ_SIZE (4u * 65024)

struct evbuffer;
struct end_writer;

struct relay_end {
	struct watch watch; /* of rfd, and of wfd where it is the same; the first member */
	int rfd, wfd;       /* -1 when closed */
	int error;          /* errno of the first failure, 0 if none */
	uint8_t index;      /* in relay->end[] */
	uint8_t framing;    /* enum framing */
	uint8_t splices;    /* enum end_splices */
	uint8_t family;     /* AF_UNSPEC as long as nobody asked */
	/* Bits, since there are two ends a connection and hop. */
	bool rsock : 1, wsock : 1; /* sockets: MSG_DONTWAIT, shutdown(2) */
	bool readable : 1,
		writable : 1; /* as far as is known: until EAGAIN says otherwise; a watch's start tells */
	bool awaits_writable : 1; /* WATCH_WRITE is asked for */
	bool ends : 1;            /* an end may be there to be read, behind what is */
	bool read_done : 1;       /* an end or an error was read */
	bool write_dead : 1;      /* a write failed: nothing more is sent */
	bool reset : 1;           /* to be closed with a reset as soon as the queue is out */
	bool unseen : 1;          /* a hang-up was reported since end_gone() was asked last */
	uint32_t room;            /* what end_make_room() asked for */
	/* Bytes that wfd has taken; for records: or that wait for it. Who has the end writes it. */
	_Atomic uint64_t payload;
	/* What wfd has not taken: first the queue, then the pipe. NULL while there is nothing. */
	struct evbuffer *queue;
	struct pipe *pipe;
	struct end_writer *writer; /* wfd's watch where that is another descriptor */
	struct record_reader reader;
};

/*
 * Takes the descriptors over and arms their watches; 0 or -errno. Two descriptors of one socket become
 * one. end->index is set before.
 */
int end_init(struct relay_end *end, struct loop *loop, const struct relay_end_config *config);

/* Of relay.c: an end became readable or writable, or its peer is gone; and the loop that has it. */
void relay_end_event(struct relay_end *end);
struct loop *relay_end_loop(struct relay_end *end);

/* Stops waiting in a loop, and goes on in another: 0 or -errno. Not for those with two descriptors. */
void end_leave(struct relay_end *end, struct loop *loop);
int end_join(struct relay_end *end, struct loop *loop);

/* From any thread. */
static inline uint64_t end_payload(const struct relay_end *end)
{
	return atomic_load_explicit(&end->payload, memory_order_relaxed);
}

/* Up to `size` bytes: their number, 0 at the end, -EAGAIN, or -errno. */
ssize_t end_read(struct relay_end *end, uint8_t *buf, size_t size);

/* Whether splice(2) may be used: on TCP and Unix sockets, where it moves pages and copies nothing. */
bool end_splices(struct relay_end *end);

/* On a Unix socket that splices: makes room for `size` bytes to be written at a time, or what is allowed. */
void end_make_room(struct relay_end *end, size_t size);

/* Like end_read(), into an empty pipe. -EINVAL: what is there can't be spliced, use end_read(). */
ssize_t end_splice(struct relay_end *end, struct pipe *pipe, size_t size);

/*
 * Sends straight through what the descriptor takes; the rest is queued. A failure sets
 * write_dead and error, and what was queued is gone.
 */
void end_send(struct relay_end *end, const uint8_t *data, size_t size);

/* The same for payload, as a DATA record in records: RECORD_HEADER_SIZE bytes before it are overwritten. */
void end_send_data(struct relay_end *end, uint8_t *payload, size_t size);

/* The same for all that a pipe holds, and takes the pipe over. Nothing else may be queued. */
void end_send_pipe(struct relay_end *end, struct pipe *pipe);
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
