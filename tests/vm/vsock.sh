#!/bin/bash
# SPDX-License-Identifier: MIT
# What is of AF_VSOCK alone: ports and CIDs where nobody is, a backlog that is full, who may connect and who may
# listen. Runs in a VM (tests/vm/loopback.sh).
. "$(dirname "$0")/../functions.sh"
requires_root
requires_vm
requires python3 setpriv

e2e=$(cd "$(dirname "$0")/../e2e" && pwd)
pod=$(pod_new)
spawn in_pod "$pod" python3 "$e2e/pod-server.py" 127.0.0.1:7
wait_for 20 tcp_listens 7 "$pod"
guest_start "$pod"
echo hello >"$tmp/hello"

# fails EXIT TEXT NAME ENDPOINT: with nothing but that one line.
fails() {
	run vzfwd dial "$4" 7 <"$tmp/hello"
	is "$status $(cat "$tmp/out" "$tmp/err")" "$1 vzfwd: dial $4 tcp 7: $2" "$3"
}

talks() { # NAME COMMAND...
	run "${@:2}" <"$tmp/hello"
	is "$status $(cat "$tmp/out" "$tmp/err")" "0 hello" "$1"
}

talks "there and back" vzfwd dial vsock://1 7
is "$guest_endpoint" vsock://1:893 "by the default port"

# Nobody there

fails 69 "nobody listens on vsock port 894 of CID 1" "nobody listens" vsock://1:894
fails 69 "no virtual machine has CID 77" "no such VM" vsock://77
run vzfwd check vsock://1:894
is "$status" 69 "check: nobody listens"
run vzfwd check vsock://77
is "$status" 69 "check: no such VM"
run vzfwd check vsock://1
is "$status" 0 "check"
run vzfwd ports vsock://1
like "$status $(cat "$tmp/out")" '^0 .*127\.0\.0\.1.*7' "ports"

# Many at once. A backlog that is full resets: one who is slow to accept is found all the same.

spawn vzfwd listen -p vsock://1 8080:7 >"$tmp/listen.out" 2>"$tmp/listen.log"
wait_for 10 tcp_listens 8080
ok "500 connections at once" python3 "$e2e/pod-crowd.py" at-once 127.0.0.1:8080 500 1000
is "$(cat "$tmp/listen.log")" "" "none of them was told of"
cat >"$tmp/full.py" <<'PY'
# Three dials while a backlog is full, which it is no longer 150 ms later; how many were accepted, and said that they were closed then.
import socket, subprocess, sys, time
port = int(sys.argv[1])
s = socket.socket(socket.AF_VSOCK)
s.bind((socket.VMADDR_CID_ANY, port))
s.listen(1)
waiting, accepted = [], 0
try:
    while True:
        waiting.append(socket.socket(socket.AF_VSOCK))
        waiting[-1].connect((1, port))
except ConnectionResetError:
    waiting.pop()
dials = [subprocess.Popen(["vzfwd", "dial", f"vsock://1:{port}", "7"], stderr=subprocess.PIPE) for _ in range(3)]
time.sleep(0.15)
for _ in waiting:
    s.accept()[0].close()
s.settimeout(0.2)
while accepted < 3 and any(dial.poll() is None for dial in dials):
    try:
        s.accept()[0].close()
        accepted += 1
    except TimeoutError:
        pass
print(accepted, sum(dial.stderr.read().endswith(b": the link ended before any answer\n") for dial in dials))
PY
for port in 900 901 902; do # on a busy machine more may pass than the 500 ms in which dial tries again
	full=$(python3 "$tmp/full.py" "$port")
	[ "$full" != "3 3" ] || break
done
is "$full" "3 3" "a full backlog: all of three are accepted in the end"

# Who may connect, who may listen

as_nobody() {
	${in_spawn:+exec} setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}
run as_nobody vzfwd-guest --listen vsock://any:894
is "$status $(tail -n 1 "$tmp/err")" "77 vzfwd-guest: cannot listen: vsock port 894: permission denied" \
	"a reserved port is root's to listen on"
run vzfwd-guest --listen vsock://any:893
is "$status $(tail -n 1 "$tmp/err")" "73 vzfwd-guest: cannot listen: vsock port 893: address already in use" \
	"a port that is in use"
talks "any user may connect" as_nobody vzfwd dial vsock://1 7
guest_start "$pod" --privileged-peer
talks "--privileged-peer: root may" vzfwd dial "$guest_endpoint" 7
spawn vzfwd listen -p "$guest_endpoint" 8081:7 >"$tmp/listen2.out" 2>"$tmp/listen2.log"
wait_for 10 tcp_listens 8081
ok "--privileged-peer: root may, 100 times at once" python3 "$e2e/pod-crowd.py" at-once 127.0.0.1:8081 100 1000
cat >"$tmp/reserve.py" <<'PY'
# Takes every reserved port that is free.
import socket, time
kept = []
for port in range(1, 1024):
    s = socket.socket(socket.AF_VSOCK)
    try:
        s.bind((socket.VMADDR_CID_ANY, port))
        kept.append(s)
    except OSError:
        pass
