#!/bin/bash
# SPDX-License-Identifier: MIT
# Datagrams with peers that are slow, stuck or hostile: each hurts its own flow and nobody else's.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/relaying.sh"

memory_told=yes
if sanitized; then
	memory_told=no
fi
guest_start "$pod"
spawn vzfwd listen -p "unix://$tmp/fake.sock" 5000:53/udp >"$tmp/listen.out" 2>"$tmp/listen.log"
listen_pid=$!
spawn vzfwd listen --max-connections 2 -p "unix://$tmp/fake.sock" 5001:53/udp >"$tmp/limited.out" 2>"$tmp/limited.log"
wait_for 10 udp_bound 5000
wait_for 10 udp_bound 5001
# shellcheck disable=SC2154 # guest_socket: guest_start
checks udp-hostile.py "$netns" "$memory_told" "$guest_socket" "$guest_pid" "$tmp/fake.sock" 5000 "$listen_pid" 5001
not_ok "the guest is still there" gone "$guest_pid"
not_ok "listen is still there" gone "$listen_pid"
is "$(tr -d '\n' <"$tmp/listen.log" | tr -dc '\000-\037\177-\377' | wc -c)" 0 "what a dialer says is escaped"
[ "$memory_told" = yes ] || skip "built with a sanitizer" "memory"

# The guest counts flows among its connections.
guest_start "$pod" --max-connections 1
run vzfwd dial "$guest_endpoint" --status-fd 2 --udp-idle 0.1 udp 127.0.0.1:9
is "$status" 0 "one connection"
mkfifo "$tmp/hold"
spawn vzfwd dial --status-fd 3 "$guest_endpoint" udp 127.0.0.1:9 3>"$tmp/status" <>"$tmp/hold"
wait_for 10 grep -q connected "$tmp/status"
is "$(exit_of vzfwd dial "$guest_endpoint" udp 127.0.0.1:9)" 73 "one too many"
done_testing
