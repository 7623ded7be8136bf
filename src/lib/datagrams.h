/* SPDX-License-Identifier: MIT */
/*
 * The copy of datagrams between a client's side and a target's, as relay.h is for streams: boundaries
 * and order are kept, and what a slow side has no room for is lost. Theory of Operation: datagrams.c.
 */
#ifndef VZFWD_DATAGRAMS_H
#define VZFWD_DATAGRAMS_H

#include "relay.h"

/* What datagrams_put() queues for a link that takes no more, in bytes of memory. */
#define DATAGRAMS_QUEUE_MAX (256u * 1024)

#define DATAGRAM_MAX 65507 /* RFC 768 over IPv4: 65535 less both headers */

/* Without a word of either side a flow ends after this long, and so does a link whose host has sent EOF. */
#define DATAGRAMS_IDLE_MS 90000

struct datagrams;

enum datagrams_type {
	DATAGRAMS_RECORDS, /* a link: each is a DATA record */
	DATAGRAMS_SOCKET,  /* a connected UDP socket */
	DATAGRAMS_READS,   /* stdin and stdout: a read or a write each */
	DATAGRAMS_LENGTHS, /* the same, each behind its length in two bytes, big-endian */
	DATAGRAMS_CALLS,   /* of the client's side: a struct datagrams_client */
	DATAGRAMS_NOWHERE, /* of the target's side: there is none, and all is lost */
};

/* Of the target's side, as link_dialed tells it: a link, or where it is raw the target's own socket. */
static inline enum datagrams_type datagrams_type_of(enum framing framing)
{
	return framing == FRAMING_RECORDS ? DATAGRAMS_RECORDS : DATAGRAMS_SOCKET;
}

struct datagrams_end_config {
	enum datagrams_type type;
	int rfd, wfd; /* the same for a socket; given away. -1 for DATAGRAMS_CALLS and _NOWHERE */
};

/* A client whose socket others share: embedded by whoever has that. */
struct datagrams_client {
	const struct datagrams_client_ops *ops;
};

struct datagrams_client_ops {
	/* One for the client. Must not free. */
	void (*got)(struct datagrams_client *client, const uint8_t *data, size_t size);
	/* datagrams_put() takes its datagrams from now on, until it is released. NULL: who made the copy knows. */
	void (*joined)(struct datagrams_client *client, struct datagrams *d);
	/*
	 * Once, from datagrams_new() on, maybe before joined(), or by whoever has it that far: it is nobody's any more, and what still comes
	 * from the client is not of this copy. NULL: done() tells enough.
	 */
	void (*released)(struct datagrams_client *client);
};

struct datagrams_config {
	struct datagrams_end_config end[2]; /* 0: the client's side; 1: the target's */
	/*
	 * After the client's EOF, ends in order when nothing came from the target for so long; 0: never.
	 * The target's EOF ends it at once.
	 */
	int linger_ms;
	/* Ends in order when nothing came from either side for so long; 0: never. */
	int idle_ms;
	struct tap *tap;                 /* NULL: nobody looks on; borrowed until it is freed */
	struct log_name name;            /* the label is borrowed and outlives it */
	struct datagrams_client *client; /* of DATAGRAMS_CALLS, given away */
	/*
	 * Called once when both ends are closed, before it is freed, and later than datagrams_new(). Beside what relay.h says,
	 * the error's reason is REASON_REFUSED or _UNREACHABLE if the target is not there and nothing had come from it.
	 */
	relay_done_cb done;
	void *arg;
};

/* Takes the descriptors over in every case. Starts at once. */
struct datagrams *datagrams_new(struct loop *loop, const struct datagrams_config *config);

/* One from the client, which is DATAGRAMS_CALLS; lost, and false, if too many wait for the target's side, or it takes no more. */
bool datagrams_put(struct datagrams *d, const uint8_t *data, size_t size);

/* Nobody takes what is sent to the client (ICMP says): ends it. */
void datagrams_client_failed(struct datagrams *d, int sys_errno);

/* For who has one that no copy has. NULL is harmless. */
void datagrams_client_release(struct datagrams_client *client);

/* With idle_ms: now_ms() when the last one came, from whichever side. */
int64_t datagrams_heard(const struct datagrams *d);

/* Resets links, within 5 s at most, then done(). A second call does not wait. `why` is copied. */
void datagrams_abort(struct datagrams *d, const char *why);

/* Ends it in order, but at once: what was not taken is lost. No done(), the result comes from here. Not from got(). */
void datagrams_free(struct datagrams *d, struct relay_result *result);

#endif
