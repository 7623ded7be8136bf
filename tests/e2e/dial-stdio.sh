#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd dial` with everything that stdin and stdout may be: every byte, both ends of the stream, exit
# status and status lines, and nothing left behind on what it inherited.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
: >"$tmp/seen"
spawn in_pod "$pod" python3 "$here/target.py" "$tmp/seen" 7=echo,shut 9=say:'bye\n',close \
	10=say:'half\n',shut,eof 11=eof,sleep:3,say:'late\n' 12=wait:"$tmp/12",say:'bye\n',shut,hold \
	13=wait:"$tmp/13",say:'bye\n',shut,hold
for port in 7 9 10 11 12 13; do
	wait_for 20 tcp_listens "$port" "$pod"
done
guest_start "$pod"
netns=netns:/run/netns/$pod
command="exec:vzfwd-guest --stdio --pod-netns /run/netns/$pod"

case_of() {
	ok "$1" python3 "$here/dial-stdio.py" "${@:2}"
}

# These take their time, beside the others.
spawn python3 "$here/dial-stdio.py" late "$guest_endpoint" >"$tmp/late.log" 2>&1
late=$!
spawn python3 "$here/dial-stdio.py" not-taken "$guest_endpoint" 12 "$tmp/12" >"$tmp/not-taken.log" 2>&1
not_taken=$!
spawn python3 "$here/dial-stdio.py" not-taken "$netns" 13 "$tmp/13" >"$tmp/not-taken-netns.log" 2>&1
not_taken_netns=$!
small=$(pod_new)
for name in tcp_rmem tcp_wmem; do
	in_pod "$small" sh -c "echo 4096 4096 4096 >/proc/sys/net/ipv4/$name"
done
spawn in_pod "$small" python3 "$here/target.py" "$tmp/seen" 14=wait:"$tmp/14",say:'bye\n',shut,hold
wait_for 20 tcp_listens 14 "$small"
endpoint=$guest_endpoint
guest_start "$small"
spawn python3 "$here/dial-stdio.py" not-delivered "$guest_endpoint" 14 "$tmp/14" >"$tmp/not-delivered.log" 2>&1
not_delivered=$!
guest_endpoint=$endpoint

# The last line of what a port has seen: "eof 5 SHA256".
saw() {
	grep "^$1 " "$tmp/seen" | tail -n 1 | cut -d' ' -f2-
}

sum_of() {
	echo "eof $(wc -c <"$1") $(sha256sum "$1" | cut -d' ' -f1)"
}

# Files

printf 'GET / HTTP/1.0\r\n\r\n\0\377' >"$tmp/in"
vzfwd dial "$guest_endpoint" 7 <"$tmp/in" >"$tmp/got" 2>"$tmp/err"
is "$?" 0 "from a file to a file"
same "$tmp/got" "$tmp/in" "from a file to a file: every byte"
is "$(cat "$tmp/err")" "" "from a file to a file: nothing on stderr"

echo before >"$tmp/got"
cat "$tmp/got" "$tmp/in" >"$tmp/want"
vzfwd dial "$guest_endpoint" 7 <"$tmp/in" >>"$tmp/got"
is "$?" 0 "appending to a file"
same "$tmp/got" "$tmp/want" "appending to a file: behind what was there"

{
	head -c 4 >/dev/null
	vzfwd dial "$guest_endpoint" 7
	echo after
} <"$tmp/in" >"$tmp/got"
{
	tail -c +5 "$tmp/in"
	echo after
} >"$tmp/want"
same "$tmp/got" "$tmp/want" "from and to the middle of a file"

run vzfwd dial "$guest_endpoint" 7 </dev/null
is "$status $(cat "$tmp/out" "$tmp/err")" "0 " "stdin is /dev/null"
is "$(saw 7)" "$(sum_of /dev/null)" "stdin is /dev/null: the target sees an end"
is "$(exit_of vzfwd dial "$guest_endpoint" 7 <"$tmp/in")" 0 "stdout is /dev/null"
is "$(saw 7)" "$(sum_of "$tmp/in")" "stdout is /dev/null: the target got every byte"
run vzfwd dial "$guest_endpoint" 7 <&-
is "$status $(cat "$tmp/out" "$tmp/err")" "0 " "stdin is closed"

vzfwd dial "$guest_endpoint" 7 >&- 2>"$tmp/err"
is "$? $(cat "$tmp/err")" "64 vzfwd: dial $guest_endpoint tcp 7: stdout: bad file descriptor" "stdout is closed"

mkdir "$tmp/full"
mount -t tmpfs -o size=64k none "$tmp/full"
cleanup umount "$tmp/full"
head -c 1000000 /dev/zero >"$tmp/zeros"
for full in /dev/full "$tmp/full/out"; do
	vzfwd dial "$guest_endpoint" 7 3>"$tmp/status" --status-fd 3 <"$tmp/zeros" >"$full" 2>"$tmp/err"
	is "$? $(cat "$tmp/err")" "74 vzfwd: dial $guest_endpoint tcp 7: no space left on device" "a full disk: ${full##*/}"
	like "$(tail -n 1 "$tmp/status")" '^\{"status":"closed","reason":"local",' "a full disk: ${full##*/}: status"
done

# Much, both ways

head -c 50000000 /dev/urandom >"$tmp/big"
for endpoint in "$guest_endpoint" "$netns" "$command"; do
	name=${endpoint%%:*}
	vzfwd dial "$endpoint" 7 <"$tmp/big" >"$tmp/got" 2>"$tmp/err"
	is "$? $(cat "$tmp/err")" "0 " "50 MB, $name:"
	is "$(sha256sum <"$tmp/got")" "$(sha256sum <"$tmp/big")" "50 MB back, $name:"
	is "$(saw 7)" "$(sum_of "$tmp/big")" "50 MB there, $name:"
done
head -c 50000000 "$tmp/big" | vzfwd dial --framing raw "$guest_endpoint" 7 | sha256sum >"$tmp/got"
is "$(cat "$tmp/got")" "$(sha256sum <"$tmp/big")" "50 MB through pipes, raw"
rm "$tmp/big" "$tmp/got"

# Pipes, sockets, terminals

for endpoint in "$guest_endpoint" "$netns" "$command"; do
	name=${endpoint%%:*}
	case_of "pipes, $name:" pipes "$endpoint"
	case_of "one socket for both, $name:" one-socket "$endpoint"
	case_of "half-close both ways, $name:" half-close "$endpoint"
	case_of "a target that closes first, $name:" target-closes "$endpoint"
done
case_of "a socket for each" two-sockets "$guest_endpoint"
case_of "a TCP socket" tcp-socket "$guest_endpoint"
case_of "--stream-fd" stream-fd "$guest_endpoint"
case_of "--stream-fd: the target ends first" stream-fd-half-close "$guest_endpoint"
case_of "a terminal" tty "$guest_endpoint"
case_of "another user's terminal" tty-of-another-user "$guest_endpoint"
case_of "another user's pipes" pipes-of-another-user "$guest_endpoint"
case_of "question and answer" growing "$guest_endpoint"
case_of "no CPU time while idle" idle "$guest_endpoint"

# Privileges

case_of "no privileges while relaying" privileges "$guest_endpoint"
case_of "no privileges while relaying, netns:" privileges "$netns"
CAPS_KEPT=0000000000000020 case_of "none but to end the command, exec:" privileges "$command"

ok "a reply 3 s after the end of stdin" wait "$late"
ok "bytes that the target did not take" wait "$not_taken"
ok "bytes that stayed in the guest" wait "$not_delivered"
ok "bytes that the target did not take, netns:" wait "$not_taken_netns"

done_testing
