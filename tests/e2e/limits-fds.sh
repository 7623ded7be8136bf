#!/bin/bash
# SPDX-License-Identifier: MIT
# Out of descriptors or at a limit of connections, `vzfwd listen` and vzfwd-guest pause, and
# neither spin nor end; whoever waits is served in the end, with every byte.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 prlimit

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
spawn in_pod "$pod" python3 "$here/pod-server.py" 127.0.0.1:80
wait_for 10 tcp_listens 80 "$pod"

crowd() {
	${in_spawn:+exec} python3 "$here/pod-crowd.py" "$@"
}

# Opens COUNT connections that stay as they are until $tmp/NAME.end is there.
crowd_hold() { # NAME PORT COUNT
	spawn crowd hold "127.0.0.1:$2" "$3" 30000 "$tmp/$1.open" "$tmp/$1.end"
	crowd_pid=$!
	wait_for 30 test -e "$tmp/$1.open"
}

# Opens COUNT slow links.
crowd_slow() { # NAME SOCKET COUNT
	spawn crowd slow "$2" "$3" "$tmp/$1.open"
	crowd_pid=$!
	wait_for 30 test -e "$tmp/$1.open"
}

ends_well() { # PID NAME
	wait "$1"
	is "$?" 0 "$2"
}

# listen on these ports, with the guest that was started last; sets listen_pid.
listen_start() { # NAME ARGUMENT...
	spawn vzfwd listen -v -p "$guest_endpoint" "${@:2}" >"$tmp/$1.out" 2>"$tmp/$1.log"
	listen_pid=$!
	wait_for 5 test -s "$tmp/$1.out"
}

# How many clients it has accepted.
handled() {
	grep -c '^Handling' "$tmp/$1.out"
}

# How many connections to a port there are, also such whose client has sent its end.
connections() { # PORT [POD]
	proc_net tcp "${2:-}" | awk -v port="$(printf ':%04X' "$1")" \
		'substr($3, length($3) - 4) == port && $4 ~ /^0[145]$/ { n++ } END { print n + 0 }'
}

at_least() {
	[ "$("${@:2}")" -ge "$1" ]
}

has_line() {
	grep -qE -- "$2" "$1"
}

# Nothing can be done just now, so next to nothing is done.
idles() { # PID NAME
	local before cpu

	before=$(cpu_ms_of "$1")
	sleep 1 # what is measured
	cpu=$(($(cpu_ms_of "$1") - before))
	ok "$2: $cpu ms of CPU in a second" test "$cpu" -lt 100
}

# descriptors_left PID COUNT: it can open so many more.
descriptors_left() {
	local next=0

	while [ -L "/proc/$1/fd/$next" ]; do
		next=$((next + 1))
	done
	prlimit --pid "$1" --nofile=$((next + $2)):
}

# listen with 64 descriptors

guest_start "$pod"
with_64() {
	ulimit -n 64
	exec vzfwd listen -v -p "$guest_endpoint" 127.0.0.1:8080:80
}
spawn with_64 >"$tmp/few.out" 2>"$tmp/few.log"
few_pid=$!
wait_for 5 test -s "$tmp/few.out"
fds=$(fds_of "$few_pid")
ok "64 descriptors: 150 clients at once" crowd at-once 127.0.0.1:8080 150 30000
limit=$(sed -n 's/.*: \([0-9]*\) connections: no more until one ends$/\1/p' "$tmp/few.log" | sort -u)
ok "64 descriptors: enough for ${limit:-no} connections" test "$limit" -ge 12 -a "$limit" -le 30
crowd_hold held 8080 "$limit"
held_pid=$crowd_pid
spawn crowd at-once 127.0.0.1:8080 100 30000
crowd_pid=$!
wait_for 20 at_least $((100 + limit)) connections 8080
is "$(handled few)" $((150 + limit)) "64 descriptors: all in use, 100 more wait"
idles "$few_pid" "64 descriptors: nothing to do"
touch "$tmp/held.end"
ends_well "$held_pid" "64 descriptors: those who were there exchange their bytes"
ends_well "$crowd_pid" "64 descriptors: and those who waited"
is "$(handled few)" $((250 + limit)) "64 descriptors: everybody had a turn"
ok "64 descriptors: all are free again" wait_for 5 eval "[ \$(fds_of $few_pid) = $fds ]"

# listen without any descriptor

listen_start none 127.0.0.1:8083:80
old_limit=$(prlimit --pid "$listen_pid" --nofile --noheadings --output SOFT)
descriptors_left "$listen_pid" 0
spawn crowd at-once 127.0.0.1:8083 100 30000
crowd_pid=$!
ok "no descriptor: accepting pauses" wait_for 10 has_line "$tmp/none.log" 'accepting pauses: too many open files'
wait_for 20 at_least 100 connections 8083
idles "$listen_pid" "no descriptor"
is "$(handled none), $(grep -c pauses "$tmp/none.log")" "0, 1" "no descriptor: nobody is accepted, which is told once"
prlimit --pid "$listen_pid" --nofile="$old_limit":
ends_well "$crowd_pid" "descriptors are back: all are served"
descriptors_left "$listen_pid" 1
ok "one descriptor: who can't have a link is reset" python3 "$here/pod-client.py" 127.0.0.1:8083 expect-reset
ok "and told why" wait_for 5 has_line "$tmp/none.log" '^vzfwd: .*:80 #101: too many open files'
prlimit --pid "$listen_pid" --nofile="$old_limit":
ok "that passes too" python3 "$here/pod-client.py" 127.0.0.1:8083 echo:1000 eof expect-eof
stop "$listen_pid"

