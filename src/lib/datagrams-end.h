/* SPDX-License-Identifier: MIT */
/*
 * One side of a copy of datagrams, of whatever type: its descriptors, and what they have not taken yet. Used by
 * datagrams*.c alone.
 */
#ifndef VZFWD_DATAGRAMS_END_H
#define VZFWD_DATAGRAMS_END_H

#include "datagrams.h"
#include "packets.h"
#include "records.h"
#include "watch.h"

/* How many are moved by one call. */
#define DATAGRAMS_BATCH 64

struct datagrams_batch {
	struct iovec item[DATAGRAMS_BATCH];
	size_t count;
};

struct datagrams_end {
	struct datagrams *owner;
	struct watch watch;       /* of rfd, and of wfd where it is the same */
	struct watch write_watch; /* of wfd where it is another */
	int rfd, wfd;             /* -1 when closed */
	uint8_t type;             /* enum datagrams_type */
	bool rsock, wsock;
	bool whole;              /* rfd is a socket whose reads bring a message each */
	bool readable, writable; /* as far as is known, until EAGAIN says otherwise */
	bool awaits_writable;    /* WATCH_WRITE is asked for */
	bool hung_up;            /* reported, and not looked at yet */
	bool read_done;          /* its end was read */
	bool write_dead;         /* a link that takes no more; what it said is still to be read */
	bool eof_sent;
	int error; /* SOCKET: what its end will be, once all is read that came before */
	struct record_reader reader; /* RECORDS */
	uint8_t length[2];           /* LENGTHS: the header that is being read */
	uint8_t length_have;
	struct packet *partial; /* the datagram that is being read, `sent` bytes of it */
	struct packet *left;    /* RECORDS, LENGTHS: bytes that were read, for the next turn */
	unsigned budget;        /* RECORDS, LENGTHS: so many pieces of them are left to this turn */
	struct packets queue;   /* what wfd has not taken */
	uint64_t count, bytes;  /* datagrams given to it, and their payload */
	uint64_t dropped;       /* those that it had no room for */
};

enum datagrams_state { DATAGRAMS_OPEN, DATAGRAMS_CLOSING, DATAGRAMS_CLOSED };

struct datagrams {
	struct loop *loop;
	struct datagrams_end end[2];
	uint8_t state;   /* enum datagrams_state */
	uint8_t outcome; /* enum relay_outcome */
	int8_t gone;     /* whose peer that was; -1: neither */
	struct error *err;
	struct tap *tap; /* NULL: nobody looks on */
	struct log_name name;
	int linger_ms, idle_ms;
	bool client_ended;
	bool leaving; /* idle, which the client's link was told; it has not answered yet */
	int64_t heard; /* now_ms() of the last one; once the client has ended, of the target's alone */
	struct loop_task work, linger, doom; /* linger: or idle */
	struct datagrams_client *client;     /* DATAGRAMS_CALLS: until it is released; NULL */
	relay_done_cb done;
	void *arg;
};

/* Takes the descriptors over and watches them: 0 or -errno. */
int datagrams_end_init(struct datagrams *d, int i, const struct datagrams_end_config *config);
void datagrams_end_close(struct datagrams_end *end);

/* Hands a batch to an end: what it does not take at once is queued, or lost where that makes no sense. */
void datagrams_end_put(struct datagrams *d, int to, const struct datagrams_batch *batch);
/* Records other than DATA, whole. */
void datagrams_end_send(struct datagrams *d, int to, const uint8_t *record, size_t size);
/* Writes as much of the queue as is taken. */
void datagrams_end_flush(struct datagrams *d, int to);

/* datagrams-read.c: reads once, and hands on what came. False when there is no more for now. */
bool datagrams_end_read(struct datagrams *d, int from);

/* datagrams.c: what an end met. */
void datagrams_pump(void *arg);
void datagrams_deliver(struct datagrams *d, int from, struct datagrams_batch *batch);
void datagrams_eof(struct datagrams *d, int from);
/* Ends all; `gone` (-1: none) is not told. `err` NULL: in order. */
void datagrams_finish(struct datagrams *d, int gone, enum relay_outcome outcome,
		      const struct error *err);
/* A UDP socket's errno, or that of reading and writing at the client's side. */
void datagrams_failed(struct datagrams *d, int i, int sys_errno);
void datagrams_doom(struct datagrams *d); /* it has 5 s left */

#endif
