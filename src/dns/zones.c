/* SPDX-License-Identifier: MIT */
/* Zones: names by hand. There are few of them, so all are lists. */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "dns/zones.h"

#define LABEL_MAX 63
#define TTL_MAX INT32_MAX /* RFC 2181, 8 */

struct addresses {
	struct address *list;
	size_t count;
};

struct zone_name {
	STAILQ_ENTRY(zone_name) next;
	char *name; /* with the zone's behind it */
	struct addresses addresses;
};

struct zone {
	STAILQ_ENTRY(zone) next;
	char *name;
	bool single; /* nothing but its own name */
	uint32_t ttl;
	struct addresses others; /* of names that have no record */
	zones_lookup_cb lookup;
	void *lookup_arg;
	STAILQ_HEAD(, zone_name) names;
};

struct zones {
	STAILQ_HEAD(, zone) list;
};

struct zones *zones_new(void)
{
	struct zones *zones = xmalloc(sizeof(*zones));

	STAILQ_INIT(&zones->list);
	return zones;
}

static void zone_free(struct zone *zone)
{
	struct zone_name *name;

	while ((name = STAILQ_FIRST(&zone->names)) != NULL) {
		STAILQ_REMOVE_HEAD(&zone->names, next);
		free(name->addresses.list);
		free(name->name);
		free(name);
	}
	free(zone->others.list);
	free(zone->name);
	free(zone);
}

void zones_free(struct zones *zones)
{
	struct zone *zone;

	if (zones == NULL)
		return;
	while ((zone = STAILQ_FIRST(&zones->list)) != NULL) {
		STAILQ_REMOVE_HEAD(&zones->list, next);
		zone_free(zone);
	}
	free(zones);
}

/* A name that can be written without escapes, in lower case: fresh memory, or NULL. A dot at the end is dropped. */
static char *name_read(const char *text, size_t size)
{
	_cleanup_free_ char *name = NULL;
	size_t label = 0;
	char *out;

	if (size > 0 && text[size - 1] == '.')
		size--;
	if (size == 0 || size > DNS_NAME_MAX - 2)
		return NULL;
	name = out = xstrndup(text, size);
	for (char *at = name; *at != '\0'; at++) {
		if (*at >= 'A' && *at <= 'Z')
			*at = (char)(*at + ('a' - 'A'));
		if (*at == '.' ? label == 0
			       : strchr("abcdefghijklmnopqrstuvwxyz0123456789-_", *at) == NULL)
			return NULL;
		label = *at == '.' ? 0 : label + 1;
		if (label > LABEL_MAX)
			return NULL;
	}
	if (label == 0)
		return NULL;
	name = NULL;
	return out;
}

/* What is in front of the zone's name and a dot: its length, 0 for the zone itself, or a negative number. */
static ssize_t below(const char *name, const char *zone)
{
	size_t size = strlen(name), zone_size = strlen(zone);

	if (size < zone_size || strcmp(name + size - zone_size, zone) != 0)
		return -ENOENT;
	if (size == zone_size)
		return 0;
	return name[size - zone_size - 1] == '.' ? (ssize_t)(size - zone_size - 1) : -ENOENT;
}

/* One that is there already is not added. 0 or REASON_INVALID. */
static int addresses_add(struct addresses *addresses, const struct address *address,
			 const char *name, struct error *err)
{
	for (size_t i = 0; i < addresses->count; i++)
		if (address_same_host(&addresses->list[i], address))
			return 0;
	if (addresses->count == ZONES_ADDRESSES_MAX)
		return error_set(err, REASON_INVALID, EINVAL, "%s has more than %d addresses", name,
				 ZONES_ADDRESSES_MAX);
	addresses->list = xrealloc(addresses->list, (addresses->count + 1) * sizeof(*address));
	addresses->list[addresses->count++] = *address;
	return 0;
}

static struct zone_name *zone_find(const struct zone *zone, const char *text)
{
	struct zone_name *name;

	STAILQ_FOREACH(name, &zone->names, next)
	if (strcmp(name->name, text) == 0)
		return name;
	return NULL;
}

static int zone_add(struct zone *zone, const char *text, const struct address *address,
		    struct error *err)
{
	struct zone_name *name = zone_find(zone, text);

	if (name == NULL) {
		name = xcalloc(1, sizeof(*name));
		name->name = xstrdup(text);
		STAILQ_INSERT_TAIL(&zone->names, name, next);
	}
	return addresses_add(&name->addresses, address, text, err);
}

/* The zone of this name, a new one if there is none; NULL and REASON_INVALID if it can't be one. */
static struct zone *zones_zone(struct zones *zones, const char *text, size_t size,
			       struct error *err)
{
	_cleanup_free_ char *name = name_read(text, size);
	struct zone *zone;

