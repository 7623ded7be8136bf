#!/bin/bash
# SPDX-License-Identifier: MIT
# From the host into a VM by hvsock:, with a device that nobody here wrote: rust-vmm's vhost-device-vsock.
VZFWD_TEST_TIMEOUT=150
. "$(dirname "$0")/fetching.sh"
vm_fetch VZFWD_VM_KERNEL fetch-kernel
vm_fetch VZFWD_VM_DEVICE fetch-device
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/vm.sh"
. "$(dirname "$0")/pod.sh"
[ -n "${VZFWD_VM_DEVICE:-}" ] || vm_missing "${VZFWD_VM_DEVICE_WHY:-no vhost-device-vsock}"
vm_needs qemu python3 curl

device_vhost=$tmp/vhost.sock
device_endpoint=hvsock://$tmp/vm.sock
spawn "$VZFWD_VM_DEVICE" --guest-cid 3 --socket "$device_vhost" --uds-path "$tmp/vm.sock" >"$tmp/device.log" 2>&1
wait_for 5 unix_listens "$device_vhost"
pod_boot qemu "vsock=$device_vhost"
pod_listen "$device_endpoint"
pod_cases
done_testing
