/* SPDX-License-Identifier: MIT */
/*
 * The handshake's lines, read: JSON-RPC 2.0 requests, results and errors as JSON text. No I/O. What
 * comes in is hostile: it is bounded before jansson sees it, and escaped before anyone
 * reads it. Of pod.portDial: rpc-dial.c; written they are by rpc-format.c.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "rpc.h"

/* error_set() with REASON_INVALID and a code other than its default. */
static int invalid(struct error *err, int code, const char *text)
{
	int r = error_set(err, REASON_INVALID, 0, "%s", text);

	if (err)
		err->code = code;
	return r;
}

/*
 * True if no bracket is nested deeper than RPC_NESTING_MAX. Exact for as long as
 * the text is JSON; where it stops to be, jansson stops too.
 */
static bool nesting_is_bounded(const char *text, size_t length)
{
	bool in_string = false;
	int depth = 0;

	for (size_t i = 0; i < length; i++) {
		switch (text[i]) {
		case '"':
			in_string = !in_string;
			break;
		case '\\':
			i += in_string;
			break;
		case '{':
		case '[':
			depth += !in_string;
			break;
		case '}':
		case ']':
			depth -= !in_string;
			break;
		}
		if (depth > RPC_NESTING_MAX)
			return false;
	}
	return true;
}

/* An object or an array: what jansson takes without JSON_DECODE_ANY. */
static json_t *parse_json(const char *text, size_t length, struct error *err)
{
	char reason[JSON_ERROR_TEXT_LENGTH];
	json_error_t json_err;
	json_t *json;

	if (length > RPC_ANSWER_MAX) {
		invalid(err, RPC_PARSE_ERROR, "JSON text is too long");
		return NULL;
	}
	if (!nesting_is_bounded(text, length)) {
		invalid(err, RPC_PARSE_ERROR, "JSON is nested too deeply");
		return NULL;
	}
	/* Strings with a NUL are JSON: who takes one for a C string refuses it with a better error. */
	json = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &json_err);
	if (!json) {
		invalid(err, RPC_PARSE_ERROR, escape_text(reason, sizeof(reason), json_err.text));
		error_prefix(err, "not JSON");
	}
	return json;
}

json_t *rpc_parse_object(const char *text, size_t length, struct error *err)
{
	json_t *json = parse_json(text, length, err);

	if (json && !json_is_object(json)) {
		json_decref(json);
		invalid(err, RPC_PARSE_ERROR, "not a JSON object");
		return NULL;
	}
	return json;
}

const char *rpc_string(const json_t *json)
{
	const char *s = json_string_value(json);

	return s && strlen(s) == json_string_length(json) ? s : NULL;
}

static bool is_version_2(const json_t *message)
{
	const char *version = rpc_string(json_object_get(message, "jsonrpc"));

	return version && strcmp(version, "2.0") == 0;
}

static bool id_is_valid(const json_t *id)
{
	if (json_is_string(id))
		return json_string_length(id) <= RPC_ID_MAX;
	return json_is_number(id) || json_is_null(id);
}

/* What was plain, as jansson would have read it. New reference. */
static json_t *plain_tree(const struct plain_object *object)
{
	json_t *tree = xcheck(json_object());

	for (size_t i = 0; i < object->count; i++) {
		const struct plain_member *member = &object->members[i];

		json_object_set_new_nocheck(
			tree, member->name,
			member->kind == PLAIN_STRING   ? json_string_nocheck(member->value)
			: member->kind == PLAIN_NUMBER ? json_integer(plain_integer(member))
						       : json_boolean(plain_boolean(member)));
	}
	return tree;
}

/* A copy to be read as plain, owned by the caller; NULL for what is too long to be that. */
static char *plain_copy(const char *line, size_t length)
{
	char *text = length > 0 && length <= RPC_LINE_MAX ? xmalloc(length) : NULL;

	if (text)
		memcpy(text, line, length);
	return text;
}

