/* SPDX-License-Identifier: MIT */
/* The handshake's lines: what is taken, what is refused and with which code, what is sent. */
#include "config.h"

#include <errno.h>

#include "lib/rpc.h"
#include "tests/tap.h"

static struct error err;

/* A line with `depth` nested arrays in an object's member. */
static char *nested(int depth, const char *inside)
{
	char open[32] = "", close[32] = "";

	memset(open, '[', (size_t)depth);
	memset(close, ']', (size_t)depth);
	return xasprintf("{\"a\":%s%s%s}", open, inside, close);
}

static void test_parse_object(void)
{
	static const struct {
		const char *text;
		const char *refusal; /* how its text begins; NULL: taken */
	} cases[] = {
		{ "{}", NULL },
		{ " {\"a\": [1, null, \"x\"]} \r\n", NULL },
		{ "{\"a\":\"[[[[[[[[[[[[{{{{{{\"}", NULL },
		{ "{\"a\":\"\\\"[[[[[[[[[[\\\\\",\"b\":[]}", NULL },
		{ "{\"a\":[[],[],[],[],[],[],[],[],[],[]]}", NULL },
		{ "{\"a\":\"\\u0000\"}", NULL },
		{ "", "not JSON: " },
		{ "{", "not JSON: " },
		{ "{}}", "not JSON: " },
		{ "{} {}", "not JSON: " },
		{ "1", "not JSON: " },
		{ "\"x\"", "not JSON: " },
		{ "null", "not JSON: " },
		{ "[]", "not a JSON object" },
		{ "{\"a\":1,\"a\":2}", "not JSON: duplicate" },
		{ "{\"a\":1,\"\\u0061\":2}", "not JSON: duplicate" },
		{ "{\"a\":\"\xff\"}", "not JSON: " },
		{ "{\"a\":\"\xed\xa0\x80\"}", "not JSON: " },
		{ "{\"a\":\"\x1b\"}", "not JSON: " },
		{ "{\"a\\u0000b\":1}", "not JSON: " },
		{ "{\"a\":99999999999999999999}", "not JSON: " },
		{ "{'a':1}", "not JSON: " },
		{ "GET / HTTP/1.1\r\n", "not JSON: " },
		{ "\xef\xbb\xbf{}", "not JSON: " },
	};
	json_t *json;
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *want = cases[i].refusal;

		json = rpc_parse_object(cases[i].text, strlen(cases[i].text), &err);
		if (!want)
			ok(json_is_object(json), "object %zu is taken", i);
		else
			ok(!json && err.reason == REASON_INVALID && err.code == RPC_PARSE_ERROR &&
				   !strncmp(err.message, want, strlen(want)),
			   "object %zu: %s", i, err.message);
		json_decref(json);
	}
	ok(!rpc_parse_object("{}\0", 3, &err), "a NUL behind it");
	ok(!rpc_parse_object("[", 1, NULL), "nobody wants to know why");
	for (int depth = RPC_NESTING_MAX - 1; depth <= RPC_NESTING_MAX; depth++) {
		bool taken = depth < RPC_NESTING_MAX;

		text = nested(depth, "\"x\"");
		json = rpc_parse_object(text, strlen(text), &err);
		ok(!json == !taken, "nested %d deep is %s", depth + 1, taken ? "taken" : "refused");
		json_decref(json);
		free(text);
	}
	is_str(err.message, "JSON is nested too deeply", "and told so");
	text = xmalloc(RPC_ANSWER_MAX + 1);
	memset(text, ' ', RPC_ANSWER_MAX + 1);
	memcpy(text, "{}", 2);
	json = rpc_parse_object(text, RPC_ANSWER_MAX, &err);
	ok(json, "1 MiB is taken");
	json_decref(json);
	ok(!rpc_parse_object(text, RPC_ANSWER_MAX + 1, &err), "a byte more is not");
	free(text);
}

#define HEAD "{\"jsonrpc\":\"2.0\","

