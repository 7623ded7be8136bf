/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "lib/rpc.h"
#include "host-names.h"

const char *const host_names_default[HOST_NAMES_DEFAULT] = {
	"host.vz.internal",
	"host.boxlite.internal",
	"host.docker.internal",
	"host.containers.internal",
};

static bool same_host(const struct address *a, const struct address *b)
{
	return a->family == b->family &&
	       (a->family == AF_INET ? a->v4.s_addr == b->v4.s_addr
				     : IN6_ARE_ADDR_EQUAL(&a->v6, &b->v6));
}

void host_names_add(struct host_names *all, const char *name, const struct address *addr)
{
	for (size_t i = 0; i < all->count; i++) {
		if (strcasecmp(all->names[i].name, name) == 0 &&
		    same_host(&all->names[i].addr, addr))
			return;
	}
	all->names = xrealloc(all->names, (all->count + 1) * sizeof(*all->names));
	all->names[all->count++] = (struct host_name){ xstrdup(name), *addr };
}

/* "db.pod.vz.internal" of pod db, if that can be a name. */
static void add_sibling(struct host_names *all, const char *pod, const struct address *at)
{
	_cleanup_free_ char *name = xasprintf("%s." SIBLINGS_ZONE, pod);

	if (host_name_is_valid(name))
		host_names_add(all, name, at);
}

void host_names_make(struct host_names *all, const char *const *names, size_t count,
		     const struct address *alias, const struct expose_spec *specs,
		     size_t spec_count)
{
	*all = (struct host_names){ 0 };
	if (count == 0) {
		names = host_names_default;
		count = HOST_NAMES_DEFAULT;
	}
	for (size_t i = 0; i < count; i++)
		host_names_add(all, names[i], alias);
	for (size_t i = 0; i < spec_count; i++) {
		const struct address *at = specs[i].at.family != AF_UNSPEC ? &specs[i].at : alias;

		if (specs[i].name != NULL)
			host_names_add(all, specs[i].name, at);
		if (specs[i].target == EXPOSE_POD)
			add_sibling(all, specs[i].pod, at);
	}
}

void host_names_clear(struct host_names *all)
{
	for (size_t i = 0; i < all->count; i++)
		free(all->names[i].name);
	free(all->names);
	*all = (struct host_names){ 0 };
}

/* The names of one address, from the first of them on. */
static json_t *entry_of(const struct host_names *all, size_t first)
{
	const struct address *addr = &all->names[first].addr;
	json_t *names = xcheck(json_array());
	char text[INET6_ADDRSTRLEN];

	for (size_t i = first; i < all->count; i++) {
		if (same_host(&all->names[i].addr, addr))
			json_array_append_new(names, xcheck(json_string(all->names[i].name)));
	}
	inet_ntop(addr->family, &addr->v6, text, sizeof(text));
	return xcheck(json_pack("{s:s, s:o}", "address", text, "names", names));
}

json_t *host_names_entries(const struct host_names *all)
{
	json_t *entries = xcheck(json_array());

	for (size_t i = 0; i < all->count; i++) {
		size_t first = 0;

		while (!same_host(&all->names[first].addr, &all->names[i].addr))
			first++;
		if (first == i)
			json_array_append_new(entries, entry_of(all, i));
	}
	return entries;
}

char *host_names_text(const struct host_names *all)
{
	char *text = xstrdup("");

	for (size_t i = 0; i < all->count; i++) {
		char *longer = xasprintf("%s%s%s", text, i > 0 ? " " : "", all->names[i].name);

		free(text);
		text = longer;
	}
	return text;
}
