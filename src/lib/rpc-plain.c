/* SPDX-License-Identifier: MIT */
/* Reading plain JSON: see the header. Everything here came from the other, hostile side. */
#include "config.h"

#include <string.h>

#include "rpc-plain.h"

/* Far below where jansson and json_int_t end. */
#define DIGITS_MAX 15

/* What is left to be read. Each take_*() goes past what it took, and is false if that is not there. */
struct cursor {
	char *at, *end;
};

static bool take(struct cursor *c, const char *literal)
{
	size_t length = strlen(literal);

	if ((size_t)(c->end - c->at) < length || memcmp(c->at, literal, length) != 0)
		return false;
	c->at += length;
	return true;
}

static bool char_is_plain(char c)
{
	return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

/* The closing quote becomes the NUL. */
static bool take_string(struct cursor *c, const char **text)
{
	if (!take(c, "\""))
		return false;
	*text = c->at;
	while (c->at < c->end && char_is_plain(*c->at))
		c->at++;
	if (c->at == c->end || *c->at != '"')
		return false;
	*c->at++ = '\0';
	return true;
}

/* What follows is still to be looked at, so there is no NUL yet. */
static bool take_digits(struct cursor *c, const char **digits)
{
	char *start = c->at;

	while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
		c->at++;
	*digits = start;
	return c->at > start && c->at - start <= DIGITS_MAX &&
	       (*start != '0' || c->at - start == 1);
}

static int64_t number(const char *digits)
{
	int64_t n = 0;

	for (; *digits >= '0' && *digits <= '9'; digits++)
		n = 10 * n + (*digits - '0');
	return n;
}

static bool take_value(struct cursor *c, struct plain_member *member)
{
	if (*c->at == '"') {
		member->kind = PLAIN_STRING;
		return take_string(c, &member->value);
	}
	if (*c->at >= '0' && *c->at <= '9') {
		member->kind = PLAIN_NUMBER;
		return take_digits(c, &member->value);
	}
	member->kind = PLAIN_BOOLEAN;
	member->value = c->at;
	return take(c, "true") || take(c, "false");
}

static bool take_member(struct cursor *c, struct plain_object *object)
{
	struct plain_member *member = &object->members[object->count];

	if (object->count == PLAIN_MEMBERS_MAX || !take_string(c, &member->name) || !take(c, ":") ||
	    c->at == c->end || !take_value(c, member))
		return false;
	if (plain_get(object, member->name) != NULL)
		return false;
	object->count++;
	return true;
}

static bool take_object(struct cursor *c, struct plain_object *object)
{
	object->count = 0;
	if (!take(c, "{"))
		return false;
	if (take(c, "}"))
		return true;
	for (;;) {
		char mark;

		if (!take_member(c, object) || c->at == c->end)
			return false;
		mark = *c->at;
		*c->at++ = '\0';
		if (mark == '}')
			return true;
		if (mark != ',')
			return false;
	}
}

static bool take_head(struct cursor *c, int64_t *id)
{
	const char *digits;

	if (!take(c, "{\"jsonrpc\":\"2.0\",\"id\":") || !take_digits(c, &digits) || c->at == c->end)
		return false;
	*id = number(digits);
	return true;
}

/* The object's end, and the line's if there is one. */
static bool take_tail(struct cursor *c)
{
	if (!take(c, "}"))
		return false;
	take(c, "\n");
	return c->at == c->end;
}

bool plain_read_request(char *text, size_t length, int64_t *id, const char **method,
			struct plain_object *params)
{
	struct cursor c = { text, text + length };

	params->count = 0;
	if (!take_head(&c, id) || !take(&c, ",\"method\":") || !take_string(&c, method))
		return false;
	if (take(&c, ",\"params\":") && !take_object(&c, params))
		return false;
	return take_tail(&c);
}

bool plain_read_result(char *text, size_t length, int64_t *id, struct plain_object *result)
{
	struct cursor c = { text, text + length };

	return take_head(&c, id) && take(&c, ",\"result\":") && take_object(&c, result) &&
	       take_tail(&c);
}

bool plain_read_notification(char *text, size_t length, const char **method,
			     struct plain_object *params)
{
	struct cursor c = { text, text + length };

	return take(&c, "{\"jsonrpc\":\"2.0\",\"method\":") && take_string(&c, method) &&
	       take(&c, ",\"params\":") && take_object(&c, params) && take_tail(&c);
}

const struct plain_member *plain_get(const struct plain_object *object, const char *name)
{
	for (size_t i = 0; i < object->count; i++) {
		if (strcmp(object->members[i].name, name) == 0)
			return &object->members[i];
	}
	return NULL;
}

int64_t plain_integer(const struct plain_member *member)
{
	return number(member->value);
}

bool plain_boolean(const struct plain_member *member)
{
	return *member->value == 't';
}

bool plain_is(const char *text)
{
	while (char_is_plain(*text))
		text++;
	return *text == '\0';
}
