/* SPDX-License-Identifier: MIT */
/*
 * The inside of a relay, for relay.c, which owns its states and its end, and relay-flow.c, which
 * moves the bytes.
 */
#ifndef VZFWD_RELAY_FLOW_H
#define VZFWD_RELAY_FLOW_H

#include "relay-end.h"
#include "relay.h"

enum flow_state { FLOW_OPEN, FLOW_DRAINING, FLOW_DONE };
enum relay_state { RELAY_OPEN, RELAY_FINISHING, RELAY_RESETTING, RELAY_CLOSED };

struct relay {
	struct loop *loop;
	struct relay_end end[2];
	enum flow_state flow[2]; /* [i]: from end i to the other */
	enum relay_state state;
	unsigned flags;
	int tick_ms;           /* how long RELAY_FINISHING waits to look again */
	bool aborted;          /* relay_abort() was called */
	struct loop_task work; /* goes on pumping, looks again, frees */
	struct loop_task doom; /* the limit for delivering */
	struct log_name name;
	relay_done_cb done;
	void *arg;
	struct relay_result result;
};

/* Moves a flow by one read; true if there may be more to do. */
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

#endif
