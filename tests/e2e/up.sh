#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd up`: a file's forwards are there all or not at all, in this process and through a server; a changed file
# changes what it changes, and no byte of what it does not; what is wrong in a file is told with its place.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 curl sha256sum

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
other=$(pod_new)
spawn in_pod "$pod" python3 "$here/pod-server.py" --greet 127.0.0.1:80 127.0.0.1:81 127.0.0.1:82
spawn in_pod "$other" python3 "$here/pod-server.py" --greet '[::1]:80' '[::1]:81' '[::1]:82'
spawn in_pod "$pod" python3 "$here/target.py" "$tmp/target.log" 7=eof
for port in 80 81 82; do
	wait_for 10 tcp_listens "$port" "$pod"
	wait_for 10 tcp_listens "$port" "$other"
done
wait_for 10 tcp_listens 7 "$pod"
guest_start "$pod"
vzfwd pod add web "$guest_endpoint"
guest_start "$other"
vzfwd pod add db "$guest_endpoint"
cd "$tmp" || exit 99

client() { # PORT STEP...
	python3 "$here/pod-client.py" "127.0.0.1:$1" "${@:2}"
}
reaches() { # PORT GREETING
	client "$1" expect:"$2"$'\n' echo:100000 eof expect-eof
}
deaf() {
	! tcp_listens "$1"
}
has_line() {
	grep -qE -- "$2" "$1"
}
# forwards POD FORWARD...: a file of forwards of these pods; to up.json
forwards() {
	local comma=

	printf '{ "forwards": ['
	while [ $# != 0 ]; do
		printf '%s\n  { "pod": "%s", "forward": "%s" }' "$comma" "$1" "$2"
		comma=,
		shift 2
	done
	printf '\n] }\n'
} >"$tmp/new.json"
write() {
	forwards "$@"
	mv "$tmp/new.json" "$tmp/up.json"
}
apply() { # the file anew, and wait for the lines that say so
	local before

	before=$(grep -c applied "$tmp/up.log")
	kill -HUP "$up_pid"
	wait_for 5 applied_since "$before"
}
applied_since() {
	[ "$(grep -c applied "$tmp/up.log")" -gt "$1" ] || [ "$(grep -c 'as it was' "$tmp/up.log")" -gt "$refused" ]
}
refused=0
up_start() { # ARGUMENT...
	: >"$tmp/up.log"
	refused=0
	spawn vzfwd --log-level info up "$@" >"$tmp/up.out" 2>"$tmp/up.log"
	up_pid=$!
}

# both: in this process, and through a server.

lifetime() { # NAME MB OPTION...
	local name=$1 half=$(($2 * 500000)) stream

	shift 2
	write web 8080:80 db 8081:80 web unix:./web.sock:81 web 8082:7 web :82
	up_start "$@" up.json
	ok "$name: all of them listen" wait_for 5 has_line up.out '-> web:82$'
	ok "$name: one pod" reaches 8080 "127.0.0.1 80"
	ok "$name: another pod" reaches 8081 "::1 80"
	ok "$name: a Unix socket" python3 "$here/pod-client.py" unix:web.sock expect:$'127.0.0.1 81\n' echo:1000 eof expect-eof
	free=$(sed -nE 's/^Forwarding from 127\.0\.0\.1:([0-9]+) -> web:82$/\1/p' up.out)
	ok "$name: a free port" reaches "$free" "127.0.0.1 82"

	# Much goes through a forward while the others change.
	: >target.log
	client 8082 pattern:$half touch:"$tmp/half" wait:"$tmp/go" pattern:$half eof expect-eof &
	stream=$!
	wait_for 60 test -e half
	spawn client 8080 expect:$'127.0.0.1 80\n' echo:10 touch:"$tmp/open" wait:"$tmp/go" echo:100000 eof expect-eof
	open_pid=$!
	wait_for 10 test -e open
	write web 8080:81 web 8082:7 web :82 db unix:./web.sock:81 db 8083:82
	apply
	ok "$name: a changed target" reaches 8080 "127.0.0.1 81"
	ok "$name: a changed pod behind a Unix socket" python3 "$here/pod-client.py" unix:web.sock expect:$'::1 81\n'
	ok "$name: a new one" reaches 8083 "::1 82"
	ok "$name: one that is no more" wait_for 5 deaf 8081
	ok "$name: the free port is the same" reaches "$free" "127.0.0.1 82"
	is "$(grep -c ':8082 -> web:7$' up.out)" 2 "$name: what has not changed is told of once, for each of its listeners"
	ok "$name: what has changed is" has_line up.out '^No longer forwarding from 127\.0\.0\.1:8081 -> db:80$'
	touch go
	wait "$stream"
	is "$?" 0 "$name: $((half / 500000)) MB through a forward that was not touched"
	ok "$name: the target has their end" wait_for 20 has_line target.log '^7 eof'
	is "$(awk '{ print $3, $4 }' target.log)" "$((half * 2)) $(pattern_sum "$half")" "$name: and every byte"
	wait "$open_pid"
	is "$?" 0 "$name: a connection of one that was led elsewhere goes on"
	rm -f half go open

	# All or nothing
	refused=0
	spawn python3 -c 'import socket, time; s = socket.create_server(("127.0.0.1", 8090)); time.sleep(1000)'
	taken=$!
	wait_for 10 tcp_listens 8090
	write db 8080:80 web 8084:80 web 127.0.0.1:8090:80
	apply
	refused=1
	ok "$name: one port is in use: told with its place" has_line up.log \
		"^vzfwd: up: up\.json:4:30: .*cannot listen on 127\.0\.0\.1:8090: address already in use; everything is as it was$"
	ok "$name: then all is as it was: the changed one" reaches 8080 "127.0.0.1 81"
	ok "$name: the new one" deaf 8084
	ok "$name: and those that are gone from the file" reaches 8083 "::1 82"
	stop "$taken"
	write db 8080:80 web 8084:80 nosuch 8090:80
	apply
	refused=2
	ok "$name: no such pod" has_line up.log '^vzfwd: up: up\.json:4:33: .*nosuch'
	printf '{ "forwards": [\n  { "pod": "web", "forward": "8080:81" },\n  { "pod": "web" "forward": "x" }\n] }\n' >up.json
	apply
	refused=3
	ok "$name: a file that is no JSON" has_line up.log '^vzfwd: up: up\.json:3:[0-9]+: .*; everything is as it was$'
	rm up.json
	apply
	refused=4
	ok "$name: no file" has_line up.log '^vzfwd: up: up\.json: no such file or directory; everything is as it was$'
	ok "$name: all is as it was" reaches 8080 "127.0.0.1 81"
	write web 8080:80 web 8080:82
	apply
	refused=5
	ok "$name: one port twice" has_line up.log '^vzfwd: up: up\.json:3:30: .*8080: address already in use'
	ok "$name: that changes nothing" reaches 8080 "127.0.0.1 81"
	write db 127.0.0.1:8085:80 web 127.0.0.2:8086:80
	apply
	ok "$name: 127.0.0.1 alone" reaches 8085 "::1 80"
	write db 8085:80 web 127.0.0.2:8086:80
	apply
	refused=6
	ok "$name: as localhost, which would get ::1 only: told with its place" has_line up.log \
		"^vzfwd: up: up\.json:2:29: cannot listen on localhost:8085: in use by 127\.0\.0\.1:8085:80, "
	ok "$name: that changes nothing, either" reaches 8085 "::1 80"
	write db 127.0.0.1:8085:80 web 8086:80
	apply
	ok "$name: 127.0.0.2 is in nobody's way" reaches 8086 "127.0.0.1 80"
	write
	apply
	ok "$name: an empty file" deaf 8080
	not_ok "$name: takes the Unix socket away" test -e web.sock
	write web 8080:80
	apply
	ok "$name: and there is one again" reaches 8080 "127.0.0.1 80"
	kill -TERM "$up_pid"
	wait "$up_pid"
	is "$?" 0 "$name: SIGTERM"
	ok "$name: nobody listens any more" wait_for 5 deaf 8080
}
pattern_sum() {
	python3 - "$here" "$1" <<'PY'
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import target
digest = hashlib.sha256()
for _ in range(2):
    for piece in target.pieces(int(sys.argv[2])):
        digest.update(piece)
print(digest.hexdigest())
PY
}
lifetime direct 200
run ls web.sock
is "$status" 2 "direct: its Unix socket is gone"

# Through a server

socket=$tmp/server.sock
spawn vzfwd serve --socket "$socket" 2>"$tmp/serve.log"
serve_pid=$!
wait_for 5 unix_listens "$socket"
lifetime server 20 --socket "$socket"
list() {
	echo '{"jsonrpc":"2.0","id":1,"method":"forward.list"}' | python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.stdin.buffer.read()); print(s.makefile().readline())' "$socket"
}
none_held() {
	list | grep -q '"forwards":\[\]'
}
write web 8080:80
up_start --socket "$socket" up.json
wait_for 5 has_line up.out '-> web:80$'
ok "the server has them" grep -q '"listen":"127.0.0.1:8080"' <<<"$(list)"
kill -KILL "$up_pid"
ok "one that is killed leaves none behind" wait_for 5 none_held
up_start --socket "$socket" up.json
wait_for 5 has_line up.out '-> web:80$'
stop "$serve_pid"
wait "$up_pid"
is "$?" 69 "the server ends: so does up"
is "$(cat up.log)" "vzfwd: up: the server has gone, and the forwards with it" "which is told"
run vzfwd up --socket "$socket" up.json
is "$status" 69 "no server where one is asked for"
mkdir -p /run/vzfwd/pods
cp "$VZFWD_PODS_DIR"/*.json /run/vzfwd/pods/
spawn env -u VZFWD_PODS_DIR vzfwd serve
serve_pid=$!
wait_for 5 unix_listens /run/vzfwd/vzfwd.sock
spawn env -u VZFWD_PODS_DIR vzfwd up up.json >up.out
up_pid=$!
wait_for 5 has_line up.out '-> web:80$'
socket=/run/vzfwd/vzfwd.sock
ok "the server at the default place is asked" grep -q '"listen":"127.0.0.1:8080"' <<<"$(list)"
stop "$up_pid"
spawn env -u VZFWD_PODS_DIR vzfwd up --direct up.json >up.out
up_pid=$!
wait_for 5 has_line up.out '-> web:80$'
ok "--direct: it is not" none_held
stop "$up_pid"
stop "$serve_pid"
spawn env -u VZFWD_PODS_DIR vzfwd up up.json >up.out
up_pid=$!
wait_for 5 has_line up.out '-> web:80$'
ok "without one it is done here" reaches 8080 "127.0.0.1 80"
stop "$up_pid"

# From stdin

forwards web 8080:80
spawn vzfwd up - <new.json >up.out
up_pid=$!
wait_for 5 has_line up.out '-> web:80$'
ok "from stdin" reaches 8080 "127.0.0.1 80"
kill -HUP "$up_pid"
wait "$up_pid"
is "$?" 0 "from stdin: SIGHUP ends it"

# From a FIFO, which can't be read anew; and from a file that becomes one

mkfifo up.fifo
spawn vzfwd up up.fifo >up.out
up_pid=$!
forwards web 8080:80
cat new.json >up.fifo
wait_for 5 has_line up.out '-> web:80$'
kill -HUP "$up_pid"
ok "from a FIFO: SIGHUP ends it" wait_for 5 gone "$up_pid"
stop "$up_pid"
write web 8080:80
up_start up.json
wait_for 5 has_line up.out '-> web:80$'
mv up.fifo up.json
apply
ok "a file that becomes a FIFO" has_line up.log '^vzfwd: up: up\.json: is no regular file any more; everything is as it was$'
ok "changes nothing" reaches 8080 "127.0.0.1 80"
stop "$up_pid"
spawn vzfwd up up.json >up.out
up_pid=$!
sleeps() {
	[ "$(cat "/proc/$up_pid/comm") $(stat_of "$up_pid" 3)" = "vzfwd S" ]
}
wait_for 5 sleeps
kill -TERM "$up_pid"
ok "SIGTERM while nobody writes into it" wait_for 5 gone "$up_pid"
stop "$up_pid"
write web 8080:80

# A pod that is not there for a while

forwards db 8080:80
spawn vzfwd up - <new.json >up.out 2>up.log
up_pid=$!
wait_for 5 has_line up.out '-> db:80$'
stop "$guest_pid"
spawn client 8080 expect:$'::1 80\n' echo:100000 eof expect-eof
held=$!
ok "a client that comes while the dialer is away: that is told" wait_for 5 test -s up.log
guest_again
wait "$held"
is "$?" 0 "it is held, and served"
stop "$up_pid"

# What is wrong in a file

bad() { # TEXT ERROR
	printf '%b' "$1" >bad.json
	run vzfwd up bad.json
	is "$status $(cat err)" "78 vzfwd: up: bad.json:$2" "bad: $1"
}
bad '[]' '1:1: must be an object with "forwards"'
bad '{}' '1:1: "forwards" is missing'
bad '\n{"forwards":{}}' '2:13: "forwards" must be an array'
bad '{"forwards":[],\n "forward":[]}' '2:2: unknown member "forward"'
bad '{"forwards":[\n\t1]}' '2:2: a forward must be an object'
bad '{"forwards":[{"pod":"web"}]}' '1:14: "forward" is missing'
bad '{"forwards":[{"forward":"80"}]}' '1:14: "pod" is missing'
bad '{"forwards":[{"pod":"web","forward":"80"},\n{"pod":"../x","forward":"80"}]}' '2:8: not the name of a registered pod'
bad '{"forwards":[{"pod":"exec:sh","forward":"80"}]}' '1:21: not the name of a registered pod'
bad '{"forwards":[{"pod":"web","forward":80}]}' '1:37: "forward" must be a string'
bad '{"forwards":[{"\\u0070od":7,"forward":"80"}]}' '1:26: "pod" must be a string'
bad '{"forwards":[{"pod":"web","forward":"unix:/\\"}]\\\\:80","timeoutMs":0}]}' '1:67: "timeoutMs" must be an integer from 1 to 600000'
bad '{"forwards":[{"pod":"web","forward":"unix:/é:80","x}]":0}]}' '1:50: unknown member "x}]"'
bad '{"forwards":[{"pod":"web","forward":"80:x"}]}' "1:37: forward 80:x: the pod's port must be between 1 and 65535, got x"
bad '{"forwards":[{"pod":"web","timeoutMs":0,"forward":"80"}]}' '1:39: "timeoutMs" must be an integer from 1 to 600000'
bad '{"forwards":[{"pod":"web","containerID":"a/b","forward":"80"}]}' '1:41: not a container ID'
# What is no JSON is jansson's to tell, whose words are not the same in all of its versions.
no_json() { # TEXT LINE:COLUMN
	printf '%b' "$1" >bad.json
	run vzfwd up bad.json
	like "$status $(cat err)" "^78 vzfwd: up: bad\.json:$2: ." "no JSON: $1"
}
no_json '{"forwards":[{"pod":"web","forward":"80"},\n{"pod":"é","pod":"x"}]}' '2:16'
no_json '{"forwards":[\n{"pod":"web",\n}]}' '3:1'
no_json '{"forwards":[]}\n}' '2:1'
no_json '' '1:[01]'
python3 -c 'print("{\"forwards\":[" + "[" * 100000 + "]" * 100000 + "]}")' >bad.json
is "$(exit_of vzfwd up bad.json)" 78 "bad: nested too deeply"
head -c 2000000 /dev/zero | tr '\0' ' ' >bad.json
run vzfwd up bad.json
is "$status $(cat err)" "78 vzfwd: up: bad.json: longer than 1048576 bytes" "bad: too long"
chmod 666 up.json
run vzfwd up up.json
is "$status $(cat err)" "77 vzfwd: up: up.json: is writable by everybody (mode 0666)" "a file that everybody can write"
is "$(exit_of vzfwd up nosuch.json)" 66 "no such file"
is "$(exit_of vzfwd up)" 64 "no FILE"
is "$(exit_of vzfwd up --socket x --direct up.json)" 64 "a server, and none"

done_testing
