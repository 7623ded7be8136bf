/* SPDX-License-Identifier: MIT */
/* Reading datagrams from an end: whole ones from a socket, or out of a stream by their framing. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "datagrams-end.h"
#include "sock.h"

/*
 * What may wait for a peer that is slow to read: the datagrams of one read, one that came in pieces before them, and all
 * their heads; and PONGs beside them, of which a peer that waits for each never gets to have that many.
 */
#define WAITING_MAX (LOOP_SCRATCH_SIZE + DATAGRAM_MAX + 64u * 1024)
#define PONGS_MAX (64u * 1024)

static void batch_add(struct datagrams *d, int from, struct datagrams_batch *batch,
		      const uint8_t *data, size_t size)
{
	batch->item[batch->count].iov_base = (void *)data;
	batch->item[batch->count++].iov_len = size;
	if (batch->count == DATAGRAMS_BATCH)
		datagrams_deliver(d, from, batch);
}

/*
 * One that came in more than one read: `size` bytes in all, of which these are the next. It is handed on
 * when it is whole, behind those before it.
 */
static void gather(struct datagrams *d, int from, struct datagrams_batch *batch, size_t size,
		   const uint8_t *data, size_t length)
{
	struct datagrams_end *end = &d->end[from];

	if (end->partial == NULL) {
		end->partial = xmalloc(sizeof(*end->partial) + size);
		end->partial->size = size;
		end->partial->sent = 0;
	}
	memcpy(end->partial->data + end->partial->sent, data, length);
	end->partial->sent += length;
	if (end->partial->sent < end->partial->size)
		return;
	batch_add(d, from, batch, end->partial->data, end->partial->size);
	datagrams_deliver(d, from, batch);
	free(end->partial);
	end->partial = NULL;
}

/* Bytes (of a message that is longer than `size`: more than that), 0 at the end, -EAGAIN, or -errno. */
static ssize_t end_read(struct datagrams_end *end, uint8_t *buf, size_t size)
{
	/* For a stream that flag would mean to throw away what is read. */
	int flags = MSG_DONTWAIT | (end->whole ? MSG_TRUNC : 0);
	ssize_t n;

	do
		n = end->rsock ? recv(end->rfd, buf, size, flags) : read(end->rfd, buf, size);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EWOULDBLOCK) {
		end->readable = false;
		return -EAGAIN;
	}
	/* A tty whose other side went away (its master was closed): that is its end. */
	return errno == EIO && !end->rsock ? 0 : -errno;
}

/* Bytes of a stream into the loop's scratch buffer: those that the last turn left, or else as end_read(). */
static ssize_t stream_read(struct datagrams *d, int from)
{
	struct packet *left = d->end[from].left;
	ssize_t n;

	if (left == NULL)
		return end_read(&d->end[from], d->loop->scratch, LOOP_SCRATCH_SIZE);
	n = (ssize_t)left->size;
	memcpy(d->loop->scratch, left->data, left->size);
	free(left);
	d->end[from].left = NULL;
	return n;
}

/* Keeps what this turn may not move any more. */
static void stream_leave(struct datagrams *d, int from, const uint8_t *data, ssize_t n)
{
	struct packet *left;

	if (n <= 0 || d->state != DATAGRAMS_OPEN)
		return;
	left = xmalloc(sizeof(*left) + (size_t)n);
	left->size = (size_t)n;
	memcpy(left->data, data, (size_t)n);
	d->end[from].left = left;
}

static bool read_socket(struct datagrams *d, int from)
{
	struct datagrams_end *end = &d->end[from];
	uint8_t *at = d->loop->scratch, *limit = at + LOOP_SCRATCH_SIZE - (DATAGRAM_MAX + 1);
	struct datagrams_batch batch = { .count = 0 };
	ssize_t n = 0;

	for (int i = 0; i < DATAGRAMS_BATCH - 1 && at <= limit; i++) {
		n = end_read(end, at, DATAGRAM_MAX + 1);
		if (n == -EAGAIN)
			break;
		/* ICMP: one was too long for the way, and the kernel cuts the next ones to it. */
		if (n == -EMSGSIZE) {
			end->dropped++;
			continue;
		}
		if (n < 0) { /* told before what came before it */
			end->error = (int)-n;
			continue;
		}
		if (n > DATAGRAM_MAX) { /* IPv6 has room for 20 bytes more */
			d->end[!from].dropped++;
			continue;
		}
		batch_add(d, from, &batch, at, (size_t)n);
		at += n;
	}
	datagrams_deliver(d, from, &batch);
	if (n == -EAGAIN && end->error != 0)
		datagrams_failed(d, from, end->error);
	return n != -EAGAIN;
}

