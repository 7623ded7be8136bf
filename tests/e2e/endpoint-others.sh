#!/bin/bash
# SPDX-License-Identifier: MIT
# unix:, exec:, fd:, netns: and pid: endpoints: bytes through each of them, and how each fails.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 setpriv

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
: >"$tmp/seen"
spawn in_pod "$pod" python3 "$here/target.py" "$tmp/seen" 7=echo,shut
wait_for 20 tcp_listens 7 "$pod"
guest_start "$pod"
guest="vzfwd-guest --log-level error --stdio --pod-netns /run/netns/$pod"
nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
as_user=()
chmod 1777 "$tmp"

# Runs a check with vzfwd as another user.
as_nobody() {
	as_user=("${nobody[@]}")
	"$@"
	as_user=()
}

# fails EXIT REASON TEXT NAME ENDPOINT: one line, nothing on stdout
fails() {
	run "${as_user[@]}" vzfwd dial --status-fd 3 "$5" 7 3>"$tmp/status"
	is "$status $(cat "$tmp/out")" "$1 " "$4: exit status"
	like "$(cat "$tmp/err")" "^vzfwd: dial [^"$'\n'"]*: $3\$" "$4: one line"
	like "$(cat "$tmp/status")" "^\{\"status\":\"error\",.*\"reason\":\"$2\"" "$4: reason"
}

head -c 1000000 /dev/urandom >"$tmp/sent"
chmod 644 "$tmp/sent"

# talks NAME ENDPOINT [OPTION...]: a megabyte there and back
talks() {
	run "${as_user[@]}" vzfwd dial "${@:3}" "$2" 7 <"$tmp/sent"
	is "$status $(cat "$tmp/err")" "0 " "$1"
	same "$tmp/out" "$tmp/sent" "$1: a megabyte there and back"
}

# unix:

