#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd serve`: streams and passed descriptors, pods and forwards at run time, bad callers; and its own life:
# a second one, a stale socket, SIGHUP, SIGTERM under load.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/relaying.sh"

socket=$tmp/serve.sock
guest_start "$pod" --netns "vm=$netns" --netns "command=$netns"
vzfwd pod add vm "$guest_endpoint"
vzfwd pod add net "netns:$netns"
vzfwd pod add command "$exec_endpoint"
vzfwd pod add gone "unix://$tmp/nothing.sock"
vzfwd pod add stale "netns:$tmp/nothing"
: >"$tmp/nothing"

serve_start() {
	spawn vzfwd serve --socket "$socket" 2>"$tmp/serve.log"
	serve_pid=$!
	wait_for 10 unix_listens "$socket"
}

# Some megabytes wait in front of port 9.
pod_has_unread() {
	in_pod "$pod" cat /proc/net/tcp | awk '$2 ~ /:0009$/ && $4 == "01" { split($5, q, ":"); if (q[2] ~ /^00[1-9A-F]|^000[1-9A-F]/) found = 1 }
		END { exit !found }'
}

serve_start
is "$(stat -c %a "$socket")" 600 "the socket's mode"
checks serve.py "$netns" "$socket" "$serve_pid" "$tmp" "$guest_endpoint"
ok "it runs still" kill -0 "$serve_pid"
is "$(grep -vc ': connection refused; ' "$tmp/serve.log")" 0 "with nothing to complain of but a refused forward"

# A second one

run vzfwd serve --socket "$socket"
is "$status $(cat "$tmp/err")" "73 vzfwd: serve: cannot listen: $socket: address already in use" "the socket is in use"
ok "the first one has it still" wait_for 5 unix_listens "$socket"
kill -KILL "$serve_pid"
wait_for 5 gone "$serve_pid"
ok "a killed one leaves its socket" test -S "$socket"
serve_start
ok "which the next one replaces" wait_for 5 unix_listens "$socket"

# One that is being stopped, and takes its time: what a slow target has not taken yet

spawn in_pod "$pod" python3 "$here/target.py" "$tmp/seen" 9=hold
wait_for 20 tcp_listens 9 "$pod"
{
	echo '{"jsonrpc":"2.0","id":1,"method":"pod.portDial","params":{"handle":"net","network":"tcp","port":9}}'
	head -c 30000000 /dev/zero
} >"$tmp/much"
spawn socat -u "$tmp/much" "UNIX-CONNECT:$socket"
wait_for 10 pod_has_unread
first=$serve_pid
kill -TERM "$first"
wait_for 10 test ! -e "$socket"
serve_start
wait_for 20 gone "$first"
ok "it leaves the socket of the next one alone" test -S "$socket"

# Signals

call() {
	printf '%s\n' "$1" | socat -t 10 - "UNIX-CONNECT:$socket"
}

forward=$(call '{"jsonrpc":"2.0","id":1,"method":"forward.add","params":{"pod":"vm","listen":"127.0.0.1:8080","network":"tcp","address":":7"}}')
is "$forward" '{"jsonrpc":"2.0","id":1,"result":{"id":1,"listen":"127.0.0.1:8080","listeners":["127.0.0.1:8080"]}}' \
	"a forward by hand"
kill -HUP "$serve_pid"
like "$(call '{"jsonrpc":"2.0","id":1,"method":"forward.list"}')" '"id":1,"listen":"127.0.0.1:8080"' "SIGHUP changes nothing"
checks serve-stop.py "$netns" "$socket" "$serve_pid"
wait "$serve_pid"
is $? 0 "SIGTERM: the exit code"
not_ok "SIGTERM: the socket is gone" test -e "$socket"

# The default place

ok "in /run/vzfwd by default" test ! -e /run/vzfwd
spawn vzfwd serve 2>"$tmp/default.log"
serve_pid=$!
ok "in /run/vzfwd by default: it is made" wait_for 10 unix_listens /run/vzfwd/vzfwd.sock
stop "$serve_pid"
run env -u XDG_RUNTIME_DIR setpriv --reuid=1000 --regid=1000 --clear-groups vzfwd --pods-dir "$tmp/none" serve
is "$status $(cat "$tmp/err")" "64 vzfwd: serve: XDG_RUNTIME_DIR is not set (use --socket PATH)" "a user without a place for it"
run vzfwd serve --socket "$tmp/no/such/folder.sock"
is "$status" 66 "no such folder"
run vzfwd serve operand
is "$status $(cat "$tmp/err")" "64 vzfwd: serve: serve takes no operands" "an operand"
done_testing
