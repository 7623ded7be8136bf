/* SPDX-License-Identifier: MIT */
/*
 * The command of an exec: endpoint: started in a process group of its own and ended with
 * its link, whatever it has started in turn.
 */
#ifndef VZFWD_CHILD_H
#define VZFWD_CHILD_H

#include <sys/types.h>

#include "error.h"
#include "loop.h"

/*
 * Runs `/bin/sh -c command` with a new socket as stdin and stdout, stderr as ours, and no other descriptor. Gives
 * back our side of the socket (non-blocking) and the process group; a negative number with REASON_EXHAUSTED on error.
 */
int child_start(const char *command, pid_t *group, struct error *err);

/*
 * Sees to it that the group ends, its link being closed: 100 ms for that to end it, then SIGTERM,
 * and 200 ms later SIGKILL to what is left of it, also when its first process is gone by then.
 * The loop does it: run that to its end before the process exits. A group of 0 is none.
 */
void child_end(struct loop *loop, pid_t group);

#endif