static void test_parse_request(void)
{
	static const struct {
		const char *line;
		int code;       /* 0: taken */
		const char *id; /* as JSON; NULL: none */
	} cases[] = {
		{ HEAD "\"id\":1,\"method\":\"m\",\"params\":{\"a\":1}}\n", 0, "1" },
		{ HEAD "\"id\":\"x\",\"method\":\"m\"}", 0, "\"x\"" },
		{ HEAD "\"id\":null,\"method\":\"m\",\"new\":[]}\n", 0, "null" },
		{ HEAD "\"method\":\"m\"}\n", 0, NULL },
		{ "hello\n", RPC_PARSE_ERROR, NULL },
		{ "\n", RPC_PARSE_ERROR, NULL },
		{ "[" HEAD "\"id\":1,\"method\":\"m\"}]", RPC_INVALID_REQUEST, NULL },
		{ "{}", RPC_INVALID_REQUEST, NULL },
		{ "{\"id\":7,\"method\":\"m\"}", RPC_INVALID_REQUEST, "7" },
		{ "{\"jsonrpc\":\"1.0\",\"id\":7,\"method\":\"m\"}", RPC_INVALID_REQUEST, "7" },
		{ "{\"jsonrpc\":2.0,\"id\":7,\"method\":\"m\"}", RPC_INVALID_REQUEST, "7" },
		{ "{\"jsonrpc\":\"2.0\\u0000\",\"id\":7,\"method\":\"m\"}", RPC_INVALID_REQUEST,
		  "7" },
		{ HEAD "\"id\":1.5,\"method\":\"m\"}", 0, "1.5" },
		{ HEAD "\"id\":{},\"method\":\"m\"}", RPC_INVALID_REQUEST, NULL },
		{ HEAD "\"id\":true,\"method\":\"m\"}", RPC_INVALID_REQUEST, NULL },
		{ HEAD "\"id\":7}", RPC_INVALID_REQUEST, "7" },
		{ HEAD "\"id\":7,\"method\":8}", RPC_INVALID_REQUEST, "7" },
		{ HEAD "\"id\":7,\"method\":\"m\\u0000\"}", RPC_INVALID_REQUEST, "7" },
		{ HEAD "\"id\":7,\"method\":\"m\",\"params\":[]}", RPC_INVALID_PARAMS, "7" },
		{ HEAD "\"id\":7,\"method\":\"m\",\"params\":null}", RPC_INVALID_PARAMS, "7" },
	};
	struct rpc_request req;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = rpc_parse_request(cases[i].line, strlen(cases[i].line), &req, &err);
		_cleanup_free_ char *id = req.id ? json_dumps(req.id, JSON_ENCODE_ANY) : NULL;

		if (cases[i].code == 0)
			ok(r == 0 && !strcmp(req.method, "m"), "request %zu is taken", i);
		else
			ok(r < 0 && !req.method && !req.params.json &&
				   err.reason == REASON_INVALID && err.code == cases[i].code,
			   "request %zu: %d %s", i, err.code, err.message);
		is_str(id, cases[i].id, "request %zu's id", i);
		rpc_request_clear(&req);
		ok(!req.id && !req.method && !req.params.json, "request %zu is cleared", i);
	}
	is_int(rpc_parse_request("", 0, &req, NULL), -EPROTO, "nobody wants to know why");
}

static void test_request_bounds(void)
{
	char line[RPC_LINE_MAX + 2], id[RPC_ID_MAX + 2];
	struct rpc_request req;

	memset(line, ' ', sizeof(line));
	memcpy(line, HEAD "\"id\":1,\"method\":\"m\"}", strlen(HEAD "\"id\":1,\"method\":\"m\"}"));
	is_int(rpc_parse_request(line, RPC_LINE_MAX, &req, &err), 0, "4096 bytes are taken");
	rpc_request_clear(&req);
	ok(rpc_parse_request(line, RPC_LINE_MAX + 1, &req, &err) < 0 &&
		   err.code == RPC_INVALID_REQUEST,
	   "one more is not: %s", err.message);
	rpc_request_clear(&req);
	for (size_t length = RPC_ID_MAX; length <= RPC_ID_MAX + 1; length++) {
		bool taken = length == RPC_ID_MAX;

		memset(id, 'i', length);
		id[length] = '\0';
		snprintf(line, sizeof(line), HEAD "\"id\":\"%s\",\"method\":\"m\"}", id);
		ok(rpc_parse_request(line, strlen(line), &req, &err) == (taken ? 0 : -EPROTO) &&
			   !req.id == !taken,
		   "an id of %zu bytes is %s", length, taken ? "taken" : "refused");
		rpc_request_clear(&req);
	}
}

