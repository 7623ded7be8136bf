#!/bin/bash
# SPDX-License-Identifier: MIT
# Guests as doc/guest.md describes them, from the host by hvsock:. One whose network is its only pod's, with a container
# that has a netns of its own; and one with systemd and the unit as it is installed.
VZFWD_TEST_TIMEOUT=240
. "$(dirname "$0")/fetching.sh"
vm_fetch VZFWD_VM_KERNEL fetch-kernel
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/vm.sh"
vm_needs qemu virtiofsd systemctl
[ -x /lib/systemd/systemd ] || vm_missing "needs systemd"

source=${abs_top_srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
server=$abs_top_builddir/tests/vm/tcp-server
head -c 300000 /dev/urandom >"$tmp/sent"
# shellcheck disable=SC2119 # its arguments may be left out
device_start

# says COMMAND...: the exit status and the output of vzfwd COMMAND...
says() {
	run vzfwd "$@"
	echo "$status $(cat "$tmp/out" "$tmp/err")"
}

echoes() { # NAME POD
	run vzfwd dial "$2" 7 <"$tmp/sent"
	is "$status $(cat "$tmp/err")" "0 " "$1: exit status"
	same "$tmp/out" "$tmp/sent" "$1: every byte there and back"
}

# One pod a VM

in_background() { # COMMAND...
	vm "$* </dev/null >/dev/console 2>&1 &"
}

vm_boot qemu "vsock=$device_vhost" "file=$server"
vm 'mkdir -p /run/netns; touch /run/netns/c1; unshare --net=/run/netns/c1 ip link set lo up'
in_background tcp-server 7
in_background tcp-server 70 echo pod
in_background nsenter --net=/run/netns/c1 tcp-server 70 echo container
in_background vzfwd-guest
in_background vzfwd-guest --listen vsock://any:894 --netns web=/proc/1/ns/net --netns-dir /run/netns
vzfwd pod add web "$device_endpoint"
ok "no options: it is up" wait_for 20 vzfwd check web
echoes "no options: the VM's own network" web
is "$(says dial web 70)" "0 pod" "no options: whatever the handle"
is "$(says dial web --container c1 70)" '66 vzfwd: dial web tcp 70: no such container "c1"' "no options: no container is known"
vzfwd pod add --replace web "$device_endpoint:894"
ok "a container: it is up" wait_for 20 vzfwd check web
is "$(says dial web 70)" "0 pod" "a container: the pod's network is the VM's own"
is "$(says dial web --container c1 70)" "0 container" "a container: its netns"
is "$(says dial web --container c2 70)" '66 vzfwd: dial web tcp 70: no such container "c2"' "a container: not another one"
vm_kill

# systemd. What it shares with the host are its files, read-only: hence units of this test alone, and programs that
# are where PrivateTmp= does not hide them. Port 70 of the VM has a shell.

programs=/run/programs
mkdir "$vm_share/programs" "$vm_share/units"
cp "$VZFWD_GUEST" "$server" "$vm_share/programs"
sed "s|@sbindir@|$programs|g" "$source/contrib/systemd/vzfwd-guest.service.in" >"$vm_share/units/vzfwd-guest.service"
for target in basic multi-user shutdown sockets sysinit test; do
	printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$target" >"$vm_share/units/$target.target"
done
unit() { # NAME COMMAND
	printf '[Service]\nExecStart=%s\n' "$2" >"$vm_share/units/$1.service"
}
unit echo "$programs/tcp-server 7"
unit shell "$programs/tcp-server 70 /bin/bash"
echo 'Wants=vzfwd-guest.service echo.service shell.service' >>"$vm_share/units/test.target"

shell() { # COMMAND
	vzfwd dial web 70 <<<"$1"
}

vm_boot qemu root "vsock=$device_vhost"
vm "cp -r $vm_share/programs $vm_share/units /run; mount -t tmpfs tmp /tmp; mount -t tmpfs tmp /var/tmp"
# Whatever the host's files say, it is no container.
vm_become 'env -i container= PATH="$PATH" SYSTEMD_UNIT_PATH=/run/units /lib/systemd/systemd --system --unit=test.target'" \
	--log-target=console"
vzfwd pod add --replace web "$device_endpoint"
ok "systemd: it is up" wait_for 60 vzfwd check web
is "$(shell 'cat /proc/1/comm; systemctl is-active vzfwd-guest; systemd-detect-virt -q && echo in a VM')" \
	$'systemd\nactive\nin a VM' "systemd: the unit, which is for VMs, has told that it is ready"
echoes "systemd: by the unit" web
main_pid() {
	shell 'systemctl show --value -p MainPID vzfwd-guest'
}
another_guest() {
	local now

	now=$(main_pid)
	[[ $now =~ ^[1-9] ]] && [ "$now" != "$pid" ]
}
pid=$(main_pid)
shell "kill -KILL $pid" 2>/dev/null # which was carrying that
ok "systemd: killed, it is there again" wait_for 20 another_guest
shell "mkdir /run/units/vzfwd-guest.service.d
	printf '[Service]\\nExecStart=\\nExecStart=%s\\n' \\
		'$programs/vzfwd-guest --netns web=/proc/1/ns/net --netns-dir /run/netns' >/run/units/vzfwd-guest.service.d/options.conf
	systemctl daemon-reload
	systemctl restart --no-block vzfwd-guest" 2>/dev/null
restarted() {
	[ "$(says dial --handle x web 70)" = '66 vzfwd: dial web tcp 70: no such pod "x"' ]
}
ok "systemd: options by a drop-in" wait_for 20 restarted
shell "ip netns add late; ip -n late link set lo up
	systemd-run -q --property=NetworkNamespacePath=/run/netns/late $programs/tcp-server 7"
vzfwd pod add late "$device_endpoint"
ok "systemd: a pod that is made later" wait_for 20 eval 'vzfwd dial late 7 <<<x'
echoes "systemd: a pod that is made later" late
done_testing
