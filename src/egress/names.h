/* SPDX-License-Identifier: MIT */
/*
 * What a pod has had resolved: addresses, and the names that they were answers to. Each is known for its TTL, for five
 * minutes at least, since programs keep addresses for longer than they should.
 */
#ifndef VZFWD_NAMES_H
#define VZFWD_NAMES_H

#include "lib/endpoint.h"

#define NAMES_TTL_MIN 300u /* s */
#define NAMES_MAX \
	65536u /* pairs of a name and an address; then the one that was told longest ago goes */
#define NAMES_PER_ADDRESS 64u

struct names;

struct names *names_new(void);
void names_delete(struct names *names);

/*
 * `name` is the question's (not one that a CNAME led to), in any form, and ignored if it is no host's name. A pair that is
 * known already is known for longer from now on. `now` is now_ms().
 */
void names_add(struct names *names, const char *name, const struct address *addrs, size_t count,
	       uint32_t ttl, int64_t now);

/*
 * The names of an address (its port is ignored), the one that was told last first; how many. They are as host_name_parse()
 * makes them, and there until the next call.
 */
size_t names_of(struct names *names, const struct address *addr, int64_t now,
		const char *out[NAMES_PER_ADDRESS]);

#endif