/* What a stream's read brought if not bytes: its end, an error. True if that was all for now. */
static bool has_ended(struct datagrams *d, int from, ssize_t n)
{
	struct datagrams_end *end = &d->end[from];
	struct error err;

	if (n > 0)
		return false;
	if (n == -EAGAIN)
		return true;
	end->read_done = true;
	if (n < 0) {
		datagrams_failed(d, from, (int)-n);
	} else if (end->partial != NULL || end->length_have > 0) {
		error_set(&err, REASON_BROKEN, 0, "the input ended in the middle of a datagram");
		datagrams_finish(d, -1, RELAY_LOCAL, &err);
	} else {
		datagrams_eof(d, from);
	}
	return true;
}

static void too_long(struct datagrams *d, size_t size)
{
	struct error err;

	error_set(&err, REASON_BROKEN, EMSGSIZE,
		  "the input has a datagram of %zu bytes; there may be %d", size, DATAGRAM_MAX);
	datagrams_finish(d, -1, RELAY_LOCAL, &err);
}

static bool read_reads(struct datagrams *d, int from)
{
	struct datagrams_batch batch = { .count = 0 };
	size_t max = DATAGRAM_MAX + (d->end[from].whole ? 1 : 0);
	ssize_t n = end_read(&d->end[from], d->loop->scratch, max);

	if (has_ended(d, from, n))
		return false;
	if (n > DATAGRAM_MAX) {
		too_long(d, (size_t)n);
		return false;
	}
	batch_add(d, from, &batch, d->loop->scratch, (size_t)n);
	datagrams_deliver(d, from, &batch);
	return true;
}

/* Takes bytes of one datagram with its length before it: how many. */
static size_t take_length(struct datagrams *d, int from, struct datagrams_batch *batch,
			  const uint8_t *data, size_t n)
{
	struct datagrams_end *end = &d->end[from];
	size_t size, took;

	if (end->partial == NULL && end->length_have < sizeof(end->length)) {
		end->length[end->length_have++] = *data;
		if (end->length_have < sizeof(end->length) || end->length[0] | end->length[1])
			return 1;
		data++; /* one of no bytes is whole */
	}
	size = (size_t)end->length[0] << 8 | end->length[1];
	if (size > DATAGRAM_MAX) {
		too_long(d, size);
		return n;
	}
	if (end->partial != NULL)
		took = end->partial->size - end->partial->sent;
	else
		took = size;
	took = took < n ? took : n;
	if (end->partial == NULL && took == size)
		batch_add(d, from, batch, data, size);
	else
		gather(d, from, batch, size, data, took);
	if (end->partial == NULL)
		end->length_have = 0;
	return size == 0 ? 1 : took;
}

static bool read_lengths(struct datagrams *d, int from)
{
	uint8_t *data = d->loop->scratch;
	struct datagrams_batch batch = { .count = 0 };
	ssize_t n = stream_read(d, from);

	if (has_ended(d, from, n))
		return false;
	for (; n > 0 && d->state == DATAGRAMS_OPEN && d->end[from].budget > 0;
	     d->end[from].budget--) {
		size_t took = take_length(d, from, &batch, data, (size_t)n);

		data += took;
		n -= (ssize_t)took;
	}
	datagrams_deliver(d, from, &batch);
	stream_leave(d, from, data, n);
	return true;
}

/* A record that is no DATA; 0, or negative with *err for a protocol error. */
static int take_control(struct datagrams *d, int from, const struct record_piece *piece,
			struct error *err)
{
	uint8_t pong[RECORD_HEADER_SIZE + RECORD_PING_MAX];