/* A request that needs no tree of JSON: false if this one does. */
static bool parse_plain_request(const char *line, size_t length, struct rpc_request *req)
{
	_cleanup_free_ char *text = plain_copy(line, length);
	int64_t id;

	if (!text || !plain_read_request(text, length, &id, &req->method, &req->params.plain)) {
		req->method = NULL;
		req->params.plain.count = 0;
		return false;
	}
	req->id = xcheck(json_integer(id));
	req->text = text;
	text = NULL;
	return true;
}

int rpc_parse_request(const char *line, size_t length, struct rpc_request *req, struct error *err)
{
	_cleanup_json_ json_t *message = NULL;
	const char *method;
	json_t *id, *params;

	*req = (struct rpc_request){ 0 };
	if (length > RPC_LINE_MAX)
		return invalid(err, RPC_INVALID_REQUEST, "request is longer than 4096 bytes");
	if (parse_plain_request(line, length, req))
		return 0;
	message = parse_json(line, length, err);
	if (!message)
		return -EPROTO;
	if (!json_is_object(message))
		return invalid(err, RPC_INVALID_REQUEST, "request is not an object");
	id = json_object_get(message, "id");
	if (id && !id_is_valid(id))
		return invalid(err, RPC_INVALID_REQUEST,
			       "id must be a string of at most 256 bytes, a number or null");
	req->id = json_incref(id);
	if (!is_version_2(message))
		return invalid(err, RPC_INVALID_REQUEST, "jsonrpc must be \"2.0\"");
	method = rpc_string(json_object_get(message, "method"));
	if (!method)
		return invalid(err, RPC_INVALID_REQUEST, "method must be a string");
	params = json_object_get(message, "params");
	if (params && !json_is_object(params))
		return invalid(err, RPC_INVALID_PARAMS, "params must be an object");
	req->method = method;
	req->params.json = params;
	req->message = message;
	message = NULL;
	return 0;
}

void rpc_request_clear(struct rpc_request *req)
{
	json_decref(req->id);
	json_decref(req->message);
	free(req->text);
	req->id = req->message = req->params.json = NULL;
	req->method = req->text = NULL;
	req->params.plain.count = 0;
}

int rpc_not_an_answer(struct error *err, const char *what)
{
	return error_set(err, REASON_INTERNAL, 0, "not a vzfwd dialer: %s", what);
}

/* Fills *err with the error that the other side told. */
static int told_error(const json_t *error, struct error *err)
{
	const json_t *code = json_object_get(error, "code");
	const json_t *text = json_object_get(error, "message");
	const json_t *data = json_object_get(error, "data");
	const char *word = rpc_string(json_object_get(data, "reason"));
	const char *errno_word = rpc_string(json_object_get(data, "errno"));
	json_int_t number = json_integer_value(code);
	char message[ERROR_MESSAGE_MAX] = "";
	enum reason reason;
	int r;

	if (!json_is_integer(code) || number < INT_MIN || number > INT_MAX)
		return rpc_not_an_answer(err, "its error has no code");
	/* "broken" is for streams, after an answer: as a reason here it is none. */
	if (!word || reason_from_name(word, &reason) < 0 || reason == REASON_BROKEN)
		reason = reason_from_rpc_code((int)number);
	if (json_is_string(text))
		escape_text_n(message, sizeof(message), json_string_value(text),
			      json_string_length(text));
	r = error_set(err, reason, errno_word ? errno_from_name(errno_word) : 0, "%s",
		      *message ? message : reason_name(reason));
	if (err) {
		err->code = (int)number;
		err->answered = true;
	}
	return r;
}

static json_t *parse_plain_result(const char *line, size_t length, json_int_t id)
{
	_cleanup_free_ char *text = plain_copy(line, length);
	struct plain_object result;
	int64_t answer_id;

	if (!text || !plain_read_result(text, length, &answer_id, &result) || answer_id != id)
		return NULL;
	return plain_tree(&result);
}

int rpc_parse_answer(const char *line, size_t length, json_int_t id, json_t **result,
		     struct error *err)
{
	_cleanup_json_ json_t *message = NULL;
	const json_t *answer_id, *error;
	json_t *value;

