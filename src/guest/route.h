/* SPDX-License-Identifier: MIT */
/* Default routes, by a NETLINK_ROUTE socket in the netns that they are of. */
#ifndef VZFWD_ROUTE_H
#define VZFWD_ROUTE_H

#include <net/if.h>

#include "endpoint.h"

/*
 * The interface of the main table's default route with the lowest metric; "" if there is none. Of one with
 * several hops it is the first one's. 0 or -errno.
 */
int route_default_interface(int fd, int family, char name[IF_NAMESIZE]);

#endif
