/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a request and as an answer: what is taken keeps the limits and reads
 * back as it was, what is refused says why in harmless text, and every error
 * line fits and can be read.
 */
#include "config.h"

#include <string.h>

#include "lib/rpc-accept.h"
#include "lib/rpc-hosts.h"
#include "tests/fuzz/fuzz.h"

static int depth_of(json_t *json)
{
	int deepest = 0;
	const char *key;
	json_t *value;
	size_t i;

	if (json_is_object(json)) {
		json_object_foreach (json, key, value)
			deepest = depth_of(value) > deepest ? depth_of(value) : deepest;
	} else if (json_is_array(json)) {
		json_array_foreach (json, i, value)
			deepest = depth_of(value) > deepest ? depth_of(value) : deepest;
	} else {
		return 0;
	}
	return deepest + 1;
}

/* Text that may go to a terminal as it is. */
static void check_text(const char *text)
{
	char escaped[4 * ERROR_MESSAGE_MAX];

	REQUIRE(strlen(text) < ERROR_MESSAGE_MAX);
	REQUIRE(strcmp(escape_text(escaped, sizeof(escaped), text), text) == 0);
}

static void check_line(const char *line)
{
	REQUIRE(strchr(line, '\n') == line + strlen(line) - 1);
}

/* The error travels: as a line of at most 4096 bytes, and what is read from that is the error. */
static void check_error(const json_t *id, const struct error *err)
{
	_cleanup_free_ char *line = rpc_format_error(id, err);
	json_t *result;
	struct error told;

	check_text(err->message);
	check_line(line);
	REQUIRE(strlen(line) <= RPC_LINE_MAX);
	if (id && !json_is_integer(id) && !json_is_null(id))
		return;
	REQUIRE(rpc_parse_answer(line, strlen(line), json_integer_value(id), &result, &told) < 0);
	REQUIRE(told.reason == err->reason && told.code == err->code);
	REQUIRE(told.sys_errno == err->sys_errno);
	REQUIRE(strcmp(told.message, *err->message ? err->message : reason_name(err->reason)) == 0);
}

static void check_object(const char *text, size_t size)
{
	struct error err;
	_cleanup_json_ json_t *json = rpc_parse_object(text, size, &err), *again = NULL;
	_cleanup_free_ char *dump = NULL;

	if (!json) {
		REQUIRE(err.reason == REASON_INVALID && err.code == RPC_PARSE_ERROR);
		check_error(NULL, &err);
		return;
	}
	REQUIRE(json_is_object(json) && depth_of(json) <= RPC_NESTING_MAX);
	dump = json_dumps(json, JSON_COMPACT);
	REQUIRE(dump);
	again = rpc_parse_object(dump, strlen(dump), &err);
	REQUIRE(again ? json_equal(json, again) : strlen(dump) > RPC_ANSWER_MAX);
}

/* A leading space makes a line one that jansson reads: that has to make no difference. */
static char *spaced(const char *text, size_t size)
{
	char *copy = xmalloc(size + 1);

	copy[0] = ' ';
	memcpy(copy + 1, text, size);
	return copy;
}

static void check_plain_request(const struct rpc_request *req, const char *text, size_t size)
{
	_cleanup_free_ char *copy = spaced(text, size);
	struct rpc_request same;
	struct error err;

	if (!req->text || size == RPC_LINE_MAX)
		return;
	REQUIRE(rpc_parse_request(copy, size + 1, &same, &err) == 0 && !same.text);
	REQUIRE(json_equal(req->id, same.id) && strcmp(req->method, same.method) == 0);
	REQUIRE(json_object_size(same.params.json) == req->params.plain.count);
	for (size_t i = 0; i < req->params.plain.count; i++) {
		const char *name = req->params.plain.members[i].name;
		_cleanup_free_ char *mine = rpc_param_text(&req->params, name);
		_cleanup_free_ char *its = rpc_param_text(&same.params, name);

		REQUIRE(strcmp(mine, its) == 0);
	}
	rpc_request_clear(&same);
}

static void check_plain_answer(const char *text, size_t size)
{
	_cleanup_free_ char *copy = spaced(text, size);
	struct port_dialed mine, its;
	struct error err;

	if (rpc_parse_port_dialed(text, size, 1, &mine, &err) < 0) {
		REQUIRE(rpc_parse_port_dialed(copy, size + 1, 1, &its, &err) < 0);
		return;
	}
	if (size == RPC_ANSWER_MAX)
		return;
	REQUIRE(rpc_parse_port_dialed(copy, size + 1, 1, &its, &err) == 0);
	REQUIRE(mine.framing == its.framing && strcmp(mine.network, its.network) == 0);
	REQUIRE(strcmp(mine.remote, its.remote) == 0 && strcmp(mine.local, its.local) == 0);
}

/* What is written into a hosts file: whole lines of an address and a name each. */
static void check_hosts(const struct rpc_request *req)
{
	struct hosts_request hosts;
	struct error err;
	size_t lines = 0;

	if (rpc_get_hosts(&req->params, &hosts, &err) < 0) {
		REQUIRE(err.reason == REASON_INVALID && !hosts.lines);
		return;
	}
	REQUIRE(*hosts.path == '/' && name_is_valid(hosts.tag));
	for (char *line = hosts.lines, *end; *line; line = end + 1, lines++) {
		end = strchr(line, '\n');
		REQUIRE(end);
		*end = '\0';
		line = strchr(line, ' ');
		REQUIRE(line && host_name_is_valid(line + 1));
	}
	REQUIRE(lines > 0 && lines <= HOSTS_NAMES_MAX);
	free(hosts.lines);
}

