#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd run`: real clients get their port and the data, what becomes of the command becomes of vzfwd, signals reach it
# once, and nothing of vzfwd is left to it or behind it.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/postgres.sh"
requires_root
requires python3 busybox curl

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
mkdir "$tmp/www"
head -c 3000000 /dev/urandom >"$tmp/www/page"
spawn in_pod "$pod" busybox httpd -f -p 127.0.0.1:80 -h "$tmp/www"
spawn in_pod "$pod" busybox httpd -f -p '[::1]:81' -h "$tmp/www"
spawn in_pod "$pod" python3 "$here/target.py" "$tmp/target.log" 7=eof 8=hold 9=say:hi,hold
for port in 80 81 7 8 9; do
	wait_for 10 tcp_listens "$port" "$pod"
done
guest_start "$pod"
vzfwd pod add web "$guest_endpoint"

now() {
	echo $(($(date +%s%N) / 1000000))
}

# Where the port is

page() {
	run "$@"
	[ "$status" = 0 ] && cmp "$tmp/out" "$tmp/www/page" && [ ! -s "$tmp/err" ]
}
ok "curl by {}: the page, and nothing else on stdout and stderr" \
	page vzfwd run -p web 80 -- curl -sS 'http://127.0.0.1:{}/page'
ok "by {0}, on IPv6" page vzfwd run 80 -- curl -sS 'http://[::1]:{0}/page'
ok "by the environment, also over an outer one's" env VZFWD_PORT_80=1 "$BASH" -c '
	vzfwd run 80 80 -- sh -c "[ \$VZFWD_PORT_80 = {0} ] && curl -sS http://127.0.0.1:\$VZFWD_PORT_80/page" | cmp - "$1"' - "$tmp/www/page"
ok "a port of our choice" page vzfwd run 8080:80 -- curl -sS http://127.0.0.1:8080/page
ok "another address of the pod" page vzfwd run '[::1]:81' -- curl -sS 'http://127.0.0.1:{}/page'
ok "an IPv4 address" page vzfwd run 127.0.0.1:80/tcp -- curl -sS 'http://127.0.0.1:{}/page'
ok "a Unix socket" page vzfwd run "unix:$tmp/web.sock:80" -- curl -sS --unix-socket '{}' http://web/page
not_ok "which is gone afterwards" test -e "$tmp/web.sock"
like "$(vzfwd run 80 81 "unix:$tmp/x:82" -- printf '%s,' '{}={0}' 'a{1}b' '{2}' '{3}' '{{}}' '{{1}}' '{{3}}' '{"a":{"b":1}}' '{' '{00}' '{x}')" \
	"^([0-9]+)=([0-9]+),a[0-9]+b,$tmp/x,\{3\},\{\},\{1\},\{\{3\}\},\{\"a\":\{\"b\":1\}\},\{,[0-9]+,\{x\},$" \
	"what is filled in, and what is not"
is "${BASH_REMATCH[1]:-a}" "${BASH_REMATCH[2]:-b}" "{} is {0}"
run vzfwd -v run 80 -- true
like "$(cat "$tmp/err")" 'Forwarding from 127\.0\.0\.1:[0-9]+ -> 80' "-v: where it listens, on stderr"
is "$(cat "$tmp/out")" "" "-v: and not on stdout"
is "$(echo hello | vzfwd run 80 -- cat)" hello "stdin is the command's"

# How it ends

ends() { # COMMAND...
	python3 "$here/run.py" status "$@" 2>"$tmp/err"
}
is "$(ends vzfwd run 80 -- true)" "exit 0" "the command's exit code: 0"
is "$(ends vzfwd run 80 -- sh -c 'exit 37')" "exit 37" "37"
is "$(ends vzfwd run 80 -- sh -c 'kill -TERM $$')" "signal 15" "a signal"
# shellcheck disable=SC2016
is "$(cd "$tmp" && ulimit -c unlimited && ends vzfwd run 80 -- sh -c 'ulimit -c 0; kill -ABRT $$')" "signal 6" "one that dumps core"
is "$(find "$tmp" -maxdepth 1 -name 'core*')" "" "but vzfwd itself leaves none"
is "$(ends vzfwd run 80 -- "$tmp/nosuch")" "exit 127" "no such command"
is "$(cat "$tmp/err")" "vzfwd: run: $tmp/nosuch: no such file or directory" "which is told"
is "$(ends vzfwd run 80 -- no-such-command)" "exit 127" "none in PATH"
is "$(ends vzfwd run 80 -- "$tmp/www/page")" "exit 126" "one that can't be run"
for usage in "80" "-- true" "80 --" "nonsense -- true" "--nosuch 80 -- true"; do
	# shellcheck disable=SC2086 # several words
	is "$(ends vzfwd run $usage)" "exit 64" "usage: $usage"
done
is "$(ends vzfwd run -p nosuch 80 -- touch "$tmp/ran")" "exit 66" "no such pod"
spawn vzfwd listen 8080:80
wait_for 5 tcp_listens 8080
is "$(ends vzfwd run 80 8080:80 -- touch "$tmp/ran")" "exit 73" "a port in use"
stop $!
not_ok "then the command is not started" test -e "$tmp/ran"
for i in 1 2 3; do
	page vzfwd run 8080:80 -- curl -sS http://127.0.0.1:8080/page || break
done
is "$status $i" "0 3" "the port is free again as soon as it has ended"

# Signals