	if (name == NULL) {
		error_set(err, REASON_INVALID, EINVAL, "\"%.*s\" is no name", (int)size, text);
		return NULL;
	}
	STAILQ_FOREACH(zone, &zones->list, next)
	if (strcmp(zone->name, name) == 0)
		return zone;
	zone = xcalloc(1, sizeof(*zone));
	zone->name = name;
	name = NULL;
	zone->single = true; /* whoever wants more of it says so */
	zone->ttl = ZONES_TTL;
	STAILQ_INIT(&zone->names);
	STAILQ_INSERT_TAIL(&zones->list, zone, next);
	return zone;
}

int zones_add(struct zones *zones, const char *name, const struct address *address,
	      struct error *err)
{
	struct zone *zone = zones_zone(zones, name, strlen(name), err);

	return zone != NULL ? zone_add(zone, zone->name, address, err) : -EINVAL;
}

int zones_lookup(struct zones *zones, const char *name, zones_lookup_cb lookup, void *arg,
		 struct error *err)
{
	struct zone *zone = zones_zone(zones, name, strlen(name), err);

	if (zone == NULL)
		return -EINVAL;
	zone->single = false;
	zone->lookup = lookup;
	zone->lookup_arg = arg;
	return 0;
}

/* NAME as --dns-zone has it, in full and in fresh memory, or NULL. */
static char *record_name(const struct zone *zone, const char *text, size_t size)
{
	_cleanup_free_ char *full = NULL;
	char *name;

	if (size == 1 && *text == '@')
		return xstrdup(zone->name);
	name = name_read(text, size);
	if (name == NULL || below(name, zone->name) >= 0)
		return name;
	free(name);
	if (text[size - 1] == '.')
		return NULL;
	full = xasprintf("%.*s.%s", (int)size, text, zone->name);
	return name_read(full, strlen(full));
}

static int parse_ttl(struct zone *zone, const char *text, struct error *err)
{
	uint64_t ttl;

	if (parse_uint(text, TTL_MAX, &ttl) < 0)
		return error_set(err, REASON_INVALID, EINVAL, "\"ttl=%s\" is no number of seconds",
				 text);
	zone->ttl = (uint32_t)ttl;
	return 0;
}

/* NAME=ADDRESS or ttl=SECONDS. */
static int parse_item(struct zone *zone, char *item, struct error *err)
{
	char *value = strchr(item, '=');
	_cleanup_free_ char *name = NULL;
	struct address address = { 0 };

	if (value == NULL)
		return error_set(err, REASON_INVALID, EINVAL, "\"%s\" is not NAME=ADDRESS", item);
	*value++ = '\0';
	if (strcmp(item, "ttl") == 0)
		return parse_ttl(zone, value, err);
	if (address_parse_host(&address, value, err) < 0 || address.family == AF_UNSPEC)
		return error_set(err, REASON_INVALID, EINVAL, "\"%s\" is no IP address, for %s",
				 value, strcmp(item, "*") == 0 ? zone->name : item);
	if (strcmp(item, "*") == 0)
		return addresses_add(&zone->others, &address, zone->name, err);
	name = record_name(zone, item, strlen(item));
	if (name == NULL)
		return error_set(err, REASON_INVALID, EINVAL, "\"%s\" is no name in %s", item,
				 zone->name);
	return zone_add(zone, name, &address, err);
}

