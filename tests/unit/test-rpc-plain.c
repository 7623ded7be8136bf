/* SPDX-License-Identifier: MIT */
/* What is written and read without jansson, held to what jansson makes of it. */
#include "config.h"

#include <errno.h>

#include "lib/rpc.h"
#include "tests/tap.h"

#define HEAD "{\"jsonrpc\":\"2.0\","

static struct error err;

/* Both ways to write the line give the same one. */
static void test_format_port_dial(void)
{
	struct port_dial cases[] = {
		{ "web", NULL, NETWORK_TCP, ":80", 10000, FRAMING_RECORDS, NULL },
		{ "web", "c1", NETWORK_TCP4, "127.0.0.1:80", 1, FRAMING_RAW, "secret /~" },
		{ "web", NULL, NETWORK_UNIX, "/a\"b", 600000, FRAMING_RAW, "secret" },
		{ "web", NULL, NETWORK_UNIX, "/a\xff", 600000, FRAMING_RAW, NULL },
		{ "web", NULL, NETWORK_TCP6, "[::1]:80", 600000, FRAMING_RAW, "\\" },
		{ "w\x7f", "\t", NETWORK_TCP6, "", 600000, FRAMING_RAW, "" },
	};
	char out[RPC_LINE_MAX], handle[RPC_LINE_MAX + 1] = "";

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *params = rpc_port_dial_params(&cases[i]);
		_cleanup_free_ char *want = rpc_format_request(7, METHOD_PORT_DIAL, params);
		int length = rpc_format_port_dial(7, &cases[i], out);

		ok(length == (int)strlen(want) && !memcmp(out, want, (size_t)length),
		   "portDial %zu: %.*s", i, length - 1, out);
	}
	cases[0].handle = handle;
	for (size_t length = 1; length < RPC_LINE_MAX; length++) {
		_cleanup_json_ json_t *params = NULL;
		_cleanup_free_ char *want = NULL;

		memset(handle, 'h', length);
		if (length < RPC_LINE_MAX - 200)
			continue;
		params = rpc_port_dial_params(&cases[0]);
		want = rpc_format_request(7, METHOD_PORT_DIAL, params);
		if (strlen(want) == RPC_LINE_MAX)
			is_int(rpc_format_port_dial(7, &cases[0], out), RPC_LINE_MAX, "4096 bytes");
		if (strlen(want) == RPC_LINE_MAX + 1)
			is_int(rpc_format_port_dial(7, &cases[0], out), -EMSGSIZE, "one more");
	}
}

