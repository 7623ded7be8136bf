#!/bin/bash
# SPDX-License-Identifier: MIT
# 2,000 connections that come and go leave nothing behind in `vzfwd listen` and vzfwd-guest, and
# 1,000 that are idle cost little and still work.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3
[ "$(ulimit -Hn)" -ge 4096 ] || skip_all "needs 4096 descriptors a process"

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
spawn in_pod "$pod" python3 "$here/pod-server.py" 127.0.0.1:80
wait_for 10 tcp_listens 80 "$pod"
guest_start "$pod"
spawn vzfwd listen -p "$guest_endpoint" 127.0.0.1:8080:80 >"$tmp/listen.out" 2>"$tmp/listen.log"
listen_pid=$!
wait_for 5 test -s "$tmp/listen.out"
listen_fds=$(fds_of "$listen_pid")
guest_fds=$(fds_of "$guest_pid")

crowd() {
	${in_spawn:+exec} python3 "$here/pod-crowd.py" "$@"
}

no_descriptors_left() {
	ok "$1: listen has closed all" wait_for 10 eval "[ \$(fds_of $listen_pid) = $listen_fds ]"
	ok "$1: the guest too" wait_for 10 eval "[ \$(fds_of $guest_pid) = $guest_fds ]"
}

# What memory is used by whom, beside listen_rss and guest_rss; a sanitizer keeps what was freed.
rss_is_flat() { # NAME
	local who pid now before

	for who in listen guest; do
		pid=${who}_pid before=${who}_rss
		now=$(rss_kb_of "${!pid}")
		tap "# $1: RSS of $who: ${!before} KiB before, $now KiB after"
		if sanitized; then
			skip "a sanitizer keeps what was freed" "$1: RSS of $who"
		else
			ok "$1: RSS of $who is flat" test "$now" -le $((${!before} + 512))
		fi
	done
}

ok "warming up" crowd churn 127.0.0.1:8080 200 1
no_descriptors_left "warming up"
# shellcheck disable=SC2034 # used by their names
listen_rss=$(rss_kb_of "$listen_pid")
# shellcheck disable=SC2034
guest_rss=$(rss_kb_of "$guest_pid")
ok "2,000 connections, a byte each way" crowd churn 127.0.0.1:8080 2000 1
no_descriptors_left "2,000 connections"
rss_is_flat "2,000 connections"
is "$(grep -c '^Handling' "$tmp/listen.out")" 2200 "each had its line"

spawn crowd hold 127.0.0.1:8080 1000 10000 "$tmp/open" "$tmp/end"
crowd_pid=$!
ok "1,000 connections at a time" wait_for 60 test -e "$tmp/open"
for who in listen guest; do
	pid=${who}_pid before=${who}_rss
	rss=$(($(rss_kb_of "${!pid}") - ${!before}))
	tap "# 1,000 idle connections: RSS of $who grew by $rss KiB: $((rss * 1024 / 1000)) bytes for each"
	if sanitized; then
		skip "a sanitizer needs more" "an idle connection holds no buffer of $who"
	else
		ok "an idle connection holds no buffer of $who" test "$rss" -lt 6000
	fi
done
before=$(($(cpu_ms_of "$listen_pid") + $(cpu_ms_of "$guest_pid")))
sleep 1 # what is measured
cpu=$(($(cpu_ms_of "$listen_pid") + $(cpu_ms_of "$guest_pid") - before))
ok "idle they are: $cpu ms of CPU in a second" test "$cpu" -lt 50
touch "$tmp/end"
wait "$crowd_pid"
is "$?" 0 "each of them gets back every byte that it sends"
no_descriptors_left "1,000 connections"
ok "more of them" crowd churn 127.0.0.1:8080 200 1
is "$(cat "$tmp/listen.log")" "" "nothing was worth a line"

done_testing
