/* SPDX-License-Identifier: MIT */
/*
 * A program in the foreground of ours, as env(1) or timeout(1) have one: it has our standard descriptors, our
 * process group and the signals that we get, and what becomes of it becomes of us.
 */
#ifndef VZFWD_FOREGROUND_H
#define VZFWD_FOREGROUND_H

#include <signal.h>

#include "lib/error.h"
#include "lib/loop.h"

#define FOREGROUND_SIGNALS 8

struct event;

/* Zero-initialise. */
struct foreground {
	struct loop *loop;
	pid_t pid;   /* 0: not started, or gone */
	int status;  /* once it is gone: waitpid(2)'s */
	int pipe[2]; /* from the signal handler */
	struct event *event;
	struct sigaction before[FOREGROUND_SIGNALS];
	void (*gone)(void *arg);
	void (*signalled)(void *arg);
	void *arg;
};

/*
 * Catches SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 and SIGWINCH, but those that the caller has turned off:
 * the program gets them, unless it has had them from the terminal as we have. Before anything is there that a signal could leave
 * behind. `gone` is called when the program has ended, `signalled` at each signal after that. One at a time in
 * a process. REASON_EXHAUSTED.
 */
int foreground_init(struct foreground *fg, struct loop *loop, void (*gone)(void *arg),
		    void (*signalled)(void *arg), void *arg, struct error *err);

/*
 * Starts it, looked up in PATH, with signals and limits as they were before us. 0, or exec's -errno: it could not be started.
 */
int foreground_start(struct foreground *fg, char *const *argv);

/* Ends as it has ended: dies by the signal that it died by, or returns its exit code. */
int foreground_follow(const struct foreground *fg);

void foreground_clear(struct foreground *fg); /* signals are as they were */

#endif
