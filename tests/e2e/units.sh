#!/bin/bash
# SPDX-License-Identifier: MIT
# The units of systemd: that they are right, how much they leave open, and that vzfwd can do its work in them, under a
# systemd that is the init of a process namespace.
. "$(dirname "$0")/../functions.sh"
requires systemd-analyze

source=${abs_top_srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
here=$source/tests/e2e

# make_units FOLDER BINDIR SBINDIR: as make does it.
make_units() {
	local unit

	mkdir "$1"
	cp "$source/contrib/systemd/vzfwd.socket" "$1"
	for unit in vzfwd.service vzfwd-guest.service; do
		sed -e "s|@bindir@|$2|g" -e "s|@sbindir@|$3|g" "$source/contrib/systemd/$unit.in" >"$1/$unit"
	done
}

# Whatever systemd-analyze has to say about them.
verify() {
	SYSTEMD_UNIT_PATH=$tmp/units: systemd-analyze verify --man=no "$tmp"/units/*.{socket,service} 2>&1
}

# exposure UNIT: as systemd-analyze rates it, 0 to 10.
exposure() {
	systemd-analyze security --offline=yes --no-pager "$tmp/units/$1" |
		sed -nE 's/.*Overall exposure level for .*: ([0-9.]+) .*/\1/p'
}

# What doc/systemd.md says: "| `vzfwd.service` | 3.3 |".
documented() {
	sed -nE "s/^\| $1 \| ([0-9.]+) \|.*/\1/p" "$source/doc/systemd.md"
}

make_units "$tmp/units" "$tmp/bin" "$tmp/bin"
not_ok "no placeholder is left" grep -r '@[a-z]*@' "$tmp/units"
is "$(verify)" "" "systemd-analyze verify has nothing to say"
version=$(systemd-analyze --version | sed -nE '1s/^systemd ([0-9]+).*/\1/p')
documented_version=$(sed -nE 's/.*systemd-analyze ([0-9]+).*/\1/p' "$source/doc/systemd.md")
for unit in vzfwd.service vzfwd-guest.service; do
	if [ "$version" -lt 250 ]; then
		skip "systemd-analyze $version cannot rate a file" "$unit: its exposure"
	elif [ "$version" = "$documented_version" ]; then
		is "$(exposure "$unit")" "$(documented "\`$unit\`")" "$unit: its exposure is what doc/systemd.md says"
	else
		ok "$unit: its exposure, as systemd $version sees it, is below 4" systemd-analyze security \
			--offline=yes --no-pager --threshold=40 "$tmp/units/$unit"
	fi
done
mkdir "$tmp/units/vzfwd.service.d"
cp "$source/contrib/systemd/exec-endpoints.conf" "$tmp/units/vzfwd.service.d"
is "$(verify)" "" "nor about exec-endpoints.conf"
[ "$version" != "$documented_version" ] ||
	is "$(exposure vzfwd.service)" "$(documented '`vzfwd.service` with `exec-endpoints.conf`')" \
		"exec-endpoints.conf: its exposure is what doc/systemd.md says"

# From here on in earnest.

# Ends this test as it is by now, for want of what the rest needs.
skip_rest() {
	skip "$1" "the units at work"
	done_testing
}

[ "$(id -u)" = 0 ] || skip_rest "needs root"
[ "$VZFWD_TEST_NAMESPACES" = yes ] || skip_rest "cannot make namespaces here"
[ -n "$VZFWD_GUEST" ] || skip_rest "vzfwd-guest is not built here"
for command in python3 socat setpriv systemctl ip nsenter; do
	command -v "$command" >/dev/null || skip_rest "needs $command"
done
[ -x /lib/systemd/systemd ] || skip_rest "needs systemd"

# It is the init of namespaces of its own. There is nothing of the outside there that it can write but $tmp, mounts
# propagate as a real init makes them do, and the programs are where PrivateTmp= does not hide them.
boot() {
	echo "$BASHPID" >"$group/cgroup.procs"
	exec unshare --mount --pid --fork --kill-child --cgroup --uts --ipc --mount-proc "$BASH" -eu -c '
		tmp=$1
		mount --make-rprivate /
		# Mounts on top of others confuse ProtectSystem=.
		tac /proc/self/mounts | awk "\$2 ~ \"^/(run|sys/fs/cgroup)(/|\$)\" { print \$2 }" | xargs -n 1 umount -l
		mount -t cgroup2 none /sys/fs/cgroup
		mount --bind "$tmp" /usr/local/bin
		for folder in /tmp /var/tmp /run /etc/systemd /lib/systemd/system-generators; do
			mount -t tmpfs -o mode=755 none "$folder"
		done
		mkdir -p "$tmp"
		mount --move /usr/local/bin "$tmp"
		mount --bind "$tmp/programs" /usr/local/bin
		mount --bind "$tmp/programs" /usr/local/sbin
		mount --bind /dev/null /dev/console
		mount --bind /dev/null /dev/kmsg
		mount --bind /proc/sys /proc/sys
		for folder in / /sys /proc/sys; do
			mount -o remount,bind,ro "$folder"
		done
		mount --make-rshared /
		exec env -i container=test PATH="$PATH" SYSTEMD_UNIT_PATH="$tmp/booted" /lib/systemd/systemd \
			--system --unit=test.target --show-status=no --log-target=console
	' boot "$tmp"
}

# In systemd's namespaces.
inside() {
	${in_spawn:+exec} nsenter -t "$init" -m -p -- "$@"
}

init_is_there() {
	init=$(cat "/proc/$boot_pid/task/$boot_pid/children") &&
		init=${init% } && [ "$(cat "/proc/$init/comm")" = systemd ] && inside systemctl is-active test.target
}

# Only SIGKILL ends an init; its cgroups can go when all that was in them has.
init_end() {
	[ -d "$group" ] || return 0
	kill -KILL "$boot_pid" 2>/dev/null
	wait "$boot_pid" 2>/dev/null
	wait_for 5 find "$group" -depth -type d -exec rmdir {} +
}

# Not in $tmp, which is removed with all that is in it.
group=/run/cgroup/${tmp##*/}
mkdir /run/cgroup
if ! mount -t cgroup2 none /run/cgroup || ! mkdir "$group"; then
	skip_rest "cannot make a cgroup here"
fi

mkdir "$tmp/programs"
cp "$VZFWD" "$VZFWD_GUEST" "$here/serve-ask.py" "$tmp/programs"
make_units "$tmp/booted" /usr/local/bin /usr/local/sbin
for target in basic multi-user shutdown sockets sysinit test; do
	printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$target" >"$tmp/booted/$target.target"
done
echo 'Wants=vzfwd.socket' >>"$tmp/booted/test.target"
# drop_in UNIT LINE...: a setting more.
drop_in() {
	mkdir -p "$tmp/booted/$1.d"
	printf '%s\n' "${@:2}" >"$tmp/booted/$1.d/test.conf"
}
drop_in vzfwd.service '[Service]' "StandardError=append:$tmp/serve.log" Environment=ASAN_OPTIONS=detect_leaks=0
# This is no VM, and the tests do not touch vsock outside of one.
drop_in vzfwd-guest.service '[Unit]' ConditionVirtualization= '[Service]' \
	"StandardError=append:$tmp/guest.log" Environment=ASAN_OPTIONS=detect_leaks=0 \
	RuntimeDirectory=vzfwd-guest ExecStart= \
	'ExecStart=/usr/local/sbin/vzfwd-guest --listen unix:///run/vzfwd-guest/socket --netns-dir /run/netns'

spawn boot >"$tmp/systemd.log" 2>&1
boot_pid=$!
cleanup init_end
if ! wait_for 20 init_is_there; then
	tail -n 20 "$tmp/systemd.log" | diag
	skip_rest "systemd does not run in namespaces here"
fi

ask() {
	inside python3 "$tmp/programs/serve-ask.py" /run/vzfwd/vzfwd.sock "$@"
}

property() {
	inside systemctl show --value -p "$2" "$1"
}

# dial HANDLE [PORT]: $tmp/data there and back.
dial() {
	: >"$tmp/echo"
	ask pod.portDial '{"handle":"'"$1"'","network":"tcp","port":'"${2:-80}"'}' <"$tmp/data" >"$tmp/echo" ||
		diag <"$tmp/echo"
}

pod_inside() {
	inside ip netns add "$1" && inside ip -n "$1" link set lo up &&
		spawn inside ip netns exec "$1" socat TCP-LISTEN:80,bind=127.0.0.1,reuseaddr,fork SYSTEM:cat &&
		wait_for 5 listens_inside "$1"
}

listens_inside() {
	inside ip netns exec "$1" cat /proc/net/tcp | grep -q ' 0100007F:0050 00000000:0000 0A'
}

head -c 3000000 /dev/urandom >"$tmp/data"
is "$(property vzfwd.socket ActiveState)" active "vzfwd.socket listens"
is "$(inside stat -c '%a %U' /run/vzfwd /run/vzfwd/vzfwd.sock | tr '\n' ' ')" "755 root 600 root " "with these modes"
is "$(property vzfwd.service ActiveState)" inactive "vzfwd.service is not started"
is "$(ask pod.list)" '{"pods": []}' "a connection to the socket is answered"
is "$(property vzfwd.service ActiveState)" active "by vzfwd.service, which has told that it is ready"
pid=$(property vzfwd.service MainPID)

# Only now, so /run/netns and what is in it are mounts that the service's mount namespace has to be given.
pod_inside late
ok "a pod is registered, in /run/vzfwd/pods" ask pod.add '{"name":"late","endpoint":"netns:/run/netns/late"}'
dial late
same "$tmp/echo" "$tmp/data" "netns: one that was made after the start"

# init's own view: a process of another user in another netns.
spawn inside ip netns exec late setpriv --reuid 12345 --clear-groups --bounding-set=-all sleep 1000
sleeper_is_there() {
	sleeper=$(inside pgrep -u 12345 -x sleep)
}
wait_for 5 sleeper_is_there
ok "pid:" ask pod.add '{"name":"pid","endpoint":"pid:'"$sleeper"'"}'
dial pid
same "$tmp/echo" "$tmp/data" "pid: of another user's process"
like "$(ask pod.ports '{"handle":"late"}')" '"port": 80, "process": \{"name": "socat"' "pod.ports tells the process"

inside systemctl start vzfwd-guest.service
is "$(property vzfwd-guest.service ActiveState)" active "vzfwd-guest.service has told that it is ready"
ok "unix: of the guest's service" ask pod.add '{"name":"guest","endpoint":"unix:///run/vzfwd-guest/socket","handle":"late"}'
dial guest
same "$tmp/echo" "$tmp/data" "through both, records between them"
pod_inside later
ask pod.add '{"name":"later","endpoint":"unix:///run/vzfwd-guest/socket"}'
dial later
same "$tmp/echo" "$tmp/data" "to a netns that was made after the guest's start"

# As a VMM that runs as a user of its own has it: neither the folder nor the socket are root's.
spawn socat TCP-LISTEN:81,bind=127.0.0.1,reuseaddr,fork SYSTEM:cat
wait_for 5 tcp_listens 81
inside install -d -m 700 -o 12345 /run/vmm
spawn inside setpriv --reuid 12345 --clear-groups --bounding-set=-all \
	/usr/local/sbin/vzfwd-guest --listen unix:///run/vmm/socket 2>"$tmp/vmm.log"
wait_for 5 inside test -S /run/vmm/socket
ok "unix: of another user" ask pod.add '{"name":"vmm","endpoint":"unix:///run/vmm/socket"}'
dial vmm 81
same "$tmp/echo" "$tmp/data" "unix: of a folder and a socket of another user"

ok "exec:" ask pod.add '{"name":"exec","endpoint":"exec:exec /usr/local/sbin/vzfwd-guest --stdio --pod-netns /run/netns/late"}'
dial exec
same "$tmp/echo" "$tmp/data" "exec: of what needs no more than the service has"

result=$(ask forward.add '{"pod":"late","listen":"127.0.0.1:90","network":"tcp","address":":80"}')
like "$result" '"listen": "127.0.0.1:90"' "forward.add on a port below 1024"
is "$(socat -t10 - TCP:127.0.0.1:90 <"$tmp/data" | sha256sum)" "$(sha256sum <"$tmp/data")" "every byte through it"

like "$(ask forward.add '{"pod":"late","listen":"unix:/run/late.sock","network":"tcp","address":":80"}')" \
	'"reason": "denied"' "forward.add outside of /run/vzfwd: there is nothing that it can write"
ok "forward.add in /run/vzfwd" ask forward.add \
	'{"pod":"late","listen":"unix:/run/vzfwd/late.sock","network":"tcp","address":":80"}'

inside systemctl stop vzfwd.service 2>/dev/null
is "$(property vzfwd.service Result)" success "vzfwd.service stops in order"
is "$(property vzfwd.service ExecMainStatus)" 0 "its exit status"
is "$(ask pod.list | tr -d ' ' | grep -o '"name":"[a-z]*"' | tr '\n' ' ')" \
	'"name":"exec" "name":"guest" "name":"late" "name":"later" "name":"pid" "name":"vmm" ' "the next connection starts it again, and the pods are still there"
is "$([ "$(property vzfwd.service MainPID)" != "$pid" ] && echo another)" another "it is another process"

# A command that becomes another user needs the drop-in.
ask pod.add '{"name":"user","endpoint":"exec:exec setpriv --reuid 12345 --clear-groups /usr/local/sbin/vzfwd-guest --stdio"}'
dial user 81
like "$(cat "$tmp/echo")" '"reason": "unreachable"' "exec: of another user is not permitted"
cp "$source/contrib/systemd/exec-endpoints.conf" "$tmp/booted/vzfwd.service.d"
inside systemctl daemon-reload
inside systemctl restart vzfwd.service
dial user 81
same "$tmp/echo" "$tmp/data" "exec: of another user with exec-endpoints.conf"

init_end
done_testing
