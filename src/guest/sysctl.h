/* SPDX-License-Identifier: MIT */
/* Settings below /proc/sys/net that are changed for a while. */
#ifndef VZFWD_SYSCTL_H
#define VZFWD_SYSCTL_H

#include <sys/socket.h>

#include "error.h"

struct sysctl_saved;

/* What they were. Zero-initialise. */
struct sysctls {
	struct sysctl_saved *saved;
	size_t count;
};

/*
 * Turns forwarding on, of AF_INET or AF_INET6, with all that the kernel changes along with that kept for
 * sysctls_restore(). On already: nothing happens. With IPv6, interfaces that take router advertisements
 * go on to, which a router doesn't else.
 */
int sysctls_forward(struct sysctls *s, int family, struct error *err);

/* Puts all back, except for what somebody else has changed meanwhile; frees. */
void sysctls_restore(struct sysctls *s);

#endif
