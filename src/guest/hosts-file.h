/* SPDX-License-Identifier: MIT */
/* Lines of ours in a hosts file: one marked block each, and all else stays as it is. */
#ifndef VZFWD_HOSTS_FILE_H
#define VZFWD_HOSTS_FILE_H

#include "lib/error.h"

#define HOSTS_FILE_MAX (1024u * 1024)

/*
 * Puts the lines (one text, each ended by \n; neither comments nor empty ones) in a block between "#
 * vzfwd TAG begin" and "# vzfwd TAG end" at the end of a file in the folder, whose name is the last one of `path`, which is
 * for messages otherwise; in place of an older block of the same tag (a valid name). Written only if that changes it; a missing file is
 * created. 0, or a negative number with *err: REASON_DENIED for what is no regular file,
 * REASON_EXHAUSTED if it is larger than HOSTS_FILE_MAX or would be.
 */
int hosts_file_set(int dirfd, const char *path, const char *tag, const char *lines,
		   struct error *err);

/*
 * Takes the block out; the file is then what it was without it, to the byte. A missing one is no error.
 */
int hosts_file_remove(int dirfd, const char *path, const char *tag, struct error *err);

/* The mount that an open file is in, by number; -1 if it can't be told. */
int hosts_mount_of(int fd);

#endif
