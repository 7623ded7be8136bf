/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "file.h"
#include "lib/rpc.h"
#include "lib/trusted.h"

#define FILE_MAX (1024u * 1024)
#define STEPS_MAX 3

/* What is being read, and where in it. */
struct reading {
	struct up_file *file;
	const char *text;
	struct json_step path[STEPS_MAX];
	size_t steps;
	struct error *err;
};

static int fail_at(const struct reading *r, struct json_place place, const char *what)
{
	return error_set(r->err, REASON_NOT_RUNNING, EINVAL, "%s:%u:%u: %s", r->file->name,
			 place.line, place.column, what);
}

/* The value that was reached is wrong. */
static int wrong(const struct reading *r, const char *what)
{
	return fail_at(r, json_place(r->text, r->path, r->steps, false), what);
}

static void enter(struct reading *r, const char *name, size_t index)
{
	r->path[r->steps++] = (struct json_step){ name, index };
}

/* Members that mean nothing are misspelled ones. */
static int check_members(struct reading *r, json_t *object, const char *const *names)
{
	const char *name;
	json_t *value;

	json_object_foreach (object, name, value) {
		_cleanup_free_ char *what = NULL;
		size_t i = 0;

		while (names[i] != NULL && strcmp(names[i], name) != 0)
			i++;
		if (names[i] != NULL)
			continue;
		what = xasprintf("unknown member \"%s\"", name);
		enter(r, name, 0);
		return fail_at(r, json_place(r->text, r->path, r->steps, true), what);
	}
	return 0;
}

/* A string member: borrowed, or NULL if there is none and none is needed. */
static int get_text(struct reading *r, json_t *object, const char *name, bool needed,
		    const char **out)
{
	json_t *value = json_object_get(object, name);
	_cleanup_free_ char *what = NULL;

	*out = NULL;
	if (value == NULL && !needed)
		return 0;
	if (value == NULL) {
		what = xasprintf("\"%s\" is missing", name);
		return wrong(r, what);
	}
	*out = json_string_value(value);
	if (*out != NULL && strlen(*out) == json_string_length(value))
		return 0;
	what = xasprintf("\"%s\" must be a string", name);
	enter(r, name, 0);
	return wrong(r, what);
}

/* A name as pods and containers have. */
static int get_name(struct reading *r, json_t *object, const char *name, bool needed, char **out)
{
	const char *text;

	if (get_text(r, object, name, needed, &text) < 0)
		return -EINVAL;
	if (text != NULL && !name_is_valid(text)) {
		enter(r, name, 0);
		return wrong(r, !strcmp(name, "pod") ? "not the name of a registered pod"
						     : "not a container ID");
	}
	*out = text != NULL ? xstrdup(text) : NULL;
	return 0;
}

static int get_timeout(struct reading *r, json_t *object, int *ms)
{
	json_t *value = json_object_get(object, "timeoutMs");

	*ms = TIMEOUT_MS_DEFAULT;
	if (value == NULL)
		return 0;
	if (json_is_integer(value) && json_integer_value(value) >= 1 &&
	    json_integer_value(value) <= TIMEOUT_MS_MAX) {
		*ms = (int)json_integer_value(value);
		return 0;
	}
	enter(r, "timeoutMs", 0);
	return wrong(r, "\"timeoutMs\" must be an integer from 1 to 600000");
}

static int read_entry(struct reading *r, json_t *item, struct up_entry *entry)
{
	static const char *const members[] = { "pod", "forward", "containerID", "timeoutMs", NULL };
	const char *forward;
	struct error why;

	if (!json_is_object(item))
		return wrong(r, "a forward must be an object");
	if (check_members(r, item, members) < 0 ||
	    get_name(r, item, "pod", true, &entry->pod) < 0 ||
	    get_text(r, item, "forward", true, &forward) < 0 ||
	    get_name(r, item, "containerID", false, &entry->container_id) < 0 ||
	    get_timeout(r, item, &entry->timeout_ms) < 0)
		return -EINVAL;
	enter(r, "forward", 0);
	if (forward_spec_parse(&entry->spec, forward, &why) < 0)
		return wrong(r, why.message);
	entry->text = xstrdup(forward);
	entry->place = json_place(r->text, r->path, r->steps, false);
	r->steps--;
	return 0;
}

