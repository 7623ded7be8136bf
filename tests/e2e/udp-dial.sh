#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd dial POD udp`: boundaries, sizes and order of datagrams, its ends, and targets that are not there.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/relaying.sh"

guest_start "$pod"
# shellcheck disable=SC2154 # relaying.sh
checks udp-dial.py "$netns" "$tmp" "$guest_endpoint" "$exec_endpoint" "netns:$netns"
not_ok "the guest is still there" gone "$guest_pid"
done_testing
