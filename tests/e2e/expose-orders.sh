#!/bin/bash
# SPDX-License-Identifier: MIT
# The way back: ends and resets in every order, with the bytes before them, from a pod's clients to services of the host's
# and of another pod's.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/relaying.sh"
requires socat

exposed() { # NAME POD EXPOSED...
	spawn vzfwd expose "${@:2}" >"$tmp/$1.out" 2>"$tmp/$1.log"
	wait_for 10 grep -q Exposing "$tmp/$1.out"
}

sibling=$(pod_new)
guest_start "$sibling"
vzfwd pod add sibling "$guest_endpoint"
guest_start "$pod" --allow-expose
exposed guest --on-loopback "$guest_endpoint" 8080:9080
wait_for 10 tcp_listens 8080 "$pod"
exposed ipv6 --alias-ip fd00::7 "$guest_endpoint" 8081:127.0.0.1:9081
exposed sibling "$guest_endpoint" 8082:pod:sibling:9082
ways=("link=192.168.127.254,8080,9080" "IPv6=fd00::7,8081,9081"
	"sibling=192.168.127.254,8082,9082,/run/netns/$sibling")
if ! over_vsock; then
	exec="exec:exec socat - UNIX:$guest_socket"
	exposed exec "$exec" 8083:9083
	exposed netns --alias-ip 192.168.127.253 "netns:$netns" 8084:9084
	vzfwd pod add command "exec:exec vzfwd-guest --stdio --pod-netns /run/netns/$sibling"
	exposed command "$guest_endpoint" 8085:pod:command:9085
	exposed commands "$exec" 8086:pod:command:9086
	ways+=("exec:=192.168.127.254,8083,9083" "netns:=192.168.127.253,8084,9084"
		"exec: sibling=192.168.127.254,8085,9085,/run/netns/$sibling"
		"exec: to exec:=192.168.127.254,8086,9086,/run/netns/$sibling")
fi
checks expose-orders.py "$netns" "${ways[@]}"
done_testing
