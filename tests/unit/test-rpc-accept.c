/* SPDX-License-Identifier: MIT */
/* pod.portAccept's params, result and notification: what is taken, what is refused and how, what is sent. */
#include "config.h"

#include "lib/rpc-accept.h"
#include "tests/tap.h"

static struct error err;

/* A target in one line: "tcp 127.0.0.1:80 records", NULL if it is refused. */
static char *describe(const struct accept_target *target)
{
	char text[ADDRESS_TEXT_MAX];
	const char *where = target->egress                    ? ACCEPT_EGRESS
			    : target->network == NETWORK_UNIX ? target->path
							      : address_format(&target->addr, text);

	return xasprintf("%s %s %s", network_name(target->network), where,
			 framing_name(target->framing));
}

static char *parse(const char *params)
{
	struct rpc_params parsed = { .json = json_loads(params, 0, NULL) };
	struct accept_target target;
	char *text = NULL;

	if (parsed.json == NULL)
		abort();
	memset(&err, 0, sizeof(err));
	if (rpc_get_accept_target(&parsed, &target, &err) == 0)
		text = describe(&target);
	json_decref(parsed.json);
	return text;
}

#define LISTEN(NETWORK, WHERE) "{\"network\":\"" NETWORK "\",\"listen\":\"" WHERE "\"}"

