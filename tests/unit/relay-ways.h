/* SPDX-License-Identifier: MIT */
/*
 * Much data through a relay of relay-fixture.h: each direction of a test is a way, that is driven step by
 * step, held up and let go again, and every byte of which is compared.
 */
#ifndef VZFWD_RELAY_WAYS_H
#define VZFWD_RELAY_WAYS_H

#include "relay-fixture.h"
#include "relay-flow.h"

#define MIB (1u << 20)
/* So much is read before a way is held up: by then it is in bulk. */
#define HEAD (600u * 1024)

static uint8_t bulk[8 * MIB];

struct way {
	int wfd, rfd;
	bool get_records;
	size_t size;    /* of the payload: the beginning of bulk[] */
	size_t hold;    /* no more of it than so much is read for now */
	size_t got;     /* so much was, and was right, */
	bool wrong;     /* or not */
	int end;        /* how reading ended: 0 or an errno; -1: it has not */
	size_t records; /* DATA records that began */
	unsigned eofs, resets, pongs;
	size_t pong_at;   /* what had been got by then */
	size_t urgent_at; /* a byte of urgent data goes there; 0: none */
	const uint8_t *out;
	uint8_t *made; /* out, if it was made for this */
	size_t out_size, put;
	struct record_reader reader;
};

static inline void bulk_fill(void)
{
	uint32_t x = 2463534242u;

	for (size_t i = 0; i < sizeof(bulk); i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		bulk[i] = (uint8_t)x;
	}
}

/* `record`: the payload of each record that is put, 0 for bytes as they are. */
static inline void way_init(struct way *w, int wfd, int rfd, bool get_records, size_t size,
			    size_t record)
{
	*w = (struct way){ .wfd = wfd,
			   .rfd = rfd,
			   .get_records = get_records,
			   .size = size,
			   .hold = SIZE_MAX,
			   .end = -1,
			   .out = bulk,
			   .out_size = size };
	if (record == 0)
		return;
	w->out = w->made = xmalloc(size + (size / record + 1) * RECORD_HEADER_SIZE);
	w->out_size = 0;
	for (size_t done = 0; done < size; done += record) {
		size_t n = size - done < record ? size - done : record;

		record_put_header(w->made + w->out_size, RECORD_DATA, (uint32_t)n);
		memcpy(w->made + w->out_size + RECORD_HEADER_SIZE, bulk + done, n);
		w->out_size += RECORD_HEADER_SIZE + n;
	}
}

/* The near end's sizes, if it is TCP's, may grow until they have room for all of bulk[]: not beyond this. */
static inline void way_limit(int fd, int option)
{
	int size = 208 * 1024;

	setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size));
}

/* From the near end to the link, and back. */
static inline void way_up(struct way *w, const struct fixture *f, size_t size)
{
	way_limit(f->near_w, SO_SNDBUF);
	way_init(w, f->near_w, f->far_r, f->config.end[1].framing == FRAMING_RECORDS, size, 0);
}

static inline void way_down(struct way *w, const struct fixture *f, size_t size, size_t record)
{
	way_limit(f->near_r, SO_RCVBUF);
	way_init(w, f->far_w, f->near_r, false, size, record);
}

static inline void way_clear(struct way *w)
{
	free(w->made);
	record_reader_clear(&w->reader);
}

/* True if something moved; so too the next one. */
static inline bool way_put(struct way *w)
{
	size_t left = (w->put < w->urgent_at ? w->urgent_at : w->out_size) - w->put;
	ssize_t n;

	if (left == 0)
		return false;
	n = send(w->wfd, w->out + w->put, left, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n <= 0)
		return false;
	w->put += (size_t)n;
	if (w->put == w->urgent_at) {
		while (send(w->wfd, "!", 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			turn(now_ms());
		w->urgent_at = 0;
	}
	return true;
}

static inline void way_take(struct way *w, const uint8_t *data, size_t size)
{
	if (size > w->size - w->got || memcmp(data, bulk + w->got, size) != 0)
		w->wrong = true;
	else
		w->got += size;
}

static inline void way_take_records(struct way *w, const uint8_t *data, size_t size)
{
	while (size > 0 && !w->wrong) {
		bool inside = record_reader_data_left(&w->reader) > 0, got = false;
		struct record_piece piece;
		struct error err;
		ssize_t took = record_reader_feed(&w->reader, data, size, &piece, &got, &err);

		if (took < 0) {
			w->wrong = true;
			return;
		}
		if (got && piece.type == RECORD_DATA) {
			w->records += !inside;
			way_take(w, piece.data, piece.length);
		} else if (got) {
			w->eofs += piece.type == RECORD_EOF;
			w->resets += piece.type == RECORD_RESET;
			w->pongs += piece.type == RECORD_PONG;
			w->pong_at = w->got;
		}
		data += took;
		size -= (size_t)took;
	}
}

static inline bool way_get(struct way *w)
{
	static uint8_t buf[LOOP_SCRATCH_SIZE];
	size_t room = w->hold > w->got ? w->hold - w->got : 0;
	ssize_t n;

	if (w->end >= 0 || w->wrong || room == 0)
		return false;
	n = read(w->rfd, buf, room < sizeof(buf) ? room : sizeof(buf));
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0)
		w->end = n < 0 ? errno : 0;
	else if (w->get_records)
		way_take_records(w, buf, (size_t)n);
	else
		way_take(w, buf, (size_t)n);
	return true;
}

static inline bool ways_step(struct way *w, size_t count)
{
	bool moved = false;

	for (size_t i = 0; i < count; i++) {
		moved |= way_put(&w[i]);
		moved |= way_get(&w[i]);
	}
	if (moved)
		event_base_loop(loop.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	return moved;
}

/* Lets all that was to be put arrive, in time. */
static inline bool ways_arrive(struct way *w, size_t count)
{
	int64_t since = now_ms();
	size_t ended;

	do {
		ended = 0;
		for (size_t i = 0; i < count; i++) {
			w[i].hold = SIZE_MAX;
			ended += w[i].wrong || w[i].end >= 0 ||
				 (w[i].got == w[i].size && w[i].put == w[i].out_size);
		}
	} while (ended < count && (ways_step(w, count) || turn(since)));
	for (size_t i = 0; i < count; i++)
		if (w[i].wrong || w[i].got != w[i].size) {
			diag("way %zu: %zu of %zu bytes, %s", i, w[i].got, w[i].size,
			     w[i].wrong ? "then wrong ones" : "then no more");
			return false;
		}
	return true;
}

/* Reads on until as many as that are there (of w->eofs and such), or until the end. */
static inline bool way_await(struct way *w, const unsigned *what, unsigned count)
{
	int64_t since = now_ms();

	w->hold = SIZE_MAX;
	while (*what < count && w->end < 0 && !w->wrong && (ways_step(w, 1) || turn(since)))
		;
	return *what >= count;
}

static inline bool way_await_end(struct way *w)
{
	static const unsigned never;

	way_await(w, &never, 1);
	return w->end >= 0;
}

/* Nobody reads beyond what brings them in bulk: until nobody takes anything any more. */
static inline void ways_stall(struct way *w, size_t count)
{
	for (size_t i = 0; i < count; i++)
		w[i].hold = HEAD;
	for (int idle = 0; idle < 40; idle++) {
		if (ways_step(w, count))
			idle = 0;
		else
			turn(now_ms());
	}
}

#endif
