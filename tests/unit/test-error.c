/* SPDX-License-Identifier: MIT */
/* The table of reasons as the contract has it, errno names, and struct error. */
#include "config.h"

#include <errno.h>

#include "lib/error.h"
#include "tests/tap.h"

static void test_reasons(void)
{
	static const struct {
		enum reason reason;
		const char *name;
		int rpc_code, exit_code;
	} cases[] = {
		{ REASON_INVALID, "invalid", -32602, 64 },
		{ REASON_UNSUPPORTED, "unsupported", -32601, 76 },
		{ REASON_INTERNAL, "internal", -32603, 70 },
		{ REASON_NOT_FOUND, "not-found", -32001, 66 },
		{ REASON_REFUSED, "refused", -32002, 69 },
		{ REASON_UNREACHABLE, "unreachable", -32003, 69 },
		{ REASON_TIMEOUT, "timeout", -32004, 75 },
		{ REASON_DENIED, "denied", -32005, 77 },
		{ REASON_EXHAUSTED, "exhausted", -32006, 73 },
		{ REASON_NOT_RUNNING, "not-running", -32007, 78 },
	};
	enum reason reason;

	is_int(ARRAY_SIZE(cases) + 1, REASON_COUNT, "all reasons but broken have a code");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		reason = REASON_COUNT;
		is_str(reason_name(cases[i].reason), cases[i].name, "name of %s", cases[i].name);
		is_int(reason_from_name(cases[i].name, &reason), 0, "%s is known", cases[i].name);
		is_int(reason, cases[i].reason, "%s is itself", cases[i].name);
		is_int(reason_rpc_code(cases[i].reason), cases[i].rpc_code, "code of %s",
		       cases[i].name);
		is_int(reason_from_rpc_code(cases[i].rpc_code), cases[i].reason, "reason of %d",
		       cases[i].rpc_code);
		is_int(reason_exit_code(cases[i].reason), cases[i].exit_code, "exit code of %s",
		       cases[i].name);
	}
	is_str(reason_name(REASON_BROKEN), "broken", "name of broken");
	is_int(reason_exit_code(REASON_BROKEN), 74, "exit code of broken");
	is_int(reason_from_name("broken", &reason), 0, "broken is known");
	is_int(reason, REASON_BROKEN, "broken is itself");
	is_int(reason_from_name("Refused", &reason), -ENOENT, "words match in their case only");
	is_int(reason_from_name("", &reason), -ENOENT, "no word is no reason");
	is_int(reason_from_rpc_code(RPC_PARSE_ERROR), REASON_INVALID, "reason of -32700");
	is_int(reason_from_rpc_code(RPC_INVALID_REQUEST), REASON_INVALID, "reason of -32600");
	is_int(reason_from_rpc_code(-32000), REASON_INTERNAL, "an unknown code is internal");
	is_int(reason_from_rpc_code(0), REASON_INTERNAL, "so is 0");
}

static void test_errnos(void)
{
	int named = 0;

	is_str(errno_name(ECONNREFUSED), "ECONNREFUSED", "a name");
	is_str(errno_text(ECONNREFUSED), "connection refused", "in words");
	is_str(errno_text(ENOENT), "no such file or directory", "other words");
	is_int(errno_from_name("ENETUNREACH"), ENETUNREACH, "by name");
	is_int(errno_from_name("ENONSENSE"), 0, "an unknown name");
	is_int(errno_from_name(""), 0, "an empty name");
	ok(!errno_name(0) && !errno_name(-1) && !errno_name(99999), "numbers without a name");
	ok(errno_text(99999) && *errno_text(99999), "any number has a text");
	for (int e = 1; e < 200; e++) {
		const char *name = errno_name(e);

		if (name && (errno_from_name(name) != e || errno_text(e)[0] < 'a'))
			ok(false, "errno %d (%s) there and back", e, name);
		named += name != NULL;
	}
	ok(named > 60, "%d errnos have names", named);
}

