#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd serve` carries datagrams: in records for its callers, and for forwards.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/relaying.sh"

guest_start "$pod"
vzfwd pod add vm "$guest_endpoint"
vzfwd pod add net "netns:$netns"
vzfwd pod add command "$exec_endpoint"
spawn vzfwd serve --socket "$tmp/serve.sock" 2>"$tmp/serve.log"
serve_pid=$!
wait_for 10 unix_listens "$tmp/serve.sock"
fds=$(fds_of "$serve_pid")
checks udp-serve.py "$netns" "$tmp/serve.sock"
few_fds() {
	[ "$(fds_of "$serve_pid")" -le "$fds" ]
}
ok "no descriptor is left" wait_for 10 few_fds
ok "it ends when told to" stop "$serve_pid"
not_ok "the guest is still there" gone "$guest_pid"
done_testing
