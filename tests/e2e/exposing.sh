# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # variables for the tests; what functions.sh sets
# SPDX-License-Identifier: MIT
#
# What the tests of the way back share; sourced after functions.sh. There is what relaying.sh has.
#
#	echo_at ADDRESS:PORT...      starts a server on the host, which is the test's own netns
#	expose_start ARGUMENT...     vzfwd expose with them, until it is there; sets expose_pid. $tmp/expose.out and .log are its own
#	client HOST:PORT STEP...     in the pod, as pod-client.py has it
#	fails STATUS ERE NAME ARGUMENT...    vzfwd expose ends so, and says one line
#	lines FILE ERE   has_lines FILE ERE COUNT
#	alias_there [POD [IP]]       the alias address is on the pod's lo

. "$(dirname "$0")/relaying.sh"
alias=192.168.127.254

echo_at() {
	local where

	for where; do
		spawn python3 "$here/pod-server.py" "$where"
		wait_for 20 tcp_listens "${where##*:}"
	done
}

expose_start() {
	spawn vzfwd expose "$@" >"$tmp/expose.out" 2>"$tmp/expose.log"
	expose_pid=$!
	wait_for 10 grep -q Exposing "$tmp/expose.out"
}

client() {
	in_pod "$pod" python3 "$here/pod-client.py" "$@"
}

fails() {
	local want=$1 pattern=$2 name=$3

	shift 3
	run timeout 20 vzfwd expose "$@"
	is "$status" "$want" "$name: exit status"
	like "$(cat "$tmp/err")" "^vzfwd: expose: $pattern$" "$name: what is said"
	is "$(wc -l <"$tmp/err")" 1 "$name: in one line"
	is "$(cat "$tmp/out")" "" "$name: nothing on stdout"
}

lines() {
	grep -cE "$2" "$1"
}

has_lines() {
	[ "$(lines "$1" "$2")" -ge "$3" ]
}

alias_there() {
	ip -n "${1:-$pod}" -o addr show dev lo | grep -qwF "${2:-$alias}"
}

no_alias() {
	! alias_there "$@"
}
