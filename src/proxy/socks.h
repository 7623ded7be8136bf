/* SPDX-License-Identifier: MIT */
/*
 * SOCKS version 5 (RFC 1928) and its user names and passwords (RFC 1929): what a client's messages
 * say, and the answers; and the other way round, for where we are the client. Pure encoding and decoding, no I/O.
 */
#ifndef VZFWD_SOCKS_H
#define VZFWD_SOCKS_H

#include "lib/endpoint.h"

#define SOCKS_VERSION 5
#define SOCKS4_VERSION 4

/* What a client sends, in this order; the second only if that method was chosen. */
enum socks_message { SOCKS_GREETING, SOCKS_AUTH, SOCKS_REQUEST, SOCKS_MESSAGE_COUNT };

#define SOCKS_REQUEST_HEAD \
	4 /* VER, CMD, RSV, ATYP: what an unknown type of address leaves of a request */
#define SOCKS_MESSAGE_MAX 513 /* SOCKS_AUTH's: two bytes, and two texts of 255 with their lengths */

/*
 * How long the message is, as far as its first `have` bytes tell; it is all there when that is what it
 * has. Never more than SOCKS_MESSAGE_MAX.
 */
size_t socks_size(enum socks_message message, const uint8_t *data, size_t have);

/* Methods (RFC 1928, section 3). */
enum { SOCKS_METHOD_NONE = 0x00, SOCKS_METHOD_PASSWORD = 0x02, SOCKS_METHOD_UNACCEPTABLE = 0xff };

/* The one of the two first methods that is wanted, if a whole greeting offers it. */
uint8_t socks_choose(const uint8_t *greeting, bool password);

/* "USER:PASSWORD" of a whole SOCKS_AUTH, owned by the caller; NULL: not one, or with a NUL in it. */
char *socks_credentials(const uint8_t *auth);

/* Replies (RFC 1928, section 6). */
enum socks_reply {
	SOCKS_SUCCEEDED,
	SOCKS_FAILURE,
	SOCKS_NOT_ALLOWED,
	SOCKS_NETWORK_UNREACHABLE,
	SOCKS_HOST_UNREACHABLE,
	SOCKS_REFUSED,
	SOCKS_TTL_EXPIRED,
	SOCKS_COMMAND_UNSUPPORTED,
	SOCKS_ADDRESS_UNSUPPORTED
};

enum socks_command { SOCKS_CONNECT = 1, SOCKS_BIND = 2, SOCKS_UDP_ASSOCIATE = 3 };

#define SOCKS_HOST_MAX 255
struct socks_request {
	uint8_t command;
	char host[SOCKS_HOST_MAX + 1]; /* a name, or an address in text */
	uint16_t port;
};

/* Reads a whole request: SOCKS_SUCCEEDED, or the reply to one that is wrong in itself, with *err. */
enum socks_reply socks_parse_request(const uint8_t *data, struct socks_request *request,
				     struct error *err);

/*
 * What stands before a datagram, both ways (RFC 1928, section 7): its size, or -EPROTO if it is none, or of one that was
 * cut into fragments. `request` has no command then.
 */
#define SOCKS_DATAGRAM_HEAD_MAX 262
ssize_t socks_parse_datagram(const uint8_t *data, size_t size, struct socks_request *request);

/* What a connection that could not be had is answered with. */
enum socks_reply socks_reply_to(const struct error *err);

#define SOCKS_REPLY_MAX 22
/* Writes a reply; its size. `bound` is BND.ADDR and BND.PORT; NULL: none is known, all zero. */
size_t socks_put_reply(uint8_t out[SOCKS_REPLY_MAX], enum socks_reply reply,
		       const struct address *bound);

/*
 * A client's messages: their sizes. `password` offers that method too; user and password are 1..255 bytes; without a name
 * it is the address that is asked for.
 */
size_t socks_put_greeting(uint8_t out[SOCKS_MESSAGE_MAX], bool password);
size_t socks_put_auth(uint8_t out[SOCKS_MESSAGE_MAX], const char *user, size_t user_size,
		      const char *password);
size_t socks_put_connect(uint8_t out[SOCKS_MESSAGE_MAX], const char *name,
			 const struct address *addr);

/* How long the reply to that is, as socks_size(): it has a request's form. */
static inline size_t socks_reply_size(const uint8_t *data, size_t have)
{
	return socks_size(SOCKS_REQUEST, data, have);
}

/* What a reply other than SOCKS_SUCCEEDED means: a negative number. */
int socks_reply_error(uint8_t reply, struct error *err);

/* The refusal of SOCKS 4, whose clients would not understand the above. */
#define SOCKS4_REFUSAL "\0\133\0\0\0\0\0\0"
#define SOCKS4_REFUSAL_SIZE 8

#endif
