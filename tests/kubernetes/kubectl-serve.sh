#!/bin/bash
# SPDX-License-Identifier: MIT
# Every client over a shim that has `vzfwd serve` pass it connected descriptors.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/kubernetes.sh"
. "$(dirname "$0")/core.sh"

matrix serve
done_testing
