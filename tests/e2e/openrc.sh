#!/bin/bash
# SPDX-License-Identifier: MIT
# The OpenRC script of vzfwd-guest: its syntax, and under openrc-run where that is installed.
. "$(dirname "$0")/../functions.sh"
requires_root

source=${abs_top_srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
ok "the shell can read it" sh -n "$source/contrib/openrc/vzfwd-guest"
if ! command -v openrc-run >/dev/null || [ ! -d /etc/conf.d ]; then
	skip "needs openrc-run and /etc/conf.d" "it starts, watches and stops vzfwd-guest"
	done_testing
fi

# As after a boot, with this service and what it needs.
mount -t tmpfs none /etc/init.d
mount -t tmpfs none /etc/conf.d
mount -t tmpfs none /sys/fs/cgroup # or it would leave its own there
mkdir -p /run/openrc/{starting,started,stopping,inactive,wasinactive,failed,hotplugged,daemons,options,exclusive,scheduled,tmp}
echo default >/run/openrc/softlevel
printf '#!/sbin/openrc-run\nstart() { :; }\n' >/etc/init.d/localmount
cp "$source/contrib/openrc/vzfwd-guest" /etc/init.d/vzfwd-guest
chmod 755 /etc/init.d/*
pod=$(pod_new)
cat >/etc/conf.d/vzfwd-guest <<-END
	command=$VZFWD_GUEST
	command_args="--listen unix://$tmp/guest.sock --pod-netns /run/netns/$pod"
	error_log=$tmp/guest.log
END

spawn in_pod "$pod" socat TCP-LISTEN:80,bind=127.0.0.1,reuseaddr,fork SYSTEM:cat
wait_for 5 tcp_listens 80 "$pod"
head -c 100000 /dev/urandom >"$tmp/data"
dial() {
	vzfwd dial "unix://$tmp/guest.sock" tcp :80 <"$tmp/data" >"$tmp/echo"
}

service() {
	/etc/init.d/vzfwd-guest "$1"
}

guest_of() {
	pgrep -f -- "--listen unix://$tmp/guest.sock" | while read -r pid; do
		[ "$(readlink "/proc/$pid/exe")" != "$(realpath "$VZFWD_GUEST")" ] || echo "$pid"
	done
}

# Killed with SIGKILL it left its socket: another one listens there.
another_guest() {
	local now

	now=$(guest_of)
	[ -n "$now" ] && [ "$now" != "$guest_pid" ]
}

no_guest() {
	[ -z "$(guest_of)" ]
}

ok "start" service start
wait_for 5 dial
same "$tmp/echo" "$tmp/data" "it dials, with the options of conf.d"
ok "status: started" service status
guest_pid=$(guest_of)
kill -KILL "$guest_pid"
ok "killed: there is another one" wait_for 10 another_guest
wait_for 5 dial
same "$tmp/echo" "$tmp/data" "that dials"
ok "stop" service stop
ok "no vzfwd-guest is left" wait_for 5 no_guest
like "$(tail -n 1 "$tmp/guest.log")" "stopped by SIGTERM" "it was ended by SIGTERM"

done_testing