/* What is plain is read without jansson, and only that; with white space in it jansson reads the same. */
static void test_plain(void)
{
	static const struct {
		const char *line;
		bool plain;
	} cases[] = {
#define REQUEST HEAD "\"id\":1,\"method\":\"m\""
		{ REQUEST "}", true },
		{ REQUEST "}\n", true },
		{ REQUEST ",\"params\":{}}\n", true },
		{ REQUEST ",\"params\":{\"a\":\"\",\"b\":0,\"c\":999999999999999}}\n", true },
		{ REQUEST ",\"params\":{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,"
			  "\"h\":1}}\n",
		  true },
		{ REQUEST ",\"params\":{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,"
			  "\"h\":1,\"i\":1}}\n",
		  false },
		{ REQUEST ",\"params\":{\"a\":1,\"a\":1}}", false },
		{ REQUEST ",\"params\":{\"a\":01}}", false },
		{ REQUEST ",\"params\":{\"a\":-1}}", false },
		{ REQUEST ",\"params\":{\"a\":1.0}}", false },
		{ REQUEST ",\"params\":{\"a\":1e3}}", false },
		{ REQUEST ",\"params\":{\"a\":1000000000000000}}", false },
		{ REQUEST ",\"params\":{\"a\":true,\"b\":false}}", true },
		{ REQUEST ",\"params\":{\"a\":tru}}", false },
		{ REQUEST ",\"params\":{\"a\":truex}}", false },
		{ REQUEST ",\"params\":{\"a\":true", false },
		{ REQUEST ",\"params\":{\"a\":null}}", false },
		{ REQUEST ",\"params\":{\"a\":{}}}", false },
		{ REQUEST ",\"params\":{\"a\":}}", false },
		{ REQUEST ",\"params\":{\"a\":1,}}", false },
		{ REQUEST ",\"params\":{\"a\"}}", false },
		{ REQUEST ",\"params\":{\"a\":\"\\u0041\"}}", false },
		{ REQUEST ",\"params\":{\"a\":\"\xc3\xbc\"}}", false },
		{ REQUEST ",\"params\":{\"a\":\"\t\"}}", false },
		{ REQUEST ",\"params\":{\"a\":\"\x7f\"}}", false },
		{ REQUEST ",\"params\":{\"a\":1}", false },
		{ REQUEST ",\"params\":{\"a\":1", false },
		{ REQUEST ",\"params\":{\"a\":", false },
		{ REQUEST ",\"params\":{\"a", false },
		{ REQUEST ",\"params\":{", false },
		{ REQUEST ",\"params\":[]}", false },
		{ REQUEST ",\"params\":{},\"x\":1}", false },
		{ REQUEST "} ", false },
		{ REQUEST "}\n\n", false },
		{ REQUEST "}x", false },
		{ HEAD "\"id\":\"1\",\"method\":\"m\"}", false },
		{ HEAD "\"id\":1,\"result\":{}}", false },
		{ HEAD "\"id\":", false },
		{ "{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"m\"}", false },
#undef REQUEST
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = xstrdup(cases[i].line);
		_cleanup_free_ char *spaced = xasprintf(" %s", cases[i].line);
		struct plain_object params;
		struct rpc_request req, same;
		const char *method;
		int64_t id;
		int r, r_same;

		is_int(plain_read_request(text, strlen(text), &id, &method, &params),
		       cases[i].plain, "line %zu is %splain", i, cases[i].plain ? "" : "not ");
		r = rpc_parse_request(cases[i].line, strlen(cases[i].line), &req, &err);
		r_same = rpc_parse_request(spaced, strlen(spaced), &same, &err);
		ok(!same.text && !req.text == !cases[i].plain, "line %zu is read so", i);
		is_int(r, r_same, "line %zu: both ways agree", i);
		for (size_t j = 0; r == 0 && req.text && j < req.params.plain.count; j++) {
			const char *name = req.params.plain.members[j].name;
			_cleanup_free_ char *a = rpc_param_text(&req.params, name);
			_cleanup_free_ char *b = rpc_param_text(&same.params, name);

			is_str(a, b, "line %zu: %s", i, name);
		}
		rpc_request_clear(&req);
		rpc_request_clear(&same);
	}
}

