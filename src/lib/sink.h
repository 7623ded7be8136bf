/* SPDX-License-Identifier: MIT */
/*
 * Lines for a file, or for whoever reads a pipe or socket, written without ever waiting: a line that is not
 * taken at once is dropped and counted, and the count is told as soon as there is room again.
 */
#ifndef VZFWD_SINK_H
#define VZFWD_SINK_H

#include "error.h"
#include "loop.h"

struct sink;

/* A line, with its newline, that tells how many were dropped. The sink frees it. */
typedef char *(*sink_dropped_cb)(uint64_t count);

/*
 * `where` is a path (appended to; made with mode 0600) or "fd:N", an inherited descriptor, in whose place
 * /dev/null comes: see inherit_open(). NULL with *err: REASON_NOT_FOUND, REASON_DENIED (a symbolic link of somebody
 * else's, too), REASON_INVALID (fd:N is none that can be written to), REASON_UNREACHABLE (a FIFO that nobody reads) or
 * REASON_EXHAUSTED.
 */
struct sink *sink_open(struct loop *loop, const char *where, sink_dropped_cb dropped,
		       struct error *err);

/* A line, with its newline. After the reader has gone they lead nowhere. */
void sink_put(struct sink *sink, const char *line);

/*
 * Opens the path anew, since the file may have got another name meanwhile (log rotation). Where that fails it goes on
 * with the old one and warns. fd:N stays as it is.
 */
void sink_reopen(struct sink *sink);

/* Lines lead nowhere from now on, and it has nothing in its loop any more. */
void sink_end(struct sink *sink);
void sink_close(struct sink *sink); /* NULL is harmless */

#endif
