/* SPDX-License-Identifier: MIT */
/* Sets of ports, as they are given on the command line: "8000-8999,3000". */
#ifndef VZFWD_PORT_RANGES_H
#define VZFWD_PORT_RANGES_H

#include "lib/error.h"

struct port_ranges {
	struct port_range {
		uint16_t low, high;
	} * ranges;
	size_t count;
};

/* Adds a list of them: 0, or REASON_INVALID, which names the option. */
int port_ranges_add(struct port_ranges *set, const char *option, const char *list,
		    struct error *err);
bool port_ranges_have(const struct port_ranges *set, uint16_t port);
void port_ranges_clear(struct port_ranges *set);

#endif
