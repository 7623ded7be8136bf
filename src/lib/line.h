/* SPDX-License-Identifier: MIT */
/*
 * Reads one line of the handshake and not a byte more: what follows the \n stays
 * in the descriptor, for the stream that may begin there (MSG_PEEK on sockets,
 * byte by byte elsewhere).
 */
#ifndef VZFWD_LINE_H
#define VZFWD_LINE_H

#include "util.h"

struct line {
	char *text; /* NUL-terminated, with its \n; may hold NULs before */
	size_t length;
	size_t max; /* longest line that is taken, \n included */
	bool whole; /* text is a whole line: the next read begins anew */
	bool alone; /* and nothing had come behind it when it was read */
};

/*
 * 1: a whole line is in line->text (the next call begins a new one). 0: the
 * stream ended (line->length bytes of an unfinished line are there). -EAGAIN: more has to come.
 * -EMSGSIZE: longer than max. Else -errno. Zero-initialise but for max.
 */
int line_read(struct line *line, int fd);
void line_clear(struct line *line);

#endif
