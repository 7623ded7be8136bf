#!/bin/bash
# SPDX-License-Identifier: MIT
# A `vzfwd listen` that runs for long: its dialer dies and returns, its pod changes,
# clients come and go in all ways, nobody reads what it prints; and how it ends.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 busybox pgrep

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
other=$(pod_new)
spawn in_pod "$pod" python3 "$here/pod-server.py" --greet 127.0.0.1:80
spawn in_pod "$other" python3 "$here/pod-server.py" --greet '[::1]:80'
wait_for 10 tcp_listens 80 "$pod"
wait_for 10 tcp_listens 80 "$other"
guest_start "$other"
other_endpoint=$guest_endpoint
guest_start "$pod"
vzfwd pod add web "$guest_endpoint"

client() { # PORT STEP...
	python3 "$here/pod-client.py" "127.0.0.1:$1" "${@:2}"
}

listen_start() {
	spawn vzfwd listen "$@" >"$tmp/listen.out" 2>"$tmp/listen.log"
	listen_pid=$!
	wait_for 5 test -s "$tmp/listen.out"
}

has_line() {
	grep -qE -- "$2" "$1"
}

now() {
	echo $(($(date +%s%N) / 1000000))
}

deaf() {
	! tcp_listens 8080
}

# ends_within MS NAME SIGNAL...: listen ends with 0 in that time, or as much more as all is slower, when it gets these signals.
ends_within() {
	local limit=$(($1 * VZFWD_TEST_SLOWNESS)) name=$2 start

	shift 2
	start=$(now)
	for signal; do
		kill -"$signal" "$listen_pid"
		# Of two signals at once the kernel may make one.
		wait_for 5 deaf
	done
	wait "$listen_pid"
	is "$?" 0 "$name: exit status"
	took=$(($(now) - start))
	ok "$name: within $limit ms" test "$took" -le "$limit"
}

greet=$'expect:127.0.0.1 80\n'
greet_other=$'expect:::1 80\n'

# One connection lives through all that happens to others.

listen_start --retry-for 0 -p web 8080:80 8081:81
spawn client 8080 "$greet" echo:3000000 touch:"$tmp/half" wait:"$tmp/go" echo:3000000 eof expect-eof
long_pid=$!
wait_for 20 test -e "$tmp/half"
ok "a client that resets" client 8080 "$greet" send:x expect:x reset
ok "a client that goes at once" client 8080 reset
ok "a target that refuses: the client is reset" client 8081 expect-reset
ok "the log names the connection and tells why" wait_for 5 has_line "$tmp/listen.log" \
	'^vzfwd: web:81 #4: .*connection refused'
vzfwd pod add web "$other_endpoint" --replace
ok "a replaced pod: the next connection goes to the new one" client 8080 "$greet_other" echo:10
vzfwd pod rm web
ok "no pod: the client is reset" client 8080 expect-reset
ok "and that is told" wait_for 5 has_line "$tmp/listen.log" '^vzfwd: warning: web: lost: no pod web is registered'
echo '{' >"$VZFWD_PODS_DIR/web.json"
ok "a malformed one: the client is reset" client 8080 expect-reset
vzfwd pod add web "$guest_endpoint" --replace
ok "the pod is back" client 8080 "$greet" echo:100000 eof expect-eof
touch "$tmp/go"
wait "$long_pid"
is "$?" 0 "the long transfer did not notice, and has every byte"

# The dialer dies and comes back.

spawn client 8080 "$greet" touch:"$tmp/open" expect-reset
open_pid=$!
wait_for 10 test -e "$tmp/open"
kill -KILL "$guest_pid"
wait "$open_pid"
is "$?" 0 "the dialer is killed: its connections are reset"
ok "that the link was cut is told" wait_for 5 has_line "$tmp/listen.log" '^vzfwd: web:80 #9: the link was cut'
ok "no dialer: the client is reset" client 8080 expect-reset
ok "which is told" wait_for 5 has_line "$tmp/listen.log" '^vzfwd: warning: web: lost: (nobody listens on|the link ended) '
guest_again
ok "the dialer is back, and the next connection is served" client 8080 "$greet" echo:100000 eof expect-eof
# Of a pod that comes and goes, once it has stayed for a second.
told_twice() {
	[ "$(grep -c '^vzfwd: warning: web: back after' "$tmp/listen.log")" = 2 ]
}
ok "that it is back is told each time" wait_for 10 told_twice
is "$(wc -l <"$tmp/listen.log")" 6 "nothing else was told"
is "$(grep -c '^Handling connection for 8080$' "$tmp/listen.out")" 10 "every connection had its line"
ends_within 1000 "SIGTERM without a connection" TERM

