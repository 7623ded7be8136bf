/* SPDX-License-Identifier: MIT */
/*
 * Pipes to splice(2) through, from a pool of the loop's, since making one costs more than most
 * connections move, and who moves nothing should hold none.
 */
#ifndef VZFWD_PIPES_H
#define VZFWD_PIPES_H

#include "loop.h"

struct pipe {
	struct pipe *next; /* in the pool */
	int rfd, wfd;
	size_t size;
	size_t held; /* bytes in it, as its user keeps count */
};

/* How many a loop may have, by the descriptor limit: two descriptors each. */
size_t pipes_max(void);

/* NULL if there are too many or the system gives none that is large enough: copy instead. */
struct pipe *pipe_take(struct loop *loop);
void pipe_give(struct loop *loop,
	       struct pipe *pipe); /* one with bytes in it is closed; NULL: none */

/* It goes on in another loop: the one calls pipe_leave(), the other pipe_join(). NULL: none. */
void pipe_leave(struct loop *loop, struct pipe *pipe);
void pipe_join(struct loop *loop, struct pipe *pipe);

void pipes_clear(struct loop *loop);

#endif
