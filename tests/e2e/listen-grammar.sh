#!/bin/bash
# SPDX-License-Identifier: MIT
# What `vzfwd listen` takes: each form of FORWARD and --address leads where it says and
# prints its lines, all of them bind or none, and what is wrong is refused in one line.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 curl busybox setpriv

pod=$(pod_new)
ip -n "$pod" addr add 10.9.8.7/32 dev lo
ip -n "$pod" addr add fd00::7/128 dev lo nodad
spawn in_pod "$pod" python3 "$(dirname "$0")/pod-server.py" --greet 127.0.0.1:80 10.9.8.7:81 \
	'[fd00::7]:81' '[::1]:82'
mkdir "$tmp/www"
head -c 100000 /dev/urandom >"$tmp/www/file"
spawn in_pod "$pod" busybox httpd -f -p 127.0.0.1:88 -h "$tmp/www"
for port in 80 81 82 88; do
	wait_for 10 tcp_listens "$port" "$pod"
done
guest_start "$pod"
vzfwd pod add web "$guest_endpoint"

# Starts listen with these arguments; returns when it has printed as many lines as it has listeners.
listen_start() {
	local lines=$1

	shift
	spawn vzfwd listen "$@" >"$tmp/listen.out" 2>"$tmp/listen.log"
	listen_pid=$!
	wait_for 5 has_lines "$tmp/listen.out" "$lines"
}

has_lines() {
	[ "$(wc -l <"$1")" -ge "$2" ]
}

# What the server says behind a local port.
greeting() {
	# shellcheck disable=SC2016 # for the inner shell
	timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1" && read -r line <&3 && echo "$line"' "$1" "$2"
}

forwarding() {
	grep '^Forwarding' "$tmp/listen.out"
}

