# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# What the end-to-end tests share; sourced by bash, prints TAP. A test looks like this:
#
#	#!/bin/bash
#	# SPDX-License-Identifier: MIT
#	# What it shows, in a sentence.
#	. "$(dirname "$0")/../functions.sh"
#	requires_root
#	requires curl busybox
#
#	pod=$(pod_new)                                # a netns with lo up; its name
#	mkdir "$tmp/www"; echo hello >"$tmp/www/index.html"
#	spawn in_pod "$pod" busybox httpd -f -p 127.0.0.1:80 -h "$tmp/www"
#	wait_for 5 tcp_listens 80 "$pod"
#	guest_start "$pod"                            # sets guest_pid, guest_endpoint, guest_log
#	vzfwd pod add web "$guest_endpoint"           # vzfwd and vzfwd-guest are on PATH
#	spawn vzfwd listen -p web 8080:80 >"$tmp/listen.out"
#	wait_for 5 tcp_listens 8080
#	ok "curl gets a page" curl -sS -o "$tmp/page" http://127.0.0.1:8080/
#	same "$tmp/page" "$tmp/www/index.html" "every byte of it"
#	is "$(exit_of vzfwd dial web tcp :81)" 69 "nobody listens on 81"
#	done_testing
#
# As root, a test runs in network, mount and process namespaces of its own with an
# empty /run and an empty lo: fixed ports and names never collide, and no process, netns or mount
# outlives it. stdin is /dev/null; stdout goes to the log, only ok() and its kin write TAP.
#
#	$tmp              a folder of the test's own; VZFWD_PODS_DIR is $tmp/pods
#	requires CMD...                       skip the whole test where one is missing
#	requires_root                         needs root, namespaces and a vzfwd-guest
#	skip_all WHY      skip WHY NAME       skip everything, or one check
#	ok NAME CMD...    not_ok NAME CMD...  CMD succeeds; CMD fails. Its output is shown if not
#	is GOT WANT NAME  like GOT ERE NAME   equal; matches the extended regular expression
#	same FILE FILE NAME                   the same bytes
#	run CMD...        $status, $tmp/out, $tmp/err: a command's exit status, stdout and stderr
#	exit_of CMD...    prints the exit status (128+N for a signal); output is dropped
#	wait_for SECONDS CMD...   until CMD succeeds; fails (and says so) when it takes longer
#	spawn CMD...      in the background, $! is its pid; redirect as usual; ended on exit
#	stop PID          SIGTERM, SIGKILL after 5 s, until it is gone
#	cleanup CMD...    to be run on exit, last one first
#	pod_new           in_pod POD CMD...   /run/netns/POD is its path
#	guest_start POD [OPTION...]           vzfwd-guest on a Unix socket with --pod-netns
#	guest_again                           the last one, which has ended, anew
#	over_vsock                            true in a VM of tests/vm, where guest_start takes AF_VSOCK
#	requires_vm                           needs to be in one: AF_VSOCK is used nowhere else
#	$VZFWD_TEST_SLOWNESS                  1, more where everything takes longer: for what must be quick, or is much
#	tcp_listens PORT [POD]  udp_bound PORT [POD]  unix_listens PATH  gone PID  sanitized
#	fds_of PID        rss_kb_of PID       cpu_ms_of PID

set -u
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1 VZFWD_TEST_SLOWNESS=${VZFWD_TEST_SLOWNESS:-1}
unset VZFWD_POD XDG_RUNTIME_DIR

# Begins anew inside of its namespaces. From out here a signal ends all of them at once, whatever hangs.
test_enter() {
	local options=(--net --mount --pid --fork --kill-child --mount-proc) child status

	unshare "${options[@]}" mount -t tmpfs -o mode=755 none /run 2>/dev/null || return
	VZFWD_TEST_TMP=$(mktemp -d "${TMPDIR:-/tmp}/vzfwd-test.XXXXXX") || exit 99
	export VZFWD_TEST_TMP VZFWD_TEST_NAMESPACES=yes
	# In the background bash ignores SIGINT, and a caller may ignore others.
	env --default-signal unshare "${options[@]}" "$BASH" "$0" "$@" &
	child=$!
	trap 'kill -KILL "$child"' HUP INT TERM
	wait "$child"
	status=$?
	trap '' HUP INT TERM
	wait "$child" # again, if it was a signal that ended the first one
	rm -rf "$VZFWD_TEST_TMP"
	exit "$status"
}

