/* SPDX-License-Identifier: MIT */
/* Files in JSON that people write: read whole, and what is wrong in them told with line and column. */
#ifndef VZFWD_JSON_FILE_H
#define VZFWD_JSON_FILE_H

#include <jansson.h>

#include "error.h"
#include "json-place.h"

#define JSON_FILE_MAX (1024u * 1024)
#define JSON_FILE_STEPS_MAX 3

struct json_file {
	const char *name; /* as in messages; borrowed */
	bool regular;     /* else it can't be read another time */
	char *text;
	json_t *json;
	/* Where its reader is: a value in a value … */
	struct json_step path[JSON_FILE_STEPS_MAX];
	size_t steps;
	struct error *err;
};

/*
 * Reads a file ("-": stdin). 0, or a negative number in *err, where what follows puts its errors too; what is wrong in
 * it is told as "NAME:LINE:COLUMN: ...", REASON_NOT_RUNNING. A file that everybody can write is
 * REASON_DENIED, one that is not there REASON_NOT_FOUND. json_file_clear() in every case. It waits for whoever writes into a
 * pipe, but not `again`, when clients are to be served: then only a regular file will do.
 */
int json_file_read(struct json_file *file, const char *path, bool again, struct error *err);
void json_file_clear(struct json_file *file);

/* One step further in, by a name or (NULL) an index; json_file_leave() steps back. */
void json_file_enter(struct json_file *file, const char *name, size_t index);
void json_file_leave(struct json_file *file);

/* Where the value that was reached begins, and that it is wrong: a negative number. */
struct json_place json_file_place(const struct json_file *file);
int json_file_wrong(const struct json_file *file, const char *what);

/* 0 if the object has no members but these (the last of the names is NULL): others are misspelled ones. */
int json_file_check_members(struct json_file *file, json_t *object, const char *const *names);

#endif
