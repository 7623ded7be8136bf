#!/bin/bash
# SPDX-License-Identifier: MIT
# From the host into a VM by hvsock:, the guest's driver being the real one: clients of `listen` and `dial`, all that may
# happen to the dialer and to the VM meanwhile, and a VMM that misbehaves. The VM has no network card; its pod
# is a netns with loopback only.
VZFWD_TEST_TIMEOUT=300
. "$(dirname "$0")/fetching.sh"
vm_fetch VZFWD_VM_KERNEL fetch-kernel
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/vm.sh"
. "$(dirname "$0")/pod.sh"
vm_needs qemu python3 curl

# shellcheck disable=SC2119 # its arguments may be left out
device_start
pod_boot qemu "vsock=$device_vhost"
pod_listen "$device_endpoint"
pod_cases
echoes "dial, raw" --framing raw
# The guest's kernel often takes a part of what it is given, and more right after that.
head -c 60000000 /dev/urandom >"$tmp/much"
run vzfwd dial web 7 <"$tmp/much"
is "$status $(cat "$tmp/err")" "0 " "60 MB: exit status"
same "$tmp/out" "$tmp/much" "60 MB there and back"
rm "$tmp/much"

# Misbehaviour

device split
echoes "OK in pieces"
device plain
device "delay 500"
echoes "OK half a second later"
device plain
device merge
echoes "merged half-closes"
ok "merged half-closes, 20 at once" python3 "$e2e/pod-crowd.py" at-once 127.0.0.1:8007 20 100000
device plain
spawn client 8007 send:x expect:x touch:"$tmp/open" expect-reset
client_pid=$!
wait_for 10 test -e "$tmp/open"
device reset
wait "$client_pid"
is "$?" 0 "the VMM resets its connections: so it does the client's"
echoes "after that"

# Pauses: of the device, and of the VM. Nobody loses a byte, or patience.

spawn client 8007 echo:3000000 touch:"$tmp/half" wait:"$tmp/go" echo:3000000 eof expect-eof
client_pid=$!
wait_for 30 test -e "$tmp/half"
device pause
touch "$tmp/go"
spawn vzfwd dial web 7 <"$tmp/sent" >"$tmp/paused.out" 2>"$tmp/paused.err"
dial_pid=$!
sleep 2 # longer than a connect's timeout in the kernel
device resume
wait "$client_pid"
is "$?" 0 "the device pauses: a client has every byte"
wait "$dial_pid"
is "$? $(cat "$tmp/paused.err")" "0 " "and a dial that had begun is connected"
same "$tmp/paused.out" "$tmp/sent" "with every byte"

spawn client 8007 echo:3000000 touch:"$tmp/half2" wait:"$tmp/go2" echo:3000000 eof expect-eof
client_pid=$!
wait_for 30 test -e "$tmp/half2"
ok "QMP stop" qmp stop
touch "$tmp/go2"
sleep 2
not_ok "no byte moves meanwhile" gone "$client_pid"
ok "QMP cont" qmp cont
wait "$client_pid"
is "$?" 0 "the VM pauses: a client has every byte"

# The dialer dies and comes back; so does the VM.

spawn client 8007 send:x expect:x touch:"$tmp/open2" expect-reset
client_pid=$!
wait_for 10 test -e "$tmp/open2"
vm 'kill -KILL $(pidof vzfwd-guest)'
wait "$client_pid"
is "$?" 0 "the dialer is killed: its client is reset"
ok "without a dialer a client is reset" client 8007 expect-reset
like "$(says check web)" '^69 ' "which check finds"
pod_guest
ok "the dialer is back, and the next client is served" client 8007 echo:100000 eof expect-eof

spawn python3 "$e2e/pod-client.py" 127.0.0.1:8007 stuff touch:"$tmp/stuffed" expect-reset
client_pid=$!
wait_for 60 test -e "$tmp/stuffed"
vm_kill
wait "$client_pid"
is "$?" 0 "the VM is killed in mid-transfer: the client is reset"
ok "without a VM a client is reset" client 8007 expect-reset
ok "make guest-initramfs" make -C "$abs_top_builddir" -s guest-initramfs
pod_boot qemu "vsock=$device_vhost" "behind=$abs_top_builddir/vzfwd-guest.cpio"
is "$(vm '/usr/sbin/vzfwd-guest --version' | head -n 1)" "$(vzfwd-guest --version)" "what it makes runs in a VM"
ok "the VM is up again, and the same listen serves" client 8007 echo:100000 eof expect-eof
ok "a page again" curl -sS --max-time 30 -o "$tmp/page" http://127.0.0.1:8080/
same "$tmp/page" "$tmp/index.html" "every byte of it"
vm 'vzfwd-guest --listen vsock://any:894 >/dev/console 2>&1 & tcp-server 70 </dev/null >/dev/console 2>&1 &'
ok "a guest without options: it is up" wait_for 10 vzfwd check "$device_endpoint:894"
run vzfwd dial "$device_endpoint:894" 70 <"$tmp/sent"
is "$status $(cat "$tmp/err")" "0 " "a guest without options: the pod's netns is the VM's own"
same "$tmp/out" "$tmp/sent" "every byte of it"
no_connections() {
	device count
	[ "$device_answer" = "count 0" ]
}
ok "and no connection is left over" wait_for 15 no_connections

done_testing
