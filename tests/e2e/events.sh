#!/bin/bash
# SPDX-License-Identifier: MIT
# --events: what each connection was and how it ended, to files, pipes and sockets; and that readers who are slow
# or gone hold up nobody.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 socat setpriv

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
spawn in_pod "$pod" python3 "$here/pod-server.py" 127.0.0.1:80
wait_for 10 tcp_listens 80 "$pod"
guest_start "$pod"
vzfwd pod add web "$guest_endpoint"

client() { # PORT|unix:PATH STEP...
	case $1 in
	unix:*) python3 "$here/pod-client.py" "$@" ;;
	*) python3 "$here/pod-client.py" "127.0.0.1:$1" "${@:2}" ;;
	esac
}

# picked FILE EXPRESSION: of Python, with the events as `all`, those of a name as of(name).
picked() {
	python3 - "$@" <<-'END'
		import json, sys
		lines = open(sys.argv[1], "rb").read().decode("ascii").splitlines()
		all = [json.loads(line) for line in lines if line.startswith("{")]
		of = lambda *names: [event for event in all if event["event"] in names]
		print(eval(sys.argv[2]))
	END
}

has() { # FILE EXPRESSION
	[ "$(picked "$@")" = True ]
}

listen_start() { # FILE OPTION...
	spawn vzfwd listen -p web --events "$@" >"$tmp/listen.out" 2>"$tmp/listen.log"
	listen_pid=$!
	wait_for 10 test -s "$tmp/listen.out"
}

# A file

echo "was there" >"$tmp/old"
listen_start "$tmp/events" 8080:80 8081:81 "unix:$tmp/web.sock:80"
is "$(stat -c %a "$tmp/events")" 600 "a file: its mode"
is "$(picked "$tmp/events" '[[e[k] for k in ("event", "pod", "forward", "target", "listeners")] for e in all]')" \
	"[['listening', 'web', '127.0.0.1:8080', '80', ['127.0.0.1:8080', '[::1]:8080']], ['listening', 'web', '127.0.0.1:8081', '81', ['127.0.0.1:8081', '[::1]:8081']], ['listening', 'web', 'unix:$tmp/web.sock', '80', ['unix:$tmp/web.sock']]]" \
	"a file: its forwards"
head -c 12345678 /dev/urandom >"$tmp/sent"
socat -t 20 - TCP:127.0.0.1:8080,bind=127.0.0.1:5555 <"$tmp/sent" >"$tmp/came"
same "$tmp/sent" "$tmp/came" "a stream"
ok "has ended" wait_for 5 has "$tmp/events" 'len(of("closed")) == 1'
is "$(picked "$tmp/events" '[[e.get(k) for k in ("event", "pod", "forward", "target", "id", "client", "reason", "bytesIn", "bytesOut")] for e in all[3:]]')" \
	"[['opened', 'web', '127.0.0.1:8080', '80', 1, '127.0.0.1:5555', None, None, None], ['closed', 'web', '127.0.0.1:8080', '80', 1, '127.0.0.1:5555', 'eof', 12345678, 12345678]]" \
	"is told, to the byte"
client 8081 expect-reset
client 8080 echo:1000 reset
ok "a refused and a reset one" wait_for 5 has "$tmp/events" 'len(of("closed", "failed")) == 3'
is "$(picked "$tmp/events" '[(e["id"], e["forward"], e["reason"], "connection refused" in e["message"], "bytesIn" in e) for e in of("failed")]')" \
	"[(2, '127.0.0.1:8081', 'refused', True, False)]" "a refused one says so"
is "$(picked "$tmp/events" '[(e["id"], e["reason"], e["message"], e["bytesOut"]) for e in of("closed")[1:]]')" \
	"[(3, 'local', 'connection reset by peer', 1000)]" "one whose client resets does"
spawn python3 "$here/pod-client.py" "unix:$tmp/web.sock" echo:10 eof expect-eof wait:"$tmp/go"
unix_pid=$!
ok "a Unix client" wait_for 5 has "$tmp/events" 'of("opened")[-1]["client"] == "unix"'
is "$(picked "$tmp/events" '[of("opened")[-1][k] for k in ("pid", "uid")]')" "[$unix_pid, 0]" "is told by its process"
touch "$tmp/go"
wait "$unix_pid"
started=${EPOCHREALTIME/./}
client 8080 echo:10 wait:"$tmp/later" expect-reset &
wait_for 5 has "$tmp/events" 'len(of("opened")) == 4'
stop "$listen_pid"
took=$(((${EPOCHREALTIME/./} - started) / 1000))
touch "$tmp/later"
is "$(picked "$tmp/events" '[(e["event"], e.get("reason"), e.get("bytesIn")) for e in all[-4:]]')" \
	"[('stopped', None, None), ('stopped', None, None), ('stopped', None, None), ('closed', 'signal', 10)]" "the end"