/* Written as plain text or by jansson, a line is the same. */
static void check_written(const char *method, json_t *object)
{
	_cleanup_json_ json_t *message =
		json_pack("{s:s, s:s, s:O}", "jsonrpc", "2.0", "method", method, "params", object);
	_cleanup_free_ char *want = json_dumps(message, JSON_COMPACT);
	_cleanup_free_ char *line = rpc_format_notification(method, object);

	REQUIRE(want && strncmp(line, want, strlen(want)) == 0);
	REQUIRE(strcmp(line + strlen(want), "\n") == 0);
}

static void check_notification(const char *text, size_t size)
{
	_cleanup_json_ json_t *mine = NULL, *its = NULL;
	_cleanup_free_ char *copy = spaced(text, size);
	struct error err;
	int rc = rpc_parse_notification(text, size, "m", &mine, &err);

	if (size == RPC_ANSWER_MAX)
		return;
	REQUIRE(rpc_parse_notification(copy, size + 1, "m", &its, &err) == rc);
	REQUIRE((rc == 1) == (mine != NULL) && (rc == 1) == (its != NULL));
	if (rc != 1)
		return;
	REQUIRE(json_equal(mine, its));
	check_written("m", mine);
}

/* pod.portAccept's, whatever the method is. */
static void check_accept(const struct rpc_params *params)
{
	struct accept_target target;
	struct error err;
	json_t *result;

	if (rpc_get_accept_target(params, &target, &err) < 0) {
		REQUIRE(err.reason == REASON_INVALID || err.reason == REASON_UNSUPPORTED);
		check_error(NULL, &err);
		return;
	}
	REQUIRE(target.network == NETWORK_UNIX
			? target.path && *target.path == '/' && !target.egress
			: target.egress || target.addr.port > 0);
	result = rpc_port_parked(&target);
	REQUIRE(rpc_check_port_parked(result, target.framing, &err) == 0);
	json_decref(result);
}

static void check_accepted(const char *text, size_t size)
{
	_cleanup_json_ json_t *params = NULL, *again = NULL;
	struct port_accepted first, second;
	struct error err;

	if (rpc_parse_notification(text, size, METHOD_PORT_ACCEPTED, &params, &err) != 1)
		return;
	if (rpc_port_accepted(params, &first, &err) < 0) {
		REQUIRE(err.reason == REASON_INTERNAL);
		check_error(NULL, &err);
		return;
	}
	again = rpc_port_accepted_params(&first);
	REQUIRE(rpc_port_accepted(again, &second, &err) == 0);
	REQUIRE(first.remote.port == second.remote.port);
	REQUIRE(first.destination.family == second.destination.family);
}

static void check_request(const char *text, size_t size)
{
	static const char *const names[] = { "handle", "containerID", "network", "address" };
	struct rpc_request req;
	struct error err;

	if (rpc_parse_request(text, size, &req, &err) < 0) {
		REQUIRE(err.reason == REASON_INVALID && !req.method && !req.params.json);
		check_error(req.id, &err);
		rpc_request_clear(&req);
		return;
	}
	REQUIRE(size <= RPC_LINE_MAX && req.method);
	check_plain_request(&req, text, size);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *value;
		int r = rpc_get_string("m", &req.params, names[i], i % 2, &value, &err);

		REQUIRE(r < 0 ? !value : i % 2 == 0 || value);
		if (r < 0)
			check_error(req.id, &err);
		else if (value)
			json_decref(rpc_system_string(value));
	}
	check_hosts(&req);
	check_accept(&req.params);
	free(rpc_format_result(req.id, req.params.json));
	rpc_request_clear(&req);
}

static void check_answer(const char *text, size_t size)
{
	_cleanup_json_ json_t *result = NULL, *id = json_integer(1), *its = NULL;
	_cleanup_free_ char *copy = spaced(text, size);
	struct port_dialed dialed;
	struct error err;

	if (rpc_parse_answer(text, size, 1, &result, &err) < 0) {
		REQUIRE(!result);
		check_error(id, &err);
		return;
	}
	REQUIRE(result);
	if (size < RPC_ANSWER_MAX) {
		REQUIRE(rpc_parse_answer(copy, size + 1, 1, &its, &err) == 0);
		REQUIRE(json_equal(result, its));
	}
	if (rpc_port_dialed(result, &dialed, &err) == 0) {
		REQUIRE(dialed.framing < FRAMING_COUNT);
		check_text(dialed.network);
		check_text(dialed.remote);
		check_text(dialed.local);
	} else {
		check_error(id, &err);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xmalloc(size);

	if (size > 0)
		memcpy(text, data, size);
	check_object(text, size);
	check_request(text, size);
	check_answer(text, size);
	check_accepted(text, size);
	check_plain_answer(text, size);
	check_notification(text, size);
	return 0;
}
