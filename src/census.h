/* SPDX-License-Identifier: MIT */
/* Asks every process of this user that has forwards for them: those that report.h has made a socket for, and serve. */
#ifndef VZFWD_CENSUS_H
#define VZFWD_CENSUS_H

#include <jansson.h>

#include "lib/error.h"
#include "lib/loop.h"

struct census;

/*
 * The forwards of all, each with the `process` that has it, in the order of their pids: an array, borrowed. Of those who
 * did not answer within 2 s, or not well, it was said on stderr.
 */
typedef void (*census_cb)(json_t *forwards, void *arg);

/*
 * Calls back once, never before this has returned, and is gone then. `dir` is where the sockets are (it need not be
 * there) and `serve_socket` the server's, or NULL; that it is not there either is told with `serve_wanted`. Sockets that processes which are gone have left
 * are removed. Both are borrowed until the callback.
 */
struct census *census_start(struct loop *loop, const char *dir, const char *serve_socket,
			    bool serve_wanted, census_cb cb, void *arg);
void census_cancel(struct census *census); /* NULL is harmless */

#endif
