/* SPDX-License-Identifier: MIT */
/*
 * Opens folders and files that nobody but root and the caller can have
 * written: checked on the opened descriptors, with no symbolic link followed.
 */
#ifndef VZFWD_TRUSTED_H
#define VZFWD_TRUSTED_H

#include <sys/stat.h>

#include "error.h"

/*
 * A path in the folder that is ours as long as the system runs: /run/vzfwd/NAME for root, else
 * $XDG_RUNTIME_DIR/vzfwd/NAME. The caller's; NULL with REASON_INVALID if there is no such folder.
 */
char *run_path(const char *name, struct error *err);

/*
 * Opens a folder for reading, walking its path from / (a relative one from the current folder).
 * Each folder on the way must belong to root or the caller and must not be writable by others,
 * unless it is sticky. With `create`, missing ones are made: the last 0700, its parents 0755. The
 * fd, or a negative number: REASON_NOT_FOUND (-ENOENT: there is none), REASON_DENIED.
 */
int trusted_open_dir(const char *path, bool create, struct error *err);

/*
 * Reads a regular file in such a folder, at most `max` bytes of it (*length is max + 1 if it is
 * longer), NUL-terminated and owned by the caller. `path` is for the messages. Errors as above.
 */
int trusted_read(int dir, const char *name, const char *path, size_t max, char **data,
		 size_t *length, struct error *err);

/* True if the owner is root or the caller; else REASON_DENIED. */
bool trusted_owner(const struct stat *st, const char *path, struct error *err);

/* All of an opened file, as trusted_read(). */
int trusted_read_fd(int fd, const char *path, size_t max, char **data, size_t *length,
		    struct error *err);

/* What a system call on `path` ran into: "PATH: permission denied". Returns a negative number. */
int trusted_error(struct error *err, int sys_errno, const char *path);

#endif
