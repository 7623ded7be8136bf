#!/bin/bash
# SPDX-License-Identifier: MIT
# vzfwd dial with all that stdin and stdout may be, over real AF_VSOCK inside of one VM, user-mode Linux: under QEMU it takes
# too long.
VZFWD_TEST_TIMEOUT=300
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/vm.sh"

vm_needs uml
vm_boot uml root
vm_test 250 e2e/dial-stdio
done_testing
