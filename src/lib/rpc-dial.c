/* SPDX-License-Identifier: MIT */
/*
 * pod.portDial's request and result, as structs and as lines. Each connection has one of both, so
 * the common case, plain texts, is written and read without jansson.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "rpc.h"

#define HEAD "{\"jsonrpc\":\"2.0\",\"id\":"

static const char *const framing_names[] = {
	[FRAMING_RAW] = "raw",
	[FRAMING_RECORDS] = "records",
};
static_assert(ARRAY_SIZE(framing_names) == FRAMING_COUNT, "a name for each framing");

const char *framing_name(enum framing framing)
{
	return framing_names[framing];
}

int framing_from_name(const char *name, enum framing *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(framing_names); i++) {
		if (strcmp(framing_names[i], name) == 0) {
			*out = (enum framing)i;
			return 0;
		}
	}
	return -ENOENT;
}

json_t *rpc_port_dial_params(const struct port_dial *dial)
{
	json_t *params = json_pack(
		"{s:o, s:o*, s:s, s:o, s:i, s:s, s:o*}", "handle", rpc_system_string(dial->handle),
		"containerID", dial->container_id ? rpc_system_string(dial->container_id) : NULL,
		"network", network_name(dial->network), "address", rpc_system_string(dial->address),
		"timeoutMs", dial->timeout_ms, "framing", framing_name(dial->framing), "token",
		dial->token ? rpc_system_string(dial->token) : NULL);

	return xcheck(params);
}

/* Room for all of a line that is not one of its texts. */
#define FRAME_MAX 256

/* Puts ,"name":"text" if there is a text. */
static char *put_string(char *at, const char *name, const char *text)
{
	if (!text)
		return at;
	at = stpcpy(stpcpy(stpcpy(at, ",\""), name), "\":\"");
	return stpcpy(stpcpy(at, text), "\"");
}

static bool is_plain_or_null(const char *text)
{
	return !text || plain_is(text);
}

static size_t length_or_0(const char *text)
{
	return text ? strlen(text) : 0;
}

/* The same line as rpc_format_request()'s: its length, or 0 if it is not plain, or might not fit. */
static size_t format_plain(json_int_t id, const struct port_dial *dial, char out[RPC_LINE_MAX])
{
	size_t texts = strlen(dial->handle) + strlen(dial->address) +
		       length_or_0(dial->container_id) + length_or_0(dial->token);
	char *at = out;

	if (id < 0 || dial->timeout_ms < 0 || texts + FRAME_MAX > RPC_LINE_MAX ||
	    !plain_is(dial->handle) || !plain_is(dial->address) ||
	    !is_plain_or_null(dial->container_id) || !is_plain_or_null(dial->token))
		return 0;
	at = put_uint(stpcpy(at, HEAD), (uint64_t)id);
	at = stpcpy(at, ",\"method\":\"" METHOD_PORT_DIAL "\",\"params\":{\"handle\":\"");
	at = stpcpy(stpcpy(at, dial->handle), "\"");
	at = put_string(at, "containerID", dial->container_id);
	at = put_string(at, "network", network_name(dial->network));
	at = put_string(at, "address", dial->address);
	at = put_uint(stpcpy(at, ",\"timeoutMs\":"), (uint64_t)dial->timeout_ms);
	at = put_string(at, "framing", framing_name(dial->framing));
	at = put_string(at, "token", dial->token);
	return (size_t)(stpcpy(at, "}}\n") - out);
}

int rpc_format_port_dial(json_int_t id, const struct port_dial *dial, char out[RPC_LINE_MAX])
{
	_cleanup_json_ json_t *params = NULL;
	_cleanup_free_ char *line = NULL;
	size_t length = format_plain(id, dial, out);

	if (length > 0)
		return (int)length;
	params = rpc_port_dial_params(dial);
	line = rpc_format_request(id, METHOD_PORT_DIAL, params);
	length = strlen(line);
	if (length > RPC_LINE_MAX)
		return -EMSGSIZE;
	memcpy(out, line, length);
	return (int)length;
}

/* A request's id as JSON, owned by the caller. */
static char *format_id(const json_t *id)
{
	char *text;

	if (!json_is_integer(id) || json_integer_value(id) < 0)
		return id ? xcheck(json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT))
			  : xstrdup("null");
	text = xmalloc(UINT_TEXT_MAX + 1);
	put_uint(text, (uint64_t)json_integer_value(id));
	return text;
}

