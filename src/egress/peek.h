/* SPDX-License-Identifier: MIT */
/*
 * The name that a client says first: the server name of a TLS ClientHello (RFC 6066), the Host of an HTTP/1
 * request. Nothing is terminated, answered or changed; pure, fed with the bytes that have come so far.
 *
 * What it can't see: a name in an Encrypted ClientHello (the outer one is what counts), that of an HTTP connection's
 * later requests (Host binds the first alone), HTTP/2 without TLS, and QUIC, whose first packets are encrypted.
 */
#ifndef VZFWD_PEEK_H
#define VZFWD_PEEK_H

#include <stddef.h>
#include <stdint.h>

#include "host-name.h"

/* A ClientHello, with the headers of its records, or a request's head that is longer is PEEK_BAD. */
#define PEEK_MAX (16u * 1024)

enum peek {
	PEEK_MORE, /* it can't be told from so few bytes */
	PEEK_NAME, /* `name` */
	PEEK_NONE, /* another protocol, or one of these without a name, or with an address for it */
	PEEK_BAD   /* begins as one of these and is malformed, or says two names */
};

/*
 * Of the first `size` bytes of a connection, which may be more than PEEK_MAX. The name is as host_name_parse() makes it;
 * empty but for PEEK_NAME.
 */
enum peek peek_name(const uint8_t *data, size_t size, char name[DOMAIN_NAME_MAX + 1]);

#endif
