/* SPDX-License-Identifier: MIT */
/* Names of hosts, in the one form in which they are compared. Pure. */
#ifndef VZFWD_HOST_NAME_H
#define VZFWD_HOST_NAME_H

#include <sys/types.h>

#define DOMAIN_NAME_MAX 253

/*
 * Lower case, without the dot at the end: 0. -EINVAL for what is no host's name: letters, digits, '-' and '_' in labels
 * of 1..63, 253 in all, and the last label not all digits, which is an address cut short. ASCII only: a
 * name of other letters is its A-labels ("xn--..."), which nobody here makes or reads.
 */
int host_name_parse(char out[DOMAIN_NAME_MAX + 1], const char *text, size_t size);

#endif
