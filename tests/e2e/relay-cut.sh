#!/bin/bash
# SPDX-License-Identifier: MIT
# Links that are cut at a given byte, guests and hosts that are killed: the far side gets a reset, and
# no truncated transfer looks whole.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/relaying.sh"

guest_start "$pod"
guest=$guest_endpoint
guest_start "$pod"
spawn vzfwd listen -p "$guest_endpoint" 8081:81 >"$tmp/listen-victim.out" 2>"$tmp/listen-victim.log"
wait_for 10 tcp_listens 8081
spawn vzfwd listen -p "$guest" 8082:82 >"$tmp/listen-killed.out" 2>"$tmp/listen-killed.log"
# shellcheck disable=SC2154 # guest_pid: guest_start
arguments=("$netns" "$guest" "$guest_endpoint" "$guest_pid" 8081:81 8082:82 $!)
wait_for 10 tcp_listens 8082
if over_vsock; then
	checks relay-cut.py "${arguments[@]}"
	done_testing
fi
# What is in the middle counts links, and wants no others.
spawn vzfwd listen --retry-for 0 -p "unix://$tmp/middle.sock" 8080:80 >"$tmp/listen.out" 2>"$tmp/listen.log"
wait_for 10 tcp_listens 8080
checks relay-cut.py "${arguments[@]}" "$tmp/middle.sock" 8080:80 "$exec_endpoint"
like "$(cat "$tmp/listen.log")" "the link was cut" "listen says so"
done_testing
