/* SPDX-License-Identifier: MIT */
/*
 * The flows of a relay: from what is read at one end, bytes or records, to what is sent at the
 * other. Theory of Operation: relay.c.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "relay-flow.h"

#define BYTES_READ_SIZE (RECORD_READ_SIZE - RECORD_HEADER_SIZE)
static_assert(RECORD_HEADER_SIZE + RECORD_READ_SIZE <= LOOP_SCRATCH_SIZE, "a header goes before");
/* PONGs to somebody who does not read them must not pile up, behind the record that is under way. */
#define QUEUE_MAX (RECORD_PAYLOAD_MAX + LOOP_SCRATCH_SIZE)
/* Payload up to this size is rather moved in memory than sent on its own. */
#define GATHER_MAX 4096

static const char *const flow_state_names[] = { "open", "draining", "done" };
static_assert(ARRAY_SIZE(flow_state_names) == FLOW_DONE + 1, "a name for each");

static void flow_set_state(struct relay *r, int from, enum flow_state state)
{
	assert(state > r->flow[from]);
	log_debug(&r->name, "%s %s -> %s", from == 0 ? "out" : "in",
		  flow_state_names[r->flow[from]], flow_state_names[state]);
	r->flow[from] = (uint8_t)state;
}

/* Payload that was copied. */
static void flow_send(struct relay *r, int from, uint8_t *data, size_t size)
{
	if (r->tap != NULL && size > 0)
		r->tap->data(r->tap, from, data, size);
	end_send_data(&r->end[!from], data, size);
}

/* The source of a flow has ended in order: tell the sink behind what is queued. */
static void flow_end(struct relay *r, int from)
{
	struct relay_end *dst = &r->end[!from];
	uint8_t eof[RECORD_HEADER_SIZE];

	flow_set_state(r, from, FLOW_DRAINING);
	if (r->tap != NULL)
		r->tap->end(r->tap, from);
	if (dst->framing == FRAMING_RECORDS) {
		record_put_header(eof, RECORD_EOF, 0);
		end_send(dst, eof, sizeof(eof));
	}
}

static void flow_drained(struct relay *r, int from)
{
	struct relay_end *dst = &r->end[!from];

	if (dst->framing == FRAMING_RAW)
		end_shut_write(dst);
	flow_set_state(r, from, FLOW_DONE);
	if (from == 1 && (r->flags & RELAY_LEAVE)) {
		r->end[0].read_done = true;
		if (r->flow[0] == FLOW_OPEN)
			flow_end(r, 0);
		relay_doom(r);
	}
}

/* The end of a raw source. An end after a failed write is the reset that caused it. */
static bool bytes_ended(struct relay *r, int from, ssize_t rc)
{
	struct relay_end *src = &r->end[from];

	src->read_done = true;
	if (rc < 0 || src->error != 0)
		relay_end_lost(r, from, (int)-rc);
	else
		flow_end(r, from);
	return true;
}

static bool flow_splices(struct relay *r, int from)
{
	return r->bulk[from] && r->tap == NULL && end_splices(&r->end[from]) &&
	       end_splices(&r->end[!from]);
}

/*
 * Moves up to `size` bytes of payload through a pipe. What was read, or as end_read(); -EINVAL also if there is
 * no pipe.
 */
static ssize_t splice_payload(struct relay *r, int from, size_t size)
{
	struct pipe *pipe = flow_splices(r, from) ? pipe_take(relay_loop(r)) : NULL;
	size_t bite;
	ssize_t n;

	if (pipe == NULL)
		return -EINVAL;
	bite = bulk_bite(r);
	n = end_splice(&r->end[from], pipe, size < bite ? size : bite);
	if (n > 0) {
		r->moved += (uint32_t)n;
		end_make_room(&r->end[!from], bite);
		end_send_pipe(&r->end[!from], pipe);
	} else {
		pipe_give(relay_loop(r), pipe);
	}
	return n;
}

static bool read_bytes(struct relay *r, int from)
{
	uint8_t *data = relay_loop(r)->scratch + RECORD_HEADER_SIZE;
	ssize_t n = splice_payload(r, from, RECORD_PAYLOAD_MAX);

	if (n == -EINVAL) {
		n = end_read(&r->end[from], data, BYTES_READ_SIZE);
		if (n > 0) {
			r->moved += (uint32_t)n;
			flow_send(r, from, data, (size_t)n);
		}
	}
	if (n == -EAGAIN)
		return false;
	if (n <= 0)
		return bytes_ended(r, from, n);
	r->bulk[from] = n >= RELAY_BULK_MIN;
	return true;
}

/* A record that is no DATA; 0, or negative with *err for a protocol error. */
static int take_control(struct relay *r, int from, const struct record_piece *piece,
			struct error *err)
{
	struct relay_end *src = &r->end[from];
	uint8_t pong[RECORD_HEADER_SIZE + RECORD_PING_MAX];
	struct error told, broken;

