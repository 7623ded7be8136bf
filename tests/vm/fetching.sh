# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Sourced before functions.sh, which goes to where there is no network.

# vm_fetch VARIABLE SCRIPT [ARGUMENT]: the path that tests/vm/SCRIPT prints; if it fails, VARIABLE is empty and VARIABLE_WHY tells why.
vm_fetch() {
	local said status

	[ -z "${VZFWD_TEST_NAMESPACES:-}" ] || return 0
	said=$("$(dirname "${BASH_SOURCE[0]}")/$2" "${@:3}" 2>&1)
	status=$?
	said=$(tail -n 1 <<<"$said")
	if [ "$status" = 0 ]; then
		export "$1=$said" "$1_WHY="
	else
		export "$1=" "$1_WHY=$said"
	fi
}
