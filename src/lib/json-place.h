/* SPDX-License-Identifier: MIT */
/* Where in a JSON text a value stands, for messages to whoever wrote it: jansson tells that of syntax errors only. */
#ifndef VZFWD_JSON_PLACE_H
#define VZFWD_JSON_PLACE_H

#include <stddef.h>

/* One step from a value into it. */
struct json_step {
	const char *name; /* a member of an object; NULL: */
	size_t index;     /* an item of an array */
};

struct json_place {
	unsigned line, column; /* from 1; in characters, as jansson counts them */
};

/*
 * Where the value at the end of `path` begins, or, with `name`, the name of that member. `text` was taken by
 * jansson, with JSON_REJECT_DUPLICATES. A path that leads nowhere ends where it does.
 */
struct json_place json_place(const char *text, const struct json_step *path, size_t steps,
			     int name);

#endif
