# shellcheck shell=bash
# shellcheck disable=SC2154 # tmp, test_failed: functions.sh sets them
# SPDX-License-Identifier: MIT
#
# Virtual machines for tests: real kernels with real AF_VSOCK. Sourced after functions.sh. Nothing
# connects AF_VSOCK on the host; what does runs in a VM and has that checked (requires_vm in functions.sh).
# None needs KVM: they are emulated by QEMU, or are user-mode Linux. A VM has one process, init,
# which takes commands on the console. None outlives the test's namespaces.
#
#	vm_needs KIND COMMAND...        skips the test where something is missing; fails with CI=true. KIND is qemu,
#	                                aarch64 (QEMU, too) or uml
#	vm_boot KIND OPTION...          until it takes commands; ends the test if that takes more than 60 s
#	                                ($VZFWD_VM_BOOT_LIMIT), $VZFWD_VM_BOOTS times (1). Sets vm_pid, and
#	                                vm_console, its log
#	    root                        commands are bash's and see the host's files, read-only but for $vm_share
#	    vsock=SOCKET                its AF_VSOCK leads to the vhost-user device at this socket
#	    vhost=CID                   its AF_VSOCK is the host's, which is to be a VM itself (QEMU)
#	    behind=CPIO                 is put behind its initramfs
#	    memory=MB                   (QEMU) 768
#	    file=PATH                   is put into its /bin, where busybox and vzfwd-guest are; without root
#	vm COMMAND [SECONDS]            a line of shell in the VM: its output, its exit status; 124 if it took more than
#	                                $VZFWD_VM_LIMIT seconds (30)
#	vm_become COMMAND               has it take the place of the VM's init, which takes no commands then
#	qmp COMMAND                     to QEMU: stop, cont
#	vm_kill                         ends it at once, as a power failure would
#	device_start [SOCKET PORT]...   a vsock device for vsock=$device_vhost; the host's side is $device_endpoint, and
#	                                each SOCKET for one PORT
#	device COMMAND                  tells it how to behave: see vhost-user-vsock.c; its answer is in $device_answer
#	vm_test SECONDS TEST            runs tests/TEST.sh in it, over AF_VSOCK: its checks are this test's
#
# QEMU's kernel is $VZFWD_VM_KERNEL, of vm_fetch (fetching.sh). That of aarch64 comes with a busybox, and the VM's
# programs are those of the build $VZFWD_VM_BUILD in place of ours.

shopt -s extglob
vm_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck disable=SC2034 # for pod.sh and tests
vm_build=${VZFWD_VM_BUILD:-$abs_top_builddir}
vm_share=$tmp/share
vm_count=0
mkdir "$vm_share"
mkfifo "$tmp/console.in"
exec {vm_in}<>"$tmp/console.in"
cleanup vm_keep_consoles

# Nobody has to have all of this at home; in CI nothing goes missing unseen.
vm_missing() {
	[ "${CI:-}" = true ] || skip_all "$1"
	fail "$1"
	done_testing
}

# What a whole test in the VM has to say of that.
vm_lacks() { # WHY NAME
	if [ "${CI:-}" = true ]; then
		fail "$2: $1"
	else
		skip "$1" "$2"
	fi
}

vm_needs() {
	local kind=$1 command

	shift
	requires_root
	[ "$(uname -m)" = x86_64 ] || vm_missing "virtual machines are for x86_64"
	case $kind in
	qemu | aarch64)
		[ -n "${VZFWD_VM_KERNEL:-}" ] || vm_missing "${VZFWD_VM_KERNEL_WHY:-no kernel}"
		[ "$kind" = qemu ] || [ -n "${VZFWD_VM_BUILD:-}" ] || vm_missing "no build for aarch64"
		set -- "qemu-system-${kind/#qemu/x86_64}" "$@"
		;;
	uml) set -- linux.uml "$@" ;;
	esac
	for command in cpio busybox "$@"; do
		case $command in
		virtiofsd) vm_virtiofsd ;;
		*) command -v "$command" ;;
		esac | grep -q . || vm_missing "needs $command"
	done
	! ldd "$(command -v busybox)" >/dev/null 2>&1 || vm_missing "needs a static busybox"
}

