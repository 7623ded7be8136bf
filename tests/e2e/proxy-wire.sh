#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd proxy` byte by byte: replies, what is sent ahead, and clients that are slow, wrong, hostile or many.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/relaying.sh"

guest_start "$pod"
vzfwd pod add web "$guest_endpoint"
# shellcheck disable=SC2154 # exec_endpoint: relaying.sh
vzfwd pod add command "$exec_endpoint"
printf 'user:password\n' >"$tmp/users"
chmod 600 "$tmp/users"
spawn vzfwd proxy -p web --events "$tmp/events" 1080 >"$tmp/proxy.out" 2>"$tmp/proxy.log"
proxy_pid=$!
spawn vzfwd proxy --auth-file "$tmp/users" 1081 >"$tmp/auth.out" 2>"$tmp/auth.log"
spawn vzfwd proxy --max-connections 2 1082 >"$tmp/few.out" 2>"$tmp/few.log"
for port in 1080 1081 1082; do
	wait_for 10 tcp_listens "$port"
done
fds=$(fds_of "$proxy_pid")
checks proxy-wire.py "$netns" "$tmp" 1080 1081 1082
not_ok "the proxy is still there" gone "$proxy_pid"
# Nothing of all that is left: the relay's second thread may have come, with its own descriptors.
descriptors_back() {
	[ "$(fds_of "$proxy_pid")" -le $((fds + 24)) ]
}
ok "with no more descriptors than before" wait_for 10 descriptors_back
done_testing
