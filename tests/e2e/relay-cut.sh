#!/bin/bash
# SPDX-License-Identifier: MIT
# Links that are cut at a given byte, guests and hosts that are killed: the far side gets a reset, and
# no truncated transfer looks whole.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/relaying.sh"

guest_start "$pod"
guest=$guest_socket
guest_start "$pod"
spawn vzfwd listen -p "unix://$tmp/middle.sock" 8080:80 >"$tmp/listen.out" 2>"$tmp/listen.log"
wait_for 10 tcp_listens 8080
spawn vzfwd listen -p "$guest_endpoint" 8081:81 >"$tmp/listen-victim.out" 2>"$tmp/listen-victim.log"
wait_for 10 tcp_listens 8081
spawn vzfwd listen -p "unix://$guest" 8082:82 >"$tmp/listen-killed.out" 2>"$tmp/listen-killed.log"
killed=$!
wait_for 10 tcp_listens 8082
# shellcheck disable=SC2154 # guest_pid: guest_start
checks relay-cut.py "$netns" "$guest" "$tmp/middle.sock" 8080:80 "$exec_endpoint" \
	"$guest_socket" "$guest_pid" 8081:81 8082:82 "$killed"
like "$(cat "$tmp/listen.log")" "the link was cut" "listen says so"
done_testing
