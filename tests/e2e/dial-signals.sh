#!/bin/bash
# SPDX-License-Identifier: MIT
# How `vzfwd dial` is ended from outside, by signals and by readers that go away; and that no process
# is left, neither of ours nor of an exec: endpoint's command.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 setpriv

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
: >"$tmp/seen"
spawn in_pod "$pod" python3 "$here/target.py" "$tmp/seen" "$tmp/silent=hold" 8=eof 9=send:16000000 10=eof,hold
wait_for 20 tcp_listens 8 "$pod"
wait_for 20 tcp_listens 9 "$pod"
wait_for 20 tcp_listens 10 "$pod"
guest_start "$pod"
guest="vzfwd-guest --stdio --pod-netns /run/netns/$pod"

case_of() {
	ok "$1" python3 "$here/dial-signals.py" "${@:2}"
}

saw() {
	grep "^$1 " "$tmp/seen" | tail -n 1 | cut -d' ' -f2-
}

# Signals

for endpoint in "$guest_endpoint" "netns:/run/netns/$pod" "exec:$guest"; do
	for number in 15 2 1; do
		: >"$tmp/seen"
		case_of "signal $number, ${endpoint%%:*}:" signal "$endpoint" "$number"
		wait_for 5 test -s "$tmp/seen"
		is "$(saw 8)" "reset ECONNRESET" "signal $number, ${endpoint%%:*}: the target sees a reset"
	done
done
case_of "signals before it is connected" signal-before "unix://$tmp/silent"
case_of "a second signal" second-signal "$guest_endpoint"
case_of "nohup" nohup "$guest_endpoint"

# Readers that go away, and shims that are killed, while nothing happens

for endpoint in "$guest_endpoint" "netns:/run/netns/$pod" "exec:$guest"; do
	name=${endpoint%%:*}
	: >"$tmp/seen"
	case_of "stdout's reader goes, $name:" reader-gone "$endpoint"
	wait_for 5 test -s "$tmp/seen"
	is "$(saw 8)" "reset ECONNRESET" "stdout's reader goes, $name: the target sees a reset"
	case_of "a socket's other end goes, $name:" socket-gone "$endpoint"
	for kind in pipes socket sockets stream-fd; do
		case_of "a killed shim, $kind, $name:" shim "$kind" "$endpoint" "$tmp/shim.pid"
	done
done

for kind in pipes socket sockets stream-fd pass-fd; do
	case_of "a killed shim, $kind, while dialing" shim "$kind" "unix://$tmp/silent" "$tmp/shim.pid"
done

# The command of an exec: endpoint

stubborn="(trap '' TERM HUP; echo \$BASHPID >$tmp/command.pid; exec sleep 1000 >/dev/null 2>&1)"
cat >"$tmp/command" <<-END
	#!$BASH
	$stubborn &
	exec $guest
END
cat >"$tmp/stranger" <<-END
	#!$BASH
	setpriv --reuid 65534 --clear-groups $BASH -c "trap '' TERM; echo \\\$\\\$ >$tmp/command.pid; exec sleep 1000 >/dev/null 2>&1" &
	exec $guest
END
cat >"$tmp/mute" <<-END
	#!$BASH
	trap '' TERM
	echo \$\$ >$tmp/command.pid
	while read -r line; do :; done
	exec sleep 1000
END
cat >"$tmp/inherits" <<-END
	#!/bin/sh
	echo "to stderr" >&2
	grep '^Sig[IB]' /proc/self/status >$tmp/inherits.seen
	python3 -c 'import os
	fds = sorted(map(int, os.listdir("/proc/self/fd")))
	print(*(fd for fd in fds if os.path.exists("/proc/self/fd/%d" % fd)))' >>$tmp/inherits.seen
	exec $guest
END
chmod +x "$tmp/command" "$tmp/stranger" "$tmp/mute" "$tmp/inherits"
: >"$tmp/command.pid"
chmod 666 "$tmp/command.pid"
for how in eof 15 2 kill; do
	case_of "a command with a stubborn child: $how" command "exec:$tmp/command" "$tmp/command.pid" "$how"
done
# Root without capabilities could not kill it.
chmod 1777 "$tmp"
case_of "a command with a child of another user" command "exec:$tmp/stranger" "$tmp/command.pid" eof
case_of "a command that never answers" command-before "exec:$tmp/mute" "$tmp/command.pid"
case_of "what a command inherits" inherits "exec:$tmp/inherits" "$tmp/inherits.seen"

done_testing
