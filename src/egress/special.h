/* SPDX-License-Identifier: MIT */
/*
 * Addresses that are not the public Internet's: which of them a rule has to name, and how narrow it has to be for
 * that. Pure.
 */
#ifndef VZFWD_SPECIAL_H
#define VZFWD_SPECIAL_H

#include "lib/endpoint.h"

/*
 * 0 for a public address (normalised). Else the least length of a prefix that names it, which is that of the narrowest
 * special range it is in: 8 in 10.0.0.0/8, 32 for 169.254.169.254 and for each of the host's `own` addresses. A prefix
 * of that length that holds the address lies in that range.
 */
unsigned special_prefix(const struct address *addr, const struct address *own, size_t count);

/*
 * The IPv4 address that an IPv6 address stands for in a scheme of transition: NAT64's, 6to4's, Teredo's (its client), SIIT's
 * and "compatible" ones. -ENOENT: it stands for none. IPv4-mapped ones are IPv4 in the normal form.
 */
int special_embedded(const struct address *addr, struct address *v4);

#endif
