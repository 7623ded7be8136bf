/* SPDX-License-Identifier: MIT */
/* The system calls that a network namespace does not confine, or that lead out of one. */
#ifndef VZFWD_SECCOMP_H
#define VZFWD_SECCOMP_H

#include "error.h"

/*
 * Installs the filter of `vzfwd-guest exec`, for this process and all that come of it, for good;
 * no_new_privs has to be set. REASON_UNSUPPORTED where the kernel has no seccomp, and on all but x86_64
 * and aarch64.
 */
int seccomp_confine(struct error *err);

#endif