static void test_taken(void)
{
	static const struct {
		const char *params, *want;
	} cases[] = {
		{ LISTEN("tcp", "192.168.127.254:5432"), "tcp 192.168.127.254:5432 records" },
		{ LISTEN("tcp4", "192.168.127.254:5432"), "tcp 192.168.127.254:5432 records" },
		{ LISTEN("tcp6", "[fd00::1]:1"), "tcp [fd00::1]:1 records" },
		{ LISTEN("tcp", "[::ffff:127.0.0.1]:80"), "tcp 127.0.0.1:80 records" },
		{ LISTEN("tcp", ":80"), "tcp localhost:80 records" },
		{ LISTEN("tcp", "localhost:80"), "tcp localhost:80 records" },
		{ LISTEN("tcp4", "localhost:80"), "tcp 127.0.0.1:80 records" },
		{ LISTEN("tcp6", ":80"), "tcp [::1]:80 records" },
		{ LISTEN("udp", "127.0.0.1:53"), "udp 127.0.0.1:53 records" },
		{ LISTEN("udp6", "localhost:53"), "udp [::1]:53 records" },
		{ LISTEN("unix", "/run/x.sock"), "unix /run/x.sock records" },
		{ LISTEN("tcp", "egress"), "tcp egress records" },
		{ LISTEN("udp", "egress"), "udp egress records" },
		{ "{\"network\":\"tcp\",\"listen\":\":80\",\"framing\":\"raw\",\"more\":[1]}",
		  "tcp localhost:80 raw" },
		{ "{\"network\":\"unix\",\"listen\":\"/x\",\"framing\":\"records\"}",
		  "unix /x records" },
		{ "{\"network\":\"tcp\",\"listen\":\":80\",\"framing\":null}",
		  "tcp localhost:80 records" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = parse(cases[i].params);

		is_str(text, cases[i].want, "%s", cases[i].params);
	}
}

static void test_refused(void)
{
	static const struct {
		const char *params, *message;
		enum reason reason;
	} cases[] = {
		{ "{}", "pod.portAccept: network", REASON_INVALID },
		{ "{\"network\":\"tcp\"}", "pod.portAccept: listen", REASON_INVALID },
		{ "{\"network\":\"tcp\",\"listen\":80}", "pod.portAccept: listen", REASON_INVALID },
		{ "{\"network\":7,\"listen\":\":80\"}", "pod.portAccept: network", REASON_INVALID },
		{ LISTEN("sctp", ":80"), "pod.portAccept: unsupported network \"sctp\"",
		  REASON_UNSUPPORTED },
		{ LISTEN("tcp", ""), "pod.portAccept: ", REASON_INVALID },
		{ LISTEN("tcp", "80"), "pod.portAccept: ", REASON_INVALID },
		{ LISTEN("tcp", ":0"), "pod.portAccept: ", REASON_INVALID },
		{ LISTEN("tcp", "example.com:80"), "pod.portAccept: ", REASON_INVALID },
		{ LISTEN("tcp", "0.0.0.0:80"),
		  "pod.portAccept: listen must be one address of the pod, not all of them",
		  REASON_INVALID },
		{ LISTEN("tcp", "[::]:80"),
		  "pod.portAccept: listen must be one address of the pod, not all of them",
		  REASON_INVALID },
		{ LISTEN("udp", "224.0.0.1:80"),
		  "pod.portAccept: listen must be one address of the pod, not a group",
		  REASON_INVALID },
		{ LISTEN("udp", "255.255.255.255:80"),
		  "pod.portAccept: listen must be one address of the pod, not a group",
		  REASON_INVALID },
		{ LISTEN("udp", "[ff02::1]:80"),
		  "pod.portAccept: listen must be one address of the pod, not a group",
		  REASON_INVALID },
		{ LISTEN("tcp6", "127.0.0.1:80"),
		  "pod.portAccept: 127.0.0.1:80 is not an address for tcp6", REASON_INVALID },
		{ LISTEN("udp4", "[::1]:80"), "pod.portAccept: [::1]:80 is not an address for udp4",
		  REASON_INVALID },
		{ LISTEN("unix", "x.sock"), "pod.portAccept: ", REASON_INVALID },
		{ LISTEN("unix", "egress"), "pod.portAccept: ", REASON_INVALID },
		{ "{\"network\":\"udp\",\"listen\":\":80\",\"framing\":\"raw\"}",
		  "pod.portAccept: udp needs records, not raw", REASON_INVALID },
		{ "{\"network\":\"tcp\",\"listen\":\":80\",\"framing\":\"x\"}",
		  "pod.portAccept: framing must be records or raw, got \"x\"", REASON_INVALID },
		{ "{\"network\":\"tcp\",\"listen\":\":80\",\"framing\":1}",
		  "pod.portAccept: framing", REASON_INVALID },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *message = cases[i].message;
		_cleanup_free_ char *text = parse(cases[i].params);

		ok(text == NULL && strncmp(err.message, message, strlen(message)) == 0, "%s: %s",
		   cases[i].params, text != NULL ? text : err.message);
		is_int(err.reason, cases[i].reason, "%s: its reason", cases[i].params);
	}
}

/* What the host sends is what the guest reads. */
static void test_params(void)
{
	struct rpc_params params = { .json = rpc_port_accept_params("web", NULL, NETWORK_TCP,
								    "192.168.127.254:80", "us") };
	struct accept_target target;
	const char *text;

	ok(json_object_get(params.json, "containerID") == NULL, "no containerID");
	rpc_get_string("m", &params, "handle", true, &text, NULL);
	is_str(text, "web", "the handle");
	is_int(rpc_get_accept_target(&params, &target, &err), 0, "the target");
	is_int(target.addr.port, 80, "its port");
	is_str(target.owner, "us", "whose it is");
	json_decref(params.json);
	params.json = rpc_port_accept_params("web", "c\xff", NETWORK_UNIX, "/run/\xff", "");
	rpc_get_string("m", &params, "containerID", true, &text, NULL);
	is_str(text, "c\\xff", "a containerID that is no UTF-8 is escaped");
	rpc_get_string("m", &params, "listen", true, &text, NULL);
	is_str(text, "/run/\\xff", "and so is a path");
	json_decref(params.json);
}

static void test_result(void)
{
	static const struct {
		const char *result, *refusal; /* NULL: taken, as records */
	} cases[] = {
		{ "{\"parked\":true,\"framing\":\"records\"}", NULL },
		{ "{\"parked\":true,\"framing\":\"records\",\"listen\":7,\"new\":{}}", NULL },
		{ "{\"parked\":true,\"framing\":\"raw\"}", "framing" },
		{ "{\"parked\":true}", "framing" },
		{ "{\"parked\":true,\"framing\":1}", "framing" },
		{ "{\"parked\":false,\"framing\":\"records\"}", "parked" },
		{ "{\"parked\":\"true\",\"framing\":\"records\"}", "parked" },
		{ "{}", "parked" },
		{ "[]", "parked" },
		{ "7", "parked" },
		{ "null", "parked" },
	};
	static const struct accept_target targets[] = {
		{ .network = NETWORK_TCP, .addr.port = 80, .framing = FRAMING_RECORDS },
		{ .network = NETWORK_UDP, .egress = true, .framing = FRAMING_RECORDS },
		{ .network = NETWORK_UNIX, .path = "/x", .framing = FRAMING_RECORDS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *json = json_loads(cases[i].result, JSON_DECODE_ANY, NULL);
		const char *want = cases[i].refusal;

		memset(&err, 0, sizeof(err));
		is_int(rpc_check_port_parked(json, FRAMING_RECORDS, &err) == 0, want == NULL, "%s",
		       cases[i].result);
		if (want != NULL)
			ok(err.reason == REASON_INTERNAL && strstr(err.message, want) != NULL,
			   "%s: %s", cases[i].result, err.message);
		json_decref(json);
	}
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		json_t *json = rpc_port_parked(&targets[i]);

		is_int(rpc_check_port_parked(json, FRAMING_RECORDS, &err), 0, "a result, %zu", i);
		json_decref(json);
	}
}

static char *accepted(const char *params)
{
	json_t *json = json_loads(params, 0, NULL);
	struct port_accepted told;
	char remote[ADDRESS_TEXT_MAX] = "none", destination[ADDRESS_TEXT_MAX] = "none";
	int rc = rpc_port_accepted(json, &told, &err);

	json_decref(json);
	if (rc < 0)
		return NULL;
	if (told.remote.family != AF_UNSPEC)
		address_format(&told.remote, remote);
	if (told.destination.family != AF_UNSPEC)
		address_format(&told.destination, destination);
	return xasprintf("%s %s", remote, destination);
}

static void test_notification(void)
{
	static const struct {
		const char *params, *want; /* NULL: refused */
	} cases[] = {
		{ "{\"remote\":\"10.0.0.1:5\",\"destination\":\"[fd00::1]:80\"}",
		  "10.0.0.1:5 [fd00::1]:80" },
		{ "{\"remote\":\"[::ffff:10.0.0.1]:5\"}", "10.0.0.1:5 none" },
		{ "{\"remote\":null,\"destination\":null}", "none none" },
		{ "{\"more\":1}", "none none" },
		{ "{}", "none none" },
		{ "{\"remote\":7}", NULL },
		{ "{\"remote\":\"\"}", NULL },
		{ "{\"remote\":\"localhost:80\"}", NULL },
		{ "{\"remote\":\":80\"}", NULL },
		{ "{\"remote\":\"10.0.0.1:0\"}", NULL },
		{ "{\"remote\":\"10.0.0.1\"}", NULL },
		{ "{\"remote\":\"10.0.0.1:5\",\"destination\":\"x\"}", NULL },
	};
	struct port_accepted told = { 0 };
	json_t *json;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = accepted(cases[i].params);

		is_str(text, cases[i].want, "%s", cases[i].params);
		if (text == NULL)
			is_int(err.reason, REASON_INTERNAL, "%s: its reason", cases[i].params);
	}
	json = rpc_port_accepted_params(&told);
	is_int((long long)json_object_size(json), 0, "a process by a Unix socket has no address");
	json_decref(json);
	address_parse(&told.remote, "10.0.0.1:5", NULL);
	address_parse(&told.destination, "[fd00::1]:80", NULL);
	json = rpc_port_accepted_params(&told);
	is_str(json_string_value(json_object_get(json, "remote")), "10.0.0.1:5", "remote");
	is_str(json_string_value(json_object_get(json, "destination")), "[fd00::1]:80",
	       "destination");
	json_decref(json);
}

int main(void)
{
	test_taken();
	test_refused();
	test_params();
	test_result();
	test_notification();
	return done_testing();
}