if [ "$(id -u)" = 0 ] && [ -z "${VZFWD_TEST_NAMESPACES:-}" ]; then
	test_enter "$@"
	VZFWD_TEST_NAMESPACES=no
fi

diag() {
	sed 's/^/# /' >&2
}

exec {tap_fd}>&1
exec </dev/null 1>&2
test_count=0
test_failed=0
test_pid=$BASHPID
cleanups=()

tmp=${VZFWD_TEST_TMP:-$(mktemp -d "${TMPDIR:-/tmp}/vzfwd-test.XXXXXX")}
[ -d "$tmp" ] || exit 99
trap test_exit EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$tmp"
mkdir "$tmp/bin" "$tmp/sanitizer"
chmod 1777 "$tmp/sanitizer"
: >"$tmp/.pids"
: >"$tmp/.pods"

abs_top_builddir=${abs_top_builddir:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
VZFWD=${VZFWD:-$abs_top_builddir/vzfwd}
VZFWD_GUEST=${VZFWD_GUEST-$abs_top_builddir/vzfwd-guest} # empty where it can't be built
ln -s "$VZFWD" "$tmp/bin/vzfwd"
ln -s "$VZFWD_GUEST" "$tmp/bin/vzfwd-guest"
# What stands for the interpreter and looks for it each time (pyenv) takes ten times as long to start it.
if read -rn 2 interpreter <"$(command -v python3)" && [ "$interpreter" = '#!' ]; then
	ln -s "$(python3 -c 'import sys; print(sys.executable)')" "$tmp/bin/python3"
fi 2>/dev/null
export PATH="$tmp/bin:$PATH:/usr/sbin:/sbin"
export VZFWD_PODS_DIR="$tmp/pods"
# Reports of programs whose stderr nobody reads are found in test_reports().
export ASAN_OPTIONS="log_path=$tmp/sanitizer/asan:detect_stack_use_after_return=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export TSAN_OPTIONS="log_path=$tmp/sanitizer/tsan${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
export UBSAN_OPTIONS="log_path=$tmp/sanitizer/ubsan:print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"

if [ "${VZFWD_TEST_NAMESPACES:-no}" = yes ]; then
	mount -t tmpfs -o mode=755 none /run
	mkdir -p /run/netns
	ip link set lo up
	# A test that hangs is ended: kill -1 reaches its own namespace only.
	(
		sleep "${VZFWD_TEST_TIMEOUT:-180}"
		{
			echo "gave up after ${VZFWD_TEST_TIMEOUT:-180} s, with these processes:"
			ps -eo pid,ppid,stat,wchan:20,args
		} 2>&1 | diag
		kill -TERM -1
		kill -TERM 1
		sleep 5
		kill -KILL -1
	) {tap_fd}>&- &
	disown
fi

tap() {
	printf '%s\n' "$*" >&"$tap_fd"
}

pass() {
	test_count=$((test_count + 1))
	tap "ok $test_count - $1"
}

fail() {
	test_count=$((test_count + 1))
	test_failed=$((test_failed + 1))
	tap "not ok $test_count - $1"
	# The same line in the log, where stderr goes, so that the diagnosis has its heading.
	echo "# failed: $1" >&2
}

skip() {
	test_count=$((test_count + 1))
	tap "ok $test_count - $2 # SKIP $1"
}

skip_all() {
	tap "1..0 # SKIP $1"
	exit 0
}

requires() {
	local command

	for command; do
		command -v "$command" >/dev/null || skip_all "needs $command"
	done
}

requires_root() {
	[ "$(id -u)" = 0 ] || skip_all "needs root"
	[ "$VZFWD_TEST_NAMESPACES" = yes ] || skip_all "cannot make namespaces here"
	requires ip nsenter
	[ -n "$VZFWD_GUEST" ] || skip_all "vzfwd-guest is not built here"
}

ok() {
	local name=$1

	shift
	if "$@" >"$tmp/.ok" 2>&1 {tap_fd}>&-; then
		pass "$name"
	else
		set -- "$?" "$@"
		fail "$name"
		{
			echo "exit status $1: ${*:2}"
			tail -n 20 "$tmp/.ok"
		} | diag
	fi
}

not_ok() {
	local name=$1

	shift
	if "$@" >"$tmp/.ok" 2>&1 {tap_fd}>&-; then
		fail "$name"
		{
			echo "should have failed: $*"
			tail -n 20 "$tmp/.ok"
		} | diag
	else
		pass "$name"
	fi
}

is() {
	if [ "$1" = "$2" ]; then
		pass "$3"
	else
		fail "$3"
		printf 'got:  %s\nwant: %s\n' "$1" "$2" | diag
	fi
}

like() {
	if [[ $1 =~ $2 ]]; then
		pass "$3"
	else
		fail "$3"
		printf 'got:        %s\nwant match: %s\n' "$1" "$2" | diag
	fi
}

same() {
	local name=$3

	if cmp "$1" "$2" >"$tmp/.ok" 2>&1; then
		pass "$name"
	else
		fail "$name"
		{
			cat "$tmp/.ok"
			wc -c "$1" "$2"
		} 2>&1 | diag
	fi
}

run() {
	"$@" >"$tmp/out" 2>"$tmp/err" {tap_fd}>&-
	status=$?
}

exit_of() {
	("$@") >/dev/null 2>&1 {tap_fd}>&-
	echo $?
}

plan() {
	planned=$1
	tap "1..$1"
}

done_testing() {
	test_stop_all
	test_reports
	[ -n "${planned:-}" ] || tap "1..$test_count"
	[ "$test_failed" = 0 ]
	exit
}

# What a sanitizer told about any program of the test makes it fail.
test_reports() {
	local report

	for report in "$tmp"/sanitizer/*; do
		[ -s "$report" ] || continue
		fail "no sanitizer report"
		head -n 60 "$report" | diag
	done
}

wait_for() {
	local limit=$1 end

	shift
	end=$((${EPOCHREALTIME/./} + limit * 1000000))
	until "$@" >/dev/null 2>&1; do
		if [ "${EPOCHREALTIME/./}" -ge "$end" ]; then
			echo "# not within $limit s: $*" >&2
			return 1
		fi
		sleep "${VZFWD_TEST_POLL:-0.05}"
	done
}

# Functions that end in a program take its place in the process that spawn() starts, so
# that the pid is the program's.
in_pod() {
	${in_spawn:+exec} nsenter --net="/run/netns/$1" -- "${@:2}"
}

# Fields of /proc/PID/stat by their number in proc(5), from 3 on.
stat_of() {
	local stat field fields

	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	# The name in parentheses may hold anything; what follows it is field 3.
	read -ra fields <<<"${stat##*)}"
	for field in "${@:2}"; do
		echo "${fields[field - 3]}"
	done
}

spawn() {
	if [ "$(type -t "$1")" = function ]; then
		(
			trap - EXIT HUP INT TERM
			in_spawn=yes
			"$@"
		) <&0 {tap_fd}>&- &
	else
		(
			trap - EXIT HUP INT TERM
			exec "$@"
		) <&0 {tap_fd}>&- &
	fi
	echo "$! $(stat_of $! 22)" >>"$tmp/.pids"
}

# True if vzfwd was built with ASan or TSan: its memory tells nothing.
sanitized() {
	grep -qa '__[at]san_init' "$VZFWD"
}

# True when the process has ended; a zombie has.
gone() {
	local state

	state=$(stat_of "$1" 3) || return 0
	[ "$state" = Z ]
}

stop() {
	kill -TERM "$1" 2>/dev/null
	wait_for 5 gone "$1" || kill -KILL "$1" 2>/dev/null
	wait "$1" 2>/dev/null
	return 0
}

test_stop_all() {
	local pid start pids=()

	while read -r pid start; do
		if [ "$(stat_of "$pid" 22)" = "$start" ] && ! gone "$pid"; then
			kill -TERM "$pid" 2>/dev/null
			pids+=("$pid")
		fi
	done <"$tmp/.pids"
	for pid in "${pids[@]}"; do
		stop "$pid"
	done
	: >"$tmp/.pids"
}

cleanup() {
	cleanups+=("$(printf '%q ' "$@")")
}

test_exit() {
	local status=$? i pod log

	[ "$BASHPID" = "$test_pid" ] || exit "$status"
	trap - EXIT
	trap '' HUP INT TERM
	for ((i = ${#cleanups[@]} - 1; i >= 0; i--)); do
		eval "${cleanups[i]}"
	done
	test_stop_all
	while read -r pod; do
		ip netns pids "$pod" 2>/dev/null | xargs -r kill -KILL 2>/dev/null
		ip netns del "$pod"
	done <"$tmp/.pods"
	if [ "$status" != 0 ]; then
		for log in "$tmp"/*.log; do
			[ -s "$log" ] || continue
			{
				echo "-- the end of ${log##*/}:"
				tail -n 20 "$log"
			} | diag
		done
	fi
	rm -rf "$tmp"
	exit "$status"
}

