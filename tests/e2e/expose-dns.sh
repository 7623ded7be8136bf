#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd expose --dns`: names of the host, of what is exposed and of zones, asked for in the pod; and nothing else.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/exposing.sh"
requires dig

echo_at 127.0.0.1:7000
guest_start "$pod" --allow-expose
vzfwd pod add web "$guest_endpoint"
vzfwd pod add db "$guest_endpoint"

expose_start web --dns --dns-zone corp.test,a=10.1.0.5,a=fd00::5 db.internal:7000 \
	cache=192.168.127.253:7001:pod:db:7000
wait_for 10 has_lines "$tmp/expose.out" "Answering DNS questions at $alias:53" 2

asked() { # OPTION... NAME...: addresses, or the answer's status if there are none
	local answer

	answer=$(in_pod "$pod" dig "@$alias" +noall +answer +comments +tries=2 +time=5 "$@")
	awk '$4 == "A" || $4 == "AAAA" { print $5; found = 1 } /status:/ { sub(/.*status: /, ""); sub(/,.*/, ""); status = $0 }
		END { if (!found) print status }' <<<"$answer"
}

for name in host.vz.internal host.docker.internal HOST.containers.internal db.internal; do
	is "$(asked "$name")" "$alias" "$name"
done
is "$(asked +tcp host.boxlite.internal)" "$alias" "by TCP"
is "$(asked cache)" 192.168.127.253 "a name at an address of its own"
is "$(asked db.pod.vz.internal)" 192.168.127.253 "another pod"
is "$(asked web.pod.vz.internal)" REFUSED "a pod that is not exposed"
is "$(asked AAAA host.vz.internal)" NOERROR "no other type"
is "$(asked a.corp.test)" 10.1.0.5 "a zone"
is "$(asked AAAA a.corp.test)" fd00::5 "a zone: IPv6"
is "$(asked b.corp.test)" NXDOMAIN "a zone: a name that it has not"
is "$(asked example.com)" REFUSED "names of others"
ok "what the name leads to" client "$(asked db.internal):7000" echo:1000 eof expect-eof
stop "$expose_pid"
listens() {
	in_pod "$pod" ss -Hlnut | grep -q .
}
ok "nobody listens any more" wait_for 5 eval "! listens"
fails 64 "--dns-zone: .*" "a bad zone" web --dns --dns-zone =x 7000
fails 64 "--dns-zone is for --dns" "a zone that nobody would be told" web --dns-zone corp.test 7000
done_testing
