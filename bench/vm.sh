#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Usage: bench/vm.sh qemu|uml loopback|device BUILD OUT OPTION...
#
# Boots a virtual machine and measures vzfwd beside socat, over AF_VSOCK alone: inside of it (loopback), or
# from the host into it by the tests' vhost-user device. BUILD is a built tree, OUT the file for the figures; the options are
# those of bench/vm.py. scripts/bench --vm runs this.

set -u
kind=$1 way=$2 out=$(realpath "$4")
abs_top_builddir=$(realpath "$3")
bench=$(cd "$(dirname "$0")" && pwd)
VZFWD_TEST_TIMEOUT=1800
. "$bench/../tests/vm/fetching.sh"
[ "$kind" != qemu ] || vm_fetch VZFWD_VM_KERNEL fetch-kernel
. "$bench/../tests/functions.sh"
. "$bench/../tests/vm/vm.sh"
shift 4
case $kind in
qemu) vm_needs qemu python3 socat virtiofsd ;;
*) vm_needs uml python3 socat ;;
esac

measure=(--vzfwd "$VZFWD" --vzfwd-guest "$VZFWD_GUEST" --sockets "$tmp" "$@")

inside() { # COMMAND...: in the VM
	echo ". $vm_share/environment; ulimit -n 8192; ${*@Q}"
}

if [ "$way" = loopback ]; then
	vm_boot "$kind" root
	vm "$(inside python3 -B "$bench/vm.py" loopback --out "$vm_share/out" "${measure[@]}") 2>&1" 1700 >"$tmp/vm.log"
	is "$?" 0 "measured"
	cat "$tmp/vm.log" >&2
	cp "$vm_share/out" "$out"
else
	ports=()
	for port in {1101..1108}; do
		ports+=("$tmp/$port" "$port")
	done
	device_start "${ports[@]}"
	vm_boot "$kind" root "vsock=$device_vhost"
	vm "($(inside python3 -B "$bench/vm.py" guest "${measure[@]}") >/dev/console 2>&1 &)"
	ulimit -n 8192
	ok measured python3 -B "$bench/vm.py" device --out "$out" "${measure[@]}"
fi
done_testing
