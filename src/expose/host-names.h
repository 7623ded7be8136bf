/* SPDX-License-Identifier: MIT */
/* The names that a pod knows the host by, and what is exposed to it: which address each means. */
#ifndef VZFWD_HOST_NAMES_H
#define VZFWD_HOST_NAMES_H

#include <jansson.h>

#include "spec.h"

/* Pods that are exposed are below it, by their names. */
#define SIBLINGS_ZONE "pod.vz.internal"

struct host_name {
	char *name;
	struct address addr; /* its port means nothing */
};

struct host_names {
	struct host_name *names;
	size_t count;
};

/* For pods of all kinds: gvproxy's and podman's, Docker's, BoxLite's, and one of our own. */
#define HOST_NAMES_DEFAULT 4
extern const char *const host_names_default[HOST_NAMES_DEFAULT];

/* A name and its address; one that is there already, in whatever case, is not added again. */
void host_names_add(struct host_names *all, const char *name, const struct address *addr);

/*
 * Those of the host, `names` or (count 0) the default ones, for the alias address; and those of what is exposed, for the
 * address that it is at: what was given for a name, and a pod's.
 */
void host_names_make(struct host_names *all, const char *const *names, size_t count,
		     const struct address *alias, const struct expose_spec *specs,
		     size_t spec_count);
void host_names_clear(struct host_names *all);

/* What pod.hosts takes: [{"address":"192.168.127.254","names":["host.vz.internal"]}]. New reference. */
json_t *host_names_entries(const struct host_names *all);

/* For a person: "host.vz.internal db.internal". Fresh memory. */
char *host_names_text(const struct host_names *all);

#endif
