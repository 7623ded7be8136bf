/* SPDX-License-Identifier: MIT */
/*
 * The two-way copy between two ends, each bytes as they are (a socket, or
 * stdin and stdout) or records on a link. Theory of Operation: relay.c.
 */
#ifndef VZFWD_RELAY_H
#define VZFWD_RELAY_H

#include "log.h"
#include "loop.h"
#include "rpc.h"
#include "relay-tap.h"

/* How a relay ended. */
enum relay_outcome {
	RELAY_EOF,    /* in order */
	RELAY_RESET,  /* a TCP reset or a RESET record */
	RELAY_CUT,    /* the link ended without saying so */
	RELAY_LOCAL,  /* our own side went: a reader is gone, bytes were not taken */
	RELAY_SIGNAL, /* relay_abort() */
	RELAY_OUTCOME_COUNT
};
const char *relay_outcome_name(
	enum relay_outcome outcome); /* "eof", "reset", "cut", "local", "signal" */

enum relay_flags {
	/* End as soon as end 1 has ended and all of it was delivered, also with end 0 still open. */
	RELAY_LEAVE = 1,
	/* Before the last close, wait until end 0's peer has acknowledged all that it was sent. */
	RELAY_ACKED = 2,
	/*
	 * Before the last close, wait until end 1 shows that all was taken: a link in records is
	 * closed by the other side, else everything was acknowledged. With RELAY_LEAVE for 5 s
	 * at most; what was not taken by then makes the outcome RELAY_LOCAL.
	 */
	RELAY_CONFIRM = 4,
	/* End when nobody reads from end 0 any more, also while it is idle (stdout's reader is gone). */
	RELAY_READER = 8,
	/*
	 * End 1 is a command, which done() will end. Once nothing more is to come it is told so by
	 * shutdown(2), and before a reset too it gets the time to take all (5 s) and to close its side.
	 */
	RELAY_COMMAND = 16,
};

struct watch;

struct relay_end_config {
	int rfd, wfd; /* the same for a socket; given away */
	enum framing framing;
	bool socket;         /* known to be one */
	struct watch *watch; /* that rfd has, or NULL: the relay takes its place */
};

struct relay;

struct relay_result {
	enum relay_outcome outcome;
	int gone;           /* whose peer that was (0 or 1), unless RELAY_EOF; -1: neither */
	uint64_t bytes_in;  /* payload delivered to end 0 */
	uint64_t bytes_out; /* payload delivered to end 1 */
	struct error err;   /* REASON_BROKEN and a text, unless RELAY_EOF */
};

/* Called once, when both ends are closed and before the relay is freed. */
typedef void (*relay_done_cb)(const struct relay_result *result, void *arg);

struct relay_config {
	struct relay_end_config end[2]; /* 0: the near side (client, target); 1: the link */
	unsigned flags;
	struct tap *
		tap; /* NULL: nobody looks on; borrowed until done(), where its bytes are copied, not spliced */
	struct log_name name; /* the label is borrowed and outlives the relay */
	relay_done_cb done;
	void *arg;
};

/* Takes the descriptors over in every case. Starts at once; frees itself after done(), which comes later. */
struct relay *relay_new(struct loop *loop, const struct relay_config *config);

/* What relay_result would say of the bytes now. From its home's thread, wherever it is. */
void relay_bytes(const struct relay *relay, uint64_t *in, uint64_t *out);

/*
 * Resets both sides (a RESET record, a TCP RST), within 5 s at most, then done(). A second call
 * does not wait for what is under way. `why` is borrowed until done().
 */
void relay_abort(struct relay *relay, const char *why);

/*
 * A loop for many relays gets threads for those that move much, so that the others need
 * not wait for them; each starts with the first of these. relay_bulk_clear() after the last relay has
 * ended, and before the loop is cleared.
 */
void relay_bulk_init(struct loop *home);

/* How many descriptors such a loop may need beside those of its relays, by the descriptor limit. */
size_t relay_bulk_descriptors(void);

void relay_bulk_clear(struct loop *home); /* harmless without */

#endif