# Its end

listen_start -p web 8080:80
spawn client 8080 "$greet" touch:"$tmp/open2" expect-reset
open_pid=$!
wait_for 10 test -e "$tmp/open2"
ends_within 5000 "SIGTERM with a connection" TERM
wait "$open_pid"
is "$?" 0 "which is reset"
listen_start -p web 8080:80
ok "the port is free again at once" client 8080 "$greet" echo:10
ends_within 1000 SIGINT INT
listen_start -p web 8080:80
ends_within 1000 SIGHUP HUP
spawn bash -c 'trap "" HUP; exec vzfwd listen -p web 8080:80'
listen_pid=$!
wait_for 5 tcp_listens 8080
kill -HUP "$listen_pid"
ok "under nohup SIGHUP is ignored" client 8080 "$greet" echo:10
ends_within 1000 "SIGTERM under nohup" TERM

# A client that has stopped reading holds up nobody for long; that is seen to at the end.

stuffed_client() { # NAME
	listen_start -p web 8080:80
	spawn client 8080 stuff touch:"$tmp/$1.stuffed" wait:"$tmp/$1.read" expect-reset
	open_pid=$!
	wait_for 30 test -e "$tmp/$1.stuffed"
}
stuffed_client second
ends_within 1000 "a second SIGTERM" TERM TERM
touch "$tmp/second.read"
wait "$open_pid"
is "$?" 0 "a second SIGTERM: the client is reset in the end"
stuffed_client slow
slow_listen_pid=$listen_pid
slow_client_pid=$open_pid
slow_start=$(now)
kill -TERM "$slow_listen_pid"
wait_for 5 deaf
{
	wait_for 20 gone "$slow_listen_pid"
	echo $(($(now) - slow_start)) >"$tmp/slow.took"
} &
slow_watch_pid=$!

# Nobody reads what it prints.

mkfifo "$tmp/full" "$tmp/gone"
exec {full}<>"$tmp/full"
dd if=/dev/zero of="$tmp/full" bs=4096 count=1000 oflag=nonblock 2>/dev/null
spawn vzfwd listen -v -p web 8080:80 8081:81 >"$tmp/full" 2>&1
listen_pid=$!
ok "a full pipe: it listens" wait_for 5 tcp_listens 8080
ok "a full pipe: a client is served" client 8080 "$greet" echo:1000000 eof expect-eof
ok "a full pipe: a failure is" client 8081 expect-reset
ends_within 1000 "a full pipe: SIGTERM" TERM
exec {full}<&-
exec {gone}<>"$tmp/gone"
spawn vzfwd listen -v -p web 8080:80 8081:81 >"$tmp/gone" 2>&1
listen_pid=$!
wait_for 5 tcp_listens 8080
exec {gone}<&-
ok "a reader that is gone: a client is served" client 8080 "$greet" echo:1000000 eof expect-eof
ok "a reader that is gone: a failure is" client 8081 expect-reset
ends_within 1000 "a reader that is gone: SIGTERM" TERM
spawn vzfwd listen -p web 8080:80 >&- 2>&-
listen_pid=$!
wait_for 5 tcp_listens 8080
ok "no stdout at all: a client is served" client 8080 "$greet" echo:1000000 eof expect-eof
ends_within 1000 "no stdout at all: SIGTERM" TERM

# While the target is being dialed

spawn python3 "$here/fake-dialer.py" "$tmp/silent.sock" >"$tmp/silent.out"
wait_for 10 unix_listens "$tmp/silent.sock"
listen_start -v -p "unix://$tmp/silent.sock" 8080:80
client 8080 touch:"$tmp/dialing" wait:"$tmp/never" &
dialing_pid=$!
ok "the dialer is asked" wait_for 5 has_line "$tmp/listen.log" '#1: link sending -> waiting'
kill -KILL "$dialing_pid"
wait "$dialing_pid" 2>/dev/null
client 8080 send:x touch:"$tmp/dialing2" wait:"$tmp/reset-now" reset &
ok "another one" wait_for 5 has_line "$tmp/listen.log" '#2: link sending -> waiting'
touch "$tmp/reset-now"
ok "a client that was reset: its link is closed" wait_for 5 has_line "$tmp/silent.out" closed
is "$(wc -l <"$tmp/silent.out")" 1 "that of one which only ended its side is not"
client 8080 expect-reset &
dialing_pid=$!
wait_for 5 has_line "$tmp/listen.log" '#3: link sending -> waiting'
ends_within 1000 "SIGTERM while dialing" TERM
wait "$dialing_pid"
is "$?" 0 "while dialing: the client is reset"

