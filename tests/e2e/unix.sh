#!/bin/bash
# SPDX-License-Identifier: MIT
# Unix sockets in pods as targets: an API's HTTP server as docker's, on a socket in a container, by curl through
# listen's Unix socket and its port; where paths and links may lead and where not; who is let in at all.
. "$(dirname "$0")/../functions.sh"
requires_root
requires curl python3 pivot_root sha256sum

here=$(cd "$(dirname "$0")" && pwd)

# container ROOT [COMMAND...]: becomes a process with a netns and a root folder of its own; what is outside of that
# has no path in it.
container() {
	exec unshare --mount --net bash -c '
		root=$1 here=$2
		shift 2
		mount --make-rprivate / && mount -t tmpfs -o mode=755 none "$root" && cd "$root" || exit
		mkdir -p usr proc run/app srv data tests old dev
		touch dev/null && mount --bind /dev/null dev/null || exit
		for name in bin sbin lib lib64; do
			if [ -L "/$name" ]; then
				cp -a "/$name" .
			elif [ -d "/$name" ]; then
				mkdir "$name" && mount --rbind "/$name" "$name"
			fi
		done
		mount --rbind /usr usr && mount --bind "$here" tests && mount -t proc none proc || exit
		ln -s /run var && head -c 200000000 /dev/urandom >data/big
		ip link set lo up
		pivot_root . old && umount -l /old || exit
		exec "$@"' - "$@"
}

servers='
	cd /run
	umask 077
	python3 /tests/http-server.py /run/docker.sock /data &
	python3 /tests/unix-target.py who /run/app/who.sock &
	python3 /tests/unix-target.py datagram /run/app/datagram.sock &
	python3 /tests/unix-target.py stale /run/app/stale.sock
	exec python3 /tests/target.py /run/log /run/app/echo.sock=echo,shut \
		/run/app/reset.sock=say:x,read:1,close /run/app/hold.sock=hold /run/app/late.sock=eof,say:later,shut \
		/run/app/ok.sock=say:ok,shut /run/app/..sock=say:dots,shut /srv/inside.sock=say:inside,shut \
		/run/secret.sock=say:secret,shut'
mkdir "$tmp/root" /srv/vzfwd-test 2>/dev/null
spawn container "$tmp/root" "$here" bash -c "$servers"
init=$!
inside=/proc/$init/root
for name in docker app/who app/datagram app/stale app/hold secret; do
	wait_for 20 test -S "$inside/run/$name.sock"
done

# Its state, as crun has it, and a guest that finds it by that.

mkdir -p "$tmp/oci/c1"
printf '{"pid":%d,"process-start-time":%d}' "$init" "$(stat_of "$init" 22)" >"$tmp/oci/c1/status"
oci=(--oci-root "$tmp/oci")
pod=$(pod_new)
guest_start "$pod" "${oci[@]}"
vzfwd pod add closed "$guest_endpoint" --handle c1
caps_closed=$(awk '/^CapEff/ { print $2 }' "/proc/$guest_pid/status")
guest_start "$pod" "${oci[@]}" --allow-unix '/run/app/*' --allow-unix /run/docker.sock --allow-unix '/srv/*' \
	--allow-unix '/var/app/*' --allow-unix '/deep/*/*/*/*'
caps_open=$(awk '/^CapEff/ { print $2 }' "/proc/$guest_pid/status")
vzfwd pod add web "$guest_endpoint" --handle c1

# dials TEXT NAME POD PATH [OPTION...]; fails EXIT ERE NAME POD PATH [OPTION...]
dials() {
	run timeout 20 vzfwd dial "$3" unix "$4" "${@:5}"
	is "$status:$(cat "$tmp/out")" "0:$1" "$2"
}
fails() {
	run timeout 20 vzfwd dial "$4" unix "$5" "${@:6}"
	is "$status:$(cat "$tmp/out")" "$1:" "$3"
	like "$(cat "$tmp/err")" "^vzfwd: dial $4 unix $5: $2\$" "$3: why"
}

usage() { # ERE NAME ARGUMENT...
	run vzfwd dial "${@:3}"
	is "$status" 64 "$2"
	like "$(cat "$tmp/err")" "^vzfwd: dial: $1\$" "$2: why"
}

# Who is let in

fails 77 'pod.portDial: /run/app/ok.sock is not allowed; see --allow-unix' "without --allow-unix nothing is" closed /run/app/ok.sock
is "$caps_closed" 0000000000280004 "without it the guest can't write to others' files"
is "$caps_open" 0000000000280006 "with it, it can"
dials ok "a socket whose path matches" web /run/app/ok.sock
fails 77 'pod.portDial: /run/secret.sock is not allowed; see --allow-unix' "one whose path does not" web /run/secret.sock
fails 77 'pod.portDial: .*not allowed.*' "nor is told whether there is one" web /run/nothing.sock
fails 77 'pod.portDial: .*not allowed.*' "an asterisk matches no slash" web /run/app/../secret.sock
fails 77 'pod.portDial: .*not allowed.*' "nor in another way" web /run/app//secret.sock
dials dots "a dot is nothing special" web /run/app/..sock
is "$(vzfwd dial web unix /run/app/who.sock)" 0 "the server sees the dialer's uid"
guest_start "$pod" "${oci[@]}" --allow-unix '/run/app/*' --user 4321
vzfwd pod add user "$guest_endpoint" --handle c1
is "$(vzfwd dial user unix /run/app/who.sock)" 4321 "which need not be root's to reach root's sockets"