static void test_files(void)
{
	static const struct {
		int sys_errno;
		enum reason reason;
	} cases[] = {
		{ ENOENT, REASON_NOT_FOUND },     { ENOTDIR, REASON_NOT_FOUND },
		{ EACCES, REASON_DENIED },        { EROFS, REASON_DENIED },
		{ ELOOP, REASON_DENIED },         { EISDIR, REASON_EXHAUSTED },
		{ ENAMETOOLONG, REASON_INVALID }, { ENOSPC, REASON_EXHAUSTED },
		{ EMFILE, REASON_EXHAUSTED },     { EADDRINUSE, REASON_EXHAUSTED },
		{ EIO, REASON_INTERNAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		is_int(reason_of_file(cases[i].sys_errno), cases[i].reason, "a file: %s",
		       errno_name(cases[i].sys_errno));
}

static void test_set(void)
{
	char text[2 * ERROR_MESSAGE_MAX];
	struct error err;

	is_int(error_set(&err, REASON_NOT_FOUND, ENOENT, "no pod \"%s\"", "web"), -ENOENT,
	       "error_set returns -errno");
	is_int(err.reason, REASON_NOT_FOUND, "reason");
	is_int(err.code, -32001, "code");
	is_int(err.sys_errno, ENOENT, "errno");
	is_str(err.message, "no pod \"web\"", "message");
	is_int(error_prefix(&err, "pod %d", 7), -ENOENT, "error_prefix returns -errno");
	is_str(err.message, "pod 7: no pod \"web\"", "prefixed");
	is_int(err.reason, REASON_NOT_FOUND, "reason stays");
	is_int(error_set(&err, REASON_INVALID, 0, "again: %s", err.message), -EPROTO,
	       "-EPROTO where there is no errno");
	is_str(err.message, "again: pod 7: no pod \"web\"", "an error in its own arguments");
	is_int(error_set(NULL, REASON_INVALID, EINVAL, "%s", ""), -EINVAL, "nobody wants to know");
	is_int(error_prefix(NULL, "%s", ""), -EPROTO, "nor with a prefix");

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	error_set(&err, REASON_INTERNAL, 0, "%s", text);
	is_int((long long)strlen(err.message), ERROR_MESSAGE_MAX - 1, "a long text is cut");
	error_prefix(&err, "prefix");
	is_int((long long)strlen(err.message), ERROR_MESSAGE_MAX - 1, "with a prefix too");
	ok(strncmp(err.message, "prefix: xxx", 11) == 0, "the prefix stands first");
	error_prefix(&err, "%s", text);
	is_int((long long)strlen(err.message), ERROR_MESSAGE_MAX - 1, "a long prefix is cut");
}

static void test_set_connect(void)
{
	static const struct {
		int sys_errno;
		enum reason reason;
	} cases[] = {
		{ ECONNREFUSED, REASON_REFUSED },
		{ ECONNRESET, REASON_REFUSED },
		{ ETIMEDOUT, REASON_TIMEOUT },
		{ EACCES, REASON_DENIED },
		{ EPERM, REASON_DENIED },
		{ EMFILE, REASON_EXHAUSTED },
		{ ENFILE, REASON_EXHAUSTED },
		{ ENOBUFS, REASON_EXHAUSTED },
		{ ENOMEM, REASON_EXHAUSTED },
		{ EADDRNOTAVAIL, REASON_EXHAUSTED },
		{ EAGAIN, REASON_EXHAUSTED },
		{ ENETUNREACH, REASON_UNREACHABLE },
		{ EHOSTUNREACH, REASON_UNREACHABLE },
		{ ENOENT, REASON_UNREACHABLE },
	};
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int e = cases[i].sys_errno;

		is_int(error_set_connect(&err, e), -e, "connect's %s is returned", errno_name(e));
		ok(err.reason == cases[i].reason && err.sys_errno == e &&
			   strcmp(err.message, errno_text(e)) == 0,
		   "connect's %s is %s", errno_name(e), reason_name(err.reason));
	}
}

int main(void)
{
	test_reasons();
	test_errnos();
	test_files();
	test_set();
	test_set_connect();
	return done_testing();
}
