#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd status`: the forwards of all processes, live and to the byte; processes that are gone, stopped, hostile or
# another user's; on a terminal, once a second.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 socat setpriv

here=$(cd "$(dirname "$0")" && pwd)
forwards=/run/vzfwd/forwards
pod=$(pod_new)
head -c 7654321 /dev/urandom >"$tmp/down"
head -c 1234567 /dev/urandom >"$tmp/up"
spawn in_pod "$pod" socat TCP-LISTEN:90,fork,reuseaddr "SYSTEM:cat >/dev/null; cat $tmp/down"
spawn in_pod "$pod" python3 "$here/pod-server.py" 127.0.0.1:80
wait_for 10 tcp_listens 90 "$pod"
wait_for 10 tcp_listens 80 "$pod"
guest_start "$pod"
vzfwd pod add web "$guest_endpoint"

client() { # PORT STEP...
	python3 "$here/pod-client.py" "127.0.0.1:$1" "${@:2}"
}

# picked EXPRESSION [OPTION...]: of Python, with what status --json says as `all`, and `at` by listener.
picked() {
	vzfwd status --json "${@:2}" | python3 -c '
import json, sys
all = json.loads(sys.stdin.read())
at = {forward["listen"]: forward for forward in all}
counts = lambda listen: [at[listen][name] for name in ("connections", "total", "failed", "bytesIn", "bytesOut")]
print(eval(sys.argv[1]))' "$1"
}

shows() { # WANT EXPRESSION [OPTION...]
	[ "$(picked "${@:2}" 2>/dev/null)" = "$1" ]
}

# Nobody

is "$(vzfwd status --json)" "[]" "nobody"
is "$(vzfwd status)" "POD  LISTEN  TARGET  OPEN  TOTAL  FAILED  IN  OUT  PROCESS" "nobody: a table"
not_ok "nothing was made to find that out" test -e /run/vzfwd

# One process

spawn vzfwd listen -p web 8080:90 127.0.0.1:8081:81 >"$tmp/listen.out" 2>"$tmp/listen.log"
listen_pid=$!
ok "a process" wait_for 5 unix_listens "$forwards/$listen_pid.sock"
is "$(stat -c %a "$forwards" "$forwards/$listen_pid.sock" | tr '\n' ' ')" "700 600 " "has a socket of its user's alone"
is "$(picked 'all[0]')" "{'listen': '127.0.0.1:8080', 'listeners': ['127.0.0.1:8080', '[::1]:8080'], 'pod': 'web', 'network': 'tcp', 'address': 'localhost:90', 'target': '90', 'connections': 0, 'total': 0, 'failed': 0, 'failures': {}, 'bytesIn': 0, 'bytesOut': 0, 'process': {'pid': $listen_pid, 'command': 'listen'}}" \
	"its forwards, before anybody came"
mkfifo "$tmp/stdin"
exec {up}<>"$tmp/stdin"
spawn socat -t 20 - TCP:127.0.0.1:8080 <"$tmp/stdin" >"$tmp/came" {up}>&-
client_pid=$!
cat "$tmp/up" >&"$up"
ok "while a stream goes on: what it has carried" wait_for 5 shows "[1, 1, 0, 0, 1234567]" 'counts("127.0.0.1:8080")'
exec {up}>&-
wait_for 20 gone "$client_pid"
same "$tmp/down" "$tmp/came" "its other way"
ok "when it has ended: all that it carried" wait_for 5 shows "[0, 1, 0, 7654321, 1234567]" 'counts("127.0.0.1:8080")'
client 8081 expect-reset
ok "a refused one" wait_for 5 shows "[0, 1, 1, 0, 0]" 'counts("127.0.0.1:8081")'
is "$(picked 'at["127.0.0.1:8081"]["failures"]')" "{'refused': 1}" "by its reason"
is "$(vzfwd status)" "POD  LISTEN             TARGET  OPEN  TOTAL  FAILED       IN      OUT  PROCESS
web  127.0.0.1:8080 +1  90         0      1       0  7.65 MB  1.23 MB  listen ($listen_pid)
web  127.0.0.1:8081     81         0      1       1      0 B      0 B  listen ($listen_pid)" "as a table"

# serve, and more processes

