#!/bin/bash
# SPDX-License-Identifier: MIT
# From the host into a VM of another architecture, aarch64: what users do, and what a command of vzfwd-guest exec tries,
# since its seccomp filter is another one there.
VZFWD_TEST_TIMEOUT=240
. "$(dirname "$0")/fetching.sh"
vm_fetch VZFWD_VM_KERNEL fetch-kernel aarch64
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/vm.sh"
. "$(dirname "$0")/pod.sh"
vm_needs aarch64 python3 curl

# shellcheck disable=SC2119 # its arguments may be left out
device_start
pod_boot aarch64 "vsock=$device_vhost" "file=$vm_build/tests/e2e/attempt"
is "$(vm 'uname -m')" aarch64 "the machine"
pod_listen "$device_endpoint"
pod_cases

vm 'mkdir -p /etc /mnt; touch /etc/resolv.conf'
is "$(vm 'attempt vsock; attempt raw; attempt unshare_user')" $'ok\nok\nok' "what is denied below is there"
ok "what is tried" test -s "$e2e/attempts"
for user in 1000 0; do
	while read -r outcome name <&3; do
		is "$(vm "vzfwd-guest exec --netns /run/netns/pod --user $user -- attempt $name")" "$outcome" \
			"user $user: $name: $outcome"
	done 3<"$e2e/attempts"
done
done_testing
