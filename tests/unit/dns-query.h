/* SPDX-License-Identifier: MIT */
/* Queries for the tests of DNS. */
#ifndef VZFWD_TESTS_DNS_QUERY_H
#define VZFWD_TESTS_DNS_QUERY_H

#include <string.h>

#include "dns/message.h"

#define DNS_OPT_SIZE 11

/* Writes a query for the name, which has no escapes, and an OPT record if there is one; returns its size. */
static inline size_t dns_query_build(uint8_t *out, uint16_t id, const char *name, unsigned type,
				     const char *opt)
{
	uint8_t *at = out;

	memcpy(out, "\0\0\1\0\0\1\0\0\0\0\0", 11);
	out[11] = opt != NULL;
	dns_id_set(out, id);
	at += DNS_HEADER_SIZE;
	while (*name != '\0' && strcmp(name, ".") != 0) {
		size_t n = strcspn(name, ".");

		*at++ = (uint8_t)n;
		memcpy(at, name, n);
		at += n;
		name += n + (name[n] == '.');
	}
	memcpy(at, "\0\0\0\0\1", 5);
	at[1] = (uint8_t)(type >> 8);
	at[2] = (uint8_t)type;
	at += 5;
	if (opt != NULL) {
		memcpy(at, opt, DNS_OPT_SIZE);
		at += DNS_OPT_SIZE;
	}
	return (size_t)(at - out);
}

#endif