	switch (piece->type) {
	case RECORD_EOF:
		flow_end(r, from);
		break;
	case RECORD_RESET:
		record_decode_reset(piece->data, piece->length, &told);
		/* Whatever its reason there, after "connected" a reset is a broken stream here. */
		error_set(&broken, REASON_BROKEN, 0, "%s", told.message);
		relay_reset(r, from, RELAY_RESET, &broken);
		break;
	case RECORD_PING:
		if (end_queued(src) > QUEUE_MAX)
			return error_set(err, REASON_BROKEN, 0, "protocol error: too many PINGs");
		record_put_header(pong, RECORD_PONG, (uint32_t)piece->length);
		memcpy(pong + RECORD_HEADER_SIZE, piece->data, piece->length);
		end_send(src, pong, RECORD_HEADER_SIZE + piece->length);
		break;
	default:
		break; /* a PONG: nothing asked for it */
	}
	return 0;
}

/* The link's descriptor has ended. */
static bool records_ended(struct relay *r, int from, ssize_t rc)
{
	struct relay_end *src = &r->end[from];
	bool failed = rc < 0 || src->error != 0, lost;

	src->read_done = true;
	if (!src->reader.eof)
		lost = true;
	else if (r->flow[!from] != FLOW_DONE)
		/* Its writing side may have been shut down alone. */
		lost = failed || !end_half_closed(src);
	else
		/* It was closed with something unread. */
		lost = failed && (r->flags & RELAY_CONFIRM);
	if (lost)
		relay_end_lost(r, from, (int)-rc);
	return true;
}

/* The payload of many small DATA records is put together and sent as one. */
static void take_records(struct relay *r, int from, uint8_t *data, size_t n)
{
	struct relay_end *src = &r->end[from];
	uint8_t *payload = data;
	size_t length = 0;

	while (n > 0 && r->state < RELAY_RESETTING) {
		struct record_piece piece;
		struct error err;
		bool got = false;
		ssize_t took = record_reader_feed(&src->reader, data, n, &piece, &got, &err);

		if (took >= 0 && got && piece.type == RECORD_DATA) {
			if (piece.length > GATHER_MAX) {
				flow_send(r, from, payload, length);
				length = 0;
			}
			if (length == 0)
				payload = data + took - piece.length;
			else
				memmove(payload + length, piece.data, piece.length);
			length += piece.length;
		} else if (took < 0 || got) {
			flow_send(r, from, payload, length);
			length = 0;
			if (took < 0 || take_control(r, from, &piece, &err) < 0) {
				relay_reset(r, -1, RELAY_RESET, &err);
				break;
			}
		}
		data += took;
		n -= (size_t)took;
	}
	flow_send(r, from, payload, length);
}

/*
 * In bulk a header is read alone, and the payload behind it goes through a pipe; the rest of a large
 * record that began in a read does so too.
 */
static bool read_records(struct relay *r, int from)
{
	struct relay_end *src = &r->end[from];
	uint8_t *data = relay_loop(r)->scratch + RECORD_HEADER_SIZE;
	size_t left = record_reader_data_left(&src->reader), size = RECORD_READ_SIZE;
	ssize_t n = -EINVAL;

	if (left >= RELAY_BULK_MIN)
		r->bulk[from] = true;
	if (left > 0)
		n = splice_payload(r, from, left);
	else if (flow_splices(r, from) && !record_reader_is_partial(&src->reader))
		size = RECORD_HEADER_SIZE;
	if (n > 0) {
		record_reader_skip(&src->reader, (size_t)n);
	} else if (n == -EINVAL) {
		n = end_read(src, data, size);
		if (n > 0) {
			r->moved += (uint32_t)n;
			take_records(r, from, data, (size_t)n);
			r->bulk[from] = n >= RELAY_BULK_MIN ||
					record_reader_data_left(&src->reader) >= RELAY_BULK_MIN;
		}
	}
	if (n == -EAGAIN)
		return false;
	return n > 0 || records_ended(r, from, n);
}

static bool flow_wants_read(const struct relay *r, int from)
{
	const struct relay_end *src = &r->end[from];

	return src->readable && !src->read_done &&
	       (src->framing == FRAMING_RECORDS ||
		(r->flow[from] == FLOW_OPEN && !r->end[!from].write_dead));
}

bool flow_step(struct relay *r, int from)
{
	struct relay_end *dst = &r->end[!from];

	end_flush(dst);
	if (dst->write_dead) {
		if (relay_end_is_over(r, !from)) {
			relay_end_lost(r, !from, dst->error);
			return false;
		}
		relay_doom(r);
	}
	if (end_queued(dst) > 0)
		return false;
	if (r->flow[from] == FLOW_DRAINING && !dst->write_dead) {
		flow_drained(r, from);
		return true; /* RELAY_LEAVE: the other one may have to do something now */
	}
	if (r->state >= RELAY_RESETTING || !flow_wants_read(r, from))
		return false;
	return r->end[from].framing == FRAMING_RECORDS ? read_records(r, from)
						       : read_bytes(r, from);
}
