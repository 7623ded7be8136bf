/* SPDX-License-Identifier: MIT */
/*
 * Who looks on at what a relay or a copy of datagrams passes on. `from` is the end that it comes from: 0 is the near
 * one, 1 the link. In the loop's thread, and with no relay of another one.
 */
#ifndef VZFWD_RELAY_TAP_H
#define VZFWD_RELAY_TAP_H

#include "util.h"

struct tap {
	void (*data)(struct tap *tap, int from, const uint8_t *data, size_t size);
	void (*end)(struct tap *tap, int from);   /* of a stream, in order */
	void (*reset)(struct tap *tap, int from); /* of both of its directions */
};

#endif
