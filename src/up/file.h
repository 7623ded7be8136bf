/* SPDX-License-Identifier: MIT */
/*
 * What `vzfwd up` reads: a JSON file of forwards,
 *
 *	{"forwards": [{"pod": "web", "forward": "8080:80", "containerID": "4f0c", "timeoutMs": 5000}, ...]}
 */
#ifndef VZFWD_UP_FILE_H
#define VZFWD_UP_FILE_H

#include "lib/endpoint.h"
#include "lib/json-place.h"

struct up_entry {
	char *pod;          /* a registered pod's name */
	char *container_id; /* or NULL */
	int timeout_ms;
	char *text; /* of "forward" */
	struct forward_spec spec;
	struct json_place place; /* of "forward" */
	/* For who applies it. */
	void *handle;          /* the forward that was made of it */
	struct up_entry *twin; /* the same in the file before */
	bool kept;             /* has a twin in the next one, … */
	bool succeeded;        /* … or one that listens at the same place */
};

struct up_file {
	const char *name; /* as in messages; borrowed */
	bool regular;     /* else it can't be read another time */
	struct up_entry *entries;
	size_t count;
};

/*
 * Reads and checks a file ("-": stdin). 0, or a negative number; what is wrong in it is told as
 * "NAME:LINE:COLUMN: ...", REASON_NOT_RUNNING. A file that everybody can write is REASON_DENIED, one that is
 * not there REASON_NOT_FOUND. up_file_clear() in every case. It waits for whoever writes into a pipe, but not
 * `again`, when clients are to be served: then only a regular file will do.
 */
int up_file_read(struct up_file *file, const char *path, bool again, struct error *err);
void up_file_clear(struct up_file *file);

/* An error about an entry: puts the place before it. */
int up_file_error(const struct up_file *file, const struct up_entry *entry, struct error *err);

bool up_entry_equal(const struct up_entry *a, const struct up_entry *b);

#endif
