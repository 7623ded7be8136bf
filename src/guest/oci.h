/* SPDX-License-Identifier: MIT */
/* Containers by ID in the state directories of runc and crun. */
#ifndef VZFWD_OCI_H
#define VZFWD_OCI_H

#include <sys/types.h>

#include "error.h"

struct oci_state {
	pid_t pid;      /* the container's init */
	uint64_t start; /* when it began (field 22 of /proc/PID/stat); 0 if not told */
};

/*
 * Reads a state file's text, runc's or crun's. REASON_NOT_RUNNING if it is neither, or the
 * container has no process.
 */
int oci_state_parse(const char *text, size_t length, struct oci_state *state, struct error *err);

/* Looks ROOT/ID up. REASON_NOT_FOUND if there is none; `id` is a valid name. */
int oci_state_read(const char *root, const char *id, struct oci_state *state, struct error *err);

#endif
