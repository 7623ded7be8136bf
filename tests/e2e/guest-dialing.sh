# shellcheck shell=bash
# shellcheck disable=SC2034 # variables for the tests
# shellcheck disable=SC2154 # socket: the test sets it
# SPDX-License-Identifier: MIT
#
# What the tests of vzfwd-guest's wire share; sourced after functions.sh. There is a pod, $pod, with the servers of
# guest-target.py, whose process is $server; a test starts its guest on it and sets socket=$guest_socket.

here=$(cd "$(dirname "$0")" && pwd)
requires_root
requires python3 setpriv socat ps

# wire SOCKET STEP...: one link, step by step. Prints what was read.
#	send:TEXT  data:TEXT  eof   bytes; a DATA record; an EOF record
#	line  records  rest         a line; records, until the end; bytes, until the end
#	shut  wait:FILE             half-close; until FILE exists
# wire SOCKET each METHOD PARAMS...   a link for each: the answer, and what follows up to the end
wire() {
	# shellcheck disable=SC2031 # spawn() sets it, in the subshell that comes here
	${in_spawn:+exec} python3 "$here/guest-wire.py" "$@"
}

dial() { # PARAMS [STEP...]: pod.portDial on a link of its own
	wire "$socket" "send:{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pod.portDial\",\"params\":{$1}}\n" "${@:2}"
}
error() { # CODE MESSAGE REASON [ERRNO]: an error answer's line, but for its id
	printf '{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"%s","data":{"reason":"%s"%s}}}' "${id-1}" \
		"$1" "${2//\"/\\\"}" "$3" "${4:+,\"errno\":\"$4\"}"
}

# A request, and the pattern of pod.portDial's answer.
info='{"jsonrpc":"2.0","id":1,"method":"guest.info"}\n'
answer='^\{"jsonrpc":"2.0","id":1,"result":\{"network":"tcp","remote":"REMOTE","local":"LOCAL:[0-9]+","framing":"FRAMING"\}\}'
answer() { # REMOTE LOCAL FRAMING
	local a=${answer//REMOTE/$1}

	a=${a//LOCAL/$2}
	echo "${a//FRAMING/$3}"
}

pod=$(pod_new)
ip -n "$pod" addr add 10.9.0.1/24 dev lo
spawn in_pod "$pod" python3 "$here/guest-target.py" "$tmp/ready"
server=$!
wait_for 20 test -e "$tmp/ready"