static int read_forwards(struct reading *r, json_t *json)
{
	static const char *const members[] = { "forwards", NULL };
	json_t *array = json_object_get(json, "forwards"), *item;
	size_t i;

	if (!json_is_object(json))
		return wrong(r, "must be an object with \"forwards\"");
	if (check_members(r, json, members) < 0)
		return -EINVAL;
	if (array == NULL)
		return wrong(r, "\"forwards\" is missing");
	enter(r, "forwards", 0);
	if (!json_is_array(array))
		return wrong(r, "\"forwards\" must be an array");
	r->file->entries = xcalloc(json_array_size(array) + 1, sizeof(struct up_entry));
	json_array_foreach (array, i, item) {
		enter(r, NULL, i);
		r->file->count++;
		if (read_entry(r, item, &r->file->entries[i]) < 0)
			return -EINVAL;
		r->steps--;
	}
	return 0;
}

static int parse(struct up_file *file, const char *text, size_t length, struct error *err)
{
	struct reading r = { .file = file, .text = text, .err = err };
	_cleanup_json_ json_t *json = NULL;
	json_error_t syntax;

	if (length > FILE_MAX)
		return error_set(err, REASON_NOT_RUNNING, EFBIG, "%s: longer than %u bytes",
				 file->name, FILE_MAX);
	json = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &syntax);
	if (json == NULL) {
		struct json_place place = { syntax.line > 0 ? (unsigned)syntax.line : 1,
					    syntax.column > 0 ? (unsigned)syntax.column : 1 };

		return fail_at(&r, place, syntax.text);
	}
	return read_forwards(&r, json);
}

/* Whoever can write it can have ports opened here; others of the user's group may be meant to. */
static int check_file(struct up_file *file, int fd, bool again, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return trusted_error(err, errno, file->name);
	if (S_ISDIR(st.st_mode))
		return error_set(err, REASON_NOT_RUNNING, EISDIR, "%s: %s", file->name,
				 errno_text(EISDIR));
	file->regular = S_ISREG(st.st_mode);
	if (again && !file->regular)
		return error_set(err, REASON_NOT_RUNNING, EINVAL, "%s: is no regular file any more",
				 file->name);
	if (file->regular && st.st_mode & S_IWOTH)
		return error_set(err, REASON_DENIED, EPERM,
				 "%s: is writable by everybody (mode %04o)", file->name,
				 (unsigned)st.st_mode & 07777);
	return 0;
}

int up_file_read(struct up_file *file, const char *path, bool again, struct error *err)
{
	bool stdin_is_it = strcmp(path, "-") == 0;
	_cleanup_close_ int opened = -1;
	_cleanup_free_ char *text = NULL;
	size_t length;
	int fd = STDIN_FILENO;

	*file = (struct up_file){ .name = stdin_is_it ? "standard input" : path };
	if (!stdin_is_it)
		fd = opened =
			open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC | (again ? O_NONBLOCK : 0));
	if (fd < 0)
		return trusted_error(err, errno, file->name);
	if ((!stdin_is_it && check_file(file, fd, again, err) < 0) ||
	    trusted_read_fd(fd, file->name, FILE_MAX, &text, &length, err) < 0)
		return -EPROTO;
	return parse(file, text, length, err);
}

void up_file_clear(struct up_file *file)
{
	for (size_t i = 0; i < file->count; i++) {
		free(file->entries[i].pod);
		free(file->entries[i].container_id);
		free(file->entries[i].text);
		forward_spec_clear(&file->entries[i].spec);
	}
	free(file->entries);
	*file = (struct up_file){ 0 };
}

int up_file_error(const struct up_file *file, const struct up_entry *entry, struct error *err)
{
	return error_prefix(err, "%s:%u:%u", file->name, entry->place.line, entry->place.column);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool up_entry_equal(const struct up_entry *a, const struct up_entry *b)
{
	return strcmp(a->pod, b->pod) == 0 && strcmp(a->text, b->text) == 0 &&
	       same_text(a->container_id, b->container_id) && a->timeout_ms == b->timeout_ms;
}