# A real server: docker-like, on a socket of mode 0600

is "$(stat -c %a "$inside/run/docker.sock")" 700 "the API's socket is its owner's alone"
spawn vzfwd listen -p web "unix:$tmp/docker.sock:unix:/run/docker.sock" 8080:unix:/run/docker.sock \
	8081:unix:/run/app/late.sock 8082:unix:/run/app/reset.sock 8083:unix:/run/app/hold.sock \
	8084:unix:/run/app/none.sock 8085:unix:/run/app/echo.sock >"$tmp/listen.out" 2>"$tmp/listen.log"
listen_pid=$!
wait_for 5 tcp_listens 8085
is "$(head -n 2 "$tmp/listen.out")" "Forwarding from unix:$tmp/docker.sock -> unix:/run/docker.sock
Forwarding from 127.0.0.1:8080 -> unix:/run/docker.sock" "listen says where it leads"
api() { # NAME URL CURL-OPTION...
	want=$(sha256sum <"$inside/data/big")
	is "$(curl -sS "${@:3}" "$2/big" | sha256sum)" "$want" "$1: 200 MB down"
	is "$(curl -sS "${@:3}" -T "$inside/data/big" "$2/up")  -" "$want" "$1: 200 MB up"
	is "$(curl -sS "${@:3}" -H 'Transfer-Encoding: chunked' --data-binary hello "$2/echo")" hello "$1: chunks"
}
api "curl --unix-socket" http://docker --unix-socket "$tmp/docker.sock"
api "curl over a port" http://127.0.0.1:8080
upgrade() {
	{
		printf 'GET /upgrade HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\none\ntwo\nbye\n'
	} | vzfwd dial web unix /run/docker.sock
}
is "$(upgrade | tail -n 2)" "ONE
TWO" "a connection that is upgraded"

# Ends

client() { # PORT STEP...
	python3 "$here/pod-client.py" "127.0.0.1:$1" "${@:2}"
}
ok "a half-close from the client: the answer still comes" client 8081 send:question eof expect:later expect-eof
ok "both directions at once" client 8085 echo:20000000 eof expect-eof
ok "the server closes with bytes unread: a reset" client 8082 expect:x send:yyy expect-reset
ok "the client resets" client 8083 send:x reset
ok "nobody there: the client is reset" client 8084 expect-reset
ok "which is told, with the path" wait_for 5 grep -qF 'web:unix:/run/app/none.sock #' "$tmp/listen.log"
stop "$listen_pid"

# What is no server

fails 69 'no such file or directory' "no such file" web /run/app/none.sock
mkdir "$inside/run/app/folder"
touch "$inside/run/app/file"
mkfifo "$inside/run/app/fifo"
fails 69 'socket operation on non-socket' "a folder" web /run/app/folder
fails 69 'socket operation on non-socket' "a file" web /run/app/file
fails 69 'socket operation on non-socket' "a FIFO" web /run/app/fifo
fails 69 'connection refused' "a stale socket" web /run/app/stale.sock
fails 69 'protocol wrong type for socket' "a datagram socket" web /run/app/datagram.sock
usage "a socket's path in the pod must be absolute, got a.sock" "a relative path" web unix a.sock
usage "a socket's path in the pod must be absolute, got :80" "an address of tcp's" web unix :80
fails 64 'file name too long' "a name that is too long" web "/run/app/$(printf '%0300d' 0)"

# Where links lead

ln -s /srv/inside.sock "$inside/run/app/absolute.sock"
ln -s ../../../../../../../../srv/inside.sock "$inside/run/app/dots.sock"
mkdir -p "$tmp/outside"
spawn python3 "$here/target.py" "$tmp/outside.log" "$tmp/outside/o.sock=say:outside,shut"
wait_for 10 unix_listens "$tmp/outside/o.sock"
ln -s "$tmp/outside/o.sock" "$inside/run/app/out.sock"
ln -s "../../../../../../../..$tmp/outside/o.sock" "$inside/run/app/out-dots.sock"
ln -s "/proc/$$/root$tmp/outside/o.sock" "$inside/run/app/magic.sock"
ln -s "/proc/self/root$tmp/outside/o.sock" "$inside/run/app/self.sock"
ln -s "/proc/$$/cwd" "$inside/run/app/cwd.sock"
ln -s /run/secret.sock "$inside/run/app/secret.sock"
ln -s loop.sock "$inside/run/app/loop.sock"
dials inside "an absolute link is one in the pod" web /run/app/absolute.sock
dials inside "and so is one with more .. than there are folders" web /run/app/dots.sock
fails 69 'no such file or directory' "no link leads out of it" web /run/app/out.sock
fails 69 'no such file or directory' "nor does one with .." web /run/app/out-dots.sock
fails 77 'too many levels of symbolic links' "nor one of /proc" web /run/app/magic.sock
fails 77 'too many levels of symbolic links' "nor the dialer's own" web /run/app/self.sock
fails 77 'too many levels of symbolic links' "nor a working directory" web /run/app/cwd.sock
fails 77 'too many levels of symbolic links' "a loop" web /run/app/loop.sock
fails 77 '/run/app/secret.sock leads to /run/secret.sock, which is not allowed; see --allow-unix' \
	"a link may not lead to where no pattern does" web /run/app/secret.sock
