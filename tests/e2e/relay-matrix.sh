#!/bin/bash
# SPDX-License-Identifier: MIT
# Ends and resets in every order, with the bytes before them, through `listen` and `dial`, with records,
# raw, and without a guest at all.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/relaying.sh"

guest_start "$pod"
forwards=()
start_listen() {
	spawn vzfwd listen -p "$2" "$3" >"$tmp/listen-$1.out" 2>"$tmp/listen-$1.log"
	wait_for 10 tcp_listens "${3%:*}"
	forwards+=("$1:=$3")
}
start_listen "${guest_endpoint%%:*}" "$guest_endpoint" 8080:80
if over_vsock; then
	checks relay-matrix.py "$netns" "$guest_endpoint" "${forwards[@]}"
	done_testing
fi
start_listen exec "$exec_endpoint" 8081:81
start_listen netns "netns:$netns" 8082:82
# A command of several, none of which knows the others' end; what they hold is not to be lost.
pipeline="exec:python3 $here/relay-pipe.py 0.05 | ${exec_endpoint#exec:exec } | python3 $here/relay-pipe.py 0.05"
start_listen pipeline "$pipeline" 8083:83
checks relay-matrix.py "$netns" "$guest_endpoint" "${forwards[@]}" "exec:=$exec_endpoint" "exec: pipeline=$pipeline" \
	"netns:=netns:$netns"
done_testing