run_caught() {
	rm -f "$tmp/caught" "$tmp/stdin"
	mkfifo "$tmp/stdin"
	# setsid: what bash sends to a job is not to reach both.
	env --default-signal setsid vzfwd run 80 -- python3 "$here/run.py" caught "$tmp/caught" <"$tmp/stdin" &
	run_pid=$!
	exec {run_stdin}>"$tmp/stdin"
	wait_for 10 grep -q ready "$tmp/caught"
}
run_caught
for signal in HUP INT QUIT TERM USR1 USR2 WINCH; do
	kill -"$signal" "$run_pid"
	ok "SIG$signal reaches the command" wait_for 5 grep -qx "SIG$signal 1" "$tmp/caught"
done
kill -TERM "$run_pid"
ok "a second one too" wait_for 5 grep -qx "SIGTERM 2" "$tmp/caught"
echo end >&"$run_stdin"
wait "$run_pid"
is "$?" 0 "it goes on for as long as the command does"
is "$(wc -l <"$tmp/caught")" 10 "each of them came once"
exec {run_stdin}>&-
rm "$tmp/caught"
ok "^C on a terminal" python3 "$here/run.py" terminal "$tmp/caught" \
	vzfwd run 80 -- python3 "$here/run.py" caught "$tmp/caught"
is "$(grep -c SIGINT "$tmp/caught")" 10 "ten times: it comes so often, and no more"
is "$(tail -n 1 "$tmp/caught")" "line hello" "the terminal is the command's"
is "$(ends vzfwd run 80 -- sh -c "kill -TERM \$PPID; exec sleep 60")" "signal 15" "SIGTERM to vzfwd ends both, by it"

# What the command gets of us: what it has without us. Descriptors of this shell are not passed on.

inherited() {
	grep -E '^Sig(Blk|Ign|Cgt)|^NoNewPrivs|^Cap' /proc/self/status
	ulimit -n
	find /proc/self/fd -mindepth 1 -printf '%f\n' | sort -n | head -n -1
}
export -f inherited
inherits() { # NAME ARGUMENT-OF-ENV...
	local name=$1

	shift
	env "$@" "$BASH" -c 'ulimit -S -n 300; bash -c inherited' >"$tmp/without"
	env "$@" "$BASH" -c 'ulimit -S -n 300; vzfwd run 80 -- bash -c inherited' >"$tmp/with"
	is "$(cat "$tmp/with")" "$(cat "$tmp/without")" "$name"
}
inherits "signals, limits, capabilities and descriptors are as without us" --default-signal
inherits "also signals that are turned off" --ignore-signal=PIPE --ignore-signal=HUP --ignore-signal=CHLD
inherits "and those that are blocked" --block-signal=TERM --block-signal=USR1

# What it had sent when it ended is delivered; what others have open is reset.

cat >"$tmp/send.py" <<'PY'
import os, socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
sock.sendall(open(sys.argv[2], "rb").read())
os._exit(5)
PY
is "$(exit_of vzfwd run 7 -- python3 "$tmp/send.py" '{}' "$tmp/www/page")" 5 "a command that sends and goes"
ok "the target has the end" wait_for 5 grep -q '^7 eof 3000000 ' "$tmp/target.log"
is "$(awk '$1 == 7 { print $4 }' "$tmp/target.log")" "$(sha256sum <"$tmp/www/page" | cut -d ' ' -f 1)" "and every byte"
cat >"$tmp/leave.sh" <<END
python3 "$here/pod-client.py" "127.0.0.1:\$1" expect:hi touch:"$tmp/open" expect-reset >"$tmp/left.log" 2>&1 &
echo \$! >"$tmp/left.pid"
until [ -e "$tmp/open" ]; do sleep 0.02; done
exit 4
END
start=$(now)
is "$(exit_of vzfwd run 9 -- bash "$tmp/leave.sh" '{}')" 4 "a command that leaves another one behind"
took=$(($(now) - start))
ok "does not wait for it ($took ms)" test "$took" -le 3000
ok "whose connection is reset" wait_for 5 gone "$(cat "$tmp/left.pid")"
is "$(cat "$tmp/left.log")" "" "and not closed"
echo x >"$tmp/x"
spawn vzfwd run 8 -- bash -c "python3 '$tmp/send.py' {} '$tmp/x'; status=\$?; touch '$tmp/sent'; exit \$status"
run_pid=$!
no_children() {
	[ -e "$tmp/sent" ] && ! pgrep -P "$run_pid"
}
wait_for 5 no_children
start=$(now)
kill -TERM "$run_pid"
wait "$run_pid"
is "$?" 5 "a target that does not close: SIGTERM ends the wait, the exit code is the command's"
took=$(($(now) - start))
ok "at once ($took ms)" test "$took" -le 1000

# Other clients

if command -v redis-server >/dev/null && command -v redis-cli >/dev/null; then
	mkdir "$tmp/redis"
	spawn in_pod "$pod" redis-server --bind 127.0.0.1 --port 6379 --save '' --dir "$tmp/redis" >"$tmp/redis.out"
	wait_for 10 tcp_listens 6379 "$pod"
	base64 -w 0 "$tmp/www/page" >"$tmp/value"
	is "$(vzfwd run 6379 -- redis-cli -p '{}' -x set key <"$tmp/value")" OK "redis-cli: 4 MB from its stdin"
	vzfwd run 6379 -- redis-cli -p '{}' get key | tr -d '\n' >"$tmp/value.got"
	same "$tmp/value.got" "$tmp/value" "redis-cli: and to its stdout"
else
	skip "needs redis-server and redis-cli" redis-cli
fi
if postgres_start; then
	query() {
		vzfwd run -p web 5432 -- psql -X -h 127.0.0.1 -p '{}' -U postgres -d postgres -Atqc "$1"
	}
	answers() {
		[ "$(query 'select 6 * 7')" = 42 ]
	}
	ok "psql: a query" wait_for 20 answers
	is "$(exit_of query 'select nonsense')" 1 "psql: its exit code"
else
	skip "needs psql and a postgres server" psql
fi

done_testing
