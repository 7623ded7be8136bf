#!/bin/bash
# SPDX-License-Identifier: MIT
# vzfwd and vzfwd-guest over real AF_VSOCK inside of one VM, Debian's kernel under QEMU: what the end-to-end tests
# show over Unix sockets, with two CPUs. VZFWD_SANITIZED is a build with sanitizers, whose programs are tested then.
if [ -n "${VZFWD_SANITIZED:-}" ]; then
	export abs_top_builddir=$VZFWD_SANITIZED VZFWD=$VZFWD_SANITIZED/vzfwd VZFWD_GUEST=$VZFWD_SANITIZED/vzfwd-guest
fi
VZFWD_TEST_TIMEOUT=1000
. "$(dirname "$0")/fetching.sh"
vm_fetch VZFWD_VM_KERNEL fetch-kernel
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/vm.sh"

vm_needs qemu virtiofsd
vm_boot qemu root
vm_test 250 vm/vsock
vm_test 250 e2e/relay-matrix
vm_test 250 e2e/relay-cut
vm_test 250 e2e/dial-pass-fd
done_testing
