/* SPDX-License-Identifier: MIT */
/*
 * pod.portDial's request and result, as structs and as lines. Each connection has one of both, so
 * the common case, plain texts, is written and read without jansson.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
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

/* The same line as rpc_format_request()'s, if all texts are plain; snprintf(3)'s result. */
static int format_plain(json_int_t id, const struct port_dial *dial, char *out, size_t size)
{
	const char *container_id = dial->container_id, *token = dial->token;

	return snprintf(out, size,
			HEAD "%" JSON_INTEGER_FORMAT ",\"method\":\"" METHOD_PORT_DIAL
			     "\",\"params\":{\"handle\":\"%s%s%s\",\"network\":\"%s\","
			     "\"address\":\"%s\",\"timeoutMs\":%d,\"framing\":\"%s%s%s\"}}\n",
			id, dial->handle, container_id ? "\",\"containerID\":\"" : "",
			container_id ? container_id : "", network_name(dial->network),
			dial->address, dial->timeout_ms, framing_name(dial->framing),
			token ? "\",\"token\":\"" : "", token ? token : "");
}

int rpc_format_port_dial(json_int_t id, const struct port_dial *dial, char out[RPC_LINE_MAX])
{
	_cleanup_json_ json_t *params = NULL;
	_cleanup_free_ char *line = NULL;
	char text[RPC_LINE_MAX + 1]; /* with a NUL */
	size_t length;

	if (plain_is(dial->handle) && plain_is(dial->address) &&
	    (!dial->container_id || plain_is(dial->container_id)) &&
	    (!dial->token || plain_is(dial->token))) {
		length = (size_t)format_plain(id, dial, text, sizeof(text));
		line = NULL;
	} else {
		params = rpc_port_dial_params(dial);
		line = rpc_format_request(id, METHOD_PORT_DIAL, params);
		length = strlen(line);
	}
	if (length > RPC_LINE_MAX)
		return -EMSGSIZE;
	memcpy(out, line ? line : text, length);
	return (int)length;
}

char *rpc_format_port_dialed(const json_t *id, const struct port_dialed *dialed)
{
	_cleanup_free_ char *id_text =
		id ? xcheck(json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT)) : NULL;

	assert(plain_is(dialed->remote) && plain_is(dialed->local));
	return xasprintf(HEAD
			 "%s,\"result\":{\"network\":\"%s\"%s%s%s%s%s%s,\"framing\":\"%s\"}}\n",
			 id_text ? id_text : "null", dialed->network,
			 *dialed->remote ? ",\"remote\":\"" : "", dialed->remote,
			 *dialed->remote ? "\"" : "", *dialed->local ? ",\"local\":\"" : "",
			 dialed->local, *dialed->local ? "\"" : "", framing_name(dialed->framing));
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

	*out = '\0';
	if (member && member->is_string)
		snprintf(out, size, "%s", member->value);
	return !member || member->is_string;
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
