/* SPDX-License-Identifier: MIT */
/* Default routes, and the loopback interface, by a NETLINK_ROUTE socket in the netns that they are of. */
#ifndef VZFWD_ROUTE_H
#define VZFWD_ROUTE_H

#include <net/if.h>

#include "endpoint.h"

/*
 * The interface of the main table's default route with the lowest metric; "" if there is none. Of one with
 * several hops it is the first one's. 0 or -errno.
 */
int route_default_interface(int fd, int family, char name[IF_NAMESIZE]);

/* Makes the gateway (its port is not used) the default route, in place of one that is there. 0 or -errno. */
int route_set_default(int fd, const struct address *gateway);

/* Brings lo up. 0 or -errno. */
int route_loopback_up(int fd);

#endif
