/* SPDX-License-Identifier: MIT */
/* The file of --policy. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "lib/json-file.h"
#include "rules.h"

static int read_rule(struct json_file *file, json_t *item, struct rules *rules, bool allow)
{
	const char *text = json_string_value(item);
	struct error why;

	if (text == NULL || strlen(text) != json_string_length(item))
		return json_file_wrong(file, "a rule must be a string");
	if (rules_add(rules, allow, text, &why) < 0)
		return json_file_wrong(file, why.message);
	return 0;
}

static int read_list(struct json_file *file, struct rules *rules, const char *name, bool allow)
{
	json_t *array = json_object_get(file->json, name), *item;
	size_t i;

	if (array == NULL)
		return 0;
	json_file_enter(file, name, 0);
	if (!json_is_array(array))
		return json_file_wrong(file, "must be an array of rules");
	json_array_foreach (array, i, item) {
		json_file_enter(file, NULL, i);
		if (read_rule(file, item, rules, allow) < 0)
			return -EINVAL;
		json_file_leave(file);
	}
	json_file_leave(file);
	return 0;
}

static int read_rules(struct json_file *file, struct rules *rules)
{
	static const char *const members[] = { "allow", "deny", NULL };

	if (!json_is_object(file->json))
		return json_file_wrong(file, "must be an object with \"allow\" and \"deny\"");
	if (json_file_check_members(file, file->json, members) < 0 ||
	    read_list(file, rules, "allow", true) < 0 || read_list(file, rules, "deny", false) < 0)
		return -EINVAL;
	return 0;
}

int rules_read(struct rules *rules, const char *path, bool again, struct error *err)
{
	struct json_file file;
	int rc = json_file_read(&file, path, again, err);

	if (rc == 0)
		rc = read_rules(&file, rules);
	json_file_clear(&file);
	return rc;
}