# form FORWARD REMOTE GREETING LOCAL...: it listens on these and nowhere else, and leads there.
form() {
	local forward=$1 remote=$2 want=$3 where lines=

	shift 3
	for where; do
		lines+="Forwarding from $where -> $remote"$'\n'
	done
	listen_start $# "$forward"
	is "$(forwarding)" "${lines%$'\n'}" "$forward: its lines"
	for where; do
		where=${where//[][]/}
		is "$(greeting "${where%:*}" "${where##*:}")" "$want" "$forward: from $where"
		# In the order of events: the line comes before the connection is made.
		like "$(tail -n 1 "$tmp/listen.out")" "^Handling connection for ${where##*:}\$" \
			"$forward: the line about $where"
	done
	stop "$listen_pid"
}

form 8080:80 80 "127.0.0.1 80" 127.0.0.1:8080 '[::1]:8080'
form 80 80 "127.0.0.1 80" 127.0.0.1:80 '[::1]:80'
form 8080:80/tcp 80 "127.0.0.1 80" 127.0.0.1:8080 '[::1]:8080'
form 8080:82 82 "::1 82" 127.0.0.1:8080 '[::1]:8080'
form 127.0.0.1:8080:80 80 "127.0.0.1 80" 127.0.0.1:8080
form '[::1]:8080:80' 80 "127.0.0.1 80" '[::1]:8080'
form localhost:8080:80 80 "127.0.0.1 80" 127.0.0.1:8080 '[::1]:8080'
form 8080:localhost:80 80 "127.0.0.1 80" 127.0.0.1:8080 '[::1]:8080'
form 8080:10.9.8.7:81 10.9.8.7:81 "10.9.8.7 81" 127.0.0.1:8080 '[::1]:8080'
form '8080:[fd00::7]:81' '[fd00::7]:81' "fd00::7 81" 127.0.0.1:8080 '[::1]:8080'
form 127.0.0.1:8080:10.9.8.7:81 10.9.8.7:81 "10.9.8.7 81" 127.0.0.1:8080
form '[::1]:8080:[fd00::7]:81' '[fd00::7]:81' "fd00::7 81" '[::1]:8080'
is "$(cat "$tmp/listen.log")" "" "loopback is no reason for a warning"
form '*:8080:80' 80 "127.0.0.1 80" 0.0.0.0:8080 '[::]:8080'
like "$(cat "$tmp/listen.log")" "warning: 0\.0\.0\.0:8080 can be reached from other machines" \
	"a bind to all is warned about"
like "$(cat "$tmp/listen.log")" "warning: \[::\]:8080 can be reached from other machines" \
	"in both families"
ip addr add 10.1.1.1/32 dev lo
form 10.1.1.1:8080:80 80 "127.0.0.1 80" 10.1.1.1:8080
like "$(cat "$tmp/listen.log")" "warning: 10\.1\.1\.1:8080 can be reached" "and one to an address"

for forward in :80 0:80 localhost::80; do
	listen_start 2 "$forward"
	port=$(sed -n '1s/^Forwarding from 127\.0\.0\.1:\([0-9]*\) -> 80$/\1/p' "$tmp/listen.out")
	like "$port" '^[1-9][0-9]+$' "$forward: a free port"
	is "$(sed -n 2p "$tmp/listen.out")" "Forwarding from [::1]:$port -> 80" \
		"$forward: the same in IPv6"
	is "$(greeting 127.0.0.1 "$port") $(greeting ::1 "$port")" "127.0.0.1 80 127.0.0.1 80" \
		"$forward: both lead there"
	stop "$listen_pid"
done
# Four ports, of which each family has two or three that are free.
echo 40001 40004 >/proc/sys/net/ipv4/ip_local_port_range
listen_start 4 127.0.0.1:40001:80 '[::1]:40002:80' 127.0.0.1:40003:80 '[::1]:40004:80'
first=$listen_pid
run vzfwd listen :80
is "$status" 73 "no port is free in both families"
stop "$first"
listen_start 4 127.0.0.1:40001:80 '[::1]:40002:80' 127.0.0.1:40003:80 '[::1]:40003:80'
first=$listen_pid
# The kernel draws; every other time it is one that IPv6 has not got.
for _ in 1 2 3 4 5 6; do
	listen_start 2 :80
	forwarding
	stop "$listen_pid"
done >"$tmp/drawn"
is "$(sort "$tmp/drawn" | uniq -c)" \
	"$(printf '      6 Forwarding from %s -> 80\n' 127.0.0.1:40004 '[::1]:40004')" "one is, and found"
stop "$first"
echo 32768 60999 >/proc/sys/net/ipv4/ip_local_port_range

# Several, and --address

listen_start 3 8080:80 127.0.0.1:8081:10.9.8.7:81 8082:82 --address ::1
is "$(forwarding)" "$(printf 'Forwarding from %s\n' '[::1]:8080 -> 80' \
	'127.0.0.1:8081 -> 10.9.8.7:81' '[::1]:8082 -> 82')" "--address is for those without a BIND"
is "$(greeting ::1 8080), $(greeting 127.0.0.1 8081), $(greeting ::1 8082)" \
	"127.0.0.1 80, 10.9.8.7 81, ::1 82" "several forwards lead each to its own"
stop "$listen_pid"
listen_start 3 8080:80 --address 127.0.0.1,127.0.0.2 --address '[::1]'
is "$(forwarding)" "$(printf 'Forwarding from %s -> 80\n' 127.0.0.1:8080 127.0.0.2:8080 \
	'[::1]:8080')" "--address takes a list, and more than once"
stop "$listen_pid"
for list in localhost,127.0.0.1 127.0.0.1,localhost,127.0.0.1; do
	listen_start 2 8080:80 --address "$list"
	is "$(forwarding)" "$(printf 'Forwarding from %s -> 80\n' 127.0.0.1:8080 '[::1]:8080')" \
		"--address $list: each once"
	is "$(cat "$tmp/listen.log")" "" "--address $list: nothing to complain about"
	stop "$listen_pid"
done
listen_start 3 :80 --address localhost,127.0.0.5
is "$(forwarding | sed 's/.*:\([0-9]* -> 80\)$/\1/' | sort -u | wc -l)" 1 \
	"a free port is the same on every address"
stop "$listen_pid"

# The lines come through a pipe at once.

mkfifo "$tmp/fifo"
exec {fifo}<>"$tmp/fifo"
spawn vzfwd listen 8080:80 >"$tmp/fifo"
listen_pid=$!
read -r -t 5 -u "$fifo" line
is "$line" "Forwarding from 127.0.0.1:8080 -> 80" "a pipe gets the first line"
read -r -t 5 -u "$fifo" line
is "$line" "Forwarding from [::1]:8080 -> 80" "and the second"
greeting ::1 8080
read -r -t 5 -u "$fifo" line
is "$line" "Handling connection for 8080" "and that about a connection, while it goes on"
stop "$listen_pid"
exec {fifo}<&-

# All or nothing

listen_start 2 8081:80
first=$listen_pid
refused() { # STATUS ERE NAME ARGUMENT...
	local want=$1 ere=$2 name=$3

	shift 3
	run vzfwd listen "$@"
	is "$status" "$want" "$name: $*: exit status"
	like "$(cat "$tmp/err")" "$ere" "$name: $*: said"
	is "$(cat "$tmp/out") $(wc -l <"$tmp/err")" " 1" "$name: $*: in one line, and nothing on stdout"
}
refused 73 "127\.0\.0\.1:8081: address already in use" "in use" 8081:80
refused 73 ":8081: address already in use" "in use" 8080:80 8081:80
not_ok "then nothing listens" tcp_listens 8080
refused 73 ":8081: address already in use" "in use" 127.0.0.1:8081:80
refused 73 ":8080: address already in use" "by itself" 8080:80 8080:81
refused 64 "10\.2\.2\.2:8080: cannot assign requested address" "not ours" 10.2.2.2:8080:80
refused 64 "\[fe80::1\]:8080: invalid argument" "no scope" '[fe80::1]:8080:80'
is "$(greeting 127.0.0.1 8081)" "127.0.0.1 80" "the one that was first goes on"
stop "$first"
echo 1024 >/proc/sys/net/ipv4/ip_unprivileged_port_start
run setpriv --reuid 65534 --regid 65534 --clear-groups vzfwd listen -p "$guest_endpoint" 8080:80 80
is "$status" 77 "not permitted"
like "$(cat "$tmp/err")" "127\.0\.0\.1:80: permission denied" "the port is named"

# localhost needs one family

listen_start 1 127.0.0.1:8080:80
first=$listen_pid
mv "$tmp/listen.out" "$tmp/first.out"
listen_start 1 8080:82
is "$(forwarding)" "Forwarding from [::1]:8080 -> 82" "localhost makes do with ::1"
like "$(cat "$tmp/listen.log")" "^vzfwd: warning: .*127\.0\.0\.1:8080: address already in use$" \
	"and says what it lacks"
is "$(greeting 127.0.0.1 8080), $(greeting ::1 8080)" "127.0.0.1 80, ::1 82" "each leads to its own"
stop "$listen_pid"
stop "$first"
listen_start 1 '[::1]:8080:80'
first=$listen_pid
listen_start 1 8080:82
is "$(forwarding)" "Forwarding from 127.0.0.1:8080 -> 82" "or with 127.0.0.1"
stop "$listen_pid"
refused 73 "\[::1\]:8080: address already in use" "an address is no localhost" '[::1]:8080:80'
refused 73 "\[::\]:8080: address already in use" "and neither is *" '*:8080:80'
stop "$first"
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
listen_start 1 8080:80
is "$(forwarding)" "Forwarding from 127.0.0.1:8080 -> 80" "localhost without IPv6"
is "$(cat "$tmp/listen.log")" "" "which is no reason to complain"
is "$(greeting 127.0.0.1 8080)" "127.0.0.1 80" "it works"
refused 73 "127\.0\.0\.1:8080: address already in use" "in use, without IPv6" 8080:80
stop "$listen_pid"
listen_start 1 :80
ok "a free port without IPv6" forwarding
stop "$listen_pid"
refused 64 "\[::1\]:8080: cannot assign" "an address without IPv6" '[::1]:8080:80'
echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6
ip addr add ::1/128 dev lo nodad 2>/dev/null

# Unix sockets

umask 0
listen_start 1 "unix:$tmp/web.sock:88"
is "$(forwarding)" "Forwarding from unix:$tmp/web.sock -> 88" "unix: its line"
is "$(stat -c %a "$tmp/web.sock")" 600 "unix: its mode"
run curl -sS --unix-socket "$tmp/web.sock" -o "$tmp/got" http://pod/file
same "$tmp/got" "$tmp/www/file" "unix: a page"
is "$(tail -n 1 "$tmp/listen.out")" "Handling connection for $tmp/web.sock" "unix: its line about it"
refused 73 "web\.sock: address already in use" "unix: in use" "unix:$tmp/web.sock:80"
run curl -sS --unix-socket "$tmp/web.sock" -o "$tmp/got2" http://pod/file
same "$tmp/got2" "$tmp/www/file" "unix: the one that was first goes on"
kill -KILL "$listen_pid"
wait "$listen_pid" 2>/dev/null
ok "unix: a stale one stays" test -S "$tmp/web.sock"
listen_start 1 "unix:$tmp/web.sock:10.9.8.7:81"
ok "unix: and is replaced" python3 "$(dirname "$0")/pod-client.py" "unix:$tmp/web.sock" \
	"expect:10.9.8.7 81"$'\n' send:x expect:x eof expect-eof
is "$(cat "$tmp/listen.log")" "" "unix: no complaints"
stop "$listen_pid"
not_ok "unix: removed on exit" test -e "$tmp/web.sock"
refused 73 "address already in use" "unix: with one that fails" "unix:$tmp/web.sock:80" 8080:80 8080:80
not_ok "unix: nothing is left behind" test -e "$tmp/web.sock"
echo precious >"$tmp/regular"
cp "$tmp/regular" "$tmp/regular.copy"
refused 73 "not a socket" "unix: a regular file" "unix:$tmp/regular:80"
same "$tmp/regular" "$tmp/regular.copy" "unix: it is left alone"
refused 66 "no such file" "unix: no folder" "unix:$tmp/none/web.sock:80"

# What is wrong

for forward in '' : 8080: :0 8080:0 0 65536 8080:65536 65536:80 -1:80 8080:80: 8080:80:80:80:80 \
	a:80 a:8080:80 8080:a:80 8080::80: 127.0.0.1:a:80 ::1:8080:80 '[::1:8080:80' 8080:80/sctp \
	8080:http ' 8080:80' 8080:+80 1.2.3:8080:80 unix: unix:/x unix:/x: unix::80 unix:/x:0 \
	"unix:/$(printf '%0200d' 0):80"; do
	refused 64 "^vzfwd: listen: " "bad" "$forward"
done
for list in '' ',' a 'localhost,,' 127.0.0.1:80 1.2.3; do
	refused 64 "address" "bad" 8080:80 --address "$list"
done
refused 64 "^vzfwd: listen: " "none"
refused 64 "max-connections" "bad" 8080:80 --max-connections 0
refused 64 "--nonsense" "bad" 8080:80 --nonsense
refused 64 "dial alone" "fd:" -p fd:0 8080:80
refused 66 "no pod none" "not registered" -p none 8080:80
not_ok "nothing listens" tcp_listens 8080
ok "nobody was told of anything on the way to a refusal" test ! -s "$tmp/out"

done_testing
