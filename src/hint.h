/* SPDX-License-Identifier: MIT */
/*
 * What to do when a step of `vzfwd check` fails.
 */
#ifndef VZFWD_HINT_H
#define VZFWD_HINT_H

#include "lib/endpoint.h"

/* The steps of `vzfwd check`, in their order. */
enum check_step {
	CHECK_POD,
	CHECK_TOKEN,
	CHECK_ENDPOINT,
	CHECK_HANDSHAKE,
	CHECK_VERSION,
	CHECK_NETNS,
	CHECK_ROUND_TRIP,
	CHECK_COUNT
};

/* One line that names the likely cause or the way out; never NULL, static storage. */
const char *hint_find(enum check_step step, enum endpoint_type type, const struct error *err);

#endif
