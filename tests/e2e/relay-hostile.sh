#!/bin/bash
# SPDX-License-Identifier: MIT
# After "connected" neither side of a link can hurt the other: broken protocol, floods and silence.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/relaying.sh"

memory_told=yes
if sanitized; then
	memory_told=no
fi
guest_start "$pod"
# Such a dialer takes one link at a time, and has none for a look whether it is there.
spawn vzfwd listen --retry-for 0 -p "unix://$tmp/fake.sock" 8080:80 >"$tmp/listen.out" 2>"$tmp/listen.log"
listen_pid=$!
wait_for 10 tcp_listens 8080
# shellcheck disable=SC2154 # guest_pid: guest_start
checks relay-hostile.py "$netns" "$memory_told" "$guest_socket" "$guest_pid" "$tmp/fake.sock" 8080 "$listen_pid"
not_ok "the guest is still there" gone "$guest_pid"
not_ok "listen is still there" gone "$listen_pid"
[ "$memory_told" = yes ] || skip "built with a sanitizer" "memory"
done_testing
