#!/bin/bash
# SPDX-License-Identifier: MIT
# Pods that go and come back under `vzfwd listen`: the dialer, the VM, the pod's file or its netns is away for a
# while. Clients that connect meanwhile are held and then served, each byte once, or reset when their time is up.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
: >"$tmp/seen"
spawn in_pod "$pod" python3 "$here/target.py" "$tmp/seen" 80=echo,shut 81=say:hello,shut 83=eof
server=$!
wait_for 10 tcp_listens 83 "$pod"
guest_start "$pod"
vzfwd pod add web "$guest_endpoint"

client() { # PORT STEP...
	python3 "$here/pod-client.py" "127.0.0.1:$1" "${@:2}"
}
listen_start() {
	spawn vzfwd listen "$@" >"$tmp/listen.out" 2>"$tmp/listen.log"
	listen_pid=$!
	wait_for 10 test -s "$tmp/listen.out"
}
listen_stop() {
	kill -TERM "$listen_pid"
	wait "$listen_pid"
}
# Counts lines of a file; at least N of them.
lines() {
	grep -cE -- "$2" "$1"
}
has_lines() {
	[ "$(lines "$1" "$2")" -ge "$3" ]
}
guest_kill() {
	kill -KILL "$guest_pid"
	wait "$guest_pid" 2>/dev/null
}
ms() {
	echo $((${EPOCHREALTIME/./} / 1000))
}
# With bytes there before it is accepted: they go out with the request.
early_client() { # PORT STEP...
	kill -STOP "$listen_pid"
	client "$1" "send:early bytes" "touch:$tmp/early" "${@:2}" &
	client_pid=$!
	wait_for 10 test -e "$tmp/early"
	rm "$tmp/early"
	kill -CONT "$listen_pid"
}

# The dialer is killed, and started anew.

listen_start -v --retry-for 30 -p web 8080:80 8081:81
ok "a pod that is there" client 8080 echo:1000 eof expect-eof
for i in 1 2 3; do
	spawn client 8080 send:x expect:x "touch:$tmp/open$i" expect-reset
	pids[i]=$!
	wait_for 10 test -e "$tmp/open$i"
done
guest_kill
for i in 1 2 3; do
	wait "${pids[i]}"
	is "$?" 0 "stream $i is cut: its client is reset"
done
ok "that the pod is lost is told, once it has been looked for" wait_for 5 has_lines "$tmp/listen.log" \
	'web: lost: ' 1
: >"$tmp/seen"
spawn python3 "$here/pod-crowd.py" at-once 127.0.0.1:8080 300 20000
crowd_pid=$!
spawn client 8081 expect:hello expect-eof
other_pid=$!
cpu=$(cpu_ms_of "$listen_pid")
probes=$(lines "$tmp/listen.log" 'web: link opening')
start=$(ms)
ok "300 clients and one for another port are accepted" wait_for 20 has_lines "$tmp/listen.out" '^Handling' 305
ok "the dialer is asked for again and again" wait_for 20 has_lines "$tmp/listen.log" 'web: link opening' $((probes + 5))
probes=$(($(lines "$tmp/listen.log" 'web: link opening') - probes))
took=$(($(ms) - start))
ok "but not in a storm: $probes times in $took ms" test "$probes" -le $((5 + took / 400))
ok "nor by clients" test "$(lines "$tmp/listen.log" 'web:8[01] #.*link opening')" -le 4
cpu=$(($(cpu_ms_of "$listen_pid") - cpu))
ok "and waiting takes little: $cpu ms" test "$cpu" -le $((100 + took / 10))
ok "none of them is reset" kill -0 "$crowd_pid" "$other_pid"
guest_again
wait "$crowd_pid"
is "$?" 0 "the dialer is back: all 300 are served, and have back what they sent"
wait "$other_pid"
is "$?" 0 "and so is the one for another port"
is "$(lines "$tmp/seen" '^80 eof 20000 ')" 300 "the server saw 300 of them"
is "$(wc -l <"$tmp/seen"):$(sort -u "$tmp/seen" | wc -l)" 300:300 "each once"
is "$(grep -v ' debug: ' "$tmp/listen.log" | sed 's/ after.*//; s/lost: .*/lost/; s/#[0-9]*: the link.*/cut/')" "vzfwd: web:80 cut
vzfwd: warning: web: lost
vzfwd: warning: web: back" "one line was for lost, one for back, and one for what was cut"
listen_stop

