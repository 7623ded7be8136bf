/* SPDX-License-Identifier: MIT */
/*
 * The registry of pods: small JSON files, NAME.json, one a pod. Since an
 * endpoint can name a command, files that others could have written are refused.
 */
#ifndef VZFWD_PODS_H
#define VZFWD_PODS_H

#include <jansson.h>

#include "endpoint.h"

#define TOKEN_MIN 16
#define TOKEN_MAX 256

struct pod {
	char *name; /* NULL for an endpoint given on the command line */
	struct endpoint endpoint;
	char *handle;
	char *token_file; /* NULL if none */
	bool lent;        /* added_by is set: a server (vzfwd serve) keeps it for another user */
	uid_t added_by;
};

void pod_clear(struct pod *pod);

/*
 * The registry's folder: `option` (--pods-dir), else $VZFWD_PODS_DIR, else
 * /run/vzfwd/pods for root, else $XDG_RUNTIME_DIR/vzfwd/pods. Owned by the
 * caller. NULL with *err (REASON_INVALID) if none can be told.
 */
char *pods_dir(const char *option, struct error *err);

/*
 * Reads NAME.json. REASON_NOT_FOUND if there is none (or no folder),
 * REASON_DENIED if it, its folder or a parent could have been written by somebody
 * else (owner neither root nor the caller, or group/world-writable without the sticky
 * bit; a symbolic link), REASON_NOT_RUNNING if malformed, REASON_INVALID for a bad name.
 */
int pods_load(const char *dir, const char *name, struct pod *pod, struct error *err);

/*
 * All pods, sorted by name; a missing folder is none. An unreadable or malformed
 * file does not hide the others: it is passed to `bad` (may be NULL) and left out.
 */
int pods_list(const char *dir, struct pod **pods, size_t *count,
	      void (*bad)(const char *name, const struct error *err, void *arg), void *arg,
	      struct error *err);
void pods_list_free(struct pod *pods, size_t count);

/* How many files there are, malformed ones too. */
int pods_count(const char *dir, size_t *count, struct error *err);

/* {"name":…,"endpoint":…,"handle":…} and, if there are any, "tokenFile" and "addedBy". New reference. */
json_t *pod_to_json(const struct pod *pod);

/*
 * Writes NAME.json (handle NULL: NAME) whole and renames it into place (0600; the folder is
 * made 0700 if missing, with its parents). Without `replace` an existing one is
 * REASON_EXHAUSTED/EEXIST. fd: endpoints are REASON_INVALID here.
 */
int pods_add(const char *dir, const struct pod *pod, bool replace, struct error *err);
int pods_remove(const char *dir, const char *name, struct error *err);

/*
 * What a command's POD means: an endpoint (handle "default"), or a registered
 * name; NULL: $VZFWD_POD, else the only registered pod, else REASON_INVALID
 * with a text that lists the pods there are. fd: endpoints pass. `dir` may be NULL: then
 * it is pods_dir(NULL) where one is needed.
 */
int pods_resolve(const char *dir, const char *pod_arg, struct pod *pod, struct error *err);

/*
 * All of a file with a secret, as trusted_read_fd(): mode without group and others, owner root or the caller.
 * REASON_NOT_FOUND or REASON_DENIED (unsafe or unreadable).
 */
int secret_read(const char *path, size_t max, char **data, size_t *length, struct error *err);

/*
 * Reads a token file, a secret of 16..256 bytes with the trailing newline taken off, no NUL, else
 * REASON_INVALID. The token is owned by the caller.
 */
int token_read(const char *path, char **token, struct error *err);

/*
 * The same to be sent to `fd`, a connected link, or -1: REASON_DENIED too if that is a Unix socket of neither root nor us.
 */
int token_read_for(const char *path, int fd, char **token, struct error *err);

/* Compares in constant time (lengths may leak). Either may be NULL: then false. */
bool token_equal(const char *a, const char *b);

#endif
