#!/bin/bash
# SPDX-License-Identifier: MIT
# From a host into its VM by vsock://CID, over the kernel's own vhost-vsock: the host is a VM too.
VZFWD_TEST_TIMEOUT=1200
. "$(dirname "$0")/fetching.sh"
vm_fetch VZFWD_VM_KERNEL fetch-kernel
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/vm.sh"
vm_needs qemu virtiofsd python3 curl
vm_boot qemu root memory=2048
vm_test 1100 vm/vhost-inside
done_testing