/* With texts that came from elsewhere. */
static char *format_dialed_json(const json_t *id, const struct port_dialed *dialed)
{
	_cleanup_json_ json_t *result =
		json_pack("{s:o, s:o*, s:o*, s:s}", "network", rpc_system_string(dialed->network),
			  "remote", *dialed->remote ? rpc_system_string(dialed->remote) : NULL,
			  "local", *dialed->local ? rpc_system_string(dialed->local) : NULL,
			  "framing", framing_name(dialed->framing));

	return rpc_format_result(id, xcheck(result));
}

char *rpc_format_port_dialed(const json_t *id, const struct port_dialed *dialed)
{
	_cleanup_free_ char *id_text = NULL;
	char *line, *at;

	if (!plain_is(dialed->network) || !plain_is(dialed->remote) || !plain_is(dialed->local))
		return format_dialed_json(id, dialed);
	id_text = format_id(id);
	at = line = xmalloc(strlen(id_text) + sizeof(*dialed) + FRAME_MAX);
	at = stpcpy(stpcpy(at, HEAD), id_text);
	at = stpcpy(at, ",\"result\":{\"network\":\"");
	at = stpcpy(stpcpy(at, dialed->network), "\"");
	at = put_string(at, "remote", *dialed->remote ? dialed->remote : NULL);
	at = put_string(at, "local", *dialed->local ? dialed->local : NULL);
	at = put_string(at, "framing", framing_name(dialed->framing));
	stpcpy(at, "}}\n");
	return line;
}

/* An optional string of a result, escaped and bounded. Returns false if it is something else. */
static bool get_text(const json_t *result, const char *name, char *out, size_t size)
{
	const json_t *value = json_object_get(result, name);

	*out = '\0';
	if (!value || json_is_null(value))
		return true;
	if (!json_is_string(value))
		return false;
	escape_text_n(out, size, json_string_value(value), json_string_length(value));
	return true;
}

int rpc_port_dialed(json_t *result, struct port_dialed *out, struct error *err)
{
	const json_t *framing = json_object_get(result, "framing");
	const char *word = json_string_value(framing);

	out->framing = FRAMING_RAW;
	if (!json_is_object(result) ||
	    !get_text(result, "network", out->network, sizeof(out->network)) ||
	    !get_text(result, "remote", out->remote, sizeof(out->remote)) ||
	    !get_text(result, "local", out->local, sizeof(out->local)))
		return rpc_not_an_answer(err, "its answer to pod.portDial is none");
	if (framing && !json_is_null(framing) &&
	    (!word || strlen(word) != json_string_length(framing) ||
	     framing_from_name(word, &out->framing) < 0))
		return rpc_not_an_answer(err, "its framing is unknown");
	return 0;
}

/* Plain text needs no escape. */
static bool get_plain(const struct plain_object *result, const char *name, char *out, size_t size)
{
	const struct plain_member *member = plain_get(result, name);
	size_t length =
		member && member->kind == PLAIN_STRING ? strnlen(member->value, size - 1) : 0;

	if (length > 0)
		memcpy(out, member->value, length);
	out[length] = '\0';
	return !member || member->kind == PLAIN_STRING;
}

/* False if the line needs more than this to be understood. */
static bool parse_plain(const char *line, size_t length, json_int_t id, struct port_dialed *out)
{
	struct plain_object result;
	char text[RPC_LINE_MAX], framing[16];
	int64_t answer_id;

	if (length > sizeof(text))
		return false;
	memcpy(text, line, length);
	out->framing = FRAMING_RAW;
	return plain_read_result(text, length, &answer_id, &result) && answer_id == id &&
	       get_plain(&result, "network", out->network, sizeof(out->network)) &&
	       get_plain(&result, "remote", out->remote, sizeof(out->remote)) &&
	       get_plain(&result, "local", out->local, sizeof(out->local)) &&
	       get_plain(&result, "framing", framing, sizeof(framing)) &&
	       (!plain_get(&result, "framing") || framing_from_name(framing, &out->framing) == 0);
}

int rpc_parse_port_dialed(const char *line, size_t length, json_int_t id, struct port_dialed *out,
			  struct error *err)
{
	_cleanup_json_ json_t *result = NULL;
	int rc;

	if (parse_plain(line, length, id, out))
		return 0;
	rc = rpc_parse_answer(line, length, id, &result, err);
	return rc < 0 ? rc : rpc_port_dialed(result, out, err);
}