int zones_parse(struct zones *zones, const char *text, struct error *err)
{
	size_t size = strcspn(text, "=,");
	struct zone *zone = zones_zone(zones, text, size, err);
	_cleanup_free_ char *items = NULL;
	char *rest, *item;

	if (zone == NULL)
		return -EINVAL;
	zone->single = false;
	if (text[size] == '\0')
		return 0;
	items = xasprintf("%s%s", text[size] == '=' ? "*" : "", text + size + (text[size] == ','));
	rest = items;
	while ((item = strsep(&rest, ",")) != NULL) {
		int rc = parse_item(zone, item, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The innermost one that the name is in. */
static const struct zone *zones_find(const struct zones *zones, const char *name)
{
	const struct zone *zone, *best = NULL;

	STAILQ_FOREACH(zone, &zones->list, next)
	{
		ssize_t front = below(name, zone->name);

		if (front < 0 || (zone->single && front > 0))
			continue;
		if (best == NULL || strlen(zone->name) > strlen(best->name))
			best = zone;
	}
	return best;
}

/* True if there are names below this one, which therefore is there too: RFC 8020. */
static bool zone_has_below(const struct zone *zone, const char *text)
{
	const struct zone_name *name;

	STAILQ_FOREACH(name, &zone->names, next)
	if (below(name->name, text) > 0)
		return true;
	return false;
}

/* How many addresses the name has; negative: there is no such name. */
static ssize_t zone_addresses(const struct zone *zone, const char *text,
			      struct address out[ZONES_ADDRESSES_MAX])
{
	const struct zone_name *name = zone_find(zone, text);
	const struct addresses *addresses = name != NULL ? &name->addresses : &zone->others;
	ssize_t front = below(text, zone->name), found = -ENOENT;

	if (name == NULL && front == 0)
		return 0;
	if (name == NULL && zone->lookup != NULL) {
		_cleanup_free_ char *label = xstrndup(text, (size_t)front);

		found = zone->lookup(label, out, ZONES_ADDRESSES_MAX, zone->lookup_arg);
	}
	if (found >= 0)
		return found;
	if (addresses->count > 0)
		memcpy(out, addresses->list, addresses->count * sizeof(*out));
	else if (!zone_has_below(zone, text))
		return -ENOENT;
	return (ssize_t)addresses->count;
}

/* The address that a name below in-addr.arpa or ip6.arpa stands for. False if it is none. */
static bool reverse_address(const char *name, struct address *out)
{
	unsigned char nibbles[32];
	unsigned parts[4];

	*out = (struct address){ .family = AF_INET };
	if (sscanf(name, "%3u.%3u.%3u.%3u.", &parts[0], &parts[1], &parts[2], &parts[3]) == 4) {
		_cleanup_free_ char *same = xasprintf("%u.%u.%u.%u.in-addr.arpa", parts[0],
						      parts[1], parts[2], parts[3]);

		out->v4.s_addr = htonl(parts[3] << 24 | parts[2] << 16 | parts[1] << 8 | parts[0]);
		if ((parts[0] | parts[1] | parts[2] | parts[3]) <= 255 && strcmp(name, same) == 0)
			return true;
	}
	if (strlen(name) != 2 * sizeof(nibbles) + strlen("ip6.arpa") ||
	    strcmp(name + 2 * sizeof(nibbles), "ip6.arpa") != 0)
		return false;
	out->family = AF_INET6;
	for (size_t i = 0; i < sizeof(nibbles); i++) {
		const char *digit = strchr("0123456789abcdef", name[2 * i]);

		if (digit == NULL || name[2 * i + 1] != '.')
			return false;
		nibbles[sizeof(nibbles) - 1 - i] =
			(unsigned char)(*digit <= '9' ? *digit - '0' : *digit - 'a' + 10);
	}
	for (size_t i = 0; i < sizeof(out->v6); i++)
		out->v6.s6_addr[i] = (uint8_t)(nibbles[2 * i] << 4 | nibbles[2 * i + 1]);
	return true;
}

/* The first name that has this address by a record. */
static const char *zones_name_of(const struct zones *zones, const struct address *address,
				 uint32_t *ttl)
{
	const struct zone *zone;
	const struct zone_name *name;

	STAILQ_FOREACH(zone, &zones->list, next)
	STAILQ_FOREACH(name, &zone->names, next)
	for (size_t i = 0; i < name->addresses.count; i++)
		if (address_same_host(&name->addresses.list[i], address)) {
			*ttl = zone->ttl;
			return name->name;
		}
	return NULL;
}

static size_t answer_reverse(const struct zones *zones, const struct dns_query *query, uint8_t *out,
			     size_t limit)
{
	struct dns_answer answer;
	struct address address;
	const char *name = NULL;
	uint32_t ttl;

	if (query->type == DNS_PTR && reverse_address(query->name, &address))
		name = zones_name_of(zones, &address, &ttl);
	if (name == NULL)
		return 0;
	dns_answer_begin(&answer, query, out, limit);
	dns_answer_authoritative(&answer);
	dns_answer_ptr(&answer, ttl, name);
	return dns_answer_end(&answer, DNS_NOERROR);
}

size_t zones_answer(const struct zones *zones, const struct dns_query *query, uint8_t *out,
		    size_t limit)
{
	const struct zone *zone = zones_find(zones, query->name);
	struct address addresses[ZONES_ADDRESSES_MAX];
	struct dns_answer answer;
	ssize_t count;

	if (limit > ZONES_ANSWER_MAX)
		limit = ZONES_ANSWER_MAX;
	if (zone == NULL)
		return answer_reverse(zones, query, out, limit);
	count = zone_addresses(zone, query->name, addresses);
	dns_answer_begin(&answer, query, out, limit);
	dns_answer_authoritative(&answer);
	for (ssize_t i = 0; i < count; i++)
		if (query->type == (addresses[i].family == AF_INET6 ? DNS_AAAA : DNS_A))
			dns_answer_address(&answer, zone->ttl, &addresses[i]);
	if (query->type == DNS_ANY && count >= 0)
		dns_answer_hinfo(&answer, zone->ttl);
	/* No such name, or none of the type: RFC 2308, 2. */
	if (dns_answer_empty(&answer))
		dns_answer_soa(&answer, zone->ttl, zone->name,
			       query->type == DNS_SOA && strcmp(query->name, zone->name) == 0);
	return dns_answer_end(&answer, count >= 0 ? DNS_NOERROR : DNS_NXDOMAIN);
}