# Debian's packages have it outside of PATH.
vm_virtiofsd() {
	find /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd -maxdepth 0 2>/dev/null | head -n 1
}

vm_keep_consoles() {
	local console

	[ "$test_failed" != 0 ] || return 0
	for console in "$tmp"/console.[0-9]*; do
		[ -s "$console" ] || continue
		{
			echo "-- the end of ${console##*/}:"
			tail -n 200 "$console" | tr -d '\r'
		} | diag
	done
}

# vm_initramfs MODULE-FOLDER MODULE...: $tmp/initramfs, from these modules, $vm_files and init.
vm_initramfs() {
	local folder=$1 work=$tmp/initramfs.d module busybox

	shift
	busybox=$(readlink -f "$(command -v busybox)")
	rm -rf "$work"
	mkdir -p "$work/bin" "$work/modules" "$work${busybox%/*}"
	for module; do
		find "$folder" -name "$module.ko" -exec cp {} "$work/modules/" \;
	done
	printf '%s\n' "$@" >"$work/modules/list"
	# Its links are made faster here than there. They lead to its path here.
	busybox --install -s "$work/bin" && ln -sf /bin/busybox "$work$busybox" &&
		cp --remove-destination "${vm_files[@]}" "$work/bin/" && cp "$vm_top/tests/vm/init" "$work/init" &&
		(cd "$work" && find . | cpio --quiet -o -H newc) >"$tmp/initramfs" &&
		cat "${vm_behind[@]}" </dev/null >>"$tmp/initramfs"
}

vm_boot() {
	local kind=$1 option left=${VZFWD_VM_BOOTS:-1} guest=${VZFWD_VM_BUILD:+$VZFWD_VM_BUILD/vzfwd-guest}

	shift
	vm_root='' vm_vsock='' vm_vhost='' vm_behind=() vm_memory=768 vm_files=("$(command -v busybox)")
	[ "$kind" != aarch64 ] || vm_files=("$(find "$VZFWD_VM_KERNEL/root" -type f -perm -100 -name busybox)")
	for option; do
		case $option in
		root) vm_root=yes ;;
		vsock=*) vm_vsock=${option#*=} ;;
		vhost=*) vm_vhost=${option#*=} ;;
		behind=*) vm_behind+=("${option#*=}") ;;
		memory=*) vm_memory=${option#*=} ;;
		file=*) vm_files+=("${option#*=}") ;;
		esac
	done
	# What less than a warning would say stays out of the console; the token is what requires_vm looks for.
	vm_token=$SRANDOM
	vm_arguments="quiet panic=-1 cryptomgr.notests vzfwd_test_vm=$vm_token"
	if [ -n "$vm_root" ]; then
		cat >"$vm_share/environment" <<-END
			export abs_top_srcdir='$vm_top' abs_top_builddir='$abs_top_builddir' VZFWD='$VZFWD' \
				VZFWD_GUEST='$VZFWD_GUEST' VZFWD_TEST_VM=$vm_token VZFWD_TEST_LINK=vsock \
				VZFWD_TEST_SLOWNESS=5 VZFWD_VM_KERNEL='${VZFWD_VM_KERNEL:-}' CI='${CI:-}' \
				VZFWD_SANITIZED='$(sanitized && echo yes)'
		END
		vm_arguments+=" vzfwd_share=$vm_share"
	else
		vm_files+=("${guest:-$VZFWD_GUEST}")
	fi
	until vm_boot_once "$kind"; do
		left=$((left - 1))
		[ "$left" != 0 ] || {
			fail "the VM boots"
			done_testing
		}
		echo "# it did not boot: once more" >&2
	done
}

vm_boot_once() {
	vm_count=$((vm_count + 1))
	vm_console=$tmp/console.$vm_count
	"vm_boot_$1" || return
	vm_pid=$!
	wait_for "${VZFWD_VM_BOOT_LIMIT:-60}" vm_ready && ! gone "$vm_pid" && return
	vm_kill
	return 1
}

