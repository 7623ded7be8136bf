#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd expose` with guests that can't be trusted: how much work and memory they can make of it, and that a good one is served
# beside them.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/exposing.sh"

echo_at 127.0.0.1:7000
guest_start "$pod" --allow-expose
memory_told=yes
if sanitized; then
	memory_told=no
	skip "built with a sanitizer" "memory"
fi
checks expose-hostile.py "$tmp" "$memory_told" 7000
expose_start "$guest_endpoint" 7000
ok "a good one" client "$alias:7000" echo:1000 eof expect-eof
done_testing
