/* SPDX-License-Identifier: MIT */
/*
 * The inside of a relay, for relay.c, which owns its states and its end, relay-flow.c, which
 * moves the bytes, and relay-bulk.c, which moves relays between threads.
 */
#ifndef VZFWD_RELAY_FLOW_H
#define VZFWD_RELAY_FLOW_H

#include "relay-end.h"
#include "relay.h"

/* What is at least so much is moved by splice(2), where that may be. */
#ifndef RELAY_BULK_MIN
#define RELAY_BULK_MIN (32 * 1024)
#endif

enum flow_state { FLOW_OPEN, FLOW_DRAINING, FLOW_DONE };
enum relay_state { RELAY_OPEN, RELAY_FINISHING, RELAY_RESETTING, RELAY_CLOSED };

struct relay {
	struct relay_end end[2];
	uint8_t flow[2]; /* enum flow_state; [i]: from end i to the other */
	bool bulk[2];    /* the flow moves much at a time: by splice(2), where that may be */
	uint8_t state;   /* enum relay_state */
	uint8_t flags;
	uint8_t outcome;           /* enum relay_outcome */
	uint8_t aborted;           /* how often relay_abort() was heeded, */
	atomic_uchar aborts;       /* and how often it was called, */
	int8_t gone;               /* which end's peer has ended it; -1: neither */
	uint16_t tick_ms;          /* how long RELAY_FINISHING waits to look again */
	uint32_t moved;            /* bytes read since relay_pump() began */
	_Atomic(const char *) why; /* of the last abort */
	struct loop *home;         /* where it was made, and ends */
	struct bulk_thread *away;  /* that has it; NULL: the home's. Written by that alone */
	TAILQ_ENTRY(relay) next;   /* in the other thread's list */
	uint64_t mark_bytes;       /* what had been moved in all at mark_ms */
	int64_t mark_ms;
	struct loop_task work;  /* goes on pumping, looks again, ends */
	struct loop_task *doom; /* the limit for delivering, once there is one */
	struct error *err;      /* why it did not end in order */
	struct tap *tap;
	struct log_name name;
	relay_done_cb done;
	void *arg;
};

/* relay-bulk.c: the loop whose thread has it. */
struct loop *relay_loop(const struct relay *r);

/* Moves a flow by one read, and counts what it was; true if there may be more to do. */
bool flow_step(struct relay *r, int from);

/*
 * Ends both directions with a reset; `gone` is the end whose peer is not there any more (-1: both are
 * to be told). The first reason is the one that counts.
 */
void relay_reset(struct relay *r, int gone, enum relay_outcome outcome, const struct error *err);

/* The peer of end `i` went away, by its errno or (0) without a word. */
void relay_end_lost(struct relay *r, int i, int sys_errno);

/*
 * True if nothing more is expected from an end that can't be written to: all was read, or it has
 * nothing to do with what is read (stdin, when stdout's reader is gone).
 */
bool relay_end_is_over(const struct relay *r, int i);

/* From now on there is a limit, that nothing extends. */
void relay_doom(struct relay *r);

/* Calls back and frees; in its own thread. */
void relay_finished(void *arg);

/* Does all that can be done now. */
void relay_pump(void *arg);

/* What relay_abort() asked for and was not done yet. */
void relay_take_aborts(struct relay *r);

/*
 * relay-bulk.c: gives the relay to another thread if it moves much. True if it did: it is not the
 * caller's any more. It comes back by itself.
 */
bool bulk_move(struct relay *r);
void bulk_closed(void *arg); /* a relay of another thread is closed: it ends in its own */

/* How much is to be moved at a time. */
size_t bulk_bite(const struct relay *r);
void bulk_look(struct relay *r); /* there is an abort for it, there */

#endif
