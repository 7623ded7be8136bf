#!/bin/bash
# SPDX-License-Identifier: MIT
# Connections that wait (open, half-closed, paused, with an end or a reset that nobody has come to read yet) take no
# CPU time; and what there is to be noticed meanwhile is noticed.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/relaying.sh"

guest_start "$pod"
spawn vzfwd listen -p "$guest_endpoint" 8080:80 >"$tmp/listen.out" 2>"$tmp/listen.log"
listen_pid=$!
wait_for 10 tcp_listens 8080
spawn vzfwd listen -p "netns:$netns" 8081:81 >"$tmp/listen-netns.out" 2>"$tmp/listen-netns.log"
netns_pid=$!
wait_for 10 tcp_listens 8081
# shellcheck disable=SC2154 # guest_pid: guest_start
checks relay-idle.py "$netns" "$guest_pid" "$listen_pid" 8080:80 "$netns_pid" 8081:81 "$guest_endpoint"
done_testing
