/* SPDX-License-Identifier: MIT */
/* The signals that end a command in order, handled by its loop. */
#ifndef VZFWD_SIGNALS_H
#define VZFWD_SIGNALS_H

#include "lib/error.h"
#include "lib/loop.h"

#define STOP_SIGNALS 3

struct event;

struct stop_signals {
	struct event *events[STOP_SIGNALS];
};

/*
 * Calls cb(signal, …, arg) for SIGTERM, SIGINT and SIGHUP (if nohup(1) has not turned that off); before
 * anything is there that a signal could leave behind. REASON_EXHAUSTED.
 */
int signals_catch(struct stop_signals *signals, struct loop *loop,
		  void (*cb)(int number, short what, void *arg), void *arg, struct error *err);

/* More of them wait from here on: what is left to do takes a moment at most. Harmless twice. */
void signals_release(struct stop_signals *signals);

/* Dies by a signal, whatever is set for it. Returns only where the kernel shields the process from it. */
void signals_die(int number);

#endif
