/* SPDX-License-Identifier: MIT */
/*
 * The framing on a link: encoding of headers and RESETs, and a reader that takes
 * a stream apart in whatever portions it comes. DATA is never copied; the few bytes
 * of RESET, PING and PONG are gathered until they are whole.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "records.h"

static const struct {
	const char *name;
	uint32_t payload_max;
} types[] = {
	[RECORD_DATA] = { "DATA", RECORD_PAYLOAD_MAX }, [RECORD_EOF] = { "EOF", 0 },
	[RECORD_RESET] = { "RESET", RECORD_RESET_MAX }, [RECORD_PING] = { "PING", RECORD_PING_MAX },
	[RECORD_PONG] = { "PONG", RECORD_PING_MAX },
};
static_assert(ARRAY_SIZE(types) == RECORD_TYPE_COUNT, "a row for each type");
static_assert(sizeof(struct record_reader) <= 32, "an idle connection is small");

const char *record_type_name(enum record_type type)
{
	return types[type].name;
}

void record_put_header(uint8_t out[RECORD_HEADER_SIZE], enum record_type type, uint32_t length)
{
	assert(length <= types[type].payload_max);
	out[0] = (uint8_t)type;
	out[1] = (uint8_t)(length >> 16);
	out[2] = (uint8_t)(length >> 8);
	out[3] = (uint8_t)length;
}

size_t record_encode_reset(uint8_t out[RECORD_HEADER_SIZE + RECORD_RESET_MAX],
			   const struct error *err)
{
	char payload[RECORD_RESET_MAX + 1];
	int length = snprintf(payload, sizeof(payload), "%s ", reason_name(err->reason));
	uint32_t size;

	escape_text(payload + length, sizeof(payload) - (size_t)length, err->message);
	size = (uint32_t)strlen(payload);
	record_put_header(out, RECORD_RESET, size);
	memcpy(out + RECORD_HEADER_SIZE, payload, size);
	return RECORD_HEADER_SIZE + size;
}

void record_decode_reset(const uint8_t *payload, size_t length, struct error *err)
{
	const char *text = (const char *)payload;
	const char *space = memchr(text, ' ', length);
	size_t word_length = space ? (size_t)(space - text) : length;
	enum reason reason = REASON_BROKEN;
	char word[16], message[ERROR_MESSAGE_MAX];

	if (word_length < sizeof(word) && !memchr(text, '\0', word_length)) {
		memcpy(word, text, word_length);
		word[word_length] = '\0';
		if (reason_from_name(word, &reason) == 0) {
			word_length += space ? 1 : 0;
			text += word_length;
			length -= word_length;
		}
	}
	escape_text_n(message, sizeof(message), text, length);
	error_set(err, reason, 0, "%s", *message ? message : "connection reset");
}

/* Reads the complete header and readies the reader for the payload. */
static int begin_record(struct record_reader *reader, struct error *err)
{
	const uint8_t *header = reader->header;
	uint32_t length = (uint32_t)header[1] << 16 | (uint32_t)header[2] << 8 | header[3];

	if (header[0] >= RECORD_TYPE_COUNT)
		return error_set(err, REASON_BROKEN, 0, "protocol error: unknown record type %u",
				 header[0]);
	if (length > types[header[0]].payload_max)
		return error_set(err, REASON_BROKEN, 0, "protocol error: %s record of %u bytes",
				 types[header[0]].name, length);
	if (reader->eof && (header[0] == RECORD_DATA || header[0] == RECORD_EOF))
		return error_set(err, REASON_BROKEN, 0, "protocol error: %s record after EOF",
				 types[header[0]].name);
	reader->type = header[0];
	reader->left = length;
	reader->have = 0;
	if (reader->type == RECORD_EOF)
		reader->eof = true;
	else if (reader->type != RECORD_DATA)
		reader->control = xmalloc(length);
	return 0;
}

/* Takes up to `length` bytes of payload; returns how many. */
static size_t take_payload(struct record_reader *reader, const uint8_t *data, size_t length,
			   struct record_piece *piece, bool *got)
{
	bool whole = length >= reader->left;
	size_t n = whole ? reader->left : length;

	reader->left -= (uint32_t)n;
	piece->type = reader->type;
	piece->data = data;
	piece->length = n;
	piece->end = whole;
	*got = whole || n > 0;
	if (whole)
		reader->header_have = 0;
	if (reader->control) {
		memcpy(reader->control + reader->have, data, n);
		reader->have += (uint32_t)n;
		piece->data = reader->control;
		piece->length = reader->have;
		*got = whole;
	}
	return n;
}

ssize_t record_reader_feed(struct record_reader *reader, const uint8_t *data, size_t length,
			   struct record_piece *piece, bool *got, struct error *err)
{
	size_t taken = 0;

	*got = false;
	if (length == 0)
		return 0;
	if (reader->header_have < RECORD_HEADER_SIZE) {
		if (reader->control)
			record_reader_clear(reader);
		while (reader->header_have < RECORD_HEADER_SIZE) {
			if (taken == length)
				return (ssize_t)taken;
			reader->header[reader->header_have++] = data[taken++];
		}
		if (begin_record(reader, err) < 0) {
			reader->header_have = 0;
			return -EPROTO;
		}
	}
	return (ssize_t)(taken + take_payload(reader, data + taken, length - taken, piece, got));
}

size_t record_reader_data_left(const struct record_reader *reader)
{
	return reader->header_have == RECORD_HEADER_SIZE && reader->type == RECORD_DATA
		       ? reader->left
		       : 0;
}

void record_reader_skip(struct record_reader *reader, size_t length)
{
	assert(length <= record_reader_data_left(reader));
	reader->left -= (uint32_t)length;
	if (reader->left == 0)
		reader->header_have = 0;
}

bool record_reader_is_partial(const struct record_reader *reader)
{
	return reader->header_have > 0;
}

void record_reader_clear(struct record_reader *reader)
{
	free(reader->control);
	reader->control = NULL;
}