vm_ready() {
	[[ $(<"$vm_console") == *READY* ]] || gone "$vm_pid"
}

vm_boot_uml() {
	local folder

	folder=$(find /usr/lib/uml/modules -mindepth 1 -maxdepth 1 | sort -V | tail -n 1)
	vm_initramfs "$folder" crc-ccitt ipv6 veth vsock vmw_vsock_virtio_transport_common vsock_loopback \
		${vm_vsock:+vmw_vsock_virtio_transport} || return
	# shellcheck disable=SC2086 # arguments are words
	spawn linux.uml mem=512M "initrd=$tmp/initramfs" "uml_dir=$tmp/uml" con=null con0=fd:0,fd:1 \
		${vm_vsock:+"virtio_uml.device=$vm_vsock:19"} $vm_arguments ${vm_root:+vzfwd_root=hostfs} \
		<"$tmp/console.in" >"$vm_console" 2>&1
}

# One of virtiofsd's for the VM to be: FOLDER NAME.
vm_share_folder() {
	spawn "$(vm_virtiofsd)" --socket-path="$tmp/$2.sock" -o "source=$1" -o cache=always -o sandbox=chroot \
		>"$tmp/virtiofsd-$2.log" 2>&1
	wait_for 5 unix_listens "$tmp/$2.sock" || return
	vm_devices+=(-chardev "socket,id=$2,path=$tmp/$2.sock" -device "vhost-user-fs-device,chardev=$2,tag=$2")
}

vm_modules=(virtio_ring virtio virtio_mmio vsock vmw_vsock_virtio_transport_common vsock_loopback inet_diag tcp_diag
	udp_diag)

vm_boot_qemu() {
	local khz modules=("${vm_modules[@]}") cpu=(max -smp 2) slowness=1

	vm_devices=()
	if [ -n "$vm_root" ]; then
		modules+=(fuse virtiofs vhost_iotlb vhost vhost_vsock)
		vm_share_folder / root && vm_share_folder "$vm_share" share || return
	fi
	if [ -n "$vm_vsock" ]; then
		modules+=(vmw_vsock_virtio_transport)
		vm_devices+=(-chardev "socket,id=vsock,path=$vm_vsock" -device "vhost-user-vsock-device,chardev=vsock")
	fi
	if [ -n "$vm_vhost" ]; then
		requires_vm
		# Emulated by an emulated one: a clock at a quarter of the speed leaves more time between its ticks, and
		# without rdrand whoever wants random numbers first has to wait for the kernel to find some.
		cpu=("qemu64,+rdrand" -smp 1) slowness=4
		modules+=(vmw_vsock_virtio_transport)
		vm_devices+=(-device "vhost-vsock-device,guest-cid=$vm_vhost")
	fi
	vm_initramfs "$VZFWD_VM_KERNEL/modules" "${modules[@]}" || return
	# Told the TSC's frequency it need not measure it, in which a microvm hangs now and then.
	khz=$(awk -v slowness=$slowness '/^cpu MHz/ { printf "%d", $4 * 1000 * slowness; exit }' /proc/cpuinfo)
	vm_qemu x86_64 microvm -accel tcg,thread=multi -cpu "${cpu[@]}" "${vm_devices[@]}" -kernel "$VZFWD_VM_KERNEL/vmlinux" \
		-append "console=ttyS0 mitigations=off tsc_early_khz=$khz tsc=reliable $vm_arguments ${vm_root:+vzfwd_root=virtiofs}"
}

vm_boot_aarch64() {
	vm_initramfs "$VZFWD_VM_KERNEL/modules" "${vm_modules[@]}" vmw_vsock_virtio_transport || return
	vm_qemu aarch64 virt -cpu cortex-a72 -smp 2 -chardev "socket,id=vsock,path=$vm_vsock" \
		-device vhost-user-vsock-device,chardev=vsock -kernel "$VZFWD_VM_KERNEL/vmlinux" \
		-append "console=ttyAMA0 $vm_arguments"
}