ok "how long it was open" has "$tmp/events" "0 <= all[-1]['durationMs'] <= $took"
ok "times of RFC 3339, in order" python3 - "$tmp/events" <<'END'
import datetime, json, re, sys
times = [json.loads(line)["time"] for line in open(sys.argv[1])]
assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time) for time in times), times
assert times == sorted(times), times
then = datetime.datetime.fromisoformat(times[-1][:-1] + "+00:00")
assert abs(datetime.datetime.now(datetime.timezone.utc) - then).total_seconds() < 60, times[-1]
END
listen_start "$tmp/old" 8080:80
stop "$listen_pid"
is "$(sed 's/.*"event":"\([a-z]*\).*/\1/' "$tmp/old" | tr '\n' ' ')" "was there listening stopped " "a file that is there goes on"

# What the guest says

evil=$'{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"\\u001b[31mred\\u202etxt\\n\xc2\x9bx"}}'
spawn python3 "$here/fake-dialer.py" "$tmp/evil.sock" "$evil"
wait_for 10 unix_listens "$tmp/evil.sock"
listen_start "$tmp/evil" -p "unix://$tmp/evil.sock" 8080:80
client 8080 expect-reset
ok "a hostile text" wait_for 5 has "$tmp/evil" 'len(of("failed")) == 1'
is "$(picked "$tmp/evil" 'of("failed")[0]["message"]')" '\x1b[31mred\xe2\x80\xaetxt\x0a\xc2\x9bx' "is escaped"
stop "$listen_pid"

# Pipes

mkfifo "$tmp/pipe"
exec {pipe}<>"$tmp/pipe"
fill() {
	python3 -c 'import os, sys
os.set_blocking(1, False)
try:
    while True: os.write(1, b"x" * 4095 + b"\n")
except BlockingIOError: pass
os.set_blocking(1, True)' >&"$pipe"
}
fill
listen_start "fd:$pipe" 8080:80
ok "a full pipe: a client is served" client 8080 echo:1000000 eof expect-eof
is "$(sed 's/.*O_NONBLOCK//' <(python3 -c "import os; print(os.get_blocking($pipe))"))" True "a full pipe: it blocks those who like it to"
spawn cat "$tmp/pipe" >"$tmp/piped"
ok "once it is read: the number of lines that were dropped" \
	wait_for 5 has "$tmp/piped" '[(e["event"], e["count"]) for e in all] == [("dropped", 3)]'
ok "once it is read: another client" client 8080 echo:10 eof expect-eof
ok "once it is read: is told of" wait_for 5 has "$tmp/piped" \
	'[(e["event"], e["id"]) for e in all[1:]] == [("opened", 2), ("closed", 2)]'
stop "$listen_pid"
ok "and so is the end" wait_for 5 has "$tmp/piped" 'all[-1]["event"] == "stopped"'
exec {pipe}<&-

mkfifo "$tmp/gone"
spawn bash -c "exec 3<>'$tmp/gone'; touch '$tmp/reads'; exec sleep 1000"
reader_pid=$!
wait_for 5 test -e "$tmp/reads"
listen_start "$tmp/gone" 8080:80
stop "$reader_pid"
ok "a reader that is gone: a client is served" client 8080 echo:1000000 eof expect-eof
ok "a reader that is gone: another one is" client 8080 echo:10 eof expect-eof
is "$(cat "$tmp/listen.log")" "vzfwd: warning: events: $tmp/gone: broken pipe" "a reader that is gone: it is said once"
stop "$listen_pid"
run vzfwd listen -p web --events "$tmp/gone" 8080:80
is "$status $(cat "$tmp/err")" "69 vzfwd: listen: --events: $tmp/gone: no such device or address" "a FIFO that nobody reads"

# A socket takes lines in part; each is whole all the same, or counted.

ok "a socket that is read slowly: nothing is lost without being counted" \
	python3 "$here/events-socket.py" "$tmp/socket.out" "$here/pod-client.py"

# A full file system

