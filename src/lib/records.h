/* SPDX-License-Identifier: MIT */
/*
 * The framing on a link (vzfwd-protocol(7)): a 4-byte big-endian header, type
 * in the top 8 bits and payload length in the low 24, then the payload. Pure
 * encoding and decoding, no I/O, no buffering of DATA.
 */
#ifndef VZFWD_RECORDS_H
#define VZFWD_RECORDS_H

#include "error.h"

#define RECORD_HEADER_SIZE 4
#define RECORD_PAYLOAD_MAX ((1u << 20) - RECORD_HEADER_SIZE)
#define RECORD_RESET_MAX 1024
#define RECORD_PING_MAX 8

enum record_type {
	RECORD_DATA,
	RECORD_EOF,
	RECORD_RESET,
	RECORD_PING,
	RECORD_PONG,
	RECORD_TYPE_COUNT
};

const char *record_type_name(enum record_type type); /* "DATA" */

/* Writes the header of a record with `length` (<= RECORD_PAYLOAD_MAX) bytes of payload. */
void record_put_header(uint8_t out[RECORD_HEADER_SIZE], enum record_type type, uint32_t length);

/* Encodes a whole RESET ("reason text") into out; returns its size, header included. */
size_t record_encode_reset(uint8_t out[RECORD_HEADER_SIZE + RECORD_RESET_MAX],
			   const struct error *err);

/*
 * Reads a RESET's payload into *err: the reason word, a space, the text. An
 * unknown or missing word is REASON_BROKEN with the whole payload as text. The
 * text is escaped (escape_text), since it comes from the other side.
 */
void record_decode_reset(const uint8_t *payload, size_t length, struct error *err);

/*
 * Takes a stream apart. Feed it what was read, in any portions; it hands back
 * one piece at a time and says how much it took.
 *
 * Zero-initialise before use; record_reader_clear() frees the payload of a
 * RESET that never arrived whole. 32 bytes or less, so that an idle connection is small.
 */
struct record_reader {
	uint8_t header[RECORD_HEADER_SIZE];
	uint8_t header_have; /* bytes of header[] that are there */
	uint8_t type;        /* of the record being read */
	bool eof;            /* EOF was seen: only RESET, PING, PONG may follow */
	uint32_t left;       /* bytes of payload still to come */
	uint32_t have;       /* bytes gathered in control */
	uint8_t *control;    /* payload of RESET, PING, PONG while it is gathered */
};

struct record_piece {
	enum record_type type;
	const uint8_t
		*data; /* DATA: into the fed buffer; else into the reader, until the next call */
	size_t length;
	bool end; /* the record's last piece (always true but for a DATA that goes on) */
};

/*
 * Takes bytes from data and returns how many it took (0..length), or a negative
 * number with *err filled (REASON_BROKEN) for a protocol error: unknown type,
 * DATA or EOF after EOF, EOF with a payload, an oversized record.
 * Sets *got when *piece was filled. Call again until everything is taken. A
 * DATA record of length 0 gives a piece of length 0.
 */
ssize_t record_reader_feed(struct record_reader *reader, const uint8_t *data, size_t length,
			   struct record_piece *piece, bool *got, struct error *err);

/* Payload still to come of the DATA record under way; 0 between records and in others. */
size_t record_reader_data_left(const struct record_reader *reader);

/* So much of that payload was taken past the reader. */
void record_reader_skip(struct record_reader *reader, size_t length);

/* True in the middle of a record: an end of the stream here is a cut in mid-record. */
bool record_reader_is_partial(const struct record_reader *reader);

void record_reader_clear(struct record_reader *reader);

#endif
