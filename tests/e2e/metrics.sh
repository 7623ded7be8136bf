#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd serve --metrics`: what Prometheus reads there, by its own parsers, and to the byte; and clients that are slow, many, or
# a web page.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 curl socat

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
head -c 7654321 /dev/urandom >"$tmp/down"
head -c 1234567 /dev/urandom >"$tmp/up"
spawn in_pod "$pod" socat TCP-LISTEN:90,fork,reuseaddr "SYSTEM:cat >/dev/null; cat $tmp/down"
wait_for 10 tcp_listens 90 "$pod"
guest_start "$pod"
vzfwd pod add web "$guest_endpoint"
vzfwd pod add gone "unix://$tmp/nothing.sock"
socket=$tmp/serve.sock
spawn vzfwd serve --socket "$socket" --log-level info --metrics 127.0.0.1:9101 --events "$tmp/events" 2>"$tmp/serve.log"
serve_pid=$!
wait_for 10 unix_listens "$socket"
metrics=http://127.0.0.1:9101/metrics

add() { # POD LISTEN PORT
	python3 "$here/serve-ask.py" "$socket" forward.add \
		"{\"pod\":\"$1\",\"listen\":\"$2\",\"network\":\"tcp\",\"port\":$3}" >>"$tmp/added"
}

scrape() {
	curl -sSf --max-time 20 "$metrics"
}

# value SAMPLE: a line of it without the number; nothing if there is none.
value() {
	scrape | awk -v sample="$1" 'index($0, sample " ") == 1 { print substr($0, length(sample) + 2) }'
}

tells() { # SAMPLE WANT
	[ "$(value "$1")" = "$2" ]
}

like "$(cat "$tmp/serve.log")" 'metrics at http://127\.0\.0\.1:9101/metrics' "it says where"
odd=$tmp/a\"b\\c.sock
add web 127.0.0.1:8080 90
add gone 127.0.0.1:8081 90
python3 "$here/serve-ask.py" "$socket" forward.add "$(python3 -c 'import json, sys
print(json.dumps({"pod": "web", "listen": "unix:" + sys.argv[1], "network": "tcp", "port": 90}))' "$odd")" >"$tmp/added.odd"
web='pod="web",forward="127.0.0.1:8080",target="90"'
gone='pod="gone",forward="127.0.0.1:8081",target="90"'
is "$(value "vzfwd_connections_total{$web}") $(value "vzfwd_bytes_total{$web,direction=\"in\"}")" "0 0" "before anybody came"

mkfifo "$tmp/stdin"
exec {up}<>"$tmp/stdin"
spawn socat -t 20 - TCP:127.0.0.1:8080 <"$tmp/stdin" >"$tmp/came" {up}>&-
client_pid=$!
cat "$tmp/up" >&"$up"
ok "while a stream goes on: its bytes" wait_for 5 tells "vzfwd_bytes_total{$web,direction=\"out\"}" 1234567
is "$(value "vzfwd_connections_open{$web}")" 1 "while a stream goes on: that it is open"
exec {up}>&-
wait_for 20 gone "$client_pid"
same "$tmp/down" "$tmp/came" "the stream"
ok "when it has ended" wait_for 5 tells "vzfwd_connections_open{$web}" 0
is "$(value "vzfwd_bytes_total{$web,direction=\"in\"}") $(value "vzfwd_bytes_total{$web,direction=\"out\"}") $(value "vzfwd_connections_total{$web}")" \
	"7654321 1234567 1" "when it has ended: all of it"
for _ in 1 2; do
	socat - TCP:127.0.0.1:8081 </dev/null >"$tmp/refused" 2>&1
done
ok "those that failed, by reason" wait_for 5 tells "vzfwd_connections_failed_total{$gone,reason=\"unreachable\"}" 2
is "$(value "vzfwd_connections_failed_total{$gone,reason=\"refused\"}")" 0 "those that failed for other reasons: none"

# Forwards that are removed, and several with the same labels

add web 127.0.0.1:8085 90
id=$(sed -nE 's/.*"id": ([0-9]+), "listen": "127.0.0.1:8085".*/\1/p' "$tmp/added")
exec {up}<>"$tmp/stdin"
spawn socat -t 20 - TCP:127.0.0.1:8085 <"$tmp/stdin" >"$tmp/came" {up}>&-
client_pid=$!
cat "$tmp/up" >&"$up"
lead='pod="web",forward="127.0.0.1:8085",target="90"'
ok "one that is led elsewhere: its bytes" wait_for 5 tells "vzfwd_bytes_total{$lead,direction=\"out\"}" 1234567
python3 "$here/serve-ask.py" "$socket" forward.add \
	"{\"pod\":\"web\",\"listen\":\"127.0.0.1:8085\",\"network\":\"tcp\",\"port\":90,\"timeoutMs\":4000,\"replaces\":$id}" >"$tmp/replaced"
