/* SPDX-License-Identifier: MIT */
/* DNS messages with their length in front. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "dns/stream.h"

void dns_stream_clear(struct dns_stream *stream)
{
	free(stream->message);
	*stream = (struct dns_stream){ 0 };
}

/* Takes up to `want` bytes to `to`. */
static size_t take(uint8_t *to, size_t want, const uint8_t **data, size_t *size)
{
	size_t n = want < *size ? want : *size;

	if (n > 0)
		memcpy(to, *data, n);
	*data += n;
	*size -= n;
	return n;
}

int dns_stream_take(struct dns_stream *stream, size_t max, const uint8_t **data, size_t *size)
{
	if (stream->message != NULL && stream->have == stream->size + DNS_LENGTH_SIZE)
		dns_stream_clear(stream);
	if (stream->have < DNS_LENGTH_SIZE) {
		stream->have += take(stream->length + stream->have, DNS_LENGTH_SIZE - stream->have,
				     data, size);
		if (stream->have < DNS_LENGTH_SIZE)
			return 0;
		stream->size = (size_t)stream->length[0] << 8 | stream->length[1];
	}
	if (stream->size < DNS_HEADER_SIZE || stream->size > max)
		return -EMSGSIZE;
	if (stream->message == NULL)
		stream->message = xmalloc(stream->size);
	stream->have += take(stream->message + stream->have - DNS_LENGTH_SIZE,
			     stream->size + DNS_LENGTH_SIZE - stream->have, data, size);
	return stream->have == stream->size + DNS_LENGTH_SIZE;
}

uint8_t *dns_frame(const uint8_t *message, size_t size)
{
	uint8_t *framed = xmalloc(size + DNS_LENGTH_SIZE);

	framed[0] = (uint8_t)(size >> 8);
	framed[1] = (uint8_t)size;
	memcpy(framed + DNS_LENGTH_SIZE, message, size);
	return framed;
}
