/* SPDX-License-Identifier: MIT */
/* Giving privileges up: what a process keeps once all that needs them is open. */
#ifndef VZFWD_CAPS_H
#define VZFWD_CAPS_H

#include <sys/types.h>

#include "error.h"

/* What capabilities are kept for. */
enum caps_kept {
	CAPS_NONE,
	CAPS_KILL,       /* ending a command that may have become another user */
	CAPS_NETNS,      /* entering network namespaces, and naming who listens in them */
	CAPS_NETNS_UNIX, /* the same, and connecting to Unix sockets whoever owns them */
	CAPS_KEPT_COUNT
};

struct caps_user {
	bool set;
	uid_t uid;
	gid_t gid;
};

/* "UID[:GID]", numbers; the GID is the UID's number by default. */
int caps_user_parse(struct caps_user *user, const char *text, struct error *err);

/*
 * Becomes the user (NULL or not set: stays who it is), keeps those capabilities and no others, for
 * good, and never gets new privileges (no_new_privs). REASON_DENIED if it was to become somebody
 * else and may not. Where the system has no capabilities it does nothing.
 */
int caps_drop(enum caps_kept kept, const struct caps_user *user, struct error *err);

#endif