is "$(value "vzfwd_connections_open{$lead}")" 1 "while both are there: one line tells of them"
python3 "$here/serve-ask.py" "$socket" forward.remove "{\"id\":$id}" >"$tmp/removed"
socat -t 20 - TCP:127.0.0.1:8085 <"$tmp/up" >"$tmp/came2"
same "$tmp/down" "$tmp/came2" "a stream by the new one"
ok "when the old one is removed: its bytes are still there" wait_for 5 tells "vzfwd_bytes_total{$lead,direction=\"out\"}" 2469134
is "$(value "vzfwd_connections_total{$lead}")" 2 "when the old one is removed: and its connection"
ok "when the old one is removed: forward.list has it too" test \
	"$(python3 "$here/serve-ask.py" "$socket" forward.list '{}' | grep -o '"removed": true' | wc -l)" = 1
like "$(vzfwd status --socket "$socket")" 'web +\(127\.0\.0\.1:8085\) +90 +1 +1 ' "when the old one is removed: and status"
exec {up}>&-
wait_for 20 gone "$client_pid"
ok "when it has ended" wait_for 5 tells "vzfwd_connections_open{$lead}" 0
no_removed() {
	! python3 "$here/serve-ask.py" "$socket" forward.list '{}' | grep -q '"removed"'
}
ok "when it has ended: it is gone" wait_for 5 no_removed
is "$(value "vzfwd_bytes_total{$lead,direction=\"in\"}") $(value "vzfwd_connections_total{$lead}")" "15308642 2" \
	"when it has ended: and its counts go on"
id=$(sed -nE 's/.*"id": ([0-9]+),.*/\1/p' "$tmp/replaced")
python3 "$here/serve-ask.py" "$socket" forward.remove "{\"id\":$id}" >"$tmp/removed"
is "$(value "vzfwd_connections_total{$lead}")" "" "when both are gone: nothing is told"

# What callers dial themselves

dial='{"handle":"web","network":"tcp","port":90}'
dialed='pod="web",forward="",target=""'
exec {up}<>"$tmp/stdin"
spawn python3 "$here/serve-ask.py" "$socket" pod.portDial "$dial" <"$tmp/stdin" >"$tmp/came" {up}>&-
dial_pid=$!
cat "$tmp/up" >&"$up"
# What sends it does so in pieces of up to 64 KiB.
tells_most() {
	[ "$(value "$1")" -gt $((1234567 - 65536)) ]
}
ok "a stream that was dialed" wait_for 5 tells_most "vzfwd_bytes_total{$dialed,direction=\"out\"}"
is "$(value "vzfwd_connections_open{$dialed}")" 1 "a stream that was dialed: is open"
exec {up}>&-
wait_for 20 gone "$dial_pid"
same "$tmp/down" "$tmp/came" "a stream that was dialed: what came"
ok "a stream that was dialed: ends" wait_for 5 tells "vzfwd_connections_open{$dialed}" 0
is "$(value "vzfwd_bytes_total{$dialed,direction=\"in\"}") $(value "vzfwd_connections_total{$dialed}")" "7654321 1" \
	"a stream that was dialed: is counted as a whole"
python3 "$here/serve-ask.py" "$socket" pod.portDial '{"handle":"web","network":"tcp","port":91}' >"$tmp/refused"
is "$(value "vzfwd_connections_failed_total{$dialed,reason=\"refused\"}") $(value "vzfwd_connections_open{$dialed}")" "1 0" \
	"a refused one"
is "$(sed 's/.*"event":"\([a-z]*\).*"target":"\([^"]*\)".*"client":"unix".*/\1 \2/' "$tmp/events" | grep -v '{' | tr '\n' ' ')" \
	"opened localhost:90 closed localhost:90 failed localhost:91 " "their events"

ok "when the process began" python3 - "$(value process_start_time_seconds)" "$(stat_of "$serve_pid" 22)" <<'END'
import sys, time
began, ticks = float(sys.argv[1]), int(sys.argv[2])
boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
assert abs(began - (boot + ticks / 100)) < 3, (began, boot + ticks / 100)
END
is "$(value "vzfwd_build_info{version=\"$(vzfwd --version | cut -d ' ' -f 2)\"}")" 1 "the version"

# Prometheus' own

curl -sS -D "$tmp/head" -o "$tmp/metrics" "$metrics"
like "$(tr -d '\r' <"$tmp/head")" 'Content-Type: text/plain; version=0\.0\.4; charset=utf-8' "the format is told"
# Debian's modules are those of Debian's Python, which need not be the first one.
for python in python3 /usr/bin/python3; do
	"$python" -c 'import prometheus_client' 2>"$tmp/import.log" && break
done
if [ ! -s "$tmp/import.log" ]; then
	ok "the Python client's parser" "$python" - "$tmp/metrics" "unix:$odd" <<'END'
