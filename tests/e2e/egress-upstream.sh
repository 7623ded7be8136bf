#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd egress --upstream`: all of it through a proxy that the pod knows nothing of.
. "$(dirname "$0")/../functions.sh"
requires_root
requires openssl
. "$(dirname "$0")/egressing.sh"

egress_net
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
for i in 1 2 3; do
	mkdir -p "$tmp/www/1.1.1.$i"
	head -c 20000 /dev/urandom >"$tmp/www/1.1.1.$i/page"
done
serve_net
names_are "1.1.1.1 good.example" "1.1.1.9 moved.example" "1.1.1.2 gone.example"
spawn in_net python3 "$e2e/target.py" "$tmp/target.log" 1.1.1.3:9=echo 1.1.1.3:15=say:first,eof
# The proxy has another mind of where some names are.
spawn python3 "$e2e/egress-proxy.py" 3128 "$tmp/proxy.log" "me:p@ss word" \
	good.example=1.1.1.1 moved.example=1.1.1.2 gone.example=127.0.0.1 >"$tmp/proxy.out" 2>&1
proxy_pid=$!
wait_for 10 tcp_listens 3129
guest_start "$pod" --allow-egress
rules=(--allow good.example --allow moved.example --allow gone.example --allow 1.1.1.3 --allow "1.1.1.3/32/udp")

asked() {
	tail -n 1 "$tmp/proxy.log"
}
failed() {
	tail -n 1 "$tmp/events" | sed -nE 's/.*"event":"failed".*"target":"([^"]*)".*"reason":"([^"]*)".*/\1 \2/p'
}
failed_is() {
	[ "$(failed)" = "$1" ]
}

through() {
	local kind=$1

	gets http://good.example/page "$tmp/www/1.1.1.1/page" "$kind: a page"
	is "$(asked)" "$kind good.example:80" "$kind: by its name"
	gets https://good.example/page "$tmp/www/1.1.1.1/page" "$kind: TLS" --cacert "$tmp/net.pem"
	is "$(asked)" "$kind good.example:443" "$kind: by its name"
	gets http://moved.example/page "$tmp/www/1.1.1.2/page" "$kind: where the proxy says it is"
	gets http://1.1.1.3/page "$tmp/www/1.1.1.3/page" "$kind: by address"
	is "$(asked)" "$kind 1.1.1.3:80" "$kind: by its address"
	ok "$kind: 20 MB there and back" client 1.1.1.3:9 echo:20000000 eof expect-eof
	ok "$kind: a server that speaks first" client 1.1.1.3:15 expect:first eof expect-eof
	ok "$kind: 100 at once" in_egress python3 "$e2e/pod-crowd.py" at-once 1.1.1.3:9 100 5000
	ok "$kind: nobody listens there" in_egress sh -c '! curl -sS --max-time 10 http://gone.example/'
	ok "$kind: as the event says" wait_for 5 failed_is "1.1.1.2:80 $2"
	denies "$kind: what rules deny" "1.1.1.4:80 - default" client 1.1.1.4:80 expect-eof
	is "$(asked)" "$kind gone.example:80" "$kind: is not asked for"
	denies "$kind: datagrams" "1.1.1.3:7 - --upstream" in_egress python3 "$e2e/egress-udp.py" silent 1.1.1.3:7
}

umask 077
echo "http://me:p%40ss%20word@127.0.0.1:3128" >"$tmp/http"
echo "socks5://me:p%40ss%20word@127.0.0.1:3129/" >"$tmp/socks"
umask 022
egress_start "${rules[@]}" --upstream-file "$tmp/http"
not_ok "no password for ps" grep -q word "/proc/$egress_pid/cmdline"
through http unreachable
stop "$egress_pid"
egress_start "${rules[@]}" --upstream-file "$tmp/socks"
through socks refused
stop "$egress_pid"

egress_start "${rules[@]}" --upstream "socks5://me:wrong@127.0.0.1:3129"
ok "a wrong password" client 1.1.1.3:9 expect-reset
ok "as the event says" wait_for 5 failed_is "1.1.1.3:9 denied"
stop "$egress_pid"
egress_start "${rules[@]}" --upstream "http://localhost:3128"
ok "no password" client 1.1.1.3:9 expect-reset
ok "as the event says" wait_for 5 failed_is "1.1.1.3:9 denied"
stop "$proxy_pid"
ok "no proxy" client 1.1.1.3:9 expect-reset
ok "as the event says" wait_for 5 failed_is "1.1.1.3:9 refused"
stop "$egress_pid"

chmod 644 "$tmp/http"
is "$(exit_of vzfwd egress "$guest_endpoint" --upstream-file "$tmp/http")" 77 "a file that others can read"
is "$(exit_of vzfwd egress "$guest_endpoint" --upstream-file "$tmp/none")" 66 "none"
: >"$tmp/http"
chmod 600 "$tmp/http"
is "$(exit_of vzfwd egress "$guest_endpoint" --upstream-file "$tmp/http")" 64 "an empty one"
is "$(exit_of vzfwd egress "$guest_endpoint" --upstream http://me@127.0.0.1:3128)" 64 "no URL"
done_testing