talks "unix:" "unix://$guest_socket"
mkdir "$tmp/a folder, with:8080"
ln -s "$guest_socket" "$tmp/a folder, with:8080/a link"
talks "unix: with an odd path" "unix://$tmp/a folder, with:8080/a link"
long=$tmp/$(printf '%0*d' $((106 - ${#tmp})) 0)
ln -s "$guest_socket" "$long"
talks "unix: with ${#long} bytes of path" "unix://$long"
fails 64 invalid 'endpoint: .*' "unix: with a byte more" "unix://${long}0"
fails 64 invalid 'endpoint: .*' "unix: with a relative path" "unix://here"
fails 64 invalid 'endpoint: .*' "unix: without a path" "unix://"
as_nobody fails 77 denied "$guest_socket: permission denied" "unix: another user's" "unix://$guest_socket"
mkdir -m 700 "$tmp/private"
ln -s "$guest_socket" "$tmp/private/socket"
as_nobody fails 77 denied "$tmp/private/socket: permission denied" "unix: in another user's folder" \
	"unix://$tmp/private/socket"
python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$tmp/stale"
fails 69 unreachable "nobody listens on $tmp/stale" "unix: that nobody has open" "unix://$tmp/stale"
python3 -c 'import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); sys.stdin.read()' \
	"$tmp/datagrams" < <(exec sleep 1000) &
cleanup kill "$!"
wait_for 10 test -S "$tmp/datagrams"
fails 69 unreachable '.*' "unix: of datagrams" "unix://$tmp/datagrams"

# A token goes to nobody but root and us.
(umask 077 && echo a-token-of-the-pod >"$tmp/token")
mkdir -m 700 "$tmp/pods"
spawn python3 -c 'import os, socket, sys
os.setuid(65534)
thief = socket.socket(socket.AF_UNIX)
thief.bind(sys.argv[1])
thief.listen()
print(thief.accept()[0].recv(9999), flush=True)' "$tmp/thief" >"$tmp/stolen"
wait_for 10 unix_listens "$tmp/thief"
vzfwd pod add thief "unix://$tmp/thief" --token-file "$tmp/token"
fails 77 denied 'the endpoint belongs to uid 65534: the token is not sent there' "unix: a token for a stranger" thief
wait_for 10 test -s "$tmp/stolen"
is "$(cat "$tmp/stolen")" "b''" "unix: the stranger saw nothing"

# exec:

talks "exec:" "exec:$guest"
talks "exec: through a pipe" "exec:$guest | cat"
talks "exec: with quotes" "exec:name=\"vzfwd-guest\"; exec \"\$name\" --log-level 'error' --stdio --pod-netns '/run/netns/$pod'"
talks "exec: through ssh's like" "exec:nsenter --net=/run/netns/$pod -- vzfwd-guest --log-level error --stdio"
talks "exec: that is slow" "exec:sleep 1; exec $guest"
talks "exec: with what is open here" "exec:ls /proc/\$\$/fd >$tmp/fds; exec $guest" 8<"$0"
is "$(grep -x "[0-9]" "$tmp/fds" | tr "\n" " ")" "0 1 2 " "exec: gets nothing that is open here"
vzfwd pod add command "exec:$guest"
talks "exec: by name" command
fails 69 unreachable 'the command ended before any answer' "exec: that ends" "exec:true"
fails 69 unreachable 'the command ended before any answer' "exec: that fails" "exec:exit 7"
fails 69 unreachable 'the command ended before any answer' "exec: that dies" 'exec:kill -9 $$'
fails 70 internal 'not a vzfwd dialer: .*' "exec: that prints" "exec:echo Welcome to the machine"
fails 70 internal 'the link ended in the middle of the answer' "exec: that prints half a line" "exec:printf '{\"jsonrpc\"'"
fails 70 internal 'the answer is longer than 4096 bytes' "exec: that prints without end" "exec:cat /dev/zero"
fails 64 invalid 'endpoint: .*' "exec: without a command" "exec: "
run vzfwd dial "exec:$tmp/nothing" 7
is "$status $(cat "$tmp/out")" "69 " "exec: not there: exit status"
like "$(cat "$tmp/err")" "^sh: .*nothing: not found"$'\n'"vzfwd: dial [^"$'\n'"]*: the command ended before any answer\$" \
	"exec: not there: what the shell says, and ours"
run vzfwd dial "exec:$guest --nonsense" 7
is "$status $(wc -l <"$tmp/err")" "69 2" "exec: what the command says is seen"

# fd:

ok "fd:" python3 - "$guest_socket" "$tmp/sent" <<-'PY'
	import socket, subprocess, sys
	for data in open(sys.argv[2], "rb").read(), b"":
	    link = socket.socket(socket.AF_UNIX)
	    link.connect(sys.argv[1])
	    done = subprocess.run(["vzfwd", "dial", "fd:%d" % link.fileno(), "7"], input=data, capture_output=True,
	                          pass_fds=(link.fileno(),))
	    assert (done.returncode, done.stdout, done.stderr) == (0, data, b""), (done.returncode, done.stderr)
	    # It was ours too; now the guest has closed it.
	    assert link.recv(1) == b""
PY
fails 64 invalid 'fd:9 is not a stream socket' "fd: not open" fd:9
exec 9<"$0"
fails 64 invalid 'fd:9 is not a stream socket' "fd: a file" fd:9
exec 9<&-
fails 64 invalid 'endpoint: .*' "fd: no number" fd:x
ok "fd: sockets that will not do" python3 - <<-'PY'
	import socket, subprocess
	def dial(sock):
	    fd = sock.fileno()
	    done = subprocess.run(["vzfwd", "dial", "fd:%d" % fd, "7"], capture_output=True, pass_fds=(fd,), stdin=subprocess.DEVNULL)
	    return done.returncode, done.stdout, done.stderr.decode()
	code, out, err = dial(socket.socket())
	assert (code, out) == (69, b"") and err.endswith(": transport endpoint is not connected\n"), (code, err)
	code, out, err = dial(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0])
	assert (code, out) == (64, b"") and err.endswith(" is not a stream socket\n"), (code, err)
	mine, theirs = socket.socketpair()
	mine.close()
	code, out, err = dial(theirs)
	assert (code, out) == (69, b"") and err.endswith(": the link ended before any answer\n"), (code, err)
PY
is "$(exit_of vzfwd pod add inherited fd:9)" 64 "fd: can't be registered"
is "$(exit_of vzfwd listen -p fd:9 7)" 64 "fd: is not for listen"

# netns:

talks "netns:" "netns:/run/netns/$pod"
fails 78 not-running '/run/netns/nothing: no such file or directory' "netns: not there" netns:/run/netns/nothing
fails 78 not-running "$tmp/sent: not a network namespace .*" "netns: a file" "netns:$tmp/sent"
fails 78 not-running '/proc/self/ns/mnt: not a network namespace .*' "netns: another namespace" netns:/proc/self/ns/mnt
mkfifo "$tmp/fifo"
fails 78 not-running '.*' "netns: a FIFO" "netns:$tmp/fifo"
fails 64 invalid 'endpoint: .*' "netns: a relative path" netns:run
as_nobody fails 77 denied '.*operation not permitted' "netns: without the right" "netns:/run/netns/$pod"
run vzfwd dial --container one "netns:/run/netns/$pod" 7
is "$status" 66 "netns: knows no containers"

# pid:

spawn unshare -n sh -c "ip link set lo up && exec python3 '$here/target.py' '$tmp/seen' 7=echo,shut"
process=$!
unshared() {
	[ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ] &&
		nsenter --net="/proc/$1/ns/net" -- cat /proc/net/tcp | grep -q ':0007 '
}
wait_for 20 unshared "$process"
talks "pid:" "pid:$process"
talks "pid: of our own netns is that netns" "pid:$(pgrep -f "target.py $tmp/seen /|target.py $tmp/seen 7" | head -n 1)"
stop "$process"
fails 78 not-running "process $process: .*" "pid: of who is no more" "pid:$process"
fails 64 invalid 'endpoint: .*' "pid: no number" pid:self
fails 64 invalid 'endpoint: .*' "pid: 0" pid:0
as_nobody fails 77 denied '.*' "pid: of another user" "pid:$$"

# Without CAP_SYS_ADMIN: a container of our own, in a user namespace that we made. No process with threads may
# enter it, and ThreadSanitizer has one.
if grep -qa __tsan_init "$VZFWD"; then
	skip "built with ThreadSanitizer" "pid: rootless"
elif "${nobody[@]}" unshare -Urn true 2>"$tmp/err"; then
	cat >"$tmp/container" <<-END
		#!/bin/sh
		ip link set lo up
		exec python3 '$here/target.py' '$tmp/rootless' 7=echo,shut
	END
	chmod 755 "$tmp/container"
	: >"$tmp/rootless"
	chmod 666 "$tmp/rootless"
	spawn "${nobody[@]}" unshare -Urn "$tmp/container"
	container=$!
	wait_for 20 unshared "$container"
	as_nobody talks "pid: rootless" "pid:$container"
	like "$(cut -d' ' -f1-3 "$tmp/rootless")" '^7 eof 1000000$' "pid: rootless: it was that container"
	is "$(exit_of "${nobody[@]}" vzfwd dial "pid:$container" 8)" 69 "pid: rootless, nobody listens"
	stop "$container"
	as_nobody fails 78 not-running "process $container: .*" "pid: rootless, of who is no more" "pid:$container"
else
	skip "no user namespaces for users: $(cat "$tmp/err")" "pid: rootless"
fi

done_testing