static void test_port_dialed(void)
{
	static const struct {
		const char *result;
		int r;
		const char *network, *remote, *local;
		enum framing framing;
	} cases[] = {
		{ "{\"network\":\"tcp\",\"remote\":\"127.0.0.1:80\",\"local\":\"127.0.0.1:4\","
		  "\"framing\":\"records\"}",
		  0, "tcp", "127.0.0.1:80", "127.0.0.1:4", FRAMING_RECORDS },
		{ "{\"network\":\"tcp\",\"framing\":\"raw\"}", 0, "tcp", "", "", FRAMING_RAW },
		{ "{\"new\":1}", 0, "", "", "", FRAMING_RAW },
		{ "{\"remote\":null,\"framing\":null}", 0, "", "", "", FRAMING_RAW },
		{ "{\"network\":\"long-network\",\"remote\":\"a\\u001b\\u0000\"}", 0, "long-ne",
		  "a\\x1b\\x00", "", FRAMING_RAW },
		{ "{\"framing\":\"packets\"}", -EPROTO, NULL, NULL, NULL, FRAMING_RAW },
		{ "{\"framing\":\"records\\u0000\"}", -EPROTO, NULL, NULL, NULL, FRAMING_RAW },
		{ "{\"framing\":1}", -EPROTO, NULL, NULL, NULL, FRAMING_RAW },
		{ "{\"remote\":1}", -EPROTO, NULL, NULL, NULL, FRAMING_RAW },
		{ "[]", -EPROTO, NULL, NULL, NULL, FRAMING_RAW },
	};
	struct port_dialed dialed;
	enum framing framing;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *result = json_loads(cases[i].result, JSON_ALLOW_NUL, NULL);
		int r = rpc_port_dialed(result, &dialed, &err);

		is_int(r, cases[i].r, "result %zu is %s", i, r ? "refused" : "taken");
		for (int spaces = 0; spaces < 2; spaces++) {
			_cleanup_free_ char *line =
				xasprintf("%*s" HEAD "\"id\":1,\"result\":%s}\n", spaces, "",
					  cases[i].result);
			struct port_dialed same;

			is_int(rpc_parse_port_dialed(line, strlen(line), 1, &same, &err), r,
			       "result %zu as a line", i);
			ok(r < 0 || (!strcmp(same.network, dialed.network) &&
				     !strcmp(same.remote, dialed.remote) &&
				     !strcmp(same.local, dialed.local) &&
				     same.framing == dialed.framing),
			   "result %zu: reads the same", i);
			ok(rpc_parse_port_dialed(line, strlen(line), 2, &same, &err) < 0,
			   "result %zu: another request's", i);
		}
		if (r == 0)
			is_str(dialed.remote, cases[i].remote, "result %zu's remote", i);
		if (r == 0)
			is_str(dialed.local, cases[i].local, "result %zu's local", i);
		if (r == 0)
			ok(!strcmp(dialed.network, cases[i].network) &&
				   dialed.framing == cases[i].framing,
			   "result %zu: %s, %s", i, dialed.network, framing_name(dialed.framing));
		else
			is_int(err.reason, REASON_INTERNAL, "result %zu: %s", i, err.message);
	}
	is_int(framing_from_name("raw", &framing), 0, "a framing's name");
	is_int(framing, FRAMING_RAW, "is that framing");
	is_int(framing_from_name("RAW", &framing), -ENOENT, "an unknown one");
}

/* The line that jansson makes of a message. */
static char *dumped(json_t *message)
{
	_cleanup_free_ char *text = json_dumps(message, JSON_COMPACT);

	json_decref(message);
	return xasprintf("%s\n", text);
}

static void test_format(void)
{
	static const char *const objects[] = {
		"{}",
		"{\"a\":\"\",\"b\":0,\"c\":true,\"d\":false,\"e\":\"127.0.0.1:80\"}",
		"{\"a\":9223372036854775807}",
		"{\"a\":-1}",
		"{\"a\":null}",
		"{\"a\":1.5}",
		"{\"a\":{}}",
		"{\"a\":\"\\u0000b\"}",
		"{\"a\":\"\\\"\"}",
		"{\"a\":\"\xc3\xbc\"}",
		"{\"\\n\":1}",
		"[]",
	};

	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		_cleanup_json_ json_t *object = json_loads(objects[i], JSON_ALLOW_NUL, NULL);
		_cleanup_json_ json_t *id = json_integer(7), *word = json_string("7");
		_cleanup_free_ char *request = rpc_format_request(7, "m", object);
		_cleanup_free_ char *notification = rpc_format_notification("m", object);
		_cleanup_free_ char *result = rpc_format_result(id, object);
		_cleanup_free_ char *other = rpc_format_result(word, object);
		_cleanup_free_ char *want_request =
			dumped(json_pack("{s:s,s:i,s:s,s:O}", "jsonrpc", "2.0", "id", 7, "method",
					 "m", "params", object));
		_cleanup_free_ char *want_notification = dumped(json_pack(
			"{s:s,s:s,s:O}", "jsonrpc", "2.0", "method", "m", "params", object));
		_cleanup_free_ char *want_result = dumped(
			json_pack("{s:s,s:i,s:O}", "jsonrpc", "2.0", "id", 7, "result", object));
		_cleanup_free_ char *want_other = dumped(
			json_pack("{s:s,s:s,s:O}", "jsonrpc", "2.0", "id", "7", "result", object));

		is_str(request, want_request, "object %zu in a request", i);
		is_str(notification, want_notification, "object %zu in a notification", i);
		is_str(result, want_result, "object %zu as a result", i);
		is_str(other, want_other, "object %zu as the result of another id", i);
	}
}

