/* SPDX-License-Identifier: MIT */
/*
 * Hints of `vzfwd check`: each kind of failure gets advice that fits its endpoint. The vsock rows
 * can be tried here only, since no test may connect AF_VSOCK on the host.
 */
#include "config.h"

#include <errno.h>

#include "hint.h"
#include "tap.h"

static const struct {
	enum check_step step;
	enum endpoint_type type;
	enum reason reason;
	int sys_errno;
	const char *words; /* that the hint must have */
} cases[] = {
	{ CHECK_POD, ENDPOINT_VSOCK, REASON_NOT_FOUND, 0, "vzfwd pod add" },
	{ CHECK_POD, ENDPOINT_VSOCK, REASON_DENIED, 0, "writable by others" },
	{ CHECK_POD, ENDPOINT_VSOCK, REASON_NOT_RUNNING, 0, "--replace" },
	{ CHECK_POD, ENDPOINT_VSOCK, REASON_INVALID, 0, "vsock://3" },
	{ CHECK_TOKEN, ENDPOINT_UNIX, REASON_NOT_FOUND, ENOENT, "without --token-file" },
	{ CHECK_TOKEN, ENDPOINT_UNIX, REASON_DENIED, EACCES, "chmod 600" },
	{ CHECK_TOKEN, ENDPOINT_UNIX, REASON_INVALID, 0, "16 to 256 bytes" },
	{ CHECK_ENDPOINT, ENDPOINT_VSOCK, REASON_UNREACHABLE, ENODEV, "no VM has this CID" },
	{ CHECK_ENDPOINT, ENDPOINT_VSOCK, REASON_UNREACHABLE, ECONNRESET,
	  "is vzfwd-guest running" },
	{ CHECK_ENDPOINT, ENDPOINT_VSOCK, REASON_UNSUPPORTED, EAFNOSUPPORT, "modprobe" },
	{ CHECK_ENDPOINT, ENDPOINT_VSOCK, REASON_TIMEOUT, ETIMEDOUT, "paused" },
	{ CHECK_ENDPOINT, ENDPOINT_VSOCK, REASON_EXHAUSTED, EMFILE, "ulimit -n" },
	{ CHECK_ENDPOINT, ENDPOINT_UNIX, REASON_UNREACHABLE, ENOENT, "no such socket" },
	{ CHECK_ENDPOINT, ENDPOINT_UNIX, REASON_UNREACHABLE, ECONNREFUSED, "start it again" },
	{ CHECK_ENDPOINT, ENDPOINT_UNIX, REASON_DENIED, EACCES, "somebody else's" },
	{ CHECK_ENDPOINT, ENDPOINT_HVSOCK, REASON_UNREACHABLE, ENOENT, "no such socket" },
	{ CHECK_ENDPOINT, ENDPOINT_HVSOCK, REASON_UNREACHABLE, 0,
	  "found no listener on this port" },
	{ CHECK_ENDPOINT, ENDPOINT_HVSOCK, REASON_TIMEOUT, 0, "did not answer CONNECT" },
	{ CHECK_ENDPOINT, ENDPOINT_HVSOCK, REASON_INTERNAL, 0, "use unix://" },
	{ CHECK_ENDPOINT, ENDPOINT_EXEC, REASON_UNREACHABLE, 0, "run it by hand" },
	{ CHECK_HANDSHAKE, ENDPOINT_EXEC, REASON_UNREACHABLE, 0, "vzfwd-guest --stdio" },
	{ CHECK_HANDSHAKE, ENDPOINT_UNIX, REASON_UNREACHABLE, 0, "is vzfwd-guest running" },
	{ CHECK_HANDSHAKE, ENDPOINT_VSOCK, REASON_UNREACHABLE, 0, "--allow-cid" },
	{ CHECK_HANDSHAKE, ENDPOINT_VSOCK, REASON_TIMEOUT, 0, "nothing answers" },
	{ CHECK_HANDSHAKE, ENDPOINT_VSOCK, REASON_UNSUPPORTED, 0, "of this version" },
	{ CHECK_HANDSHAKE, ENDPOINT_VSOCK, REASON_INTERNAL, 0, "no vzfwd-guest" },
	{ CHECK_VERSION, ENDPOINT_VSOCK, REASON_UNSUPPORTED, 0, "from one version" },
	{ CHECK_NETNS, ENDPOINT_VSOCK, REASON_NOT_FOUND, 0, "--netns-dir" },
	{ CHECK_NETNS, ENDPOINT_PID, REASON_NOT_FOUND, 0, "knows no containers" },
	{ CHECK_NETNS, ENDPOINT_VSOCK, REASON_NOT_RUNNING, 0, "--pod-netns" },
	{ CHECK_NETNS, ENDPOINT_NETNS, REASON_NOT_RUNNING, 0, "the container has ended" },
	{ CHECK_NETNS, ENDPOINT_PID, REASON_DENIED, 0, "run vzfwd as root" },
	{ CHECK_NETNS, ENDPOINT_EXEC, REASON_DENIED, EPERM, "must run as root" },
	{ CHECK_NETNS, ENDPOINT_VSOCK, REASON_DENIED, 0, "--token-file" },
	{ CHECK_NETNS, ENDPOINT_UNIX, REASON_DENIED, EACCES, "your own user" },
	{ CHECK_ROUND_TRIP, ENDPOINT_VSOCK, REASON_UNREACHABLE, 0, "restarting" },
	{ CHECK_NETNS, ENDPOINT_VSOCK, REASON_INTERNAL, 0, "-v" },
};

int main(void)
{
	struct error err;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *hint;

		error_set(&err, cases[i].reason, cases[i].sys_errno, "x");
		hint = hint_find(cases[i].step, cases[i].type, &err);
		if (!ok(strstr(hint, cases[i].words) != NULL, "case %zu: %s", i, cases[i].words))
			diag("got: %s", hint);
	}
	return done_testing();
}
