/* SPDX-License-Identifier: MIT */
/* What a sandbox sees otherwise than the machine: a mount namespace of its own with a few mounts. */
#ifndef VZFWD_MOUNTS_H
#define VZFWD_MOUNTS_H

#include "endpoint.h"

#define RESOLVERS_MAX 3 /* more are not asked: resolv.conf(5), MAXNS */

/*
 * Leaves the machine's mount namespace. What is mounted from now on is seen in here alone; what the
 * machine mounts comes along.
 */
int mounts_unshare(struct error *err);

/* Makes /proc/sys read-only. No matter if there is none. */
int mounts_protect_sysctls(struct error *err);

/*
 * Puts a resolv.conf with these addresses (ports not used) into /etc/resolv.conf's place, read-only,
 * whatever that is: a file, a symbolic link, one that leads nowhere. Where it is missing, an empty one
 * is made, and stays.
 */
int mounts_resolver(const struct address *servers, size_t count, struct error *err);

#endif
