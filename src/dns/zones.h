/* SPDX-License-Identifier: MIT */
/*
 * The names that are answered here and not by the host's resolvers: zones with exact records and default
 * addresses, single names, and names that somebody else knows (sibling pods). No I/O.
 */
#ifndef VZFWD_DNS_ZONES_H
#define VZFWD_DNS_ZONES_H

#include "dns/message.h"

#define ZONES_ADDRESSES_MAX 256 /* of a name */
#define ZONES_ANSWER_MAX 8192u  /* bytes of an answer, at most */
#define ZONES_TTL 60            /* seconds, unless told otherwise */

struct zones;

struct zones *zones_new(void);
void zones_free(struct zones *zones);

/*
 * What --dns-zone takes: ZONE[=ADDRESS][,NAME=ADDRESS]...[,ttl=SECONDS]
 *
 * ZONE's ADDRESS is the default: of every name below it that has no record. NAME is one in the zone, with the zone
 * behind it or without; "@" is the zone itself, "*" its default. A name that is there
 * more than once has several addresses, of both families too. A zone that is there already gets more names, and
 * a new TTL if there is one. Of zones within zones the innermost answers. 0, or REASON_INVALID; then `zones`
 * may have a part of it.
 */
int zones_parse(struct zones *zones, const char *text, struct error *err);

/*
 * A single name, and nothing of what is around or below it. Again for the same name: one more address. 0 or
 * REASON_INVALID.
 */
int zones_add(struct zones *zones, const char *name, const struct address *address,
	      struct error *err);

/*
 * Who knows the names below `zone` that have no record: `name` is what is in front of it ("web" of
 * "web.pod.vz.internal"). Returns how many addresses it has put into `out`, `max` at most, or a negative number
 * if there is no such name. 0 or REASON_INVALID.
 */
typedef ssize_t (*zones_lookup_cb)(const char *name, struct address *out, size_t max, void *arg);
int zones_lookup(struct zones *zones, const char *zone, zones_lookup_cb lookup, void *arg,
		 struct error *err);

/*
 * Answers a query by what there is, in `out`, of ZONES_ANSWER_MAX bytes; `limit` is what the asker takes. The
 * answer's size, or 0 if the name is none of these zones'.
 */
size_t zones_answer(const struct zones *zones, const struct dns_query *query, uint8_t *out,
		    size_t limit);

#endif