pod_new() {
	local pod

	# Called as $(pod_new): only files reach the test from here.
	pod=pod$(($(wc -l <"$tmp/.pods") + 1))
	ip netns add "$pod" && echo "$pod" >>"$tmp/.pods" && ip -n "$pod" link set lo up && echo "$pod"
}

# The VM's own AF_VSOCK, of a VM that this test suite has booted: tests/vm/vm.sh put the same token on its kernel's
# command line. Any other machine's may lead to somebody else's host.
in_vm() {
	[[ ${VZFWD_TEST_VM:-} =~ ^[0-9]+$ ]] && grep -qw "vzfwd_test_vm=$VZFWD_TEST_VM" /proc/cmdline
}

requires_vm() {
	in_vm || skip_all "is for the VMs of tests/vm"
}

over_vsock() {
	[ "${VZFWD_TEST_LINK:-unix}" = vsock ] && in_vm
}

# Sets guest_pid, guest_endpoint and guest_log, and guest_socket, the path in guest_endpoint if that
# is unix://; another call starts another one. Fails if it does not listen within 10 s.
guest_start() {
	local pod=$1

	shift
	guest_count=$((${guest_count:-0} + 1))
	guest_log=$tmp/guest$guest_count.log
	if over_vsock; then
		guest_endpoint=vsock://1:$((892 + guest_count))
		guest_command=(--listen "vsock://any:${guest_endpoint##*:}" --allow-cid 1)
	else
		guest_socket=$tmp/guest$guest_count.sock
		guest_endpoint=unix://$guest_socket
		guest_command=(--listen "$guest_endpoint")
	fi
	guest_command=("$VZFWD_GUEST" "${guest_command[@]}" --pod-netns "/run/netns/$pod" "$@")
	guest_again
}

