/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "file.h"
#include "lib/json-file.h"
#include "lib/rpc.h"

/* A string member: borrowed, or NULL if there is none and none is needed. */
static int get_text(struct json_file *r, json_t *object, const char *name, bool needed,
		    const char **out)
{
	json_t *value = json_object_get(object, name);
	_cleanup_free_ char *what = NULL;

	*out = NULL;
	if (value == NULL && !needed)
		return 0;
	if (value == NULL) {
		what = xasprintf("\"%s\" is missing", name);
		return json_file_wrong(r, what);
	}
	*out = json_string_value(value);
	if (*out != NULL && strlen(*out) == json_string_length(value))
		return 0;
	what = xasprintf("\"%s\" must be a string", name);
	json_file_enter(r, name, 0);
	return json_file_wrong(r, what);
}

/* A name as pods and containers have. */
static int get_name(struct json_file *r, json_t *object, const char *name, bool needed, char **out)
{
	const char *text;

	if (get_text(r, object, name, needed, &text) < 0)
		return -EINVAL;
	if (text != NULL && !name_is_valid(text)) {
		json_file_enter(r, name, 0);
		return json_file_wrong(r, !strcmp(name, "pod") ? "not the name of a registered pod"
							       : "not a container ID");
	}
	*out = text != NULL ? xstrdup(text) : NULL;
	return 0;
}

static int get_timeout(struct json_file *r, json_t *object, int *ms)
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
	json_file_enter(r, "timeoutMs", 0);
	return json_file_wrong(r, "\"timeoutMs\" must be an integer from 1 to 600000");
}

static int read_entry(struct json_file *r, json_t *item, struct up_entry *entry)
{
	static const char *const members[] = { "pod", "forward", "containerID", "timeoutMs", NULL };
	const char *forward;
	struct error why;

	if (!json_is_object(item))
		return json_file_wrong(r, "a forward must be an object");
	if (json_file_check_members(r, item, members) < 0 ||
	    get_name(r, item, "pod", true, &entry->pod) < 0 ||
	    get_text(r, item, "forward", true, &forward) < 0 ||
	    get_name(r, item, "containerID", false, &entry->container_id) < 0 ||
	    get_timeout(r, item, &entry->timeout_ms) < 0)
		return -EINVAL;
	json_file_enter(r, "forward", 0);
	if (forward_spec_parse(&entry->spec, forward, &why) < 0)
		return json_file_wrong(r, why.message);
	entry->text = xstrdup(forward);
	entry->place = json_file_place(r);
	json_file_leave(r);
	return 0;
}

static int read_forwards(struct json_file *r, struct up_file *file)
{
	static const char *const members[] = { "forwards", NULL };
	json_t *json = r->json, *array = json_object_get(json, "forwards"), *item;
	size_t i;

	if (!json_is_object(json))
		return json_file_wrong(r, "must be an object with \"forwards\"");
	if (json_file_check_members(r, json, members) < 0)
		return -EINVAL;
	if (array == NULL)
		return json_file_wrong(r, "\"forwards\" is missing");
	json_file_enter(r, "forwards", 0);
	if (!json_is_array(array))
		return json_file_wrong(r, "\"forwards\" must be an array");
	file->entries = xcalloc(json_array_size(array) + 1, sizeof(struct up_entry));
	json_array_foreach (array, i, item) {
		json_file_enter(r, NULL, i);
		file->count++;
		if (read_entry(r, item, &file->entries[i]) < 0)
			return -EINVAL;
		json_file_leave(r);
	}
	return 0;
}

int up_file_read(struct up_file *file, const char *path, bool again, struct error *err)
{
	struct json_file json;
	int rc = json_file_read(&json, path, again, err);

	*file = (struct up_file){ .name = json.name, .regular = json.regular };
	if (rc == 0)
		rc = read_forwards(&json, file);
	json_file_clear(&json);
	return rc;
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
