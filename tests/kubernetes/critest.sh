#!/bin/bash
# SPDX-License-Identifier: MIT
# critest's port forwarding specs over both ways of the shim.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/kubernetes.sh"

spec_passes() {
	timeout 60 critest -test.v -test.run "^$1\$" | grep "^--- PASS: $1 "
}

for way in dial serve; do
	ok "$way: a shim" runtime_start "$way"
	for spec in TestPortForward TestPortForwardInHostNetwork; do
		ok "$way: $spec" spec_passes "$spec"
	done
	is "$(crictl pods)" "" "$way: no sandbox is left"
	runtime_stop
done
done_testing
