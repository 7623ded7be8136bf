#!/bin/bash
# SPDX-License-Identifier: MIT
# A slow reader stops its writer, whichever side it is on, and nobody's memory holds what is under way.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/relaying.sh"

memory_told=yes
if sanitized; then
	memory_told=no
fi
guest_start "$pod"
spawn vzfwd listen -p "$guest_endpoint" 8080:80 >"$tmp/listen.out" 2>"$tmp/listen.log"
# shellcheck disable=SC2154 # guest_pid: guest_start
listen_pids=$!,$guest_pid
wait_for 10 tcp_listens 8080
ways=("listen, ${guest_endpoint%%:*}:=8080:80:$listen_pids")
if ! over_vsock; then
	spawn vzfwd listen -p "netns:$netns" 8081:81 >"$tmp/listen-netns.out" 2>"$tmp/listen-netns.log"
	ways+=("listen, netns:=8081:81:$!")
	wait_for 10 tcp_listens 8081
fi
guest_start "$pod"
checks relay-slow.py "$netns" "$memory_told" "${ways[@]}" "dial, ${guest_endpoint%%:*}:=$guest_endpoint:$guest_pid"
[ "$memory_told" = yes ] || skip "built with a sanitizer" "memory"
done_testing