mkdir "$tmp/small"
mount -t tmpfs -o size=8k none "$tmp/small"
listen_start "$tmp/small/events" 8080:80
dd if=/dev/zero of="$tmp/small/ballast" bs=4096 2>/dev/null
for _ in {1..15}; do
	client 8080 echo:10 eof expect-eof || echo "not served"
done
ok "no space left: it is said" wait_for 5 grep -q 'events: .*no space left' "$tmp/listen.log"
is "$(wc -l <"$tmp/listen.log")" 1 "no space left: and nothing else, once"
rm "$tmp/small/ballast"
client 8080 echo:10 eof expect-eof
ok "space again: the lines and those that were dropped are all that there were" wait_for 5 has "$tmp/small/events" \
	'sum(e["count"] if e["event"] == "dropped" else 1 for e in all) == 33'
ok "space again: some were dropped" has "$tmp/small/events" 'len(of("dropped")) == 1'
stop "$listen_pid"
umount "$tmp/small"

# run and proxy

ok "run" vzfwd run -p web --events "$tmp/ran" 80 -- \
	python3 "$here/pod-client.py" '127.0.0.1:{}' echo:1000 eof expect-eof
is "$(picked "$tmp/ran" '[(e["event"], e.get("bytesIn"), e["target"]) for e in all]')" \
	"[('listening', None, '80'), ('opened', None, '80'), ('closed', 1000, '80'), ('stopped', None, '80')]" "run's forward"
exec {pipe}<>"$tmp/pipe"
run setpriv --reuid=1000 --regid=1000 --clear-groups vzfwd run -p "unix://$tmp/none" --events "fd:$pipe" 80 -- \
	sh -c 'readlink "/proc/self/fd/$1" || echo none' sh "$pipe"
is "$status $(cat "$tmp/out")" "0 none" "a descriptor that it can't open anew is no command's either"
exec {pipe}<&-
run vzfwd run -p web --events fd:01 80 -- true
is "$status $(cat "$tmp/err")" "64 vzfwd: run: --events: fd:01 is the command's" "the command's own descriptors are left alone"
spawn vzfwd proxy --events "$tmp/proxied" 1080 >"$tmp/proxy.out" 2>"$tmp/proxy.log"
proxy_pid=$!
wait_for 5 test -s "$tmp/proxy.out"
socat -t 20 - PROXY:127.0.0.1:web:80,proxyport=1080 <"$tmp/sent" >"$tmp/came"
same "$tmp/sent" "$tmp/came" "through the proxy"
socat -t 20 - PROXY:127.0.0.1:nobody:80,proxyport=1080 </dev/null >"$tmp/nobody" 2>&1
stop "$proxy_pid"
is "$(picked "$tmp/proxied" '[[e.get(k) for k in ("event", "pod", "forward", "target", "reason", "bytesIn")] for e in all]')" \
	"[['listening', None, '127.0.0.1:1080', None, None, None], ['opened', 'web', '127.0.0.1:1080', '80', None, None], ['closed', 'web', '127.0.0.1:1080', '80', 'eof', 12345678], ['failed', 'nobody', '127.0.0.1:1080', '80', 'not-found', None], ['stopped', None, '127.0.0.1:1080', None, None, None]]" \
	"is told by pod"

# serve, and log rotation

socket=$tmp/serve.sock
spawn vzfwd serve --socket "$socket" --events "$tmp/served" 2>"$tmp/serve.log"
serve_pid=$!
wait_for 10 unix_listens "$socket"
ask() {
	python3 "$here/serve-ask.py" "$socket" "$@"
}
ask forward.add '{"pod":"web","listen":"127.0.0.1:8080","network":"tcp","address":":80"}' >"$tmp/added"
client 8080 echo:1000 eof expect-eof
ok "serve: a forward" wait_for 5 has "$tmp/served" '[e["event"] for e in all] == ["listening", "opened", "closed"]'
mv "$tmp/served" "$tmp/served.1"
kill -HUP "$serve_pid"
ok "SIGHUP: a new file" wait_for 5 test -e "$tmp/served"
client 8080 echo:2000 eof expect-eof
ok "SIGHUP: has what comes from then on" wait_for 5 has "$tmp/served" 'of("closed")[0]["bytesIn"] == 2000'
is "$(picked "$tmp/served.1" 'of("closed")[-1]["bytesIn"]')" 1000 "SIGHUP: the old one has what was before"
ask forward.remove '{"id":1}' >"$tmp/removed"
ok "a forward that is removed" wait_for 5 has "$tmp/served" 'all[-1]["event"] == "stopped"'
mv "$tmp/served" "$tmp/served.2"
ln -s "$tmp/elsewhere" "$tmp/served"
chown -h 1000 "$tmp/served"
kill -HUP "$serve_pid"
ok "SIGHUP: a link of somebody else's is told" wait_for 5 grep -q "$tmp/served: is a symbolic link of uid 1000" "$tmp/serve.log"
ask forward.add '{"pod":"web","listen":"127.0.0.1:8080","network":"tcp","address":":80"}' >"$tmp/added"
ok "SIGHUP: it goes on in the old file" wait_for 5 has "$tmp/served.2" 'all[-1]["event"] == "listening"'
stop "$serve_pid"

