#!/bin/bash
# SPDX-License-Identifier: MIT
# The inner part of vhost.sh: this VM is the host, and boots another one.
VZFWD_VM_BOOT_LIMIT=400 # a minute as a rule; four times that where others compute, too
VZFWD_VM_BOOTS=2
VZFWD_VM_LIMIT=120
VZFWD_TEST_POLL=0.3 # to look is work, too, where everything is emulated
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/vm.sh"
. "$(dirname "$0")/pod.sh"
pod_at_once=10 # the last of fifty would be near its deadline
requires_vm
vm_needs qemu python3 curl

pod_boot qemu vhost=7 memory=192
pod_listen vsock://7
wait_for 60 vzfwd check web # the first time takes seconds: no page of the dialer is mapped yet
pod_cases
echoes "dial, raw" --framing raw
spawn client 8007 stuff touch:"$tmp/stuffed" expect-reset
client_pid=$!
wait_for 60 test -e "$tmp/stuffed"
vm_kill
wait "$client_pid"
is "$?" 0 "the VM is killed in mid-transfer: the client is reset"
like "$(says dial vsock://7 7)" "^69 .*no virtual machine has CID 7" "without a VM"
done_testing
