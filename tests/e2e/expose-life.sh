#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd expose` from its first moment to its last, and through what may go away meanwhile: itself, the guest, the pod, a
# service; Unix sockets in a pod.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/exposing.sh"
requires socat

echo_at 127.0.0.1:7000 127.0.0.1:7001
guest_start "$pod" --allow-expose
vzfwd pod add web "$guest_endpoint"

guest_kill() {
	kill -KILL "$guest_pid"
	wait "$guest_pid" 2>/dev/null
}

# held STEP...: a client that has its service and waits for the file; sets client_pid
held() {
	rm -f "$tmp/held"
	spawn client "$alias:7000" echo:1000 "touch:$tmp/held" "$@"
	client_pid=$!
	wait_for 10 test -e "$tmp/held"
}

not_listening() {
	! tcp_listens 7000 "$pod"
}

# It ends

for signal in TERM INT KILL; do
	expose_start web 7000 7001
	held expect-reset
	kill -s "$signal" "$expose_pid"
	wait "$expose_pid"
	status=$?
	if [ "$signal" = KILL ]; then
		is "$status" 137 "SIGKILL ends it"
	else
		is "$status" 0 "SIG$signal ends it"
	fi
	ok "SIG$signal: the port is closed at once" wait_for 2 not_listening
	ok "SIG$signal: the address is gone" wait_for 2 no_alias
	wait "$client_pid"
	is "$?" 0 "SIG$signal: its client is reset"
done
expose_start web 7000
held expect-reset
kill -STOP "$expose_pid"
ok "stopped: it is there" tcp_listens 7000 "$pod"
kill -KILL "$expose_pid"
wait "$client_pid"
is "$?" 0 "stopped and killed: its client is reset"
ok "stopped and killed: the port is closed" wait_for 2 not_listening

# A port has one owner, and who is started again need not wait.

expose_start web 7000
fails 73 ".*7000 is somebody else's in the pod" "another one" web 7000
ok "another one: the first goes on" client "$alias:7000" echo:1000 eof expect-eof
stop "$expose_pid"
expose_start web 7000
ok "the next one: served" client "$alias:7000" echo:1000 eof expect-eof
stop "$expose_pid"
ok "the next one: the port is closed" wait_for 2 not_listening

# The guest goes

expose_start -v web 7000 7001
wait_for 5 has_lines "$tmp/expose.out" Exposing 2
held expect-reset
guest_kill
wait "$client_pid"
is "$?" 0 "the guest is killed: its client is reset"
ok "the guest is killed: told" wait_for 10 has_lines "$tmp/expose.log" 'web: lost: ' 1
guest_again
ok "the guest is there again: told" wait_for 10 has_lines "$tmp/expose.log" 'web: back after ' 1
ok "the guest is there again: so are both ports" wait_for 10 has_lines "$tmp/expose.out" Exposing 4
ok "the guest is there again: served" client "$alias:7000" echo:100000 eof expect-eof
ok "the guest is there again: the other port" client "$alias:7001" echo:1000 eof expect-eof
is "$(lines "$tmp/expose.log" 'web: (lost|back|not there)')" 2 "the guest is there again: one line each"

# The pod goes, and another one comes in its place.

spawn in_pod "$pod" sleep 1000
sleep_pid=$!
held expect-end
ip netns del "$pod"
kill "$sleep_pid" "$client_pid"
ok "the pod has gone: told" wait_for 10 has_lines "$tmp/expose.log" 'web: lost: ' 2
ip netns add "$pod"
ip -n "$pod" link set lo up
ok "a new pod: told" wait_for 10 has_lines "$tmp/expose.log" 'web: back after ' 2
ok "a new pod: both ports" wait_for 10 has_lines "$tmp/expose.out" Exposing 6
ok "a new pod: served" client "$alias:7000" echo:100000 eof expect-eof
is "$(lines "$tmp/expose.log" 'web: (lost|back|not there)')" 4 "a new pod: one line each"
# Its file changes while another one is there still
ip netns add elsewhere
ip -n elsewhere link set lo up
umount "/run/netns/$pod"
mount --bind /run/netns/elsewhere "/run/netns/$pod"
ok "another pod in its place: both ports" wait_for 10 has_lines "$tmp/expose.out" Exposing 8
ok "another pod in its place: served" client "$alias:7000" echo:100000 eof expect-eof

# The port is taken meanwhile

guest_kill
spawn in_pod "$pod" socat TCP-LISTEN:7001,fork,reuseaddr PIPE
taker_pid=$!
wait_for 5 tcp_listens 7001 "$pod"
guest_again
ok "a port that is taken: told" wait_for 10 has_lines "$tmp/expose.log" '7001 is not listened on any more: .*address already in use' 1
ok "a port that is taken: the other one is served" client "$alias:7000" echo:1000 eof expect-eof
stop "$taker_pid"
ok "a port that is free again" wait_for 10 has_lines "$tmp/expose.out" Exposing 10
ok "a port that is free again: served" client "$alias:7001" echo:1000 eof expect-eof
is "$(lines "$tmp/expose.log" 'is not listened on any more')" 1 "a port that was taken: one line"
stop "$expose_pid"
ip netns del elsewhere