spawn vzfwd serve 2>"$tmp/serve.log"
serve_pid=$!
wait_for 10 unix_listens /run/vzfwd/vzfwd.sock
add='{"pod":"web","listen":"127.0.0.1:%d","network":"tcp","address":":80"}'
# shellcheck disable=SC2059
python3 "$here/serve-ask.py" /run/vzfwd/vzfwd.sock forward.add "$(printf "$add" 8082)" >"$tmp/added"
spawn vzfwd serve --socket "$tmp/other.sock" 2>"$tmp/other.log"
wait_for 10 unix_listens "$tmp/other.sock"
# shellcheck disable=SC2059
python3 "$here/serve-ask.py" "$tmp/other.sock" forward.add "$(printf "$add" 8083)" >"$tmp/added"
spawn vzfwd listen -p web 8084:80 >"$tmp/second.out"
second_pid=$!
wait_for 5 unix_listens "$forwards/$second_pid.sock"
client 8082 echo:5000 eof expect-eof
ok "serve's forwards" wait_for 5 shows "[0, 1, 0, 5000, 5000]" 'counts("127.0.0.1:8082")'
is "$(picked '[(f["process"]["command"], f["process"]["pid"], f["listen"], f.get("id")) for f in all]')" \
	"[('serve', $serve_pid, '127.0.0.1:8082', 1), ('listen', $listen_pid, '127.0.0.1:8080', None), ('listen', $listen_pid, '127.0.0.1:8081', None), ('listen', $second_pid, '127.0.0.1:8084', None)]" \
	"all processes"
is "$(picked 'all[0]["listen"]' --socket "$tmp/other.sock")" "127.0.0.1:8083" "another serve"
run vzfwd status --socket "$tmp/none.sock"
is "$(cat "$tmp/err")" "vzfwd: warning: serve: $tmp/none.sock: no such socket" "one that is not there is told of"

# run and proxy

spawn vzfwd run -p web 80 -- bash -c "echo {} >'$tmp/port'; read <'$tmp/stdin'"
run_pid=$!
ok "run" wait_for 5 test -s "$tmp/port"
client "$(cat "$tmp/port")" echo:300 eof expect-eof
ok "run's forward" wait_for 5 shows "[0, 1, 0, 300, 300]" "counts('127.0.0.1:$(cat "$tmp/port")')"
is "$(picked '[f["process"]["command"] for f in all][-1]')" run "is run's"
echo >"$tmp/stdin"
wait_for 5 gone "$run_pid"
not_ok "and goes with it" test -e "$forwards/$run_pid.sock"
spawn vzfwd proxy 1080 >"$tmp/proxy.out" 2>"$tmp/proxy.log"
proxy_pid=$!
wait_for 5 unix_listens "$forwards/$proxy_pid.sock"
through_proxy() {
	socat -t 20 - "PROXY:127.0.0.1:web:$1,proxyport=1080"
}
through_proxy 90 <"$tmp/up" >"$tmp/came2"
same "$tmp/down" "$tmp/came2" "through the proxy"
through_proxy 81 </dev/null >"$tmp/refused" 2>&1
exec {up}<>"$tmp/stdin"
spawn through_proxy 80 <"$tmp/stdin" >"$tmp/came3" {up}>&-
echo "0123456789" >&"$up"
ok "the proxy, with all that its clients have and had" wait_for 5 shows "[1, 3, 1, 7654332, 1234578]" 'counts("127.0.0.1:1080")'
is "$(picked 'at["127.0.0.1:1080"]["pod"], at["127.0.0.1:1080"]["failures"]')" "('*', {'refused': 1})" "is one for every pod"
exec {up}>&-
stop "$proxy_pid"

# Processes that are gone, stopped, or something else

kill -KILL "$second_pid"
wait_for 5 gone "$second_pid"
ok "a killed one leaves its socket" test -S "$forwards/$second_pid.sock"
is "$(picked 'len(all)')" 3 "it is not shown"
not_ok "and its socket is gone" test -e "$forwards/$second_pid.sock"
kill -STOP "$listen_pid"
run timeout 10 vzfwd status
kill -CONT "$listen_pid"
is "$status $(grep -c . "$tmp/out") $(cat "$tmp/err")" \
	"0 2 vzfwd: warning: $forwards/$listen_pid.sock: no answer within 2 s" "a stopped one holds up the others for 2 s"
