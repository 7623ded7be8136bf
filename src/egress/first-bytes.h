/* SPDX-License-Identifier: MIT */
/* The first bytes of a client's stream, looked at and left where they are. */
#ifndef VZFWD_FIRST_BYTES_H
#define VZFWD_FIRST_BYTES_H

#include "lib/rpc.h"
#include "peek.h"

/*
 * What they say up to now: see peek_name(), but for a client that has nothing more to say, or was `waited` for long enough, of
 * which PEEK_MORE becomes PEEK_NONE (nothing was said) or PEEK_BAD. The fd is a socket, and non-blocking; scratch is LOOP_SCRATCH_SIZE.
 */
enum peek first_bytes(int fd, enum framing framing, bool waited, uint8_t *scratch,
		      char name[DOMAIN_NAME_MAX + 1]);

#endif
