/* SPDX-License-Identifier: MIT */
/*
 * A proxy that all of a pod's connections go through: http://[USER:PASSWORD@]HOST:PORT by CONNECT (RFC 9110, section
 * 9.3.6), socks5://[USER:PASSWORD@]HOST:PORT (RFC 1928, RFC 1929). TCP only: CONNECT knows no datagrams, and
 * SOCKS's UDP ASSOCIATE is not spoken here.
 */
#ifndef VZFWD_UPSTREAM_H
#define VZFWD_UPSTREAM_H

#include "lib/endpoint.h"
#include "lib/loop.h"

enum upstream_kind { UPSTREAM_HTTP, UPSTREAM_SOCKS };

struct upstream {
	enum upstream_kind kind;
	char *host; /* a name, or an address without brackets */
	uint16_t port;
	char *credentials; /* "USER:PASSWORD", or NULL */
};

/*
 * 0 or REASON_INVALID, which doesn't repeat the text, as there may be a password in it. In USER and PASSWORD %XX is a byte;
 * each is 1..255 of them, without a NUL, and in USER there is no ':'. upstream_clear() in every case.
 */
int upstream_parse(struct upstream *upstream, const char *url, struct error *err);
void upstream_clear(struct upstream *upstream);

/* 0, or REASON_DENIED: datagrams don't go through it. */
int upstream_carries(const struct upstream *upstream, enum network network, struct error *err);

struct upstream_call;

/* err NULL: what is read from fd, which is given away, comes from the destination. */
typedef void (*upstream_cb)(int fd, const struct error *err, void *arg);

/*
 * Asks the proxy at the other end of `fd` (connected, non-blocking; taken over) for a connection to `name` at the
 * address's port, or, without a name, to the address. The upstream is borrowed until the callback, which comes once, from
 * the loop, and after which the call is gone. Not one byte behind the proxy's answer is read.
 *
 * REASON_DENIED (403, 407, "not allowed"), REASON_REFUSED, REASON_UNREACHABLE (502 and other answers; the proxy is gone),
 * REASON_TIMEOUT (504; or timeout_ms are over), REASON_EXHAUSTED (429, 503), REASON_UNSUPPORTED, REASON_INTERNAL (what it
 * says is no answer).
 */
struct upstream_call *upstream_open(struct loop *loop, const struct upstream *upstream, int fd,
				    const char *name, const struct address *addr, int timeout_ms,
				    upstream_cb cb, void *arg);
void upstream_cancel(struct upstream_call *call);

#endif
