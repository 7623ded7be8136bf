/* SPDX-License-Identifier: MIT */
/*
 * How `vzfwd status` hears of the forwards of this process: a Unix socket in the run folder that answers forward.list to
 * our own user and root.
 */
#ifndef VZFWD_REPORT_H
#define VZFWD_REPORT_H

#include <jansson.h>

#include "lib/loop.h"

/* In the run folder (run_path()): a socket PID.sock for each process. */
#define REPORT_DIR "forwards"

struct report;

/*
 * `list` gives an array of forwards, as forward_to_json(): a new reference. `command` ("listen") is borrowed. NULL
 * where there can be no such socket, which holds up nobody else and is logged for debugging.
 */
struct report *report_open(struct loop *loop, const char *command, json_t *(*list)(void *arg),
			   void *arg);

/* NULL is harmless. The rest of it is done by the loop. */
void report_close(struct report *report);

/* The result of forward.list: {"process":{"pid":…,"command":…},"forwards":[…]}. Takes the reference. */
json_t *report_result(const char *command, json_t *forwards);

#endif
