#!/bin/bash
# SPDX-License-Identifier: MIT
# More of what loopback.sh does, which takes longer, and under QEMU too long.
VZFWD_TEST_TIMEOUT=1000
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/vm.sh"

vm_needs uml
vm_boot uml root
vm_test 250 e2e/dial-stdio
vm_test 250 e2e/relay-slow
vm_test 250 e2e/listen-life
vm_test 150 e2e/expose-udp
done_testing
