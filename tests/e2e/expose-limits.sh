#!/bin/bash
# SPDX-License-Identifier: MIT
# How much a pod can make of `vzfwd expose`: crowds, and the limits of links, connections and their rate.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/exposing.sh"

echo_at 127.0.0.1:7000 127.0.0.1:7001
guest_start "$pod" --allow-expose
vzfwd pod add web "$guest_endpoint"

crowd() {
	in_pod "$pod" python3 "$here/pod-crowd.py" "$@"
}

# most LABEL: how many links were parked at a time, by what -v says
most() {
	awk -v label="$1" 'index($0, label) == 0 { next }
		/link idle -> notified$/ { if (++n > most) most = n }
		/link notified -> / { n-- }
		END { print most + 0 }' "$tmp/expose.log"
}

parked() { # COUNT: so many links are
	[ "$(lines "$tmp/expose.log" 'link idle -> notified$')" -ge $(($(lines "$tmp/expose.log" 'link notified -> ') + $1)) ]
}

# Crowds

expose_start -v web 7000
ok "four are parked" wait_for 5 parked 4
ok "200 clients at once" crowd at-once "$alias:7000" 200 20000
n=$(most 'localhost:7000')
ok "links are opened ahead of them, at most 64 ($n)" test "$n" -gt 4 -a "$n" -le 64
ok "1000 clients, one after the other" crowd churn "$alias:7000" 1000 100
stop "$expose_pid"
expose_start -v --park 1 --park-max 2 web 7000
ok "--park-max 2: 200 clients at once" crowd at-once "$alias:7000" 200 20000
is "$(most 'localhost:7000')" 2 "--park-max 2: so many are parked"
stop "$expose_pid"
fds=$(fds_of "$guest_pid")
expose_start --park 9 --park-max 9 web 7000
wait_for 5 eval "[ \$(fds_of $guest_pid) -ge $((fds + 9)) ]"
ok "--park 9: the guest has as many links" wait_for 5 eval "[ \$(fds_of $guest_pid) -le $((fds + 20)) ]"
stop "$expose_pid"

# --connect-rate

expose_start --connect-rate 5 web 7000
start=${EPOCHREALTIME/./}
ok "--connect-rate 5: 15 clients" crowd at-once "$alias:7000" 15 100
ms=$(((${EPOCHREALTIME/./} - start) / 1000))
ok "--connect-rate 5: two seconds for ten of them ($ms ms)" test "$ms" -ge 1800 -a "$ms" -le $((8000 * VZFWD_TEST_SLOWNESS))
stop "$expose_pid"

for endpoint in web "netns:/run/netns/$pod"; do
	expose_start --connect-rate 20 "$endpoint" 7000
	ok "--connect-rate, ${endpoint%%:*}: each has its turn" crowd fair "$alias:7000" 10 100 15
	stop "$expose_pid"
	expose_start --max-connections 4 "$endpoint" 7000
	ok "--max-connections, ${endpoint%%:*}: each has its turn" crowd fair "$alias:7000" 20 100 50
	stop "$expose_pid"
done

# --max-connections

open_ones() {
	vzfwd status --json | python3 -c 'import json, sys
print(sum(e["connections"] for e in json.load(sys.stdin)))'
}
expose_start --max-connections 2 --on-loopback web 7000 7001
wait_for 5 has_lines "$tmp/expose.out" Exposing 4
spawn crowd hold "$alias:7000" 2 1000 "$tmp/open" "$tmp/end"
hold_pid=$!
wait_for 10 test -e "$tmp/open"
is "$(open_ones)" 2 "--max-connections 2: two"
waiting=()
for place in "$alias:7000" 127.0.0.1:7000 '[::1]:7000' "$alias:7001" 127.0.0.1:7001; do
	spawn client "$place" echo:1000 eof expect-eof
	waiting+=($!)
done
sleep 1 # nothing is waited for: this is for what must not happen
is "$(open_ones)" 2 "--max-connections 2: still"
is "$(for pid in "${waiting[@]}"; do gone "$pid" && echo gone; done)" "" "--max-connections 2: others wait"
touch "$tmp/end"
wait "$hold_pid"
is "$?" 0 "--max-connections 2: the two are served"
for pid in "${waiting[@]}"; do
	wait "$pid"
	is "$?" 0 "--max-connections 2: one that waited is served"
done
ok "--max-connections 2: 100 clients" crowd at-once "$alias:7001" 100 1000
# A client that waits, and goes
rm "$tmp/open" "$tmp/end"
spawn crowd hold 127.0.0.1:7000 2 1000 "$tmp/open" "$tmp/end"
wait_for 10 test -e "$tmp/open"
spawn client "$alias:7001" send:x "touch:$tmp/sent" "wait:$tmp/never"
wait_for 10 test -e "$tmp/sent"
stop $!
ok "--max-connections 2: and who waited has gone" kill -0 "$expose_pid"
touch "$tmp/end"
ok "--max-connections 2: room again" client "$alias:7001" echo:1000 eof expect-eof
ok "--max-connections 2: nobody is left" wait_for 10 eval '[ "$(open_ones)" = 0 ]'
stop "$expose_pid"

# Few descriptors

limited_start() {
	spawn prlimit --nofile=64:64 vzfwd expose "$@" >"$tmp/expose.out" 2>"$tmp/expose.log"
	expose_pid=$!
	wait_for 10 grep -q Exposing "$tmp/expose.out"
}
limited_start web 7000 7001
ok "64 descriptors: 100 clients" crowd at-once "$alias:7000" 100 20000
ok "64 descriptors: and others" crowd at-once "$alias:7001" 100 20000
is "$(cat "$tmp/expose.log")" "" "64 descriptors: nothing was wrong"
stop "$expose_pid"

# The guest's own limit

guest_start "$pod" --allow-expose --max-connections 1
expose_start "$guest_endpoint" 7001
rm -f "$tmp/open" "$tmp/end"
spawn crowd hold "$alias:7001" 1 1000 "$tmp/open" "$tmp/end"
hold_pid=$!
wait_for 10 test -e "$tmp/open"
for _ in 1 2 3; do
	ok "the guest's --max-connections: reset" client "$alias:7001" expect-reset
done
ok "the guest's --max-connections: told, and not each time" test "$(lines "$guest_log" 'clients of pods are refused: 1 connections')" -le 2
touch "$tmp/end"
wait "$hold_pid"
is "$?" 0 "the guest's --max-connections: the first is served"
ok "the guest's --max-connections: and another one" client "$alias:7001" echo:1000 eof expect-eof
stop "$expose_pid"
done_testing