/* Of what is plain the same tree is made as jansson makes of it. */
static void test_trees(void)
{
	static const char *const objects[] = {
		"{}",
		"{\"parked\":true,\"network\":\"tcp\",\"n\":80,\"f\":false}",
		"{\"a\":null}",
		"{\"a\":1,\"a\":2}",
		"{\"a\":{\"b\":1}}",
		"[]",
		"true",
	};

	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		json_t *got[2], *told[2];
		int rc[2], told_rc[2];

		for (int spaces = 0; spaces < 2; spaces++) {
			_cleanup_free_ char *answer = xasprintf(
				"%*s" HEAD "\"id\":1,\"result\":%s}\n", spaces, "", objects[i]);
			_cleanup_free_ char *notification =
				xasprintf("%*s" HEAD "\"method\":\"m\",\"params\":%s}\n", spaces,
					  "", objects[i]);
			json_t *none;

			rc[spaces] =
				rpc_parse_answer(answer, strlen(answer), 1, &got[spaces], &err);
			told_rc[spaces] = rpc_parse_notification(notification, strlen(notification),
								 "m", &told[spaces], &err);
			ok(rpc_parse_answer(answer, strlen(answer), 2, &none, &err) < 0 && !none,
			   "object %zu: another request's answer", i);
			is_int(rpc_parse_notification(notification, strlen(notification), "n",
						      &none, &err),
			       told_rc[spaces] == -EPROTO && i == 3 ? -EPROTO : 0,
			       "object %zu: another method's notification", i);
		}
		is_int(rc[0], rc[1], "answer %zu: both ways agree", i);
		is_int(told_rc[0], told_rc[1], "notification %zu: both ways agree", i);
		ok(rc[0] < 0 || json_equal(got[0], got[1]), "answer %zu: the same", i);
		ok(told_rc[0] < 0 || json_equal(told[0], told[1]), "notification %zu: the same", i);
		for (int spaces = 0; spaces < 2; spaces++) {
			json_decref(got[spaces]);
			json_decref(told[spaces]);
		}
	}
}

static void test_get_boolean(void)
{
	_cleanup_json_ json_t *json =
		json_loads("{\"t\":true,\"f\":false,\"s\":\"true\",\"i\":1}", 0, NULL);
	struct rpc_params params[] = {
		{ .json = json },
		{ .plain = { 4,
			     { { "t", "true", PLAIN_BOOLEAN },
			       { "f", "false", PLAIN_BOOLEAN },
			       { "s", "true", PLAIN_STRING },
			       { "i", "1", PLAIN_NUMBER } } } },
	};
	json_int_t number;
	const char *text;
	bool is;

	for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
		_cleanup_free_ char *false_text = rpc_param_text(&params[i], "f");

		is_int(rpc_get_boolean("m", &params[i], "t", &is, &err), 0, "true");
		ok(is, "is true");
		is_int(rpc_get_boolean("m", &params[i], "f", &is, &err), 0, "false");
		ok(!is, "is false");
		is_int(rpc_get_boolean("m", &params[i], "absent", &is, &err), 0, "absent");
		ok(!is, "is false too");
		is_int(rpc_get_boolean("m", &params[i], "s", &is, &err), -EPROTO, "a string");
		ok(!is, "is not true");
		is_int(rpc_get_boolean("m", &params[i], "i", &is, &err), -EPROTO, "a number");
		is_int(rpc_get_integer(&params[i], "t", &number), -EINVAL, "no number");
		is_int(rpc_get_string("m", &params[i], "t", false, &text, &err), -EPROTO,
		       "no string");
		is_str(false_text, "false", "as JSON");
	}
}

int main(void)
{
	test_format_port_dial();
	test_format();
	test_trees();
	test_get_boolean();
	test_plain();
	test_port_dialed();
	return done_testing();
}
