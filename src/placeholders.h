/* SPDX-License-Identifier: MIT */
/* {} and {N} in the arguments of the command that `vzfwd run` runs. Pure text. */
#ifndef VZFWD_PLACEHOLDERS_H
#define VZFWD_PLACEHOLDERS_H

#include <stddef.h>

/*
 * `text` with values[0] for {} and {0}, values[1] for {1} and so on. {{}} and {{N}} stand for {} and {N} themselves.
 * Braces around anything else, also around a number from `count` on, stay as they are. Fresh memory.
 */
char *placeholders_expand(const char *text, const char *const *values, size_t count);

#endif
