/* SPDX-License-Identifier: MIT */
/*
 * The table of hints: by step, endpoint, reason and errno. The first row that
 * matches counts, so special cases stand before general ones.
 */
#include "config.h"

#include "hint.h"

#include <errno.h>

/* Masks of a hint's row; 0 matches everything. */
#define ON(x) (1u << (x))
#define ON_SOCKET (ON(ENDPOINT_HVSOCK) | ON(ENDPOINT_UNIX))
#define ON_VM (ON_SOCKET | ON(ENDPOINT_VSOCK) | ON(ENDPOINT_EXEC))
#define ON_HOST (ON(ENDPOINT_NETNS) | ON(ENDPOINT_PID))

static const struct {
	enum check_step step;
	unsigned endpoints;
	unsigned reasons;
	int sys_errno; /* 0: any */
	const char *text;
} hints[] = {
	{ CHECK_POD, 0, ON(REASON_NOT_FOUND), 0,
	  "`vzfwd pod list` shows the pods there are; `vzfwd pod add NAME ENDPOINT` "
	  "registers one" },
	{ CHECK_POD, 0, ON(REASON_DENIED), 0,
	  "the file, its folder and every parent must belong to root or to you and not be "
	  "writable by others" },
	{ CHECK_POD, 0, ON(REASON_NOT_RUNNING), 0,
	  "write the file anew: `vzfwd pod add --replace NAME ENDPOINT`" },
	{ CHECK_POD, 0, 0, 0,
	  "name a registered pod (`vzfwd pod list`) or an endpoint such as vsock://3" },

	{ CHECK_TOKEN, 0, ON(REASON_NOT_FOUND), 0,
	  "put vzfwd-guest's token there, or register the pod again without --token-file" },
	{ CHECK_TOKEN, 0, ON(REASON_DENIED), 0,
	  "the file must belong to root or to you, with mode 0600: `chmod 600` it, or run "
	  "vzfwd as its owner" },
	{ CHECK_TOKEN, 0, 0, 0,
	  "a token is 16 to 256 bytes, and the same as in vzfwd-guest's --token-file" },

	{ CHECK_ENDPOINT, 0, ON(REASON_EXHAUSTED), 0,
	  "descriptors or memory are out on this host: `ulimit -n`" },
	{ CHECK_ENDPOINT, ON(ENDPOINT_VSOCK), 0, ENODEV,
	  "no VM has this CID: is the VM running, and is it the CID that its VMM was given?" },
	{ CHECK_ENDPOINT, ON(ENDPOINT_VSOCK), 0, ECONNRESET,
	  "the VM is there, but nothing listens on this port in it: is vzfwd-guest "
	  "running, and on this port?" },
	{ CHECK_ENDPOINT, ON(ENDPOINT_VSOCK), 0, EAFNOSUPPORT,
	  "this kernel has no vsock loaded: `modprobe vhost_vsock`" },
	{ CHECK_ENDPOINT, ON(ENDPOINT_VSOCK), ON(REASON_TIMEOUT), 0,
	  "the VM does not answer: is it paused, or still booting?" },
	{ CHECK_ENDPOINT, ON_SOCKET, 0, ENOENT,
	  "there is no such socket: is the VM running, and is this the path that its VMM "
	  "was given?" },
	{ CHECK_ENDPOINT, ON_SOCKET, 0, ECONNREFUSED,
	  "nobody has this socket open any more: its VMM (or vzfwd-guest) has ended; start "
	  "it again" },
	{ CHECK_ENDPOINT, ON_SOCKET, ON(REASON_DENIED), 0,
	  "the socket is somebody else's: run vzfwd as root or as the user that the VMM runs as" },
	{ CHECK_ENDPOINT, ON(ENDPOINT_HVSOCK), ON(REASON_TIMEOUT), 0,
	  "the VMM did not answer CONNECT: is the VM paused, and is this its vsock socket?" },
	{ CHECK_ENDPOINT, ON(ENDPOINT_HVSOCK), ON(REASON_INTERNAL), 0,
	  "this socket does not answer CONNECT as a VMM does: if it leads straight to "
	  "vzfwd-guest, use unix://" },
	{ CHECK_ENDPOINT, ON(ENDPOINT_HVSOCK), 0, 0,
	  "the VMM found no listener on this port in the VM: is vzfwd-guest running, and "
	  "on this port?" },
	{ CHECK_ENDPOINT, ON(ENDPOINT_EXEC), 0, 0,
	  "the command could not be started: run it by hand" },
	{ CHECK_ENDPOINT, ON(ENDPOINT_FD), 0, 0,
	  "use the endpoint that the descriptor was connected to" },

	{ CHECK_HANDSHAKE, ON(ENDPOINT_EXEC), ON(REASON_UNREACHABLE), 0,
	  "the command ended without an answer: run it by hand; it must lead to "
	  "`vzfwd-guest --stdio`" },
	{ CHECK_HANDSHAKE, ON(ENDPOINT_UNIX), ON(REASON_UNREACHABLE), 0,
	  "the link was closed at once: is vzfwd-guest running in the VM, on the port that "
	  "this socket leads to?" },
	{ CHECK_HANDSHAKE, 0, ON(REASON_UNREACHABLE), 0,
	  "vzfwd-guest closed the link: does it let this host in (--allow-cid, "
	  "--privileged-peer)? Its log tells" },
	{ CHECK_HANDSHAKE, 0, ON(REASON_TIMEOUT), 0,
	  "connected, but nothing answers: is the VM paused, and is it vzfwd-guest that "
	  "listens there?" },
	{ CHECK_HANDSHAKE, 0, ON(REASON_UNSUPPORTED), 0,
	  "install the vzfwd-guest of this version in the VM" },
	{ CHECK_HANDSHAKE, 0, 0, 0,
	  "what answers there is no vzfwd-guest: is the endpoint right?" },

	{ CHECK_VERSION, 0, 0, 0,
	  "install vzfwd on this host and vzfwd-guest in the VM from one version" },

	{ CHECK_NETNS, ON_SOCKET, ON(REASON_DENIED), EACCES,
	  "a token goes only to a socket of root or of your own user; and in the VM, "
	  "vzfwd-guest must run as root" },
	{ CHECK_NETNS, ON_VM, ON(REASON_DENIED), 0,
	  "the pod's --token-file must be the same as vzfwd-guest's, and vzfwd-guest must "
	  "run as root in the VM" },
	{ CHECK_NETNS, ON_HOST, ON(REASON_NOT_FOUND), 0,
	  "this endpoint is one netns and knows no containers: give the container's own" },
	{ CHECK_NETNS, 0, ON(REASON_NOT_FOUND), 0,
	  "check --handle and --container against vzfwd-guest's --netns, --netns-dir and "
	  "--oci-root" },
	{ CHECK_NETNS, ON_HOST, ON(REASON_NOT_RUNNING), 0,
	  "the container has ended, or the path is no netns" },
	{ CHECK_NETNS, ON_HOST, ON(REASON_DENIED), 0,
	  "run vzfwd as root, or as the user who owns the container's user namespace" },
	{ CHECK_NETNS, 0, ON(REASON_NOT_RUNNING), 0,
	  "the pod's network namespace is gone: is the pod running, and vzfwd-guest's "
	  "--pod-netns right?" },
	{ CHECK_NETNS, 0, ON(REASON_UNSUPPORTED), 0,
	  "install the vzfwd-guest of this version in the VM" },
	{ CHECK_NETNS, 0, ON(REASON_TIMEOUT), 0, "the VM is very slow or has stopped: try again" },

	{ CHECK_ROUND_TRIP, 0, 0, 0,
	  "the link broke between two calls: is the VM or vzfwd-guest restarting?" },
};

const char *hint_find(enum check_step step, enum endpoint_type type, const struct error *err)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(hints); i++) {
		if (hints[i].step == step &&
		    (!hints[i].endpoints || (hints[i].endpoints & ON(type))) &&
		    (!hints[i].reasons || (hints[i].reasons & ON(err->reason))) &&
		    (!hints[i].sys_errno || hints[i].sys_errno == err->sys_errno))
			return hints[i].text;
	}
	return "run it again with -v: the log tells more";
}
