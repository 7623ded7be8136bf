#!/bin/bash
# SPDX-License-Identifier: MIT
# The life of `vzfwd egress`: whoever ends it, nothing leaves the pod any more; and it comes back when the pod does.
. "$(dirname "$0")/../functions.sh"
requires_root
requires openssl
. "$(dirname "$0")/egressing.sh"

egress_net
mkdir -p "$tmp/www/1.1.1.1"
head -c 20000 /dev/urandom >"$tmp/www/1.1.1.1/page"
page=$tmp/www/1.1.1.1/page
serve_net
names_are "1.1.1.1 good.example"
rules=(--allow good.example --allow "1.1.1.0/24/udp")

guest_start "$pod"
run vzfwd egress "$guest_endpoint" "${rules[@]}"
is "$status $(cat "$tmp/err")" "77 vzfwd: egress: egress: pod.portAccept: not allowed by vzfwd-guest; see --allow-egress" \
	"a vzfwd-guest without --allow-egress"
stop "$guest_pid"
guest_start "$pod" --allow-expose
is "$(exit_of vzfwd egress "$guest_endpoint" "${rules[@]}")" 77 "or with --allow-expose alone"
stop "$guest_pid"
for bad in "--allow 1.2.3" "--allow :80" "--deny localhost" "--upstream ftp://a:1" "--park 9 --park-max 4" "--alias-ip x" "--dns-zone =" \
	"--policy $tmp/none" ""; do
	# shellcheck disable=SC2086 # several words, or none
	like "$(exit_of timeout 10 vzfwd egress ${bad:+"$guest_endpoint"} $bad)" '^(64|66)$' "${bad:-no pod} is wrong"
done
is "$(exit_of vzfwd egress "$guest_endpoint" "${rules[@]}")" 69 "nobody there"

# nothing NAME: not one packet leaves, and clients do not hang.
nothing() {
	local before after

	before=$(wc -l <"$tmp/web.log")
	not_ok "$1: no connection" client 1.1.1.1:80 expect-eof
	not_ok "$1: none by IPv6" client "[2a00::1]:80" expect-eof
	not_ok "$1: no datagram" in_egress python3 "$e2e/egress-udp.py" silent 1.1.1.1:7
	not_ok "$1: no name" in_egress getent hosts good.example
	after=$(wc -l <"$tmp/web.log")
	is "$after" "$before" "$1: nothing has left"
}

goes_through() {
	in_egress curl -sSf --max-time 5 -o "$tmp/got" http://good.example/page
}

life() {
	local name=$1 how

	for how in TERM KILL; do
		rm -f "$tmp/open" "$tmp/go"
		gets http://good.example/page "$page" "$name: before it ends"
		spawn client 1.1.1.1:8080 "touch:$tmp/open" "wait:$tmp/go" expect-reset
		local open=$!
		wait_for 10 test -e "$tmp/open"
		wait_for 10 grep -q '"opened".*"target":"1.1.1.1:8080"' "$tmp/events"
		run vzfwd egress "${egress_pod:-$guest_endpoint}" "${rules[@]}"
		is "$status" 73 "$name: another one is refused"
		gets http://good.example/page "$page" "$name: and this one goes on"
		kill "-$how" "$egress_pid"
		wait "$egress_pid" 2>/dev/null
		status=$?
		[ "$how" = KILL ] || is "$status" 0 "$name: its exit status"
		touch "$tmp/go"
		wait "$open"
		is $? 0 "$name, $how: what was open is reset"
		nothing "$name, $how"
		rm "$tmp/events"
		egress_again
		gets http://good.example/page "$page" "$name: started again"
		not_ok "$name: as before" client 1.1.1.2:8080 expect-eof
	done
	stop "$egress_pid"
	nothing "$name, ended"
}

guest_start "$pod" --allow-egress
run vzfwd expose "$guest_endpoint" "$alias_ip:5432:127.0.0.1:5432"
like "$status" '^(64|77)$' "--allow-egress allows no port but that of DNS"
egress_start "${rules[@]}"
gets http://good.example/page "$page" "at first"
kill -KILL "$guest_pid"
wait "$guest_pid" 2>/dev/null
nothing "a killed vzfwd-guest"
guest_again
ok "another one: it goes on" wait_for 20 goes_through
same "$tmp/got" "$page" "every byte"
ok "as the events say" grep -q '"event":"pod-back"' "$tmp/events"
kill -HUP "$egress_pid"
gets http://good.example/page "$page" "SIGHUP does no harm where there is no policy"
stop "$egress_pid"
egress_again
life vzfwd-guest

# The pod is started anew: its netns is another one then.
egress_again
gets http://good.example/page "$page" "before the pod is restarted"
ip netns del "$pod"
ip netns add "$pod"
ip -n "$pod" link set lo up
ok "a pod that was restarted" wait_for 20 goes_through
same "$tmp/got" "$page" "every byte"
stop "$egress_pid"
nothing "and no egress"
stop "$guest_pid"

egress_pod=netns:/run/netns/$pod
egress_start "${rules[@]}"
life netns:
done_testing
