/* SPDX-License-Identifier: MIT */
/* Who may use the proxy: the users and passwords of --auth-file. */
#ifndef VZFWD_PROXY_AUTH_H
#define VZFWD_PROXY_AUTH_H

#include "lib/error.h"

/* A user's name and a password are 255 bytes at most in SOCKS (RFC 1929). */
#define AUTH_TEXT_MAX 255
#define AUTH_FILE_MAX (64u * 1024)

struct auth {
	char **users; /* "USER:PASSWORD" */
	size_t count;
};

/*
 * Reads USER:PASSWORD lines. The file is as safe as a token's: see secret_read() for the errors; REASON_INVALID for
 * what is in it.
 */
int auth_read(struct auth *auth, const char *path, struct error *err);

/* True if "USER:PASSWORD" (NULL: false) is one of them; takes as long for each, but for the lengths. */
bool auth_allows(const struct auth *auth, const char *credentials);

void auth_clear(struct auth *auth);

#endif