# Its end and that of others' patience

listen_start -v --retry-for 0.5 -p web 8080:80 8082:82
spawn client 8080 send:x expect:x "touch:$tmp/one" expect-reset
wait_for 10 test -e "$tmp/one"
guest_kill
start=$(ms)
ok "nobody comes back: the client is reset" client 8080 expect-reset
took=$(($(ms) - start))
ok "when its time is up ($took ms)" test "$took" -ge 450 -a "$took" -le 2500
: >"$tmp/seen"
early_client 8080 expect-reset
wait "$client_pid"
is "$?" 0 "and so is one that has sent something"
guest_again
ok "the pod is back" client 8080 echo:1000 eof expect-eof
is "$(lines "$tmp/listen.log" 'web: lost'):$(lines "$tmp/listen.log" 'web: back')" 1:1 "two lines for all of that"
is "$(lines "$tmp/seen" eof)" 1 "what was reset has not reached the server"
listen_stop

listen_start --retry-for 600 -p web 8080:80 8082:82
start=$(ms)
ok "a target that refuses is not waited for" client 8082 expect-reset
ok "not even a moment ($(($(ms) - start)) ms)" test $(($(ms) - start)) -le 2000
is "$(lines "$tmp/listen.log" '^vzfwd: web:82 #1: .*connection refused')" 1 "and that is told of this connection"
listen_stop

# Clients that leave

guest_kill
listen_start -v --retry-for 600 -p web 8080:80 "unix:$tmp/web.sock:83"
spawn client 8080 "touch:$tmp/held1" "wait:$tmp/go1" reset
wait_for 5 has_lines "$tmp/listen.log" 'web: not there yet: nobody listens on ' 1
not_ok "a client that is held is not told anything" has_lines "$tmp/listen.log" '#1: the client' 1
touch "$tmp/go1"
ok "it resets: that is noticed at once" wait_for 1 has_lines "$tmp/listen.log" '#1: the client is gone' 1
ok "a Unix client closes" python3 "$here/pod-client.py" "unix:$tmp/web.sock" close
ok "that, too" wait_for 1 has_lines "$tmp/listen.log" '#2: the client is gone' 1
probes=$(lines "$tmp/listen.log" 'web: link opening')
sleep 1.5 # nothing is waited for: this is for what must not happen
is "$(lines "$tmp/listen.log" 'web: link opening')" "$probes" "nobody waits: the dialer is not asked for"
: >"$tmp/seen"
ok "a Unix client says all it has and goes" python3 "$here/pod-client.py" "unix:$tmp/web.sock" send:everything close
ok "now it is asked for again" wait_for 5 has_lines "$tmp/listen.log" \
	'web: link opening' $((probes + 1))
guest_again
sum=$(printf everything | sha256sum)
ok "what it said is delivered" wait_for 10 has_lines "$tmp/seen" "^83 eof 10 ${sum%% *}\$" 1
is "$(cat "$tmp/seen")" "83 eof 10 ${sum%% *}" "once"
listen_stop

# The pod's file and its netns

