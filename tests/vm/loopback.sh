#!/bin/bash
# SPDX-License-Identifier: MIT
# vzfwd and vzfwd-guest over real AF_VSOCK inside of one VM, user-mode Linux.
VZFWD_TEST_TIMEOUT=600
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/vm.sh"

vm_needs uml
vm_boot uml root
vm_test 100 vm/vsock
vm_test 60 e2e/relay-matrix
vm_test 100 e2e/expose-orders
vm_test 150 e2e/egress-leaks
done_testing
