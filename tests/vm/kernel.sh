# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Sourced before functions.sh, which goes to where there is no network: $VZFWD_VM_KERNEL is the kernel for
# QEMU, or empty and $VZFWD_VM_WHY tells why.
if [ -z "${VZFWD_TEST_NAMESPACES:-}" ]; then
	VZFWD_VM_WHY=$("$(dirname "${BASH_SOURCE[0]}")/fetch" 2>&1)
	case $? in
	0) VZFWD_VM_KERNEL=$(tail -n 1 <<<"$VZFWD_VM_WHY") ;;
	*) VZFWD_VM_KERNEL='' VZFWD_VM_WHY=$(tail -n 1 <<<"$VZFWD_VM_WHY") ;;
	esac
	export VZFWD_VM_KERNEL VZFWD_VM_WHY
fi
