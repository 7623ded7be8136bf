# shellcheck shell=bash
# shellcheck disable=SC2154 # tap_fd: functions.sh sets it
# SPDX-License-Identifier: MIT
# What the relay's tests share; sourced after functions.sh.
#
#	checks PROGRAM ARG...   runs a program in Python; its lines "ok NAME" and "not ok NAME: WHY" are checks

here=$(cd "$(dirname "$0")" && pwd)
requires_root
requires python3
pod=$(pod_new)
netns=/run/netns/$pod
# shellcheck disable=SC2034 # for the tests
exec_endpoint="exec:exec vzfwd-guest --stdio --pod-netns $netns"

checks() {
	local line ended=no

	while IFS= read -r line; do
		case $line in
		"ok "*) pass "${line#ok }" ;;
		"not ok "*) fail "${line#not ok }" ;;
		ended) ended=yes ;;
		*) echo "# $line" >&2 ;;
		esac
	done < <(exec {tap_fd}>&- python3 "$here/$1" "${@:2}")
	[ "$ended" = yes ] || fail "$1 ran to its end"
}