listen_start --retry-for 30 -p web 8080:80
vzfwd pod rm web
spawn client 8080 echo:100000 eof expect-eof
client_pid=$!
ok "its file is missing" wait_for 5 has_lines "$tmp/listen.log" 'web: not there yet: no pod web is registered' 1
vzfwd pod add web "$guest_endpoint"
wait "$client_pid"
is "$?" 0 "its file is there again: the client is served"
umount "/run/netns/$pod"
rm "/run/netns/$pod"
: >"$tmp/seen"
early_client 8080 "expect:early bytes" echo:100000 eof expect-eof
ok "its netns is gone: its dialer says so, also to early bytes" wait_for 5 has_lines "$tmp/listen.log" 'web: lost: .*no such file' 1
touch "/run/netns/$pod"
mount --bind "/proc/$server/ns/net" "/run/netns/$pod"
wait "$client_pid"
is "$?" 0 "it is there again: the client is served"
is "$(lines "$tmp/seen" '^80 eof 100011 '):$(wc -l <"$tmp/seen")" 1:1 "and all of its bytes came once"
listen_stop

# A VM behind its VMM's socket reboots: nobody there, then a VMM without a guest, then both.

spawn python3 "$here/hvsock.py" "$tmp/vmm.log" "$guest_socket" "$tmp/vm.sock=plain"
vmm_pid=$!
wait_for 10 unix_listens "$tmp/vm.sock"
vzfwd pod add vm "hvsock://$tmp/vm.sock"
listen_start -v --retry-for 30 -p vm 8080:80
ok "a VM" client 8080 echo:1000 eof expect-eof
stop "$vmm_pid"
guest_kill
rm -f "$tmp/vm.sock"
spawn client 8080 echo:100000 eof expect-eof
client_pid=$!
ok "it is lost" wait_for 5 has_lines "$tmp/listen.log" 'vm: lost: ' 1
spawn python3 "$here/hvsock.py" "$tmp/vmm.log" "$guest_socket" "$tmp/vm.sock=plain"
requests=$(lines "$tmp/vmm.log" request)
ok "its VMM is back" wait_for 10 has_lines "$tmp/vmm.log" request $((requests + 2))
ok "which alone is not enough" kill -0 "$client_pid"
guest_again
wait "$client_pid"
is "$?" 0 "its guest is: the client is served"
is "$(lines "$tmp/listen.log" 'vm: (lost|back)')" 2 "two lines"
listen_stop

# Whether early bytes have arrived can't be known: they are not sent twice.

: >"$tmp/taken"
spawn python3 "$here/target.py" "$tmp/taken" "$tmp/taker.sock=line,close"
wait_for 10 unix_listens "$tmp/taker.sock"
listen_start --retry-for 1 -p "unix://$tmp/taker.sock" 8080:80
early_client 8080 expect-reset
wait "$client_pid"
is "$?" 0 "a dialer that ends without an answer: a client whose bytes had gone out is reset"
is "$(lines "$tmp/taken" portDial):$(wc -l <"$tmp/taken")" 1:1 "and asked for once"
listen_stop

# No retries at all

listen_start --retry-for 0 -p web 8080:80
guest_kill
start=$(ms)
for i in 1 2 3; do
	ok "--retry-for 0: reset $i" client 8080 expect-reset
done
ok "--retry-for 0: at once" test $(($(ms) - start)) -le 3000
guest_again
ok "--retry-for 0: served" client 8080 echo:1000 eof expect-eof
is "$(sed 's/: nobody.*//; s/ after.*//' "$tmp/listen.log")" "vzfwd: warning: web: not there yet
vzfwd: warning: web: there" "--retry-for 0: two lines"
listen_stop
run vzfwd listen --retry-for x -p web 8080:80
is "$status:$(cat "$tmp/err")" '64:vzfwd: listen: --retry-for: "x" is not a number of seconds from 0 to 600' "--retry-for x"

# --wait

guest_kill
vzfwd pod rm web
: >"$tmp/listen.out"
spawn vzfwd listen --wait --events "$tmp/events" -p web 8080:80 >"$tmp/listen.out" 2>"$tmp/listen.log"
listen_pid=$!
ok "--wait: the pod is not registered" wait_for 5 has_lines "$tmp/listen.log" 'web: not there yet: no pod web' 1
vzfwd pod add web "$guest_endpoint"
not_ok "--wait: nor does anybody listen for it" tcp_listens 8080
is "$(cat "$tmp/listen.out")" "" "--wait: nothing is printed yet"
guest_again
ok "--wait: it is there" wait_for 10 has_lines "$tmp/listen.out" '^Forwarding from 127.0.0.1:8080 -> 80$' 1
ok "--wait: and served" client 8080 echo:1000 eof expect-eof
is "$(lines "$tmp/listen.log" '.*')" 2 "--wait: two lines"
is "$(grep -o '"event":"[a-z-]*"' "$tmp/events" | head -n 3 | tr -d '\n')" '"event":"pod-lost""event":"pod-back""event":"listening"' \
	"--wait: and events"
