/* SPDX-License-Identifier: MIT */
/*
 * A tree of addresses, each with its names; and all pairs in the order in which they were told. A tree and no hash
 * table, since it is the pod that chooses the names, and whoever it asks the addresses.
 */
#include "config.h"

#include <search.h>
#include <string.h>
#include <sys/queue.h>

#include "host-name.h"
#include "lib/policy.h"
#include "names.h"

/* A name of an address. */
struct pair {
	TAILQ_ENTRY(pair) by_age;
	TAILQ_ENTRY(pair) of_host;
	struct host *host;
	int64_t expires; /* now_ms() */
	char name[];
};

TAILQ_HEAD(pairs, pair);

struct host {
	struct address addr; /* normalised, port 0 */
	struct pairs pairs;  /* oldest first */
	size_t count;        /* > 0 */
};

struct names {
	void *hosts;        /* tsearch(3)'s */
	struct pairs pairs; /* oldest first */
	size_t count;
};

static int compare_hosts(const void *a, const void *b)
{
	const struct address *x = &((const struct host *)a)->addr;
	const struct address *y = &((const struct host *)b)->addr;

	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	return memcmp(&x->v6, &y->v6, x->family == AF_INET ? sizeof(x->v4) : sizeof(x->v6));
}

/* What is looked for: addresses are compared by their normal form, without the port. */
static struct host make_key(const struct address *addr)
{
	struct host key = { .addr = *addr };

	address_normalise(&key.addr);
	return key;
}

struct names *names_new(void)
{
	struct names *names = xcalloc(1, sizeof(*names));

	TAILQ_INIT(&names->pairs);
	return names;
}

static void drop_pair(struct names *names, struct pair *pair)
{
	struct host *host = pair->host;

	TAILQ_REMOVE(&names->pairs, pair, by_age);
	TAILQ_REMOVE(&host->pairs, pair, of_host);
	free(pair);
	names->count--;
	if (--host->count > 0)
		return;
	tdelete(host, &names->hosts, compare_hosts);
	free(host);
}

void names_delete(struct names *names)
{
	struct pair *pair;

	if (names == NULL)
		return;
	while ((pair = TAILQ_FIRST(&names->pairs)) != NULL)
		drop_pair(names, pair);
	free(names);
}

static struct host *find_host(const struct names *names, const struct address *addr)
{
	const struct host key = make_key(addr);
	struct host **found = tfind(&key, &names->hosts, compare_hosts);

	return found != NULL ? *found : NULL;
}

static struct host *add_host(struct names *names, const struct address *addr)
{
	struct host *host = xmalloc(sizeof(*host));

	*host = make_key(addr);
	TAILQ_INIT(&host->pairs);
	xcheck(tsearch(host, &names->hosts, compare_hosts));
	return host;
}

static struct pair *find_pair(const struct host *host, const char *name)
{
	struct pair *pair;

	TAILQ_FOREACH (pair, &host->pairs, of_host) {
		if (strcmp(pair->name, name) == 0)
			break;
	}
	return pair;
}

static struct pair *add_pair(struct names *names, struct host *host, const char *name)
{
	size_t size = strlen(name) + 1;
	struct pair *pair = xmalloc(sizeof(*pair) + size);

	memcpy(pair->name, name, size);
	pair->host = host;
	pair->expires = 0;
	host->count++;
	names->count++;
	return pair;
}

/* A new pair, or one that is told again, is the last one of both lists. */
static void add_one(struct names *names, const char *name, const struct address *addr,
		    int64_t expires)
{
	struct host *host = find_host(names, addr);
	struct pair *pair = host != NULL ? find_pair(host, name) : NULL;

	if (host == NULL)
		host = add_host(names, addr);
	if (pair == NULL) {
		pair = add_pair(names, host, name);
	} else {
		TAILQ_REMOVE(&names->pairs, pair, by_age);
		TAILQ_REMOVE(&host->pairs, pair, of_host);
	}
	TAILQ_INSERT_TAIL(&names->pairs, pair, by_age);
	TAILQ_INSERT_TAIL(&host->pairs, pair, of_host);
	if (pair->expires < expires)
		pair->expires = expires;
	if (host->count > NAMES_PER_ADDRESS)
		drop_pair(names, TAILQ_FIRST(&host->pairs));
	if (names->count > NAMES_MAX)
		drop_pair(names, TAILQ_FIRST(&names->pairs));
}

void names_add(struct names *names, const char *name, const struct address *addrs, size_t count,
	       uint32_t ttl, int64_t now)
{
	int64_t expires = now + (int64_t)(ttl > NAMES_TTL_MIN ? ttl : NAMES_TTL_MIN) * 1000;
	char text[DOMAIN_NAME_MAX + 1];

	if (host_name_parse(text, name, strlen(name)) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		add_one(names, text, &addrs[i], expires);
}

size_t names_of(struct names *names, const struct address *addr, int64_t now,
		const char *out[NAMES_PER_ADDRESS])
{
	struct host *host = find_host(names, addr);
	struct pair *pair = host != NULL ? TAILQ_LAST(&host->pairs, pairs) : NULL, *next;
	size_t count = 0;

	for (; pair != NULL; pair = next) {
		next = TAILQ_PREV(pair, pairs, of_host);
		if (pair->expires > now)
			out[count++] = pair->name;
		else
			drop_pair(names, pair);
	}
	return count;
}
