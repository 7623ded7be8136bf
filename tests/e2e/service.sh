#!/bin/bash
# SPDX-License-Identifier: MIT
# vzfwd serve started by a connection to its socket, and what it and vzfwd-guest tell a service manager.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 socat systemd-socket-activate

here=$(dirname "$0")

# notified SOCKET: a manager that is told, on $notify_socket; what it was told is in $told.
notified() {
	notify_socket=$1
	told=$tmp/told.${1##*[/@]}
	spawn python3 "$here/notified.py" "$notify_socket" >"$told"
	wait_for 5 grep -q '^bound$' "$told"
}

told_so_far() {
	sed 1d "$told" | tr '\n' ' '
}

ask() {
	python3 "$here/serve-ask.py" "$tmp/vzfwd.sock" "$@"
}

name_of() {
	cat "/proc/$1/comm"
}

# Inodes: of the sockets that a process has open, and of the listening Unix ones among them.
sockets_of() {
	find "/proc/$1/fd" -lname 'socket:*' -printf '%l\n' | tr -cd '0-9\n'
}

listeners_of() {
	sockets_of "$1" | grep -Fxf <(awk '$4 == "00010000" { print $7 }' /proc/net/unix)
}

# activate ADDRESS [SETTING...]: as a socket unit does it; it gives its place to the service. Sets serve_pid.
activate() {
	local setting options=()

	for setting in PATH VZFWD_PODS_DIR ASAN_OPTIONS TSAN_OPTIONS UBSAN_OPTIONS; do
		[ -z "${!setting:-}" ] || options+=(-E "$setting=${!setting}")
	done
	for setting in "${@:2}"; do
		options+=(-E "$setting")
	done
	spawn systemd-socket-activate -l "$1" "${options[@]}" vzfwd serve 2>"$tmp/serve.log"
	serve_pid=$!
}

pod=$(pod_new)
head -c 3000000 /dev/urandom >"$tmp/data"
spawn in_pod "$pod" socat TCP-LISTEN:80,bind=127.0.0.1,reuseaddr,fork SYSTEM:"cat" 2>/dev/null
wait_for 5 tcp_listens 80 "$pod"
vzfwd pod add web "netns:/run/netns/$pod"

notified "$tmp/notify"
activate "$tmp/vzfwd.sock" "NOTIFY_SOCKET=$notify_socket"
wait_for 5 unix_listens "$tmp/vzfwd.sock"
is "$(name_of "$serve_pid")" systemd-socket- "nobody has connected: it is not started"
is "$(told_so_far)" "" "nothing is told"
is "$(ask pod.list | tr -d ' ')" \
	'{"pods":[{"name":"web","endpoint":"netns:/run/netns/'"$pod"'","handle":"web"}]}' \
	"the first connection is answered"
is "$(name_of "$serve_pid")" vzfwd "it is vzfwd now"
ok "that it is ready is told" wait_for 5 grep -q '^READY=1$' "$told"
is "$(told_so_far)" "READY=1 " "once"

for i in 1 2 3 4 5 6; do
	ask pod.portDial '{"handle":"web","network":"tcp","port":80}' <"$tmp/data" >"$tmp/echo"
	cmp "$tmp/data" "$tmp/echo" || break
	# What the relays share is there after the first one.
	[ "$i" != 1 ] || sockets=$(sockets_of "$serve_pid" | wc -l)
done
same "$tmp/data" "$tmp/echo" "connections into the pod, one after the other"
no_more_sockets() {
	[ "$(sockets_of "$serve_pid" | wc -l)" -le "$sockets" ]
}
ok "no socket is left behind" wait_for 5 no_more_sockets
is "$(listeners_of "$serve_pid" | wc -l)" 1 "it has one listening socket: the one that it was given"

# The shell's own variables, and its descriptors: ls has one for the folder.
vzfwd pod add child "exec:{ env | sort; ls /proc/self/fd; } >$tmp/child; exec vzfwd-guest --stdio"
ask pod.portDial '{"handle":"child","network":"tcp","port":1}' </dev/null >"$tmp/out"
like "$(cat "$tmp/out")" '"reason": "refused"' "an exec: pod's command is started"
ok "its environment is there" grep -q '^PATH=' "$tmp/child"
not_ok "but nothing of the manager" grep -E '^(LISTEN_|NOTIFY_)' "$tmp/child"
is "$(grep -xE '[0-9]+' "$tmp/child" | sort -n | tr '\n' ' ')" "0 1 2 3 " "nor has it our descriptors"

kill -TERM "$serve_pid"
wait "$serve_pid"
is "$?" 0 "SIGTERM: exit status"
ok "that it stops is told" wait_for 5 grep -q '^STOPPING=1$' "$told"
is "$(told_so_far)" "READY=1 STOPPING=1 " "once, and nothing else"
ok "the socket's file is the manager's: it stays" test -S "$tmp/vzfwd.sock"

# What can't be served is refused, in a line.
activate 127.0.0.1:1234
wait_for 5 tcp_listens 1234
socat -u OPEN:/dev/null TCP:127.0.0.1:1234
wait "$serve_pid"
is "$?" 64 "a TCP socket: exit status"
like "$(tail -n 1 "$tmp/serve.log")" \
	'^vzfwd: serve: LISTEN_FDS: descriptor 3 is not a listening Unix stream socket$' "what is said"
run sh -c 'LISTEN_PID=$$ LISTEN_FDS=many exec vzfwd serve'
is "$status" 64 "no number of descriptors: exit status"
is "$(cat "$tmp/err")" 'vzfwd: serve: LISTEN_FDS: a number is wanted, got "many"' "what is said"

# Those of another process are not ours; our own socket is in the place of them.
notified "@vzfwd-test-$$"
spawn env LISTEN_PID=1 LISTEN_FDS=1 "NOTIFY_SOCKET=$notify_socket" vzfwd serve --socket "$tmp/vzfwd.sock" \
	2>"$tmp/serve.log"
serve_pid=$!
ok "its own socket" wait_for 5 ask pod.list
wait_for 5 grep -q '^READY=1$' "$told"
is "$(told_so_far)" "READY=1 " "an abstract address of the manager is told too"
stop "$serve_pid"
not_ok "its own socket's file is removed" test -e "$tmp/vzfwd.sock"

notified "$tmp/guest-notify"
export NOTIFY_SOCKET=$notify_socket
guest_start "$pod"
ok "vzfwd-guest: that it is ready is told" wait_for 5 grep -q '^READY=1$' "$told"
is "$(vzfwd dial "$guest_endpoint" tcp :80 <"$tmp/data" | sha256sum)" "$(sha256sum <"$tmp/data")" "it is"
kill -TERM "$guest_pid"
wait "$guest_pid"
is "$?" 0 "vzfwd-guest: SIGTERM: exit status"
wait_for 5 grep -q '^STOPPING=1$' "$told"
is "$(told_so_far)" "READY=1 STOPPING=1 " "vzfwd-guest: that it stops is told"
mkfifo "$tmp/to-guest" "$tmp/from-guest"
exec {to_guest}<>"$tmp/to-guest" {from_guest}<>"$tmp/from-guest"
spawn vzfwd-guest --stdio <&"$to_guest" >&"$from_guest"
guest_pid=$!
echo '{"jsonrpc":"2.0","id":1,"method":"guest.info"}' >&"$to_guest"
read -r -t 10 info <&"$from_guest"
like "$info" '"name":"vzfwd-guest"' "vzfwd-guest --stdio: answers"
kill -TERM "$guest_pid"
wait "$guest_pid"
is "$(told_so_far)" "READY=1 STOPPING=1 " "and is no service that would tell"
unset NOTIFY_SOCKET

done_testing
