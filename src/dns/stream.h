/* SPDX-License-Identifier: MIT */
/*
 * DNS over a byte stream: each message has its length in front, in two bytes (RFC 1035, 4.2.2). Pure: bytes go
 * in as they come, messages come out. A client may send questions without waiting for answers, which it takes
 * in any order (RFC 7766, 6.2.1).
 */
#ifndef VZFWD_DNS_STREAM_H
#define VZFWD_DNS_STREAM_H

#include "dns/message.h"

#define DNS_LENGTH_SIZE 2u

/* Zero-initialise. */
struct dns_stream {
	uint8_t *message; /* what dns_stream_take() found */
	size_t size;      /* how long it is */
	size_t have;      /* bytes of it, the length's among them */
	uint8_t length[DNS_LENGTH_SIZE];
};

/*
 * Takes from *data and *size what belongs to the message that is being read. 1: it is whole, in stream->message
 * until the next call; 0: more is needed, and all of the data is taken; or a negative number for a length below
 * a header's or above `max`, after which nothing can be made of the stream.
 */
int dns_stream_take(struct dns_stream *stream, size_t max, const uint8_t **data, size_t *size);
void dns_stream_clear(struct dns_stream *stream);

/* A message with its length in front, in fresh memory: size + DNS_LENGTH_SIZE bytes. */
uint8_t *dns_frame(const uint8_t *message, size_t size);

#endif
