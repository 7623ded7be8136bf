/* SPDX-License-Identifier: MIT */
/* Giving privileges up: what a process keeps once all that needs them is open. */
#ifndef VZFWD_CAPS_H
#define VZFWD_CAPS_H

#include <sys/types.h>

#include "error.h"

/* What capabilities are kept for: any of these together. */
enum caps_kept {
	CAPS_NONE = 0,
	CAPS_KILL = 1,     /* ending a command that may have become another user */
	CAPS_NETNS = 2,    /* entering network namespaces, and naming who listens in them */
	CAPS_UNIX = 4,     /* connecting to Unix sockets whoever owns them */
	CAPS_EXPOSE = 8,   /* listening in network namespaces, at addresses of our own */
	CAPS_EGRESS = 16,  /* steering what leaves them */
	CAPS_NETWORK = 32, /* changing packet filters and routes of the netns that we are in */
};

struct caps_user {
	bool set;
	uid_t uid;
	gid_t gid;
};

/* "UID[:GID]", numbers; the GID is the UID's number by default. */
int caps_user_parse(struct caps_user *user, const char *text, struct error *err);

/*
 * Becomes the user (NULL or not set: stays who it is), keeps the capabilities for `kept` (enum caps_kept) and no others, for
 * good, and never gets new privileges (no_new_privs). REASON_DENIED if it was to become somebody
 * else and may not. Where the system has no capabilities it does nothing.
 */
int caps_drop(unsigned kept, const struct caps_user *user, struct error *err);

#endif
