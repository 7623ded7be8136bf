#!/bin/bash
# SPDX-License-Identifier: MIT
# mitmdump as the upstream of `vzfwd egress`: it sees what a pod says to whom, within TLS too, though the pod has no HTTP_PROXY.
. "$(dirname "$0")/../functions.sh"
requires_root
requires openssl mitmdump
. "$(dirname "$0")/egressing.sh"

egress_net
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
mkdir -p "$tmp/www/1.1.1.1"
head -c 3000000 /dev/urandom >"$tmp/www/1.1.1.1/page"
page=$tmp/www/1.1.1.1/page
serve_net
names_are "1.1.1.1 good.example"
guest_start "$pod" --allow-egress

saw() {
	grep -qE "^[^ ]+ $1\$" "$tmp/$mode.log"
}

cat >"$tmp/log.py" <<'X'
import os


def response(flow):
    with open(os.environ["MITM_LOG"], "a") as log:
        log.write(f"{flow.response.status_code} {flow.request.method} {flow.request.url}\n")
X
for mode in regular socks5; do
	: >"$tmp/$mode.log"
	spawn env MITM_LOG="$tmp/$mode.log" mitmdump --quiet --mode $mode --listen-host 127.0.0.1 --listen-port 8080 --set confdir="$tmp/mitm" \
		--set ssl_verify_upstream_trusted_ca="$tmp/net.pem" --scripts "$tmp/log.py" >"$tmp/mitm.out" 2>&1
	mitm_pid=$!
	wait_for 30 tcp_listens 8080
	url=http://127.0.0.1:8080
	[ $mode = regular ] || url=socks5://127.0.0.1:8080
	egress_start --allow good.example --upstream "$url"

	gets http://good.example/page "$page" "$mode: HTTP"
	ok "$mode: seen" wait_for 5 saw "GET http://good.example/page"
	gets https://good.example/page "$page" "$mode: HTTPS" --cacert "$tmp/mitm/mitmproxy-ca-cert.pem"
	ok "$mode: seen inside of TLS" wait_for 5 saw "GET https://good.example/page"
	not_ok "$mode: the certificate is not the server's" in_egress curl -sSf --max-time 20 -o "$tmp/got" --cacert "$tmp/net.pem" \
		https://good.example/page
	denies "$mode: what rules deny" "1.1.1.4:80 - default" client 1.1.1.4:80 expect-eof
	not_ok "$mode: is not seen" saw ".*1\.1\.1\.4.*"
	stop "$egress_pid"
	stop "$mitm_pid"
done
done_testing
