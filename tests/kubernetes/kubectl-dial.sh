#!/bin/bash
# SPDX-License-Identifier: MIT
# Every client over a shim that runs `vzfwd dial` for each connection.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/kubernetes.sh"
. "$(dirname "$0")/core.sh"

matrix dial
done_testing