/* Compares a line, and frees it. */
static void is_line(char *line, const char *want, const char *name)
{
	is_str(line, want, "%s", name);
	free(line);
}

static void test_format(void)
{
	_cleanup_json_ json_t *params = json_pack("{s:s}", "handle", "web");
	_cleanup_json_ json_t *id = json_string("x\"y");

	is_line(rpc_format_request(1, "guest.info", NULL),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"guest.info\"}\n", "a request");
	is_line(rpc_format_request(1LL << 40, "m", params),
		"{\"jsonrpc\":\"2.0\",\"id\":1099511627776,\"method\":\"m\","
		"\"params\":{\"handle\":\"web\"}}\n",
		"a request with params");
	is_line(rpc_format_result(id, params),
		"{\"jsonrpc\":\"2.0\",\"id\":\"x\\\"y\",\"result\":{\"handle\":\"web\"}}\n",
		"a result");
	is_line(rpc_format_result(NULL, params),
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{\"handle\":\"web\"}}\n",
		"a result without an id");
	is_int((long long)params->refcount, 1, "params and results are borrowed");
	error_set_connect(&err, ECONNREFUSED);
	is_line(rpc_format_error(id, &err),
		"{\"jsonrpc\":\"2.0\",\"id\":\"x\\\"y\",\"error\":{\"code\":-32002,\"message\":"
		"\"connection refused\",\"data\":{\"reason\":\"refused\","
		"\"errno\":\"ECONNREFUSED\"}}}\n",
		"an error");
	error_set(&err, REASON_INVALID, 0, "odd \xff text");
	err.code = RPC_PARSE_ERROR;
	is_line(rpc_format_error(NULL, &err),
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":"
		"\"odd \\\\xff text\",\"data\":{\"reason\":\"invalid\"}}}\n",
		"an error without errno, not UTF-8");
}

/* An error whose text is `unit` over and over, as a line with that id; *text is what it tells. */
static char *format_repeated(const char *unit, const json_t *id, json_t **json, const char **text)
{
	size_t size = strlen(unit);
	char *line;

	error_set(&err, REASON_TIMEOUT, ETIMEDOUT, "%s", "");
	for (size_t n = 0; n + size < sizeof(err.message); n += size)
		memcpy(err.message + n, unit, size + 1);
	line = rpc_format_error(id, &err);
	*json = rpc_parse_object(line, strlen(line), NULL);
	*text = json_string_value(json_object_get(json_object_get(*json, "error"), "message"));
	return line;
}

/* Errors whose text needs many bytes as JSON, with ids that do: they fit 4096 bytes. */
static void test_format_error_bounds(void)
{
	static const struct {
		const char *unit;
		size_t id_size; /* control characters: six bytes each */
		size_t text_min;
	} cases[] = {
		{ "x", 0, 511 },
		{ "\x01", 0, 511 },
		{ "\xff", 0, 4 * 511 },
		{ "\x01", RPC_ID_MAX, 300 },
		{ "\xff", RPC_ID_MAX, 4 * 300 },
		{ "\xe2\x82\xac", RPC_ID_MAX, 510 },
		{ "\xe2\x82\xac", 620, 3 }, /* longer than rpc_parse_request() takes */
		{ "\xe2\x82\xac", 640, 3 },
		{ "\xe2\x82\xac", 1000, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char id_text[1000];
		_cleanup_json_ json_t *id = NULL, *json = NULL;
		_cleanup_free_ char *line = NULL;
		const char *text;

		memset(id_text, 1, sizeof(id_text));
		id = json_stringn(id_text, cases[i].id_size);
		line = format_repeated(cases[i].unit, id, &json, &text);
		ok(text && strlen(text) >= cases[i].text_min &&
			   (strlen(line) <= RPC_LINE_MAX || !*text),
		   "error %zu: %zu of %zu bytes", i, text ? strlen(text) : 0, strlen(line));
		ok(strlen(cases[i].unit) != 3 ||
			   (text && !strncmp(text, err.message, strlen(text))),
		   "error %zu: no character is split", i);
	}
}

static void test_parse_answer(void)
{
	static const struct {
		const char *line;
		enum reason reason;
		int code, sys_errno;
		const char *text;
	} cases[] = {
#define ERROR(E) HEAD "\"id\":1,\"error\":" E "}\n"
		{ ERROR("{\"code\":-32002,\"message\":\"connection refused\",\"data\":{\"reason\":"
			"\"refused\",\"errno\":\"ECONNREFUSED\"}}"),
		  REASON_REFUSED, -32002, ECONNREFUSED, "connection refused" },
		{ ERROR("{\"code\":-32602,\"message\":\"m\",\"data\":{\"reason\":\"denied\"}}"),
		  REASON_DENIED, -32602, 0, "m" }, /* the word first */
		{ ERROR("{\"code\":-32005,\"message\":\"m\",\"data\":{\"reason\":\"broken\"}}"),
		  REASON_DENIED, -32005, 0, "m" }, /* no word for an answer */
		{ ERROR("{\"code\":-32004,\"message\":\"m\",\"data\":{\"reason\":\"new\"}}"),
		  REASON_TIMEOUT, -32004, 0, "m" }, /* then the code */
		{ ERROR("{\"code\":-32601,\"message\":\"m\"}"), REASON_UNSUPPORTED, -32601, 0,
		  "m" },
		{ ERROR("{\"code\":-32700,\"message\":\"m\"}"), REASON_INVALID, -32700, 0, "m" },
		{ ERROR("{\"code\":1,\"message\":\"m\",\"data\":{\"reason\":\"new\"}}"),
		  REASON_INTERNAL, 1, 0, "m" },
		{ ERROR("{\"code\":-32005,\"data\":\"x\"}"), REASON_DENIED, -32005, 0, "denied" },
		{ ERROR("{\"code\":-32005,\"message\":\"\",\"data\":{\"errno\":\"EWHAT\"}}"),
		  REASON_DENIED, -32005, 0, "denied" },
		{ ERROR("{\"code\":-32001,\"message\":\"a\\u001b\\u0000\\n\\u202eb\"}"),
		  REASON_NOT_FOUND, -32001, 0, "a\\x1b\\x00\\x0a\\xe2\\x80\\xaeb" },
		{ HEAD "\"id\":null,\"error\":{\"code\":-32700,\"message\":\"m\"}}", REASON_INVALID,
		  -32700, 0, "m" },
#undef ERROR
#define NOT_AN_ANSWER(L, T) { L, REASON_INTERNAL, -32603, 0, "not a vzfwd dialer: " T }
#define NO_CODE "its error has no code"
		NOT_AN_ANSWER(HEAD "\"id\":1,\"error\":\"x\"}", NO_CODE),
		NOT_AN_ANSWER(HEAD "\"id\":1,\"error\":null}", NO_CODE),
		NOT_AN_ANSWER(HEAD "\"id\":1,\"error\":{\"code\":\"x\"}}", NO_CODE),
		NOT_AN_ANSWER(HEAD "\"id\":1,\"error\":{\"code\":-2147483649}}", NO_CODE),
		NOT_AN_ANSWER(HEAD "\"id\":1,\"error\":{\"code\":2147483648}}", NO_CODE),
#define WRONG_ID "its answer is to another request"
		NOT_AN_ANSWER(HEAD "\"id\":2,\"result\":{}}", WRONG_ID),
		NOT_AN_ANSWER(HEAD "\"id\":\"1\",\"result\":{}}", WRONG_ID),
		NOT_AN_ANSWER(HEAD "\"id\":null,\"result\":{}}", WRONG_ID),
		NOT_AN_ANSWER(HEAD "\"result\":{}}", WRONG_ID),
		NOT_AN_ANSWER(HEAD "\"error\":{\"code\":1}}", WRONG_ID),
#define NOT_ONE "its answer has not one of result and error"
		NOT_AN_ANSWER(HEAD "\"id\":1}", NOT_ONE),
		NOT_AN_ANSWER(HEAD "\"id\":1,\"result\":{},\"error\":{\"code\":1}}", NOT_ONE),
		NOT_AN_ANSWER(HEAD "\"id\":1,\"result\":{},\"error\":null}", NOT_ONE),
#define NO_VERSION "its answer is not JSON-RPC 2.0"
		NOT_AN_ANSWER("{\"id\":1,\"result\":{}}", NO_VERSION),
		NOT_AN_ANSWER("{\"jsonrpc\":\"3.0\",\"id\":1,\"result\":{}}", NO_VERSION),
		NOT_AN_ANSWER("[]", "not a JSON object"),
		NOT_AN_ANSWER("SSH-2.0-\x1b\n", "not JSON: '[' or '{' expected near 'SSH'"),
	};
	json_t *result;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r;

		result = json_true();
		r = rpc_parse_answer(cases[i].line, strlen(cases[i].line), 1, &result, &err);
		is_int(r, cases[i].sys_errno ? -cases[i].sys_errno : -EPROTO, "answer %zu fails",
		       i);
		ok(!result && err.reason == cases[i].reason && err.code == cases[i].code &&
			   err.sys_errno == cases[i].sys_errno,
		   "answer %zu: %s %d %d", i, reason_name(err.reason), err.code, err.sys_errno);
		is_str(err.message, cases[i].text, "answer %zu's text", i);
		ok(rpc_parse_answer(cases[i].line, strlen(cases[i].line), 1, &result, NULL) < 0,
		   "answer %zu when nobody wants to know", i);
	}
}

/* What is formatted here is read here; also the longest text. */
static void test_answers_there_and_back(void)
{
	_cleanup_json_ json_t *id = json_integer(4711), *payload = json_pack("{s:i}", "a", 1);
	_cleanup_free_ char *line = rpc_format_result(id, payload);
	json_t *result = NULL;
	struct error told;

	is_int(rpc_parse_answer(line, strlen(line), 4711, &result, &err), 0, "a result");
	ok(json_equal(result, payload), "is what was sent");
	json_decref(result);
	/* All but REASON_BROKEN, which is told by a RESET. */
	for (int i = 0; i < REASON_BROKEN; i++) {
		_cleanup_free_ char *error_line = NULL;

		error_set(&err, (enum reason)i, i % 2 ? EHOSTUNREACH : 0, "text %d", i);
		error_line = rpc_format_error(id, &err);
		rpc_parse_answer(error_line, strlen(error_line), 4711, &result, &told);
		ok(told.reason == err.reason && told.code == err.code &&
			   told.sys_errno == err.sys_errno && !strcmp(told.message, err.message),
		   "%s arrives", reason_name(err.reason));
	}
	free(line);
	line = xasprintf(HEAD "\"id\":1,\"error\":{\"code\":1,\"message\":\"%2000s\"}}", "x");
	rpc_parse_answer(line, strlen(line), 1, &result, &told);
	is_int((long long)strlen(told.message), ERROR_MESSAGE_MAX - 1, "a long text is cut");
}

static void test_get_string(void)
{
	_cleanup_json_ json_t *json = json_pack("{s:s, s:n, s:i, s:o}", "handle", "web", "null",
						"number", 7, "nul", json_stringn("a\0b", 3));
	const struct rpc_params members = { .json = json }, *params = &members;
	const char *s = NULL;

	is_int(rpc_get_string("m", params, "handle", true, &s, &err), 0, "a string");
	is_str(s, "web", "is it");
	is_int(rpc_get_string("m", params, "absent", false, &s, &err), 0, "absent");
	is_str(s, NULL, "is NULL");
	is_int(rpc_get_string("m", params, "null", false, &s, &err), 0, "null");
	is_str(s, NULL, "is NULL too");
	is_int(rpc_get_string("pod.portDial", params, "absent", true, &s, &err), -EPROTO,
	       "absent where required");
	is_str(err.message, "pod.portDial: absent is missing", "is told");
	is_int(err.code, RPC_INVALID_PARAMS, "with this code");
	is_int(rpc_get_string("m", params, "null", true, &s, &err), -EPROTO, "null where required");
	is_int(rpc_get_string("pod.portDial", params, "number", false, &s, &err), -EPROTO,
	       "a number");
	is_str(err.message, "pod.portDial: number must be a string", "is none");
	is_int(err.code, RPC_INVALID_PARAMS, "with this code");
	is_int(rpc_get_string("m", params, "nul", false, &s, &err), -EPROTO, "a NUL inside");
	is_str(err.message, "m: nul must be a string without a NUL", "is refused");
	is_str(s, NULL, "and not handed out");
}

static void test_system_string(void)
{
	static const struct {
		const char *bytes, *want;
	} cases[] = {
		{ "", "" },
		{ "/run/web.sock", "/run/web.sock" },
		{ "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
		{ "tab\tstays", "tab\tstays" },
		{ "\xff/\xc3", "\\xff/\\xc3" },
		{ "\xe2\x82", "\\xe2\\x82" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *s = rpc_system_string(cases[i].bytes);

		is_str(json_string_value(s), cases[i].want, "system string %zu", i);
	}
}

static void test_port_dial_params(void)
{
	struct port_dial dial = { .handle = "web",
				  .network = NETWORK_TCP,
				  .address = ":80",
				  .timeout_ms = 10000,
				  .framing = FRAMING_RECORDS };
	json_t *params = rpc_port_dial_params(&dial);

	is_line(json_dumps(params, JSON_COMPACT),
		"{\"handle\":\"web\",\"network\":\"tcp\",\"address\":\":80\",\"timeoutMs\":10000,"
		"\"framing\":\"records\"}",
		"portDial's params");
	json_decref(params);
	dial.container_id = "c1";
	dial.token = "secret";
	dial.network = NETWORK_UNIX;
	dial.address = "/run/\xff";
	dial.framing = FRAMING_RAW;
	params = rpc_port_dial_params(&dial);
	is_line(json_dumps(params, JSON_COMPACT),
		"{\"handle\":\"web\",\"containerID\":\"c1\",\"network\":\"unix\",\"address\":"
		"\"/run/\\\\xff\",\"timeoutMs\":10000,\"framing\":\"raw\",\"token\":\"secret\"}",
		"all of them");
	json_decref(params);
}

static void test_format_port_dialed(void)
{
	_cleanup_json_ json_t *id = json_string("a\"b\n");

	is_line(rpc_format_port_dialed(id, &(struct port_dialed){ "tcp", "[::1]:80", "[::1]:4",
								  FRAMING_RECORDS }),
		HEAD "\"id\":\"a\\\"b\\n\",\"result\":{\"network\":\"tcp\",\"remote\":\"[::1]:80\","
		     "\"local\":\"[::1]:4\",\"framing\":\"records\"}}\n",
		"portDial's result");
	is_line(rpc_format_port_dialed(NULL, &(struct port_dialed){ "tcp", "", "", FRAMING_RAW }),
		HEAD "\"id\":null,\"result\":{\"network\":\"tcp\",\"framing\":\"raw\"}}\n",
		"without ends");
}

static void test_get_integer(void)
{
	_cleanup_json_ json_t *json =
		json_loads("{\"n\":null,\"i\":-7,\"r\":7.0,\"s\":\"x\"}", 0, NULL);
	struct rpc_params params[] = {
		{ .json = json },
		{ .plain = { 2, { { "i", "7", PLAIN_NUMBER }, { "s", "x", PLAIN_STRING } } } },
	};
	json_int_t number = 0;
	const char *text;

	is_int(rpc_get_integer(&params[0], "n", &number), 0, "null");
	is_int(rpc_get_integer(&params[0], "absent", &number), 0, "absent");
	is_int(rpc_get_integer(&params[0], "r", &number), -EINVAL, "a real number");
	is_int(rpc_get_integer(&params[0], "i", &number), 1, "an integer");
	is_int(number, -7, "is it");
	is_int(rpc_get_integer(&params[1], "i", &number), 1, "a plain one");
	is_int(number, 7, "is it");
	for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
		is_int(rpc_get_integer(&params[i], "s", &number), -EINVAL, "a string");
		is_int(rpc_get_string("m", &params[i], "i", false, &text, &err), -EPROTO,
		       "a number for a string");
		is_str(err.message, "m: i must be a string", "is told");
		is_line(rpc_param_text(&params[i], "s"), "\"x\"", "a string as JSON");
	}
}

int main(void)
{
	test_parse_object();
	test_parse_request();
	test_request_bounds();
	test_format();
	test_format_error_bounds();
	test_parse_answer();
	test_answers_there_and_back();
	test_get_string();
	test_system_string();
	test_port_dial_params();
	test_format_port_dialed();
	test_get_integer();
	return done_testing();
}