evil='{"jsonrpc":"2.0","id":1,"result":{"process":{"pid":7,"command":"a\u001b[31mb"},"forwards":[{"pod":"c\u202ed","listen":"e\nf","target":7,"bytesIn":"x"}]}}'
spawn python3 "$here/fake-dialer.py" "$forwards/1000001.sock" "$evil"
spawn python3 "$here/fake-dialer.py" "$forwards/1000002.sock" '{"jsonrpc":"2.0","id":1,"result":[]}'
spawn python3 "$here/fake-dialer.py" "$forwards/1000003.sock" 'no JSON'
for n in 1 2 3; do wait_for 10 unix_listens "$forwards/100000$n.sock"; done
touch "$forwards/README" "$forwards/1x.sock"
run vzfwd status
like "$(cat "$tmp/out")" 'c\\xe2\\x80\\xaed +e\\x0af +0 +0 +0 +0 B +0 B +a\\x1b\[31mb \(7\)$' "a hostile one is escaped"
is "$(wc -l <"$tmp/err")" 2 "those that do not answer properly are told of"
is "$(picked 'all[-1]["process"]["command"]' 2>/dev/null)" 'a\x1b[31mb' "a hostile one is escaped as JSON"
rm "$forwards"/*[Ex]* "$forwards"/100000*
run vzfwd status --json
is "$(cat "$tmp/err")" "" "that was all"

# Another user

mkdir -m 700 "$tmp/user"
chown 1000:1000 "$tmp/user"
as_user() {
	${in_spawn:+exec} env XDG_RUNTIME_DIR="$tmp/user" setpriv --reuid=1000 --regid=1000 --clear-groups "$@"
}
spawn as_user vzfwd listen -p "$guest_endpoint" 9090:80 >"$tmp/user.out" 2>"$tmp/user.log"
user_pid=$!
ok "another user's are elsewhere" wait_for 5 unix_listens "$tmp/user/vzfwd/forwards/$user_pid.sock"
is "$(as_user vzfwd status | tail -n +2 | cut -d ' ' -f 3)" "127.0.0.1:9090" "who sees those"
is "$(picked 'len(all)')" 3 "and nobody else does"
run as_user socat - "UNIX-CONNECT:$forwards/$listen_pid.sock"
like "$(cat "$tmp/err")" 'Permission denied' "nor can they ask"
chmod 711 "$forwards"
chmod 666 "$forwards/$listen_pid.sock"
like "$(printf '%s\n' '{"jsonrpc":"2.0","id":1,"method":"forward.list"}' | as_user socat -t 5 - "UNIX-CONNECT:$forwards/$listen_pid.sock")" \
	'"reason":"denied"' "not even where the file lets them"
chmod 700 "$forwards"

# Where there is no place for a socket

ask_it() {
	printf '%s\n' "$1" | socat -t 5 - "UNIX-CONNECT:$forwards/$listen_pid.sock"
}
like "$(ask_it '{"jsonrpc":"2.0","id":1,"method":"pod.list"}')" '"reason":"unsupported"' "nothing else is answered there"
stop "$listen_pid"
not_ok "its socket goes with it" test -e "$forwards/$listen_pid.sock"
chmod 777 "$forwards"
spawn vzfwd -v listen -p web 8085:80 >"$tmp/third.out" 2>"$tmp/third.log"
third_pid=$!
wait_for 5 tcp_listens 8085
ok "an unsafe folder: it listens" client 8085 echo:1000 eof expect-eof
ok "an unsafe folder: why there is no socket is for debugging" grep -q '^vzfwd: debug: nothing for vzfwd status: ' "$tmp/third.log"
stop "$third_pid"
chmod 700 "$forwards"
run env -u XDG_RUNTIME_DIR setpriv --reuid=1000 --regid=1000 --clear-groups vzfwd status
is "$status $(cat "$tmp/err")" "64 vzfwd: status: XDG_RUNTIME_DIR is not set" "a user without a place for it"
run vzfwd status operand
is "$status $(cat "$tmp/err")" "64 vzfwd: status: status takes no operands" "an operand"

# Again and again

spawn vzfwd listen -p web 8086:80 >"$tmp/fourth.out" 2>"$tmp/fourth.log"
fourth_pid=$!
wait_for 5 unix_listens "$forwards/$fourth_pid.sock"
# What a client sends before there is a link goes with the request.
kill -STOP "$fourth_pid"
wait_for 5 eval '[[ $(stat_of "$fourth_pid" 3) = T ]]'
spawn client 8086 send:early touch:"$tmp/early" wait:"$tmp/served"
wait_for 5 test -e "$tmp/early"
kill -CONT "$fourth_pid"
ok "early bytes count" wait_for 5 shows "[1, 1, 0, 5, 5]" 'counts("127.0.0.1:8086")'
touch "$tmp/served"
spawn vzfwd status --watch --json >"$tmp/watched"
watch_pid=$!
wait_for 5 test -s "$tmp/watched"
client 8086 echo:1000 eof expect-eof
ok "--watch goes on" wait_for 5 grep -q '"listen":"127.0.0.1:8086".*"bytesIn":1005' "$tmp/watched"
kill -INT "$watch_pid"
wait "$watch_pid"
is $? 0 "until SIGINT"
ok "--watch: each line is JSON" python3 -c 'import json, sys; [json.loads(line) for line in open(sys.argv[1])]' "$tmp/watched"
is "$(timeout 10 vzfwd status --watch | head -n 4 | grep -c ^POD)" 2 "as tables, where it is no terminal"
ok "on a terminal" timeout 60 python3 "$here/status-watch.py" 8086
done_testing
