#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd listen …/udp`: a flow for each client, its end, and whom the answers come from.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/relaying.sh"

guest_start "$pod"
ip -6 addr add fd00::5/128 dev lo nodad

# listening PORT POD: forwards PORT to PORT + 3 there; sets listen_pid and out.
listening() {
	local port=$1

	out=$tmp/listen$port
	spawn vzfwd -v listen -p "$2" "$port:$port/udp" "*:$((port + 2)):$((port + 2))/udp" \
		"$((port + 3)):127.0.0.1:$((port + 3))/udp" >"$out" 2>"$out.log"
	listen_pid=$!
	spawn vzfwd listen --udp-idle 1.5 -p "$2" "$((port + 1))/udp" >/dev/null 2>"$out.idle.log"
	wait_for 10 udp_bound "$port"
	wait_for 10 udp_bound $((port + 1))
	wait_for 10 udp_bound $((port + 3))
}

port=5000
for endpoint in "$guest_endpoint" "netns:$netns"; do
	listening $port "$endpoint"
	kind=${endpoint%%:*}
	like "$(cat "$out")" "^Forwarding from 127.0.0.1:$port -> $port/udp"$'\n'"Forwarding from \[::1\]:$port -> $port/udp"$'\n' \
		"$kind: what it prints"
	like "$(cat "$out")" "-> 127.0.0.1:$((port + 3))/udp" "$kind: a target with its host"
	rss=$(rss_kb_of $listen_pid)
	checks udp-listen.py "$netns" "$kind" "$out.log" $port 127.0.0.1 ::1
	like "$(cat "$out")" $'\n'"Handling connection for $port"$'\n' "$kind: a line for a flow"
	like "$(cat "$out.log")" ":$((port + 3))/udp #[0-9]+: connection refused" "$kind: a log line for a target that is not there"
	if sanitized; then
		skip "built with a sanitizer" "$kind: memory"
	else
		grown=$(($(rss_kb_of $listen_pid) - rss))
		ok "$kind: memory grew by $grown KiB, not more than 16 MiB" test $grown -le 16384
	fi
	stop $listen_pid
	port=$((port + 10))
done

spawn vzfwd listen -p "netns:$netns" :53/udp 6000:53/udp >"$tmp/free" 2>&1
wait_for 10 udp_bound 6000
like "$(cat "$tmp/free")" '^Forwarding from 127\.0\.0\.1:([0-9]+) -> 53/udp'$'\n''Forwarding from \[::1\]:([0-9]+) -> 53/udp' "a free port"
is "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "the same in both families"
run vzfwd listen -p "netns:$netns" 6001:53/udp 127.0.0.1:6000:53/udp
is "$status" 73 "a port that is in use"
like "$(cat "$tmp/err")" 'cannot listen on 127\.0\.0\.1:6000: address already in use' "it is named"
is "$(exit_of vzfwd listen -p "netns:$netns" --udp-idle 601 6001:53/udp)" 64 "too long a silence"

spawn vzfwd -v listen --max-connections 2 -p "netns:$netns" 5100:5100/udp 5101 >/dev/null 2>"$tmp/turns.log"
turns_pid=$!
wait_for 10 tcp_listens 5101
checks udp-listen.py "$netns" turns "$tmp/turns.log" 5100 $turns_pid
not_ok "the guest is still there" gone "$guest_pid"

# A way with a smaller MTU behind the pod's own: a router says so by ICMP, once.
router=$(pod_new)
far=$(pod_new)
ip link add near netns "$pod" type veth peer name near netns "$router"
ip link add far mtu 1000 netns "$router" type veth peer name far mtu 1000 netns "$far"
ip -n "$pod" addr add 10.0.0.1/24 dev near
ip -n "$router" addr add 10.0.0.2/24 dev near
ip -n "$router" addr add 10.0.1.1/24 dev far
ip -n "$far" addr add 10.0.1.2/24 dev far
ip -n "$pod" link set near up
ip -n "$router" link set near up
ip -n "$router" link set far up
ip -n "$far" link set far up
ip -n "$pod" route add default via 10.0.0.2
ip -n "$far" route add default via 10.0.1.1
ip netns exec "$router" sysctl -qw net.ipv4.ip_forward=1
guest_start "$pod" --allow 10.0.0.0/8
spawn vzfwd -v listen -p "$guest_endpoint" 5200:10.0.1.2:5200/udp >/dev/null 2>"$tmp/mtu.log"
wait_for 10 udp_bound 5200
checks udp-listen.py "/run/netns/$far" mtu "$tmp/mtu.log" 5200
done_testing