guest_again() {
	spawn "${guest_command[@]}" >"$guest_log" 2>&1
	# shellcheck disable=SC2034 # for the test
	guest_pid=$!
	if over_vsock; then
		wait_for 10 grep -q 'listening on' "$guest_log"
	else
		wait_for 10 unix_listens "$guest_socket"
	fi
}

# /proc/net of another netns needs a process inside of it.
proc_net() {
	local file=$1 pod=$2

	if [ -n "$pod" ]; then
		nsenter --net="/run/netns/$pod" -- cat "/proc/net/$file" "/proc/net/${file}6"
	else
		cat "/proc/net/$file" "/proc/net/${file}6"
	fi
}

tcp_listens() {
	proc_net tcp "${2:-}" | awk -v port="$(printf ':%04X' "$1")" \
		'substr($2, length($2) - 4) == port && $4 == "0A" { found = 1 } END { exit !found }'
}

udp_bound() {
	proc_net udp "${2:-}" | awk -v port="$(printf ':%04X' "$1")" \
		'substr($2, length($2) - 4) == port { found = 1 } END { exit !found }'
}

unix_listens() {
	awk -v path="$1" '$8 == path && $4 == "00010000" { found = 1 } END { exit !found }' /proc/net/unix
}

fds_of() {
	find "/proc/$1/fd" -mindepth 1 2>/dev/null | wc -l
}

rss_kb_of() {
	awk '$1 == "VmRSS:" { print $2 }' "/proc/$1/status"
}

# User and system time together; ticks are 10 ms.
cpu_ms_of() {
	stat_of "$1" 14 15 | awk '{ ticks += $1 } END { print ticks * 10 }'
}
