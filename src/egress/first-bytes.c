/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <string.h>
#include <sys/socket.h>

#include "first-bytes.h"
#include "lib/loop.h"
#include "lib/records.h"

/* Puts the payload of records together, at the begin of the buffer; *ended if there won't be more of it. */
static size_t unwrap(uint8_t *data, size_t size, bool *ended)
{
	struct record_reader reader = { 0 };
	struct record_piece piece;
	size_t at = 0, length = 0;
	struct error err;

	while (at < size && !*ended) {
		bool got = false;
		ssize_t took =
			record_reader_feed(&reader, data + at, size - at, &piece, &got, &err);

		if (took < 0 || (got && (piece.type == RECORD_EOF || piece.type == RECORD_RESET))) {
			*ended = true;
		} else {
			if (got && piece.type == RECORD_DATA) {
				memmove(data + length, piece.data, piece.length);
				length += piece.length;
			}
			at += (size_t)took;
		}
	}
	record_reader_clear(&reader);
	return length;
}

enum peek first_bytes(int fd, enum framing framing, bool waited, uint8_t *scratch,
		      char name[DOMAIN_NAME_MAX + 1])
{
	ssize_t n = recv(fd, scratch, LOOP_SCRATCH_SIZE, MSG_PEEK | MSG_DONTWAIT);
	bool ended = n == 0;
	size_t size = n > 0 ? (size_t)n : 0;
	enum peek peek;

	if (framing == FRAMING_RECORDS)
		size = unwrap(scratch, size, &ended);
	peek = size > 0 ? peek_name(scratch, size, name) : PEEK_MORE;
	/* Records of next to nothing fill the buffer, and there is no telling. */
	if (peek != PEEK_MORE || (!ended && !waited && n < (ssize_t)LOOP_SCRATCH_SIZE))
		return peek;
	return size == 0 ? PEEK_NONE : PEEK_BAD;
}