# --max-connections of listen: one limit for all of its ports.

listen_start three --max-connections 3 127.0.0.1:8081:80 127.0.0.1:8082:80
crowd_hold three 8081 3
held_pid=$crowd_pid
spawn crowd at-once 127.0.0.1:8082 20 30000
crowd_pid=$!
spawn crowd at-once 127.0.0.1:8081 20 30000
other_pid=$!
wait_for 20 at_least 20 connections 8082
is "$(handled three), $(connections 80 "$pod")" "3, 3" "--max-connections 3: three at a time"
idles "$listen_pid" "--max-connections 3"
touch "$tmp/three.end"
ends_well "$held_pid" "--max-connections 3: the three are served"
ends_well "$crowd_pid" "--max-connections 3: and those who waited on one port"
ends_well "$other_pid" "--max-connections 3: and on the other"
is "$(handled three)" 43 "--max-connections 3: everybody had a turn"
stop "$listen_pid"

# --max-connections of the guest: there is no waiting, but an answer.

guest_start "$pod" --max-connections 2
listen_start two 127.0.0.1:8084:80
crowd_hold two 8084 2
held_pid=$crowd_pid
ok "guest --max-connections 2: the third is reset" python3 "$here/pod-client.py" 127.0.0.1:8084 expect-reset
ok "and told why" wait_for 5 has_line "$tmp/two.log" '^vzfwd: .*:80 #3: .*2 connections'
touch "$tmp/two.end"
ends_well "$held_pid" "guest --max-connections 2: the two are served"
ok "and others after them" crowd again 127.0.0.1:8084 20 30000

# Handshakes that do not come to an end: with 64 descriptors, and with the limit of handshakes.

guest64() {
	ulimit -n 64
	exec vzfwd-guest --listen "unix://$tmp/few.sock" --pod-netns "/run/netns/$pod" --max-connections 20
}
spawn guest64 2>"$tmp/few-guest.log"
few_guest_pid=$!
wait_for 10 unix_listens "$tmp/few.sock"
guest_endpoint=unix://$tmp/few.sock
listen_start few-guest --max-connections 12 127.0.0.1:8085:80
guest_start "$pod" -v
listen_start slow 127.0.0.1:8086:80
crowd_slow slow "$guest_socket" 300
slow_pid=$crowd_pid
crowd_slow few "$tmp/few.sock" 90
few_pid=$crowd_pid
ok "64 descriptors, 90 slow links: accepting pauses" wait_for 10 has_line "$tmp/few-guest.log" \
	'accepting pauses: too many open files'
ok "300 slow links: the limit is reached" wait_for 10 has_line "$guest_log" '256 connections: no more until one ends'
spawn crowd again 127.0.0.1:8085 5 30000
crowd_pid=$!
spawn crowd at-once 127.0.0.1:8086 5 30000
other_pid=$!
idles "$few_guest_pid" "64 descriptors, slow links"
idles "$guest_pid" "300 slow links"
ends_well "$crowd_pid" "64 descriptors, slow links: clients are served in the end"
ends_well "$other_pid" "300 slow links: clients are served in the end"
stop "$slow_pid"
stop "$few_pid"
ok "64 descriptors in the guest: 120 clients at once" crowd at-once 127.0.0.1:8085 120 30000

# Garbage

fds=$(fds_of "$guest_pid")
for size in 100 4095 4096 100000; do
	spawn crowd garbage "$guest_socket" 50 "$size"
	crowd_pid=$!
	ok "links with $size bytes of garbage: good clients are served" crowd at-once 127.0.0.1:8086 20 30000
	ends_well "$crowd_pid" "links with $size bytes of garbage: all of them are ended"
done
ok "garbage leaves no descriptor behind" wait_for 5 eval "[ \$(fds_of $guest_pid) = $fds ]"

# Hardly any: what can't begin says so in one line.

# few COMMAND...: does it with 5, 6, … descriptors until there are enough; what is wrong.
few() {
	for ((n = 5; n < 40; n++)); do
		timeout 5 prlimit --nofile="$n" -- "$@" <"$tmp/empty" >"$tmp/out" 2>"$tmp/err" {tap_fd}>&-
		status=$?
		[ "$status" != 0 ] || return
		[ "$status" = 73 ] && grep -q 'too many open files' "$tmp/out" "$tmp/err" && [ "$(wc -l <"$tmp/err")" -le 1 ] ||
			echo "$n: $status $(cat "$tmp/err")"
	done
	echo "never enough"
}
: >"$tmp/empty"
is "$(few "$VZFWD" dial "$guest_endpoint" 80)" "" "dial with hardly any descriptors"
is "$(few "$VZFWD" dial "netns:/run/netns/$pod" 80)" "" "without a VM"
is "$(few "$VZFWD" ports "$guest_endpoint")" "" "ports"
is "$(few "$VZFWD" check "$guest_endpoint")" "" "check"
is "$(few "$VZFWD" status)" "" "status"

done_testing
