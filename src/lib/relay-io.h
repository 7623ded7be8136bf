/* SPDX-License-Identifier: MIT */
/*
 * The system calls that read from an end's descriptors and write to them: for relay-end.c, which has the rest of
 * what relay-end.h offers.
 */
#ifndef VZFWD_RELAY_IO_H
#define VZFWD_RELAY_IO_H

#include "relay-end.h"

struct iovec;

/* What was taken, or of the first piece alone; -1 and errno. Does not wait. */
ssize_t io_write(struct relay_end *end, const struct iovec *iov, int count);

/* splice(2), of which one is a pipe. */
ssize_t io_splice(int from, int to, size_t size);

#endif