print("reserved", flush=True)
time.sleep(1000)
PY
spawn python3 "$tmp/reserve.py" >"$tmp/reserve.out"
reserve_pid=$!
wait_for 10 grep -q reserved "$tmp/reserve.out"
run vzfwd dial "$guest_endpoint" 7
is "$status" 69 "--privileged-peer: no reserved port is left"
talks "where any port will do another one does" vzfwd dial vsock://1 7
stop "$reserve_pid"
run as_nobody vzfwd dial "$guest_endpoint" 7
is "$status" 69 "--privileged-peer: others may not"
ok "and that is told" wait_for 5 grep -qE 'refused a peer: vsock 1:[0-9]{4,}' "$guest_log"
spawn "$VZFWD_GUEST" --listen vsock://any:990 --pod-netns "/run/netns/$pod" >"$tmp/host-only.log" 2>&1
wait_for 10 grep -q 'listening on' "$tmp/host-only.log"
run vzfwd dial vsock://1:990 7
is "$status" 69 "by default only the host may, which is CID 2"
ok "and that is told too" wait_for 5 grep -q 'refused a peer: vsock 1:' "$tmp/host-only.log"
run as_nobody vzfwd dial vsock://1:990 7
is "$status" 69 "nor may another user"

# A guest without privileges, whose pod is where it runs itself.

spawn python3 "$e2e/pod-server.py" 127.0.0.1:17
wait_for 20 tcp_listens 17
spawn as_nobody vzfwd-guest --listen vsock://any:5000 >"$tmp/nobody.log" 2>&1
spawn as_nobody vzfwd-guest --listen vsock://any:5001 --allow-cid 1 >"$tmp/nobody2.log" 2>&1
wait_for 10 grep -q 'listening on' "$tmp/nobody.log"
wait_for 10 grep -q 'listening on' "$tmp/nobody2.log"
run vzfwd dial vsock://1:5000 17
is "$status" 69 "another user's guest: only the host may"
ok "and its guest tells" wait_for 5 grep -q 'refused a peer: vsock 1:' "$tmp/nobody.log"
run as_nobody vzfwd dial vsock://1:5001 17 <"$tmp/hello"
is "$status $(cat "$tmp/out" "$tmp/err")" "0 hello" "another user's guest: a CID that it allows"

# How far a peer may be ahead of one that does not read

cat >"$tmp/ahead.py" <<'PY'
# ahead.py connect PORT|accept PORT FILE: how many KiB go to somebody who is stopped, once FILE is there. Whoever connects
# to PORT, or accepts there, is held up by the caller.
import os, socket, sys, time
s = socket.socket(socket.AF_VSOCK)
for option in socket.SO_VM_SOCKETS_BUFFER_MAX_SIZE, socket.SO_VM_SOCKETS_BUFFER_SIZE:
    s.setsockopt(socket.AF_VSOCK, option, 4 << 20)  # a sender's own size limits it too
if sys.argv[1] == "connect":
    s.connect((1, int(sys.argv[2])))
else:
    s.bind((socket.VMADDR_CID_ANY, int(sys.argv[2])))
    s.listen(1)
    print("listening", flush=True)
    s = s.accept()[0]
print("connected", flush=True)
while not os.path.exists(sys.argv[3]):
    time.sleep(0.01)
sent = 0
s.settimeout(1)
try:
    while True:
        sent += s.send(b"x" * 65536)
except TimeoutError:
    print(sent >> 10, flush=True)
PY
is_stopped() {
	grep -q '^State:	T' "/proc/$1/status"
}
kill -STOP "$guest_pid"
ok "the guest is stopped" wait_for 10 is_stopped "$guest_pid"
is "$(python3 "$tmp/ahead.py" connect "${guest_endpoint##*:}" /dev/null)" "connected
1024" "a host may be 1 MiB ahead of the guest"
kill -CONT "$guest_pid"
spawn python3 "$tmp/ahead.py" accept 901 "$tmp/stopped" >"$tmp/ahead.out"
ahead_pid=$!
wait_for 10 grep -q listening "$tmp/ahead.out"
spawn vzfwd dial vsock://1:901 7 >"$tmp/ahead.dial" 2>&1
dial_pid=$!
wait_for 10 grep -q connected "$tmp/ahead.out"
kill -STOP "$dial_pid"
ok "dial is stopped" wait_for 10 is_stopped "$dial_pid"
touch "$tmp/stopped"
wait "$ahead_pid"
is "$(tail -n 1 "$tmp/ahead.out")" 1024 "and a guest of the host"
kill -KILL "$dial_pid"

# A token

printf 'a secret of the test\n' >"$tmp/token"
chmod 600 "$tmp/token"
guest_start "$pod" --token-file "$tmp/token"
run vzfwd dial "$guest_endpoint" 7
is "$status" 77 "a token: without it"
vzfwd pod add web "$guest_endpoint" --token-file "$tmp/token"
talks "a token: with it" vzfwd dial web 7

done_testing