dials ok "a link in the path: both paths are allowed" web /var/app/ok.sock

# A link that leads somewhere else each time it is looked at

spawn chroot "$inside" python3 /tests/unix-target.py swap /run/app/swap.sock /run/app/ok.sock /run/secret.sock
swap_pid=$!
wait_for 10 test -L "$inside/run/app/swap.sock"
declare -A seen=()
for ((i = 0; i < 150; i++)); do
	run vzfwd dial web unix /run/app/swap.sock
	seen[$status:$(cat "$tmp/out")]=yes
done
stop "$swap_pid"
is "$(printf '%s\n' "${!seen[@]}" | sort | tr '\n' ' ')" "0:ok 77: " \
	"a link that changes all the time: the allowed socket or none"

# More

deep=/deep/$(printf '%0100d' 1)/$(printf '%0100d' 2)/$(printf '%0100d' 3)
mkdir -p "$inside$deep"
spawn chroot "$inside" python3 /tests/unix-target.py greeter "$deep/a.sock"
wait_for 10 test -S "$inside$deep/a.sock"
dials hello "a path that is longer than sun_path" web "$deep/a.sock"

spawn chroot "$inside" python3 /tests/unix-target.py gate /run/app/gate.sock /run/open
gate_pid=$!
wait_for 10 test -e "$inside/run/app/gate.sock.full"
vzfwd dial web unix /run/app/gate.sock --timeout 20 >"$tmp/gate.out" &
dial_pid=$!
fails 75 'connection timed out' "a full backlog is waited for" web /run/app/gate.sock --timeout 0.3
ok "so is that of another one" kill -0 "$dial_pid"
touch "$inside/run/open"
wait "$dial_pid"
is "$?:$(cat "$tmp/gate.out")" "0:hello" "which is accepted in the end"
stop "$gate_pid"

# Without a VM, and without a process

dials ok "pid:" "pid:$init" /run/app/ok.sock --allow-unix '/run/app/*'
fails 77 '.*not allowed; see --allow-unix' "pid: without --allow-unix" "pid:$init" /run/app/ok.sock
run vzfwd dial --allow-unix 'run/*' "pid:$init" unix /run/app/ok.sock
is "$status:$(cat "$tmp/err")" "64:vzfwd: dial: --allow-unix: must be an absolute path or a pattern of such \
(/run/app/*.sock), got run/*" "a relative pattern"
dials outside "a netns alone: the dialer's own root folder" "netns:/run/netns/$pod" "$tmp/outside/o.sock" \
	--allow-unix "$tmp/outside/*"
mkdir -p "$tmp/jail/run" "$tmp/jail/srv"
spawn python3 "$here/unix-target.py" jail "$tmp/jail" /run/a.sock
jail_pid=$!
wait_for 10 test -S "$tmp/jail/run/a.sock"
ln -s /run/a.sock "$tmp/jail/srv/a.sock"
dials hello "a root folder that is not its file system's" "pid:$jail_pid" /srv/a.sock --allow-unix '/*/a.sock'
fails 77 '/srv/a.sock leads to /run/a.sock, .*' "and paths in that" "pid:$jail_pid" /srv/a.sock --allow-unix '/srv/*'

# Through a server

spawn vzfwd serve --socket "$tmp/serve.sock" >"$tmp/serve.log" 2>&1
wait_for 5 unix_listens "$tmp/serve.sock"
ask() {
	python3 "$here/serve-ask.py" "$tmp/serve.sock" "$@"
}
like "$(ask pod.portDial '{"handle":"web","network":"unix","address":"/run/app/ok.sock"}')" '^ok$' "serve: pod.portDial"
like "$(ask forward.add '{"pod":"web","listen":"127.0.0.1:8090","network":"unix","address":"/run/app/ok.sock"}')" \
	'"listen": "127.0.0.1:8090"' "serve: forward.add"
ok "serve: which leads there" client 8090 expect:ok expect-eof
like "$(ask forward.list)" '"network": "unix", "address": "/run/app/ok.sock"' "serve: forward.list"

# The container ends

stop "$init"
fails 78 '.*' "the container is gone" web /run/app/ok.sock

done_testing
