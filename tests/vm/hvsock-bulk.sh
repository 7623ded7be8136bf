#!/bin/bash
# SPDX-License-Identifier: MIT
# Much at once from the host into a VM by hvsock:, which is user-mode Linux with its virtio-vsock driver.
VZFWD_TEST_TIMEOUT=300
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/vm.sh"
. "$(dirname "$0")/pod.sh"
vm_needs uml python3

# shellcheck disable=SC2119 # its arguments may be left out
device_start
pod_boot uml "vsock=$device_vhost"
vzfwd pod add web "$device_endpoint"
# Emulated, and with others beside it, the dialer may take its time.
spawn vzfwd listen --timeout 60 -p web 8007:7 >"$tmp/listen.out" 2>"$tmp/listen.log"
wait_for 10 tcp_listens 8007

# $pod_size bytes that are not all the same: vzfwd-guest, over and over.
bulk() {
	while cat "$VZFWD_GUEST"; do :; done 2>/dev/null | head -c "$pod_size"
}

sum=$(bulk | sha256sum)
is "$(bulk | vzfwd dial web 8)" "$sum" "500 MB into the VM"
is "$(vzfwd dial web 10 </dev/null | sha256sum)" "$sum" "500 MB out of it"
ok "1,000 connections at once" python3 "$e2e/pod-crowd.py" at-once 127.0.0.1:8007 1000 1000
is "$(cat "$tmp/listen.log")" "" "none of them was told of"
ok "1,000 one after the other, eight at a time" python3 "$e2e/pod-crowd.py" churn 127.0.0.1:8007 1000 1000
no_connections() {
	device count
	[ "$device_answer" = "count 0" ]
}
ok "and no connection is left over" wait_for 15 no_connections
done_testing
