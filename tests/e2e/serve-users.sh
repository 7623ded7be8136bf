#!/bin/bash
# SPDX-License-Identifier: MIT
# Who may call `vzfwd serve`, and what those may do who are not its own user.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 setpriv socat

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
: >"$tmp/seen"
spawn in_pod "$pod" python3 "$here/target.py" "$tmp/seen" '7=say:hello'
wait_for 20 tcp_listens 7 "$pod"
socket=$tmp/serve.sock
printf '%s\n' 0123456789abcdef >"$tmp/token"
chmod 600 "$tmp/token"
vzfwd pod add net "netns:/run/netns/$pod"
vzfwd pod add command exec:true
vzfwd pod add secret vsock://3 --token-file "$tmp/token"
vzfwd pod add plain vsock://4
vzfwd pod add theirs vsock://4
sed -i 's/}/,"addedBy":999}/' "$tmp/pods/theirs.json"
echo '{' >"$tmp/pods/malformed.json"
chmod 600 "$tmp/pods/malformed.json"

serve_start() {
	spawn vzfwd serve --socket "$socket" "$@" 2>"$tmp/serve.log"
	serve_pid=$!
	wait_for 10 unix_listens "$socket"
	chmod 666 "$socket" # as an administrator would, or a service manager
}

as_user() {
	${in_spawn:+exec} python3 "$here/serve-users.py" "$@"
}

call() {
	printf '%s\n' "$1" | socat -t 10 - "UNIX-CONNECT:$socket"
}

serve_start
ok "others may not call" as_user 1000 stranger "$socket"
like "$(call '{"jsonrpc":"2.0","id":1,"method":"pod.list"}')" '"result"' "root may"
stop "$serve_pid"

serve_start --allow-uid 1000 --allow-uid 1001
call '{"jsonrpc":"2.0","id":1,"method":"forward.add","params":{"pod":"net","listen":"127.0.0.1:80","network":"tcp","address":":7"}}'
ok "those who were not named may not" as_user 1002 stranger "$socket"
for uid in 1000 1001; do
	ok "uid $uid: pods" as_user "$uid" pods "$socket" "$tmp/token"
	ok "uid $uid: dials" as_user "$uid" dial "$socket"
	ok "uid $uid: forwards" as_user "$uid" forwards "$socket" "$tmp/forward.sock"
done

# Sockets that root alone may connect to: one that would tell a secret to whoever says a word

mkdir -m 700 "$tmp/root"
mkdir -m 777 "$tmp/user"
spawn socat "UNIX-LISTEN:$tmp/root/secret.sock,fork" SYSTEM:"head -n 1 >>$tmp/root/heard; echo secret"
wait_for 10 unix_listens "$tmp/root/secret.sock"
ok "no errands to root's sockets" as_user 1000 deputy "$socket" "$tmp/root/secret.sock" "$tmp/root/none.sock" \
	"$tmp/user/vm.sock"
not_ok "no errands to root's sockets: nothing was said there" test -s "$tmp/root/heard"

theirs=$(setpriv --reuid=1000 --regid=1000 --clear-groups socat -t 10 - "UNIX-CONNECT:$socket" \
	<<<'{"jsonrpc":"2.0","id":1,"method":"forward.add","params":{"pod":"net","listen":"127.0.0.1:0","network":"tcp","address":":7"}}')
id=${theirs%%,\"listen\"*}
id=${id##*:}
remove="{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"forward.remove\",\"params\":{\"id\":$id}}"
like "$(setpriv --reuid=1001 --regid=1001 --clear-groups socat -t 10 - "UNIX-CONNECT:$socket" <<<"$remove")" \
	'"reason":"denied"' "another user's forward is not theirs to remove"
is "$(call "$remove")" '{"jsonrpc":"2.0","id":1,"result":{}}' "but the own user's"
stop "$serve_pid"

# Not enough descriptors for many callers

serve_few() {
	ulimit -n 256
	${in_spawn:+exec} vzfwd serve --socket "$socket" --allow-uid 1000
}
spawn serve_few 2>"$tmp/few.log"
serve_pid=$!
wait_for 10 unix_listens "$socket"
chmod 666 "$socket"
mkfifo "$tmp/hold"
exec {hold}<>"$tmp/hold"
spawn as_user 1000 crowd "$socket" 32 <"$tmp/hold" >"$tmp/crowd" {hold}>&-
ok "a crowd is kept out in the end" wait_for 20 test -s "$tmp/crowd"
is "$(cat "$tmp/crowd")" 16 "half of the places are theirs"
like "$(call '{"jsonrpc":"2.0","id":1,"method":"pod.list"}')" '"result"' "root is served meanwhile"
exec {hold}>&-
stop "$serve_pid"

# Streams and listeners

spawn in_pod "$pod" python3 "$here/target.py" "$tmp/held" 8=hold
wait_for 20 tcp_listens 8 "$pod"
vzfwd pod add hold "netns:/run/netns/$pod"
spawn serve_few 2>"$tmp/few.log"
serve_pid=$!
wait_for 10 unix_listens "$socket"
chmod 666 "$socket"
mkfifo "$tmp/hold-on"
exec {hold}<>"$tmp/hold-on"
spawn as_user 1000 hoard "$socket" <"$tmp/hold-on" >"$tmp/hoard" {hold}>&-
ok "a hoarder is told that there is no more" wait_for 30 test -s "$tmp/hoard"
cat "$tmp/hoard"
like "$(call '{"jsonrpc":"2.0","id":1,"method":"forward.add","params":{"pod":"net","listen":"localhost:0","network":"tcp","address":":7"}}')" \
	'"result"' "root has listeners meanwhile"
is "$(call '{"jsonrpc":"2.0","id":1,"method":"pod.portDial","params":{"handle":"net","network":"tcp","port":7}}' | tail -n 1)" \
	hello "root has streams meanwhile"
exec {hold}>&-
stop "$serve_pid"

# A server that is not root's

mkdir "$tmp/home"
chown 1000:1000 "$tmp/home"
spawn setpriv --reuid=1000 --regid=1000 --clear-groups env -u VZFWD_PODS_DIR XDG_RUNTIME_DIR="$tmp/home" \
	vzfwd serve 2>"$tmp/own.log"
socket=$tmp/home/vzfwd/vzfwd.sock
ok "a user's own, in its runtime directory" wait_for 10 unix_listens "$socket"
is "$(stat -c '%a %u' "$socket")" "600 1000" "a user's own: the socket is theirs alone"
like "$(setpriv --reuid=1000 --regid=1000 --clear-groups socat -t 10 - "UNIX-CONNECT:$socket" \
	<<<'{"jsonrpc":"2.0","id":1,"method":"pod.add","params":{"name":"x","endpoint":"exec:true"}}')" \
	'"result"' "a user's own: may have commands of theirs"
like "$(call '{"jsonrpc":"2.0","id":1,"method":"pod.add","params":{"name":"y","endpoint":"exec:true"}}')" \
	'"reason":"denied"' "a user's own: root is somebody else there"
done_testing