# Its service goes and comes

expose_start web 7002
ok "no service: reset" client "$alias:7002" expect-reset
echo_at 127.0.0.1:7002
ok "a service: served" client "$alias:7002" echo:1000 eof expect-eof
stop "$expose_pid"

# --wait

guest_kill
vzfwd pod rm web
: >"$tmp/expose.out"
spawn vzfwd expose --wait web 7000 >"$tmp/expose.out" 2>"$tmp/expose.log"
expose_pid=$!
ok "--wait: the pod is not registered" wait_for 5 has_lines "$tmp/expose.log" 'web: not there yet: no pod web' 1
vzfwd pod add web "$guest_endpoint"
guest_again
ok "--wait: it is there" wait_for 10 has_lines "$tmp/expose.out" Exposing 1
ok "--wait: served" client "$alias:7000" echo:1000 eof expect-eof
stop "$expose_pid"
spawn vzfwd expose --wait later 7000 2>"$tmp/expose.log"
expose_pid=$!
wait_for 5 has_lines "$tmp/expose.log" 'no pod later' 1
kill -TERM "$expose_pid"
wait "$expose_pid"
is "$?" 0 "--wait: SIGTERM ends it"

# Without a VM

expose_start "netns:$netns" 7000
held expect-reset
kill -KILL "$expose_pid"
wait "$client_pid"
is "$?" 0 "netns: killed: its client is reset"
ok "netns: killed: the port is closed" not_listening
ok "netns: killed: the address is left" alias_there
expose_start "netns:$netns" 7000
ok "netns: served" client "$alias:7000" echo:1000 eof expect-eof
stop "$expose_pid"
ok "netns: the address that was left is gone" no_alias
expose_start "pid:$BASHPID" --on-loopback 7009:7000
ok "pid: served" python3 "$here/pod-client.py" 127.0.0.1:7009 echo:1000 eof expect-eof
stop "$expose_pid"

# Unix sockets in a pod

socket=$tmp/in-pod.sock
run timeout 20 vzfwd expose web "unix:$socket:7000"
is "$status" 77 "a Unix socket: not without --allow-unix"
guest_kill
guest_start "$pod" --allow-expose --allow-unix "$tmp/*.sock" --allow-unix "$tmp/none/*"
vzfwd pod add web "$guest_endpoint" --replace
fails 77 ".*/secret is not allowed; see --allow-unix" "a Unix socket: another path" web unix:/run/secret:7000
fails 69 ".*: no such file or directory" "a Unix socket: no folder" \
	web "unix:$tmp/none/x.sock:7000"
touch "$tmp/file.sock"
fails 73 ".*cannot listen on $tmp/file.sock in the pod: file exists" "a Unix socket: a file" web "unix:$tmp/file.sock:7000"
expose_start web "unix:$socket:7000"
is "$(cat "$tmp/expose.out")" "Exposing unix:$socket -> localhost:7000" "a Unix socket: said"
is "$(stat -c %a "$socket")" 666 "a Unix socket: everybody's"
ok "a Unix socket: served" client "unix:$socket" echo:1000000 eof expect-eof
is "$(lines "$tmp/expose.out" "^Handling connection for $socket$")" 1 "a Unix socket: handled"
fails 73 ".*in use.*" "a Unix socket: in use" "netns:$netns" --allow-unix "$tmp/*" "unix:$socket:7000"
kill -KILL "$expose_pid"
ok "a Unix socket: is gone with it" wait_for 5 test ! -e "$socket"
expose_start "netns:$netns" --allow-unix "$tmp/*" "unix:$socket:7000"
kill -KILL "$expose_pid"
ok "a Unix socket: stays where nobody is left" test -S "$socket"
expose_start web "unix:$socket:7001"
ok "a Unix socket: takes the place of one that is stale" client "unix:$socket" echo:1000 eof expect-eof
mv "$socket" "$socket.moved"
touch "$socket"
stop "$expose_pid"
ok "a Unix socket: what is there in its place stays" test -f "$socket"

# A container that has a root folder of its own

mkdir -p "$tmp/root/run" "$tmp/root/other"
ln -s /other "$tmp/root/link"
ln -s "$tmp" "$tmp/root/out"
spawn unshare --net python3 -c "import os, time; os.chroot('$tmp/root'); open('/made', 'w'); time.sleep(1000)"
container_pid=$!
wait_for 10 test -e "$tmp/root/made"
expose_start "pid:$container_pid" --allow-unix '/run/*' unix:/run/x.sock:7000
ok "a container: in its own folder" client "unix:$tmp/root/run/x.sock" echo:1000 eof expect-eof
stop "$expose_pid"
ok "a container: gone" test ! -e "$tmp/root/run/x.sock"
fails 77 ".*/link/x.sock leads to /other/x.sock, which is not allowed; see --allow-unix" "a container: by a link" \
	"pid:$container_pid" --allow-unix '/link/*' unix:/link/x.sock:7000
fails 69 ".*: no such file or directory" "a container: not out of its folder" \
	"pid:$container_pid" --allow-unix '/out/*' --allow-unix "$tmp/*" unix:/out/x.sock:7000
done_testing
