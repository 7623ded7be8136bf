# shellcheck shell=bash
# shellcheck disable=SC2154 # tmp, device_vhost: functions.sh and vm.sh set them
# SPDX-License-Identifier: MIT
#
# A VM with a pod in it, for tests from the host; sourced after vm.sh.
#
#	pod_boot qemu|uml     a VM at the device of device_start, with a pod, and vzfwd-guest on port 893
#	pod_guest             vzfwd-guest anew, after it has ended
#
# In the pod listen on 127.0.0.1: 80, a web server whose page is $tmp/index.html; 7, which sends back what comes;
# 8, which reads to the end and answers with the sha256; 9, which resets when more than a byte has come; 10, which sends
# $pod_size bytes: vzfwd-guest, over and over.

# shellcheck disable=SC2034 # for the test
e2e=$(cd "$(dirname "${BASH_SOURCE[0]}")/../e2e" && pwd)
pod_size=$((500 << 20))
{
	echo "Hello from inside the VM."
	head -c 100000 /dev/urandom | base64
} >"$tmp/index.html"

pod_boot() {
	vm_boot "$1" "vsock=$device_vhost" "file=$tmp/index.html" "file=$abs_top_builddir/tests/vm/tcp-server"
	vm 'mkdir -p /run/netns /www; mv /bin/index.html /www; touch /run/netns/pod; unshare --net=/run/netns/pod ip link set lo up' &&
		pod_serve 'httpd -p 127.0.0.1:80 -h /www' &&
		pod_serve 'tcp-server 7' &&
		pod_serve 'tcp-server 8 sha256sum' &&
		pod_serve 'tcp-server 9 dd bs=1 count=1 of=/dev/null' &&
		pod_serve "tcp-server 10 sh -c 'while cat /bin/vzfwd-guest; do :; done 2>/dev/null | head -c $pod_size'" &&
		pod_guest || fail "the pod is there"
}

pod_serve() {
	vm "ulimit -n 4096; nsenter --net=/run/netns/pod $1 </dev/null >/dev/console 2>&1 &"
}

pod_guest() {
	vm 'ulimit -n 8192; vzfwd-guest --pod-netns /run/netns/pod </dev/null >/run/guest.log 2>&1 &' &&
		vm 'for i in $(seq 200); do grep -q "listening on" /run/guest.log && exit; usleep 50000; done; exit 1'
}
