#!/bin/bash
# SPDX-License-Identifier: MIT
# The way back for datagrams: boundaries, sizes and order, one flow for each of a pod's sockets, and how flows end.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/exposing.sh"

guest_start "$pod" --allow-expose
vzfwd pod add web "$guest_endpoint"
sibling=$(pod_new)
guest_start "$sibling"
vzfwd pod add sibling "$guest_endpoint"
udp_start() { # NAME ARGUMENT...
	spawn vzfwd expose --udp-idle 1 --events "$tmp/$1.events" "${@:2}" >"$tmp/$1.out" 2>"$tmp/$1.log"
	expose_pid=$!
	wait_for 10 grep -q Exposing "$tmp/$1.out"
}
udp_start link --on-loopback web 5300/udp 5301:127.0.0.1:5311/udp 5302:pod:sibling:5302/udp
wait_for 10 has_lines "$tmp/link.out" Exposing 6
link_pid=$expose_pid
udp_start netns --alias-ip 192.168.127.253 "netns:$netns" 5300/udp
like "$(cat "$tmp/netns.out")" "^Exposing 192.168.127.253:5300 -> localhost:5300/udp$" "what it says"
netns_pid=$expose_pid
udp_start many --udp-idle 60 --park-max 256 web 5305/udp
many_pid=$expose_pid
fails 73 ".*cannot listen on 192.168.127.254:5300 in the pod: address already in use" "in use in the pod" "netns:$netns" 5300/udp
checks expose-udp.py "$netns" "/run/netns/$sibling" "$tmp/link.events" "$tmp/netns.events" "$tmp/many.events" "$many_pid"
stop "$netns_pid"
is "$(vzfwd ports --json web | grep -c '"port"')" 0 "ports: none of it is shown"
kill -KILL "$many_pid"
not_bound() {
	! udp_bound 5305 "$pod"
}
ok "killed: the port is closed" wait_for 5 not_bound
refused="vzfwd: web<127.0.0.1:5311/udp #[0-9]*: connection refused"
told=$(grep -cx "$refused" "$tmp/link.log")
in_pod "$pod" python3 -c 'import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"?", ("192.168.127.254", 5301))'
told_again() {
	[ "$(grep -cx "$refused" "$tmp/link.log")" -gt "$told" ]
}
ok "a service that is not there is told of" wait_for 5 told_again
stop "$link_pid"
is "$(cat "$tmp"/link.log "$tmp/netns.log" "$tmp/many.log" | grep -vx "$refused")" "" "nothing else was wrong"
done_testing
