#!/bin/bash
# SPDX-License-Identifier: MIT
# A client that is killed in mid-transfer leaves no process and no descriptor behind: in the shim, serve and the guest.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/kubernetes.sh"

# What each of them holds. The guest keeps some pipes for the next transfer, so of its descriptors the sockets count.
holdings() {
	echo "shim: $(fds_of "$shim_pid") descriptors, $(pgrep -c -P "$shim_pid") children"
	[ -z "$serve_pid" ] || echo "serve: $(fds_of "$serve_pid") descriptors"
	echo "guest: $(find "/proc/$guest_pid/fd" -lname 'socket:*' | wc -l) sockets"
}

holds_as_before() {
	holdings >"$tmp/now"
	cmp "$tmp/before" "$tmp/now"
}

# busy NAME STEP...: a connection that goes on after it has made the file NAME; the session is the last one.
busy() {
	spawn client "${@:2}" 2>/dev/null
	busy_names+=("$1")
}

all_busy() {
	local name

	for name in "${busy_names[@]}"; do
		wait_for 20 test -e "$tmp/$name" || return
	done
}

# Three sessions: bytes flow both ways in one. A connection that is stuck holds up all that is in its session: SPDY as
# kubectl does it has no flow control of its streams. So the others have one each: the client doesn't read, and neither
# end does. (Where only the server doesn't, and sends nothing, nobody can see the client go: its end waits behind what
# it has sent.)
sessions_run() {
	local i

	rm -f "$tmp"/*.busy
	busy_names=()
	sessions=()
	session "$1" "$2" 7001 7002 || return
	sessions+=("$session_pid")
	for i in 1 2 3 4; do
		busy "up$i.busy" 7001 pattern:1000000 "touch:$tmp/up$i.busy" pattern:100000000000
	done
	busy down.busy 7002 expect-pattern:1311680 "touch:$tmp/down.busy" expect-pattern:100000000000
	session "$1" "$2" 7002 || return
	sessions+=("$session_pid")
	busy down-stuck.busy 7002 expect-pattern:1311680 "touch:$tmp/down-stuck.busy" "wait:$tmp/never"
	session "$1" "$2" 7002 || return
	sessions+=("$session_pid")
	busy stuck.busy 7002 stuff "touch:$tmp/stuck.busy" "wait:$tmp/never"
	all_busy
}

uploads_were_cut() {
	cat "$tmp/target.out"
	[ "$(grep -cx "7001 reset ECONNRESET" "$tmp/target.out")" = 4 ]
}

# killed WAY CLIENT POD
killed() {
	local what="$1, $2"

	# What a runtime keeps after its first connection stays.
	ok "$what: a session" session "$2" "$3" 7004
	ok "$what: works" client 7004 echo:100000 eof expect-eof
	kill -KILL "$session_pid"
	wait_for 10 no_children
	wait_for 10 holds_still
	holdings >"$tmp/before"
	: >"$tmp/target.out"
	ok "$what: transfers both ways, busy and stuck" sessions_run "$2" "$3"
	not_ok "$what: they hold something" holds_as_before
	kill -KILL "${sessions[@]}"
	ok "$what: killed, and nothing is left" wait_for 20 holds_as_before
	diff "$tmp/before" "$tmp/now" >&2
	# A raw link, which is what serve passes, can't tell a cut from an end.
	[ "$1" = serve ] || ok "$what: the server saw no end of what was cut" uploads_were_cut
}

no_children() {
	! pgrep -P "$shim_pid"
}

# Twice the same within 100 ms.
holds_still() {
	holdings >"$tmp/once"
	sleep 0.1
	[ "$(holdings)" = "$(cat "$tmp/once")" ]
}

for way in ${WAYS:-dial serve}; do
	ok "$way: a shim" runtime_start "$way"
	ok "$way: a pod" pod_run "$way" vm
	spawn in_pod "$pod_netns" python3 "$tools/target.py" "$tmp/target.out" 7001=eof 7002=send:100000000000 7004=echo
	wait_for 10 tcp_listens 7004 "$pod_netns"
	# The guest starts its second thread with the first bulk.
	vzfwd dial "$guest_endpoint" tcp :7002 2>/dev/null | head -c 500000000 >/dev/null
	ok "$way: an API server" api_start
	killed "$way" kubectl-newest:websocket "$way"
	killed "$way" kubectl-newest:spdy "$way"
	killed "$way" crictl:spdy "$pod_id"
	runtime_stop
done
done_testing
