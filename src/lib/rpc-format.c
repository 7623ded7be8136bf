/* SPDX-License-Identifier: MIT */
/*
 * The handshake's lines as they are written. What is plain (rpc-plain.h) is written here, and the same as by jansson, which
 * writes the rest.
 */
#include "config.h"

#include <string.h>

#include "rpc.h"

/* Takes `message` over. */
static char *format_line(json_t *message)
{
	char *line = xcheck(json_dumps(xcheck(message), JSON_COMPACT));
	size_t length;

	json_decref(message);
	length = strlen(line);
	line = xrealloc(line, length + 2);
	memcpy(line + length, "\n", 2);
	return line;
}

/* Room for a value that is no string, and for quotes and marks; and for a line's own words. */
#define VALUE_MAX (UINT_TEXT_MAX + 8)
#define WORDS_MAX 64

static bool value_is_plain(const json_t *value)
{
	const char *text = json_string_value(value);

	if (text)
		return strlen(text) == json_string_length(value) && plain_is(text);
	return json_is_boolean(value) || (json_is_integer(value) && json_integer_value(value) >= 0);
}

/* How long its members are at most as plain text; 0 if there is one that is not plain. */
static size_t plain_size(json_t *object)
{
	size_t size = 1;
	const char *name;
	json_t *value;

	if (!json_is_object(object))
		return 0;
	json_object_foreach (object, name, value) {
		if (!plain_is(name) || !value_is_plain(value))
			return 0;
		size += strlen(name) + json_string_length(value) + VALUE_MAX;
	}
	return size;
}

static char *put_members(char *at, json_t *object)
{
	const char *name, *mark = "\"";
	json_t *value;

	json_object_foreach (object, name, value) {
		at = stpcpy(stpcpy(stpcpy(at, mark), name), "\":");
		mark = ",\"";
		if (json_is_string(value))
			at = stpcpy(stpcpy(stpcpy(at, "\""), json_string_value(value)), "\"");
		else if (json_is_integer(value))
			at = put_uint(at, (uint64_t)json_integer_value(value));
		else
			at = stpcpy(at, json_is_true(value) ? "true" : "false");
	}
	return at;
}

/*
 * The same line as jansson's, many times faster; NULL if it is not plain. No id (-1) or no method (NULL): there is none in
 * the line.
 */
static char *format_plain(json_int_t id, const char *method, const char *name, json_t *object)
{
	size_t size = plain_size(object);
	char *line, *at;

	if (size == 0)
		return NULL;
	at = line = xmalloc(size + UINT_TEXT_MAX + (method ? strlen(method) : 0) + WORDS_MAX);
	at = stpcpy(at, "{\"jsonrpc\":\"2.0\"");
	if (id >= 0)
		at = put_uint(stpcpy(at, ",\"id\":"), (uint64_t)id);
	if (method)
		at = stpcpy(stpcpy(stpcpy(at, ",\"method\":\""), method), "\"");
	at = stpcpy(stpcpy(stpcpy(at, ",\""), name), "\":{");
	stpcpy(put_members(at, object), "}}\n");
	return line;
}

char *rpc_format_request(json_int_t id, const char *method, json_t *params)
{
	char *line =
		id >= 0 && plain_is(method) ? format_plain(id, method, "params", params) : NULL;

	if (line)
		return line;
	return format_line(json_pack("{s:s, s:I, s:s, s:O*}", "jsonrpc", "2.0", "id", id, "method",
				     method, "params", params));
}

char *rpc_format_notification(const char *method, json_t *params)
{
	char *line = plain_is(method) ? format_plain(-1, method, "params", params) : NULL;

	if (line)
		return line;
	return format_line(
		json_pack("{s:s, s:s, s:O}", "jsonrpc", "2.0", "method", method, "params", params));
}

char *rpc_format_result(const json_t *id, json_t *result)
{
	json_int_t number = json_is_integer(id) ? json_integer_value(id) : -1;
	char *line = number >= 0 ? format_plain(number, NULL, "result", result) : NULL;

	if (line)
		return line;
	return format_line(
		json_pack("{s:s, s:O?, s:O?}", "jsonrpc", "2.0", "id", id, "result", result));
}

static json_t *system_string(const char *s, size_t len)
{
	_cleanup_free_ char *text = escape_not_utf8(s, len);

	return json_string(text);
}

json_t *rpc_system_string(const char *s)
{
	return system_string(s, strlen(s));
}

json_t *rpc_escaped_string(const char *s)
{
	_cleanup_free_ char *copy = escape_bytes(s, strlen(s));

	return json_string(copy);
}

char *rpc_format_error(const json_t *id, const struct error *err)
{
	size_t length = strlen(err->message);

	for (;;) {
		char *line = format_line(
			json_pack("{s:s, s:O?, s:{s:i, s:o, s:{s:s, s:s*}}}", "jsonrpc", "2.0",
				  "id", id, "error", "code", err->code, "message",
				  system_string(err->message, length), "data", "reason",
				  reason_name(err->reason), "errno", errno_name(err->sys_errno)));

		if (strlen(line) <= RPC_LINE_MAX || length == 0)
			return line;
		free(line);
		length -= (length + 3) / 4;
		while (length > 0 && (err->message[length] & 0xc0) == 0x80)
			length--;
	}
}