import sys
from prometheus_client.parser import text_string_to_metric_families
families = {family.name: family for family in text_string_to_metric_families(open(sys.argv[1]).read())}
types = {name: family.type for name, family in families.items()}
assert types == {"vzfwd_build_info": "gauge", "process_start_time_seconds": "gauge", "vzfwd_connections_open": "gauge",
                 "vzfwd_connections": "counter", "vzfwd_connections_failed": "counter", "vzfwd_bytes": "counter"}, types
forwards = {sample.labels["forward"] for sample in families["vzfwd_connections"].samples}
assert forwards == {"127.0.0.1:8080", "127.0.0.1:8081", sys.argv[2], ""}, forwards
reasons = [sample.labels["reason"] for sample in families["vzfwd_connections_failed"].samples]
assert len(reasons) == 4 * len(set(reasons)) and "not-running" in reasons, reasons
END
else
	skip "needs python3-prometheus-client" "the Python client's parser"
fi
if command -v promtool >/dev/null; then
	ok "promtool has nothing to complain of" promtool check metrics <"$tmp/metrics"
else
	skip "needs promtool" "promtool has nothing to complain of"
fi

# Only that

status_of() {
	curl -s --max-time 20 -o "$tmp/body" -w '%{http_code}' "$@"
}
is "$(status_of http://127.0.0.1:9101/)" 404 "another path"
is "$(status_of -X PUT "$metrics")" 501 "another method"
is "$(status_of -d "$(head -c 100 /dev/zero | tr '\0' x)" -X GET "$metrics")" 413 "a body"
is "$(status_of -H "X: $(head -c 20000 /dev/zero | tr '\0' x)" "$metrics")" 400 "a head that is too large"
is "$(status_of -H 'Host: evil.example' "$metrics")" 403 "a name that a web page leads here"
is "$(status_of -H 'Host: localhost:9101' "$metrics")" 200 "localhost is no such name"
is "$(status_of -H 'Host: [::1]:9101' "$metrics")" 200 "nor are addresses"

# Many that say nothing: a few places, which are free again after 5 s.

# Connections that wait to be accepted have no inode.
has_clients() {
	[ "$(awk '$2 ~ /:238D$/ && $4 != "0A" && $10 != 0' /proc/net/tcp | wc -l)" = "$1" ]
}
spawn python3 - 9101 "$tmp/crowd" <<'END'
import socket, sys, time
crowd = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(20)]
for one in crowd:
    one.sendall(b"GET /metrics HT")
open(sys.argv[2], "w")
time.sleep(1000)
END
crowd_pid=$!
wait_for 10 test -e "$tmp/crowd"
ok "a crowd has 16 places" wait_for 5 has_clients 16
is "$(curl -s --max-time 1 -o "$tmp/body" "$metrics"; echo $?)" 28 "others wait"
socat -t 20 - TCP:127.0.0.1:8080 <"$tmp/up" >"$tmp/came"
same "$tmp/down" "$tmp/came" "forwards don't"
is "$(status_of --max-time 40 "$metrics")" 200 "until the time of those is up"
stop "$crowd_pid"
ok "nothing is left of them" wait_for 10 has_clients 0

# Its end, and what is wrong

python3 -c 'import socket, sys, time
one = socket.create_connection(("127.0.0.1", 9101))
one.sendall(b"GET")
open(sys.argv[1], "w")
one.recv(1)' "$tmp/asked" &
asker_pid=$!
wait_for 5 test -e "$tmp/asked"
kill -TERM "$serve_pid"
wait "$serve_pid"
is $? 0 "SIGTERM with a client there"
wait "$asker_pid"
refused() { # STATUS TEXT WHERE
	run vzfwd serve --socket "$socket" --metrics "$3"
	is "$status $(cat "$tmp/err")" "$1 vzfwd: serve: --metrics: $2" "--metrics $3"
}
refused 64 "unix:$tmp/m.sock: it listens on TCP alone" "unix:$tmp/m.sock"
run vzfwd serve --socket "$socket" --metrics nowhere
is "$status" 64 "--metrics nowhere"
spawn socat TCP-LISTEN:9102,bind=127.0.0.1 STDOUT >"$tmp/taken"
wait_for 5 tcp_listens 9102
run vzfwd serve --socket "$socket" --metrics 127.0.0.1:9102
is "$status" 73 "a port in use"
like "$(cat "$tmp/err")" '9102.*in use' "is named"
spawn vzfwd serve --socket "$socket" --metrics '*:9103' 2>"$tmp/all.log"
wait_for 10 unix_listens "$socket"
like "$(cat "$tmp/all.log")" '0\.0\.0\.0:9103 can be reached from other machines' "for other machines: it warns"
is "$(status_of -H 'Host: this.example' http://127.0.0.1:9103/metrics)" 200 "for other machines: by any name"
done_testing