vm_qemu() { # ARCHITECTURE MACHINE OPTION...
	spawn "qemu-system-$1" -machine "$2,memory-backend=memory" -m "$vm_memory" \
		-object memory-backend-memfd,id=memory,size="$vm_memory"M,share=on -global virtio-mmio.force-legacy=false \
		-nodefaults -no-reboot -display none -chardev stdio,id=console,signal=off -serial chardev:console \
		-qmp "unix:$tmp/qmp.sock,server=on,wait=off" -initrd "$tmp/initramfs" "${@:3}" \
		<"$tmp/console.in" >"$vm_console" 2>"$tmp/qemu.log"
}

vm() {
	local id=$SRANDOM status

	printf '%s %s\n' "$id" "$1" >&"$vm_in"
	wait_for "${2:-${VZFWD_VM_LIMIT:-30}}" vm_answered "$id"
	status=$(sed -n "s/^RESULT $id rc=\([0-9]*\)\..*/\1/p" "$vm_console")
	sed -n "/^BEGIN $id/,/^RESULT $id /p" "$vm_console" | sed '1d;$d' | tr -d '\r'
	return "${status:-124}"
}

vm_become() {
	echo "become $1" >&"$vm_in"
}

qmp() {
	python3 - "$tmp/qmp.sock" "$1" <<-'END'
		import json, socket, sys
		sock = socket.socket(socket.AF_UNIX)
		sock.settimeout(10)
		sock.connect(sys.argv[1])
		stream = sock.makefile("rw")
		stream.readline()
		for command in "qmp_capabilities", sys.argv[2]:
		    print(json.dumps({"execute": command}), file=stream, flush=True)
		    answer = {}
		    while "return" not in answer:
		        answer = json.loads(stream.readline())
		        assert "error" not in answer, answer
	END
}

vm_answered() {
	[[ $(<"$vm_console") == *"RESULT $1 rc="+([0-9]).* ]] || gone "$vm_pid"
}

device_start() {
	device_vhost=$tmp/vhost.sock
	# shellcheck disable=SC2034 # for the test
	device_endpoint=hvsock://$tmp/vm.sock
	mkfifo "$tmp/device.in"
	exec {device_in}<>"$tmp/device.in"
	: >"$tmp/device.out"
	spawn "$abs_top_builddir/tests/vm/vhost-user-vsock" "$device_vhost" "$tmp/vm.sock" 3 "$@" \
		<"$tmp/device.in" >"$tmp/device.out" 2>"$tmp/device.log"
	wait_for 5 unix_listens "$tmp/vm.sock"
}

device() {
	local count

	count=$(wc -l <"$tmp/device.out")
	echo "$1" >&"$device_in"
	wait_for 10 device_answered $((count + 1)) || fail "the device answers to $1"
	# shellcheck disable=SC2034 # for the test
	device_answer=$(tail -n 1 "$tmp/device.out")
}

device_answered() {
	[ "$(wc -l <"$tmp/device.out")" = "$1" ]
}

vm_kill() {
	kill -KILL "$vm_pid"
	wait "$vm_pid" 2>/dev/null
	return 0
}

vm_test() {
	local limit=$1 name=$2 out=$vm_share/${2##*/} status line why start=$SECONDS

	vm ". $vm_share/environment; VZFWD_TEST_TIMEOUT=$limit $BASH $vm_top/tests/$name.sh >$out.tap 2>$out.log" \
		$((limit + 10)) >"$out.console"
	status=$?
	while IFS= read -r line; do
		case $line in
		"1..0 # SKIP "*) vm_lacks "${line#* # SKIP }" "$name" ;;
		*" # SKIP "*)
			why=${line#* # SKIP }
			line=${line%% # SKIP *}
			skip "$why" "$name: ${line#* - }"
			;;
		"ok "*) pass "$name: ${line#* - }" ;;
		"not ok "*) fail "$name: ${line#* - }" ;;
		esac
	done <"$out.tap"
	is "$status" 0 "$name: exit status"
	echo "# $name took $((SECONDS - start)) s" >&2
	[ "$status" = 0 ] || tail -n 100 "$out.log" "$out.console" | diag
}