listen_stop
spawn vzfwd listen --wait -p later 8080:80 2>"$tmp/listen.log"
listen_pid=$!
wait_for 5 has_lines "$tmp/listen.log" 'no pod later' 1
kill -TERM "$listen_pid"
wait "$listen_pid"
is "$?" 0 "--wait: SIGTERM ends it"
is "$(exit_of vzfwd listen --wait -p no/name 8080:80)" 64 "--wait: what is no name"

# A dialer that knows the pod and does not know it, by turns

spawn python3 "$here/fake-dialer.py" "$tmp/flap.sock" \
	'{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"no such pod","data":{"reason":"not-found"}}}' \
	'{"jsonrpc":"2.0","id":1,"result":{"ports":[]}}'
fake_pid=$!
wait_for 10 unix_listens "$tmp/flap.sock"
vzfwd pod add flap "unix://$tmp/flap.sock"
listen_start -v --retry-for 3 --events "$tmp/flap.events" -p flap 8080:80
ok "comes and goes: 40 clients are reset in the end" python3 - <<'END'
import socket
clients = [socket.create_connection(("127.0.0.1", 8080)) for _ in range(40)]
for client in clients:
    client.settimeout(20)
    try:
        assert client.recv(1) == b""
    except ConnectionResetError:
        pass
END
dials=$(lines "$tmp/listen.log" 'flap:80 #.*link opening')
ok "comes and goes: they dial now and then ($dials times)" test "$dials" -ge 72 -a "$dials" -le 360
changes() {
	sed -nE 's/^vzfwd: warning: flap: (not there yet|there after|lost|back after).*/\1/p' "$tmp/listen.log" | tr '\n' ,
}
is "$(changes)" "not there yet,there after,lost," "comes and goes: that is told, and then no more"
stop "$fake_pid"
vzfwd pod add flap "$guest_endpoint" --replace
ok "comes and stays: a client is served" client 8080 echo:1000 eof expect-eof
ok "comes and stays: that it is back is told" wait_for 5 has_lines "$tmp/listen.log" 'flap: back after' 1
is "$(changes)" "not there yet,there after,lost,back after," "comes and stays: once"
is "$(grep -o '"event":"pod-[a-z]*"' "$tmp/flap.events" | cut -d '"' -f 4 | tr '\n' ,)" "pod-lost,pod-back,pod-lost,pod-back," \
	"comes and stays: as in the events"
listen_stop

# Others that forward

spawn vzfwd serve --socket "$tmp/serve.sock" >"$tmp/serve.log" 2>&1
wait_for 5 unix_listens "$tmp/serve.sock"
python3 "$here/serve-ask.py" "$tmp/serve.sock" forward.add '{"pod":"web","listen":"127.0.0.1:8090","network":"tcp","port":80}'
guest_kill
spawn client 8090 echo:1000 eof expect-eof
client_pid=$!
ok "serve: the pod is lost" wait_for 5 has_lines "$tmp/serve.log" 'web: not there yet' 1
guest_again
wait "$client_pid"
is "$?" 0 "serve: its client is served"
guest_kill
spawn vzfwd run --retry-for 30 -p web 81 -- python3 "$here/pod-client.py" 127.0.0.1:{} expect:hello expect-eof 2>"$tmp/run.log"
run_pid=$!
ok "run: the pod is lost" wait_for 5 has_lines "$tmp/run.log" 'web: not there yet' 1
guest_again
wait "$run_pid"
is "$?" 0 "run: its command is served"

done_testing
