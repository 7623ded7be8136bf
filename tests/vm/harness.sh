#!/bin/bash
# SPDX-License-Identifier: MIT
# What the tests in virtual machines rely on (vm.sh): what is missing fails in CI, a boot and a command have limits, a boot may be
# tried again, the console's log is kept on failure, nothing is left running, and AF_VSOCK is used in a VM only.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/vm.sh"
vm_needs uml

here=$(cd "$(dirname "$0")" && pwd)
mkdir "$tmp/path"
apart=(env -u VZFWD_TEST_NAMESPACES -u VZFWD_TEST_TMP -u CI "TMPDIR=$tmp") # for a test with namespaces and files of its own

# inner NAME VARIABLE=VALUE... <LINES: a test of its own with these lines: its exit status, TAP and log in $tmp/NAME.*
inner() {
	local name=$1

	shift
	{
		printf '. %q\n' "$here/../functions.sh" "$here/vm.sh"
		cat
		echo done_testing
	} >"$tmp/$name.sh"
	"${apart[@]}" "$@" "$BASH" "$tmp/$name.sh" >"$tmp/$name.tap" 2>"$tmp/$name.out" {tap_fd}>&-
	inner_status=$?
}

# linux.uml as the next inner test sees it: LINES of shell.
fake_uml() {
	{
		echo '#!/bin/bash'
		cat
	} >"$tmp/path/linux.uml"
	chmod +x "$tmp/path/linux.uml"
}

no_uml() {
	! pgrep -x linux.uml
}

uml=$(command -v linux.uml)
with_fake="PATH=$tmp/path:$PATH"

# What is missing

inner missing <<<'vm_needs uml no-such-tool'
is "$inner_status $(cat "$tmp/missing.tap")" "0 1..0 # SKIP needs no-such-tool" "a missing tool: skipped"
inner missing-ci CI=true <<<'vm_needs uml no-such-tool'
is "$inner_status $(cat "$tmp/missing-ci.tap")" "1 not ok 1 - needs no-such-tool
1..1" "a missing tool in CI: failed"
inner kernel-ci CI=true VZFWD_VM_KERNEL= VZFWD_VM_KERNEL_WHY="no network" <<<'vm_needs qemu'
like "$inner_status $(cat "$tmp/kernel-ci.tap")" '^1 not ok 1 - no network' "no kernel in CI: failed, with the reason"

# Nobody else's AF_VSOCK

for token in '' 4711; do
	is "$("${apart[@]}" VZFWD_TEST_VM=$token VZFWD_TEST_LINK=vsock "$BASH" "$here/vsock.sh" 2>/dev/null)" \
		"1..0 # SKIP is for the VMs of tests/vm" "outside of a VM there is no AF_VSOCK${token:+, whatever is claimed}"
done

# Boots

fake_uml <<<'echo "Kernel panic"; exec sleep 1000'
inner hangs "$with_fake" VZFWD_VM_BOOT_LIMIT=1 <<<'vm_boot uml'
like "$inner_status $(cat "$tmp/hangs.tap")" '^1 not ok 1 - the VM boots' "a VM that does not come up: failed"
like "$(cat "$tmp/hangs.out")" "the end of console.1:.*Kernel panic" "with its console's log"
fake_uml <<<'exit 1'
inner dies "$with_fake" <<<'vm_boot uml'
like "$inner_status $(cat "$tmp/dies.tap")" '^1 not ok 1 - the VM boots' "one that ends: failed, at once"
fake_uml <<END
[ -e $tmp/second ] && exec $uml "\$@"
touch $tmp/second
exec sleep 1000
END
inner again "$with_fake" VZFWD_VM_BOOT_LIMIT=12 VZFWD_VM_BOOTS=2 <<'END'
vm_boot uml
is "$(vm 'cat /proc/cmdline' | grep -c vzfwd_test_vm)" 1 "it is up"
vm 'exit 3'
is $? 3 "an exit status"
is "$(vm 'echo one; echo two >&2; printf three')" $'one\ntwo\nthree' "output"
# What a command left behind ends, and is init's to wait for, while half a line has come.
vm 'sleep 2 & pid=$!; (until ! [ -e /proc/$pid ] || grep -q " Z " /proc/$pid/stat; do usleep 50000; done; echo GONE >/dev/console) &'
printf '4711 echo all of ' >&"$vm_in"
wait_for 10 grep -q GONE "$vm_console"
echo it >&"$vm_in"
wait_for 10 vm_answered 4711
like "$(cat "$vm_console")" "BEGIN 4711.*all of it.*RESULT 4711 rc=0" "a line that came in two pieces"
vm 'sleep 100' 1
is $? 124 "a command that takes too long"
is "$(grep -c . "$tmp/.pids")" 2 "two were started"
END
is "$inner_status $(grep -c ^ok "$tmp/again.tap")" "0 6" "one that comes up when it is tried again; its commands"
ok "and is gone with its test" no_uml

# What is never left behind

inner ended VZFWD_TEST_TIMEOUT=12 <<'END'
vm_boot uml
pass "it is up"
vm 'sleep 100' 100
END
is "$([ "$inner_status" != 0 ] && cat "$tmp/ended.tap")" "ok 1 - it is up" "a test that takes too long: failed"
like "$(cat "$tmp/ended.out")" "gave up after 12 s" "and that is told"
ok "its VM is gone" no_uml

# Tests in a VM

inner inside <<'END'
vm_needs uml
mkdir "$vm_share/e2e"
vm_boot uml root
cat >"$vm_share/good.sh" <<'TEST'
echo "ok 1 - good"
echo "ok 2 - better # SKIP is not there"
TEST
echo 'echo "not ok 1 - bad"; exit 1' >"$vm_share/bad.sh"
echo 'echo "1..0 # SKIP needs nothing"' >"$vm_share/skipped.sh"
vm_top=$vm_share
ln -s . "$vm_share/tests"
for name in good bad skipped; do
	vm_test 10 "$name"
done
CI=true vm_test 10 skipped
END
is "$(cat "$tmp/inside.tap")" "ok 1 - good: good
ok 2 - good: better # SKIP is not there
ok 3 - good: exit status
not ok 4 - bad: bad
not ok 5 - bad: exit status
ok 6 - skipped # SKIP needs nothing
ok 7 - skipped: exit status
not ok 8 - skipped: needs nothing
ok 9 - skipped: exit status
1..9" "what tests in a VM told is told; one that was skipped there has failed in CI"
is "$(find "$tmp" -mindepth 1 -maxdepth 1 -name 'vzfwd-test.*')" "" "no files are left behind"
done_testing
