#!/bin/bash
# SPDX-License-Identifier: MIT
# Much at a time through `listen` and vzfwd-guest: every byte of it, ends, resets and signals in the middle of it, beside
# others who wait, and with few descriptors.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/relaying.sh"

few() { # DESCRIPTORS COMMAND...
	ulimit -n "$1"
	exec "${@:2}"
}

# A guest and a listen of their own on one port, which is also the target's; adds a way to $ways. With DESCRIPTORS
# they may have that many.
ways=()
pids=()
way() { # NAME PORT [DESCRIPTORS]
	local socket=$tmp/$1.sock limit=${3:-$(ulimit -n)} guest

	spawn few "$limit" vzfwd-guest --listen "unix://$socket" --pod-netns "$netns" >"$tmp/$1-guest.log" 2>&1
	guest=$!
	wait_for 10 unix_listens "$socket"
	spawn few "$limit" vzfwd listen -p "unix://$socket" "$2:$2" >"$tmp/$1.out" 2>"$tmp/$1-listen.log"
	pids+=("$!" "$guest")
	wait_for 10 tcp_listens "$2"
	ways+=("$1=$2:$!:$guest")
}

way bulk 8080
way few 8081 64
way stop-listen 8082
way stop-guest 8083
way kill-listen 8084
way kill-guest 8085
checks relay-bulk.py "$netns" "${ways[@]}"
# The checks above have seen these two end.
wait "${pids[4]}"
is "$?" 0 "the exit status of listen, stopped in the middle"
wait "${pids[7]}"
is "$?" 0 "that of vzfwd-guest"
done_testing
