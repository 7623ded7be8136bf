/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "json-file.h"
#include "rpc.h"
#include "trusted.h"

static int fail_at(const struct json_file *file, struct json_place place, const char *what)
{
	return error_set(file->err, REASON_NOT_RUNNING, EINVAL, "%s:%u:%u: %s", file->name,
			 place.line, place.column, what);
}

struct json_place json_file_place(const struct json_file *file)
{
	return json_place(file->text, file->path, file->steps, false);
}

int json_file_wrong(const struct json_file *file, const char *what)
{
	return fail_at(file, json_file_place(file), what);
}

void json_file_enter(struct json_file *file, const char *name, size_t index)
{
	file->path[file->steps++] = (struct json_step){ name, index };
}

void json_file_leave(struct json_file *file)
{
	file->steps--;
}

int json_file_check_members(struct json_file *file, json_t *object, const char *const *names)
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
		json_file_enter(file, name, 0);
		return fail_at(file, json_place(file->text, file->path, file->steps, true), what);
	}
	return 0;
}

static int parse(struct json_file *file, size_t length)
{
	json_error_t syntax;

	if (length > JSON_FILE_MAX)
		return error_set(file->err, REASON_NOT_RUNNING, EFBIG, "%s: longer than %u bytes",
				 file->name, JSON_FILE_MAX);
	file->json =
		json_loadb(file->text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &syntax);
	if (file->json == NULL) {
		struct json_place place = { syntax.line > 0 ? (unsigned)syntax.line : 1,
					    syntax.column > 0 ? (unsigned)syntax.column : 1 };

		return fail_at(file, place, syntax.text);
	}
	return 0;
}

/* Whoever can write it decides what opens here; others of the user's group may be meant to. */
static int check_file(struct json_file *file, int fd, bool again)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return trusted_error(file->err, errno, file->name);
	if (S_ISDIR(st.st_mode))
		return error_set(file->err, REASON_NOT_RUNNING, EISDIR, "%s: %s", file->name,
				 errno_text(EISDIR));
	file->regular = S_ISREG(st.st_mode);
	if (again && !file->regular)
		return error_set(file->err, REASON_NOT_RUNNING, EINVAL,
				 "%s: is no regular file any more", file->name);
	if (file->regular && st.st_mode & S_IWOTH)
		return error_set(file->err, REASON_DENIED, EPERM,
				 "%s: is writable by everybody (mode %04o)", file->name,
				 (unsigned)st.st_mode & 07777);
	return 0;
}

int json_file_read(struct json_file *file, const char *path, bool again, struct error *err)
{
	bool stdin_is_it = strcmp(path, "-") == 0;
	_cleanup_close_ int opened = -1;
	size_t length;
	int fd = STDIN_FILENO;

	*file = (struct json_file){ .name = stdin_is_it ? "standard input" : path, .err = err };
	if (!stdin_is_it)
		fd = opened =
			open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC | (again ? O_NONBLOCK : 0));
	if (fd < 0)
		return trusted_error(err, errno, file->name);
	if ((!stdin_is_it && check_file(file, fd, again) < 0) ||
	    trusted_read_fd(fd, file->name, JSON_FILE_MAX, &file->text, &length, err) < 0)
		return -EPROTO;
	return parse(file, length);
}

void json_file_clear(struct json_file *file)
{
	json_decref(file->json);
	free(file->text);
	*file = (struct json_file){ 0 };
}