# up: SIGHUP is for its file too

echo '{"forwards":[{"pod":"web","forward":"8080:80"}]}' >"$tmp/up.json"
up_start() {
	spawn vzfwd up --direct --events "$tmp/upped" "$tmp/up.json" >"$tmp/up.out" 2>"$tmp/up.log"
	up_pid=$!
	wait_for 5 has "$tmp/upped" 'of("listening") != []'
}
up_start
mv "$tmp/upped" "$tmp/upped.1"
kill -HUP "$up_pid"
ok "up: SIGHUP: a new file" wait_for 5 test -e "$tmp/upped"
client 8080 echo:2000 eof expect-eof
ok "up: SIGHUP: has what comes from then on" wait_for 5 has "$tmp/upped" 'of("closed")[0]["bytesIn"] == 2000'
stop "$up_pid"

# A pod that goes and comes back

listen_start "$tmp/away" --retry-for 0 8080:80
client 8080 echo:10 eof expect-eof
kill -KILL "$guest_pid"
wait_for 5 gone "$guest_pid"
client 8080 expect-reset
ok "a pod is lost" wait_for 5 has "$tmp/away" 'len(of("pod-lost")) == 1'
is "$(picked "$tmp/away" '[(e["pod"], e["reason"]) for e in of("pod-lost")]')" "[('web', 'unreachable')]" "is named, with why"
guest_again
client 8080 echo:10 eof expect-eof
ok "it is back" wait_for 5 has "$tmp/away" '[e["pod"] for e in of("pod-back")] == ["web"]'
stop "$listen_pid"

# Symbolic links

ln -s "$tmp/behind" "$tmp/link"
listen_start "$tmp/link" 8080:80
ok "a link of one's own is followed" wait_for 5 has "$tmp/behind" 'of("listening") != []'
stop "$listen_pid"
chown -h 1000 "$tmp/link"
rm "$tmp/behind"
run timeout 10 vzfwd listen -p web --events "$tmp/link" 8080:80
is "$status $(cat "$tmp/err")" \
	"77 vzfwd: listen: --events: $tmp/link: is a symbolic link of uid 1000's, neither root nor you" "another user's is not"
is "$(ls "$tmp/behind" "$tmp/elsewhere" 2>/dev/null)" "" "and nothing is made behind it"

# A file may be no longer than the limit of the process allows; what a build for coverage writes at its end goes elsewhere.

ulimit -S -f 1
GCOV_PREFIX=$tmp/gcov GCOV_ERROR_FILE=/dev/null listen_start "$tmp/limited" 8080:80
ulimit -S -f unlimited
for _ in {1..10}; do
	client 8080 echo:10 eof expect-eof || break
done
is "$? $(stat -c %s "$tmp/limited")" "0 1024" "connections go on when the events' file is as long as it may be"
ok "and so does the listener" kill -0 "$listen_pid"
stop "$listen_pid"

# What is wrong

run vzfwd listen -p web --events fd:99 8080:80
is "$status $(cat "$tmp/err")" "64 vzfwd: listen: --events: fd:99: bad file descriptor" "no such descriptor"
run vzfwd listen -p web --events fd:0 8080:80 </dev/null
is "$status" 64 "one that can't be written to"
run vzfwd listen -p web --events fd:x 8080:80
is "$status" 64 "no number"
run vzfwd listen -p web --events "$tmp" 8080:80
is "$status" 73 "a folder"
run vzfwd serve --socket "$socket" --events "$tmp/none/events"
is "$status $(cat "$tmp/err")" "66 vzfwd: serve: --events: $tmp/none/events: no such file or directory" "no folder for it"
done_testing
