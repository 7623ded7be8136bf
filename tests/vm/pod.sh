# shellcheck shell=bash
# shellcheck disable=SC2154 # tmp, device_endpoint: functions.sh and vm.sh set them
# SPDX-License-Identifier: MIT
#
# A VM with a pod in it, for tests from the host; sourced after vm.sh.
#
#	pod_boot OPTION...    vm_boot, with a pod in the VM, and vzfwd-guest on port 893
#	pod_guest             vzfwd-guest anew, after it has ended
#	pod_listen ENDPOINT   registers it as web, with a vzfwd listen: 8080 leads to 80, 8007 to 7, 8009 to 9
#	pod_cases             what users do, through that; $pod_at_once of them at a time (50)
#	client PORT STEP...   a client of it: see pod-client.py
#	echoes NAME OPTION... vzfwd dial web 7
#	says COMMAND...       the exit status and the output of vzfwd COMMAND...
#
# In the pod listen on 127.0.0.1: 80, a web server whose page is $tmp/index.html; 7, which sends back what comes;
# 8, which reads to the end and answers with the sha256; 9, which resets when more than a byte has come; 10, which sends
# $pod_size bytes: vzfwd-guest, over and over.

# shellcheck disable=SC2034 # for the test
e2e=$(cd "$(dirname "${BASH_SOURCE[0]}")/../e2e" && pwd)
pod_size=$((500 << 20))
pod_at_once=50
{
	echo "Hello from inside the VM."
	head -c 100000 /dev/urandom | base64
} >"$tmp/index.html"

pod_boot() {
	vm_boot "$@" "file=$tmp/index.html" "file=$vm_build/tests/vm/tcp-server"
	vm 'mkdir -p /run/netns /www; mv /bin/index.html /www; touch /run/netns/pod; unshare --net=/run/netns/pod ip link set lo up' &&
		pod_serve 'httpd -p 127.0.0.1:80 -h /www' &&
		pod_serve 'tcp-server 7' &&
		pod_serve 'tcp-server 8 sha256sum' &&
		pod_serve 'tcp-server 9 dd bs=1 count=1 of=/dev/null' &&
		pod_serve "tcp-server 10 sh -c 'while cat /bin/vzfwd-guest; do :; done 2>/dev/null | head -c $pod_size'" &&
		pod_guest && return
	fail "the pod is there"
	done_testing
}

pod_serve() {
	vm "ulimit -n 4096; nsenter --net=/run/netns/pod $1 </dev/null >/dev/console 2>&1 &"
}

pod_guest() {
	vm 'ulimit -n 8192; vzfwd-guest --pod-netns /run/netns/pod </dev/null >/run/guest.log 2>&1 &' &&
		vm 'for i in $(seq 200); do grep -q "listening on" /run/guest.log && exit; usleep 50000; done; exit 1'
}

pod_listen() {
	pod_endpoint=$1
	vzfwd pod add web "$pod_endpoint"
	head -c 3000000 /dev/urandom >"$tmp/sent"
	spawn vzfwd listen -p web 8080:80 8007:7 8009:9 >"$tmp/listen.out" 2>"$tmp/listen.log"
	wait_for 10 tcp_listens 8009
}

client() { # PORT STEP...
	python3 "$e2e/pod-client.py" "127.0.0.1:$1" "${@:2}"
}

says() {
	run vzfwd "$@"
	echo "$status $(cat "$tmp/out" "$tmp/err")"
}

echoes() { # NAME OPTION...
	run vzfwd dial "${@:2}" web 7 <"$tmp/sent"
	is "$status $(cat "$tmp/err")" "0 " "$1: exit status"
	same "$tmp/out" "$tmp/sent" "$1: 3 MB there and back"
}

pod_cases() {
	ok "a page, by curl" curl -sS --max-time 30 -o "$tmp/page" http://127.0.0.1:8080/
	same "$tmp/page" "$tmp/index.html" "every byte of it"
	printf 'GET / HTTP/1.0\r\n\r\n' >"$tmp/request"
	run vzfwd dial web 80 <"$tmp/request"
	like "$status $(head -n 1 "$tmp/out")" "^0 HTTP/1.[01] 200 OK" "a page, by dial"
	echoes dial
	like "$(says ports web)" '^0 .*127\.0\.0\.1[^0-9]+80' "ports"
	like "$(says check web)" '^0 ' "check"
	is "$(says dial web 81)" "69 vzfwd: dial web tcp 81: 127.0.0.1:81: connection refused; [::1]:81: connection refused" \
		"nobody listens in the pod"
	like "$(says dial "$pod_endpoint:894" 7)" "^69 .*nobody listens on vsock port 894" "nobody listens in the VM"
	ok "$pod_at_once at once" python3 "$e2e/pod-crowd.py" at-once 127.0.0.1:8007 "$pod_at_once" 10000
	ok "a target that resets: so is the client" client 8009 send:xyz expect-reset
	ok "a client that resets" client 8007 send:x expect:x reset
}