	*result = parse_plain_result(line, length, id);
	if (*result)
		return 0;
	message = rpc_parse_object(line, length, err);
	if (!message)
		return rpc_not_an_answer(err, err ? err->message : "");
	answer_id = json_object_get(message, "id");
	error = json_object_get(message, "error");
	value = json_object_get(message, "result");
	if (!is_version_2(message))
		return rpc_not_an_answer(err, "its answer is not JSON-RPC 2.0");
	if (!error == !value)
		return rpc_not_an_answer(err, "its answer has not one of result and error");
	if (!(json_is_integer(answer_id) && json_integer_value(answer_id) == id) &&
	    !(json_is_null(answer_id) && error))
		return rpc_not_an_answer(err, "its answer is to another request");
	if (error)
		return told_error(error, err);
	*result = json_incref(value);
	return 0;
}

int rpc_parse_notification(const char *line, size_t length, const char *method, json_t **params,
			   struct error *err)
{
	_cleanup_free_ char *text = plain_copy(line, length);
	_cleanup_json_ json_t *message = NULL;
	struct plain_object plain;
	const char *name;
	json_t *value;

	*params = NULL;
	if (text && plain_read_notification(text, length, &name, &plain)) {
		*params = strcmp(name, method) == 0 ? plain_tree(&plain) : NULL;
		return *params != NULL;
	}
	message = rpc_parse_object(line, length, err);
	if (!message)
		return rpc_not_an_answer(err, err ? err->message : "");
	name = rpc_string(json_object_get(message, "method"));
	if (!is_version_2(message) || !name || json_object_get(message, "id"))
		return rpc_not_an_answer(err, "a line that is no notification");
	if (strcmp(name, method) != 0)
		return 0;
	value = json_object_get(message, "params");
	if (!json_is_object(value))
		return rpc_not_an_answer(err, "a notification without parameters");
	*params = json_incref(value);
	return 1;
}

int rpc_get_string(const char *method, const struct rpc_params *params, const char *name,
		   bool required, const char **out, struct error *err)
{
	const struct plain_member *member = plain_get(&params->plain, name);
	const json_t *value = json_object_get(params->json, name);

	*out = member && member->kind == PLAIN_STRING ? member->value : rpc_string(value);
	if (*out)
		return 0;
	if (member || (value && !json_is_null(value)))
		return error_set(err, REASON_INVALID, 0, "%s: %s must be a string%s", method, name,
				 json_is_string(value) ? " without a NUL" : "");
	if (required)
		return error_set(err, REASON_INVALID, 0, "%s: %s is missing", method, name);
	return 0;
}

int rpc_get_integer(const struct rpc_params *params, const char *name, json_int_t *out)
{
	const struct plain_member *member = plain_get(&params->plain, name);
	const json_t *value = json_object_get(params->json, name);

	if (!member && (!value || json_is_null(value)))
		return 0;
	if (member ? member->kind != PLAIN_NUMBER : !json_is_integer(value))
		return -EINVAL;
	*out = member ? plain_integer(member) : json_integer_value(value);
	return 1;
}

int rpc_get_boolean(const char *method, const struct rpc_params *params, const char *name,
		    bool *out, struct error *err)
{
	const struct plain_member *member = plain_get(&params->plain, name);
	const json_t *value = json_object_get(params->json, name);
	bool is_boolean = member ? member->kind == PLAIN_BOOLEAN
				 : !value || json_is_null(value) || json_is_boolean(value);

	*out = member ? is_boolean && plain_boolean(member) : json_is_true(value);
	if (!is_boolean)
		return error_set(err, REASON_INVALID, 0, "%s: %s must be true or false", method,
				 name);
	return 0;
}

char *rpc_param_text(const struct rpc_params *params, const char *name)
{
	const struct plain_member *member = plain_get(&params->plain, name);
	const char *quote = member && member->kind == PLAIN_STRING ? "\"" : "";

	if (member)
		return xasprintf("%s%s%s", quote, member->value, quote);
	return xcheck(
		json_dumps(json_object_get(params->json, name), JSON_ENCODE_ANY | JSON_COMPACT));
}
