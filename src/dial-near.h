/* SPDX-License-Identifier: MIT */
/* The near end of `vzfwd dial`: stdin and stdout, or the socket of --stream-fd. */
#ifndef VZFWD_DIAL_NEAR_H
#define VZFWD_DIAL_NEAR_H

#include "lib/relay.h"

/* Descriptors of our own for it; stream_fd -1: stdin and stdout. 0, or a negative number with *err. near_close() in both cases. */
int near_open(struct relay_end_config *near, int stream_fd, struct error *err);

/* Closes what the relay has not taken (-1). */
void near_close(struct relay_end_config *near);

#endif