	switch (piece->type) {
	case RECORD_EOF:
		datagrams_eof(d, from);
		break;
	case RECORD_RESET:
		record_decode_reset(piece->data, piece->length, err);
		datagrams_finish(d, from, RELAY_RESET, err);
		break;
	case RECORD_PING:
		if (d->end[from].queue.size > WAITING_MAX + PONGS_MAX)
			return error_set(err, REASON_BROKEN, 0, "protocol error: too many PINGs");
		record_put_header(pong, RECORD_PONG, (uint32_t)piece->length);
		memcpy(pong + RECORD_HEADER_SIZE, piece->data, piece->length);
		datagrams_end_send(d, from, pong, RECORD_HEADER_SIZE + piece->length);
		break;
	default:
		break; /* a PONG: nothing asked for it */
	}
	return 0;
}

/* Takes bytes of one record: how many, or negative with *err. */
static ssize_t take_record(struct datagrams *d, int from, struct datagrams_batch *batch,
			   const uint8_t *data, size_t n, struct error *err)
{
	struct datagrams_end *end = &d->end[from];
	struct record_piece piece;
	bool got;
	ssize_t took = record_reader_feed(&end->reader, data, n, &piece, &got, err);
	size_t size = record_reader_data_left(&end->reader);

	if (took < 0)
		return took;
	if (got && piece.type == RECORD_DATA)
		size += piece.length + (end->partial != NULL ? end->partial->sent : 0);
	if (size > DATAGRAM_MAX)
		return error_set(err, REASON_BROKEN, 0, "protocol error: a datagram of %zu bytes",
				 size);
	if (!got)
		return took;
	if (piece.type != RECORD_DATA) {
		datagrams_deliver(d, from, batch);
		if (d->state == DATAGRAMS_OPEN && take_control(d, from, &piece, err) < 0)
			return -EPROTO;
	} else if (end->partial == NULL && piece.end) {
		batch_add(d, from, batch, piece.data, piece.length);
	} else {
		gather(d, from, batch, size, piece.data, piece.length);
	}
	return took;
}

/* The link's descriptor has ended. */
static void records_ended(struct datagrams *d, int from, int sys_errno)
{
	struct datagrams_end *end = &d->end[from];
	struct error err;

	end->read_done = true;
	/* Who has said that nothing more comes may leave when it likes. */
	if (end->reader.eof) {
		datagrams_finish(d, from, RELAY_EOF, NULL);
		return;
	}
	error_set(&err, REASON_BROKEN, sys_errno, "the link was cut");
	datagrams_finish(d, from, RELAY_CUT, &err);
}

static bool read_records(struct datagrams *d, int from)
{
	uint8_t *data = d->loop->scratch;
	struct datagrams_batch batch = { .count = 0 };
	ssize_t n = stream_read(d, from);
	struct error err;

	if (n == -EAGAIN)
		return false;
	if (n <= 0) {
		records_ended(d, from, (int)-n);
		return false;
	}
	for (; n > 0 && d->state == DATAGRAMS_OPEN && d->end[from].budget > 0;
	     d->end[from].budget--) {
		ssize_t took = take_record(d, from, &batch, data, (size_t)n, &err);

		if (took < 0) {
			datagrams_deliver(d, from, &batch);
			datagrams_finish(d, -1, RELAY_RESET, &err);
			return false;
		}
		data += took;
		n -= took;
	}
	datagrams_deliver(d, from, &batch);
	stream_leave(d, from, data, n);
	return true;
}

bool datagrams_end_read(struct datagrams *d, int from)
{
	switch ((enum datagrams_type)d->end[from].type) {
	case DATAGRAMS_SOCKET:
		return read_socket(d, from);
	case DATAGRAMS_RECORDS:
		return read_records(d, from);
	case DATAGRAMS_READS:
		return read_reads(d, from);
	case DATAGRAMS_LENGTHS:
		return read_lengths(d, from);
	case DATAGRAMS_CALLS:
	case DATAGRAMS_NOWHERE:
		break;
	}
	return false;
}
