/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "json-place.h"
#include "rpc.h"

static const char *skip_space(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

/* Behind the string that begins here. */
static const char *skip_string(const char *at)
{
	for (at++; *at != '"'; at++) {
		if (*at == '\\')
			at++;
	}
	return at + 1;
}

/* Behind the value that begins here, and the white space that follows. */
static const char *skip_value(const char *at)
{
	size_t depth = 0;

	do {
		if (*at == '"') {
			at = skip_string(at);
		} else if (*at == '{' || *at == '[') {
			depth++;
			at++;
		} else if (*at == '}' || *at == ']') {
			depth--;
			at++;
		} else {
			at += depth > 0 && strchr(",:", *at) != NULL
				      ? 1
				      : strcspn(at, ",:{}[]\" \t\r\n");
		}
		at = skip_space(at);
	} while (depth > 0);
	return at;
}

/* Names may be written with escapes. */
static bool name_is(const char *at, const char *end, const char *name)
{
	_cleanup_json_ json_t *string = json_loadb(at, (size_t)(end - at), JSON_DECODE_ANY, NULL);

	return string != NULL && strcmp(json_string_value(string), name) == 0;
}

/* Into the value that begins here; NULL if there is no such thing in it. */
static const char *take_step(const char *at, const struct json_step *step, bool name)
{
	size_t index = 0;

	if (*at != (step->name != NULL ? '{' : '['))
		return NULL;
	at = skip_space(at + 1);
	while (*at != '}' && *at != ']') {
		const char *begin = at;

		if (step->name != NULL) {
			bool found = name_is(at, skip_string(at), step->name);

			at = skip_space(skip_space(skip_string(at)) + 1);
			if (found)
				return name ? begin : at;
		} else if (index++ == step->index) {
			return at;
		}
		at = skip_value(at);
		if (*at == ',')
			at = skip_space(at + 1);
	}
	return NULL;
}

struct json_place json_place(const char *text, const struct json_step *path, size_t steps, int name)
{
	struct json_place place = { 1, 1 };
	const char *end = skip_space(text), *next;

	for (size_t i = 0; i < steps; i++) {
		next = take_step(end, &path[i], name && i == steps - 1);
		if (next == NULL)
			break;
		end = next;
	}
	for (; text < end; text++) {
		if (*text == '\n') {
			place.line++;
			place.column = 1;
		} else if ((*text & 0xc0) != 0x80) {
			place.column++;
		}
	}
	return place;
}