# A command as the endpoint: it goes with its link; and a Unix client may say all it has and go.

spawn in_pod "$pod" busybox nc -l -p 90 >"$tmp/sunk"
wait_for 5 tcp_listens 90 "$pod"
cat >"$tmp/slow-dialer" <<END
#!/bin/bash
until [ -e "$tmp/dial" ]; do sleep 0.02; done
exec vzfwd-guest --stdio --pod-netns "/run/netns/$pod"
END
chmod +x "$tmp/slow-dialer"
listen_start -v -p "exec:exec '$tmp/slow-dialer'" "unix:$tmp/web.sock:90" 8080:80
ok "a Unix client says all it has and goes" python3 "$here/pod-client.py" "unix:$tmp/web.sock" send:everything close
wait_for 5 has_line "$tmp/listen.out" '^Handling connection for /'
touch "$tmp/dial"
ok "it is delivered" wait_for 10 has_line "$tmp/sunk" '^everything$'
children() {
	pgrep -P "$listen_pid" | wc -l
}
has_children() {
	[ "$(children)" = "$1" ]
}
ok "the command ends with its link" wait_for 5 has_children 0
spawn client 8080 "$greet" touch:"$tmp/open3" expect-reset
open_pid=$!
wait_for 10 test -e "$tmp/open3"
child=$(pgrep -P "$listen_pid")
ends_within 5000 "SIGTERM with a command" TERM
wait "$open_pid"
is "$?" 0 "its client is reset"
ok "and the command is gone" gone "$child"
cat >"$tmp/stubborn" <<'END'
#!/bin/bash
# A dialer that never answers and does not care for the end of its input.
sleep 1000 &
wait
END
chmod +x "$tmp/stubborn"
listen_start -v -p "exec:exec '$tmp/stubborn'" 8080:80
client 8080 wait:"$tmp/never" &
wait_for 5 has_line "$tmp/listen.log" '#1: link sending -> waiting'
child=$(pgrep -P "$listen_pid")
ends_within 1000 "two signals while a command is asked" TERM TERM
ok "it is ended" wait_for 2 gone "$child"

# What the guest says is not let loose on the terminal; JSON is JSON.

evil=$'{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"\\u001b[31mred\\u202etxt\\u0007\\n\xc2\x9bx"}}'
spawn python3 "$here/fake-dialer.py" "$tmp/evil.sock" "$evil"
wait_for 10 unix_listens "$tmp/evil.sock"
listen_start -p "unix://$tmp/evil.sock" 8080:80
ok "a hostile answer: the client is reset" client 8080 expect-reset
ok "its text is escaped" wait_for 5 has_line "$tmp/listen.log" \
	'#1: .*\\x1b\[31mred\\xe2\\x80\\xaetxt\\x07\\x0a\\xc2\\x9bx$'
is "$(LC_ALL=C tr -d '\n -~' <"$tmp/listen.log" | wc -c)" 0 "nothing but plain text came out"
ends_within 1000 "SIGTERM after that" TERM
listen_start --log-format json --log-level debug -p "unix://$tmp/evil.sock" 8080:80 8081:81
client 8080 expect-reset
client 8081 expect-reset
ends_within 1000 "SIGTERM with JSON" TERM
ok "every line is JSON, and names its connection" python3 - "$tmp/listen.log" "$tmp/evil.sock" <<'PY'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
errors = [line for line in lines if line["level"] == "error"]
assert [line["connection"] for line in errors] == [
    f"unix://{sys.argv[2]}:80 #1", f"unix://{sys.argv[2]}:81 #2"], errors
assert all("\\x1b[31mred" in line["message"] for line in errors), errors
PY

# What was left behind: SIGTERM with a client that does not read.

wait "$slow_watch_pid"
wait "$slow_listen_pid"
is "$?" 0 "SIGTERM with a client that does not read: exit status"
ok "SIGTERM with a client that does not read: soon after 5 s" test "$(cat "$tmp/slow.took")" -le \
	$((5000 + 1500 * VZFWD_TEST_SLOWNESS))
touch "$tmp/slow.read"
wait "$slow_client_pid"
is "$?" 0 "SIGTERM with a client that does not read: it is reset in the end"

done_testing
