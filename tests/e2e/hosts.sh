#!/bin/bash
# SPDX-License-Identifier: MIT
# Names of the host in hosts files of pods: in containers with a root folder of their own, also where the file is mounted
# there, found by glibc and musl; by vzfwd-guest, pid: and netns:; for how long they stay, and where they may not go.
. "$(dirname "$0")/../functions.sh"
requires_root
requires busybox getent mount python3

here=$(cd "$(dirname "$0")" && pwd)
# Nothing here is meant for the machine's own.
echo "127.0.0.1 localhost" >"$tmp/own"
mount --bind "$tmp/own" /etc/hosts || skip_all "cannot mount here"

usual="host.vz.internal host.boxlite.internal host.docker.internal host.containers.internal"
# block TAG NAME...: as it is in the file
block() {
	echo "# vzfwd $1 begin"
	printf '192.168.127.254 %s\n' "${@:2}"
	echo "# vzfwd $1 end"
}

# container ROOT [FILE]: a process with a netns, and a mount namespace in which ROOT is / and FILE is mounted at /etc/hosts.
container() {
	exec unshare --net --mount bash -c '
		mount --make-rprivate / && mount --bind "$1" "$1" && ip link set lo up || exit
		[ -z "${2-}" ] || mount --bind "$2" "$1/etc/hosts" || exit
		cd "$1" && exec chroot . /bin/busybox sh -c "echo up >/ready; exec busybox sleep 1000"' - "$@"
}

root_new() { # NAME: with busybox, and glibc and its getent
	local root=$tmp/$1 file

	mkdir -p "$root/bin" "$root/etc" "$root/usr/bin"
	cp "$(command -v busybox)" "$root/bin/busybox"
	cp "$(command -v getent)" "$root/usr/bin/"
	for file in $(ldd "$(command -v getent)" | grep -o '/[^ ]*') /lib/*/libnss_files.so.2; do
		[ -e "$file" ] || continue
		mkdir -p "$root$(dirname "$file")"
		cp -L "$file" "$root$file"
	done
	echo "hosts: files" >"$root/etc/nsswitch.conf"
	echo "$root"
}

container_start() { # ID ROOT [FILE]: and its state, as crun has it; sets $init
	rm -f "$2/ready"
	spawn container "${@:2}"
	init=$!
	wait_for 10 test -e "$2/ready"
	mkdir -p "$tmp/oci/$1"
	printf '{"pid":%d,"process-start-time":%d}' "$init" "$(stat_of "$init" 22)" >"$tmp/oci/$1/new"
	mv "$tmp/oci/$1/new" "$tmp/oci/$1/status"
}

inside() { # COMMAND...: in the container
	nsenter --target "$init" --net --mount --root -- "$@"
}

has() { # FILE TEXT
	grep -qF "$2" "$1"
}

# expose NAME ARGUMENT...: sets $exposing; its files are NAME.out and NAME.log
expose() {
	spawn vzfwd expose "${@:2}" >"$tmp/$1.out" 2>"$tmp/$1.log"
	exposing=$!
}

# In a container: its own file

root=$(root_new root)
printf '127.0.0.1\tlocalhost\r\n\n# theirs\n10.1.1.1 other' >"$tmp/before"
cp "$tmp/before" "$root/etc/hosts"
chmod 640 "$root/etc/hosts"
container_start c1 "$root"
pod=$(pod_new)
guest_start "$pod" --oci-root "$tmp/oci" --allow-expose --hosts-file '/data/*' --log-level info
vzfwd pod add web "$guest_endpoint" --handle c1
caps=$(awk '/^CapEff/ { print $2 }' "/proc/$guest_pid/status")
is "$caps" 0000000000281404 "the guest can write to nothing that its user can't"

expose one web db.internal:5432 --hosts
ok "names are written" wait_for 10 has "$tmp/one.out" "Names in /etc/hosts"
is "$(tail -n 1 "$tmp/one.out")" "Names in /etc/hosts: $usual db.internal" "which are told of"
# shellcheck disable=SC2086
{
	cat "$tmp/before"
	echo
	block expose-db.internal-5432-web-192.168.127.254 $usual db.internal | sed '1s/$/ (after a newline that was missing)/'
} >"$tmp/want"
same "$root/etc/hosts" "$tmp/want" "in a block of their own, behind what was there"
is "$(stat -c '%a %u' "$root/etc/hosts")" "640 0" "the file's mode and owner are what they were"
for name in host.docker.internal db.internal; do
	is "$(inside getent hosts "$name" | awk '{ print $1 }')" 192.168.127.254 "getent: $name"
done
is "$(inside getent hosts other | awk '{ print $1 }')" 10.1.1.1 "getent: what was there"
if command -v musl-gcc >/dev/null; then
	ok "a client with musl" musl-gcc -static -o "$root/bin/musl" "$here/dns-client.c"
	is "$(inside /bin/musl host.vz.internal)" 192.168.127.254 "musl finds it"
else
	skip "needs musl-gcc" musl
fi
like "$(inside busybox ping -c 1 -W 5 host.vz.internal)" '192\.168\.127\.254' "busybox finds it, and the address is there"

# Who else writes into it keeps what he has written

echo "10.1.1.2 later" >>"$root/etc/hosts"
stop "$exposing"
{
	cat "$tmp/before"
	echo
	echo "10.1.1.2 later"
} >"$tmp/want"
ok "SIGTERM: the block is taken out, and nothing else" wait_for 10 cmp "$root/etc/hosts" "$tmp/want"
cp "$tmp/before" "$root/etc/hosts"
expose one web 5432 --hosts --host-name host.test --host-name more.test
ok "other names in place of the usual ones" wait_for 10 has "$root/etc/hosts" "192.168.127.254 more.test"
not_ok "and none of those" has "$root/etc/hosts" docker
first=$exposing
expose two web 5433 --hosts --host-name two.test
ok "another one" wait_for 10 has "$root/etc/hosts" two.test
ok "leaves the first its own" has "$root/etc/hosts" more.test
second=$exposing
expose three web 5433 --hosts --host-name three.test --alias-ip 192.168.127.200
ok "and one of the same port, at another address" wait_for 10 has "$root/etc/hosts" "192.168.127.200 three.test"
ok "as well" has "$root/etc/hosts" two.test
stop "$exposing"
exposing=$second
kill -KILL "$exposing"
ok "SIGKILL: the guest takes it out" wait_for 10 eval "! grep -q two.test '$root/etc/hosts'"
ok "and it alone" has "$root/etc/hosts" more.test

# The guest

log=$guest_log
stop "$guest_pid"
same "$root/etc/hosts" "$tmp/before" "a guest that ends leaves the file as it was, to the byte"
ok "the host says so" wait_for 10 has "$tmp/one.log" "no more names in /etc/hosts"
guest_again
ok "and the next guest gets it anew" wait_for 15 has "$root/etc/hosts" more.test
ok "which the host says too" wait_for 5 has "$tmp/one.log" "the names are in /etc/hosts again"
cp "$root/etc/hosts" "$tmp/want"
kill -KILL "$guest_pid"
wait_for 5 gone "$guest_pid"
rm -f "$guest_socket"
same "$root/etc/hosts" "$tmp/want" "a guest that is killed leaves the block"
guest_again
ok "which the next one replaces" wait_for 15 has "$guest_log" "has the names"
same "$root/etc/hosts" "$tmp/want" "once"

# The container

kill -KILL "$init"
wait_for 5 gone "$init"
cp "$tmp/before" "$root/etc/hosts"
ok "a container that has gone" wait_for 10 has "$guest_log" "the pod has gone"
container_start c1 "$root"
ok "gets it anew when it is started again" wait_for 15 has "$root/etc/hosts" more.test
stop "$first"
ok "and loses it at the end" wait_for 10 cmp "$root/etc/hosts" "$tmp/before"

# Where container runtimes mount it, with a link beside it

second=$(root_new second)
echo "below" | tee "$tmp/below" >"$second/etc/hosts"
mkdir "$second/data" "$second/elsewhere"
ln -s ../elsewhere/hosts "$second/data/link"
ln -s ../elsewhere "$second/data/folder"
ln -s /etc/hosts "$second/data/outside"
echo "10.1.1.1 mounted" >"$tmp/mounted"
cp "$tmp/mounted" "$tmp/mounted.before"
container_start c2 "$second" "$tmp/mounted"
expose one web 80 --hosts --container c2 --host-name host.test
ok "a file that is mounted in the container is written to" wait_for 10 has "$tmp/mounted" host.test
is "$(inside getent hosts host.test | awk '{ print $1 }')" 192.168.127.254 "as the container sees it"
is "$(cat "$second/etc/hosts")" below "what it hides is not touched"
stop "$exposing"
ok "and it is as it was" wait_for 10 cmp "$tmp/mounted" "$tmp/mounted.before"
# With a second name it is written over: by a new one in its place the kernel would take the mount on it away.
ln "$second/etc/hosts" "$second/etc/hosts.link"
container_start c3 "$second"
expose one web 80 --hosts --container c2 --host-name host.test
first=$exposing
expose two web 80 --hosts --container c3 --host-name host.test
ok "another container with the same folder" wait_for 10 has "$second/etc/hosts" host.test
ok "and one where the file is mounted" wait_for 10 has "$tmp/mounted" host.test
stop "$exposing"
ok "have files of their own" wait_for 5 cmp "$second/etc/hosts" "$tmp/below"
stop "$first"
ok "both of them" wait_for 5 cmp "$tmp/mounted" "$tmp/mounted.before"
expose one web 80 --hosts-file /data/hosts --container c2
ok "another file, with a pattern of the guest's" wait_for 10 has "$second/data/hosts" host.vz.internal
is "$(cat "$tmp/mounted")" "10.1.1.1 mounted" "in place of the first"
stop "$exposing"
ok "which is left empty" wait_for 5 cmp "$second/data/hosts" /dev/null

# fails EXIT ERE NAME ARGUMENT...
fails() {
	run timeout 20 vzfwd expose "${@:4}"
	is "$status" "$1" "$3"
	like "$(cat "$tmp/err")" "^vzfwd: expose: $2\$" "$3: why"
}
fails 77 'pod.hosts: /etc/other is not allowed; see --hosts-file' "a file that no pattern allows" web 80 --hosts-file /etc/other --container c2
fails 77 'pod.hosts: /data/link: is a symbolic link, which is not followed' "a link" web 80 --hosts-file /data/link --container c2
fails 77 'pod.hosts: /data/outside: is a symbolic link.*' "one to another folder" web 80 --hosts-file /data/outside --container c2
fails 77 'pod.hosts: /data/folder/hosts is not allowed.*' "a folder's that no pattern allows" web 80 --hosts-file /data/folder/hosts --container c2
fails 66 'no such container "none"' "no such container" web 80 --hosts --container none
fails 64 '--host-name is for --hosts' "names for nothing" web 80 --host-name a
fails 64 '--host-name must be a host name, got "a b"' "no name" web 80 --hosts --host-name "a b"
fails 64 '--hosts-file must be an absolute path, got "hosts"' "a relative path" web 80 --hosts-file hosts
many=()
for ((i = 0; i < 250; i++)); do
	many+=(--host-name "name-$i.example.internal")
done
fails 64 'the request is longer than 4096 bytes' "more names than fit a request" web 80 --hosts "${many[@]}"
not_ok "none of which has written anything" grep -r vzfwd "$second" "$root" "$tmp/mounted"

# By a link of one's own: the answer, and what a second request on it does

ask() { # TAG
	printf '%s\\n' 'send:{"jsonrpc":"2.0","id":1,"method":"pod.hosts","params":{"handle":"c1","tag":"'"$1"'","entries":[{"address":"10.0.0.1","names":["'"$1"'.test"]}]}}'
}
if over_vsock; then
	skip "a Unix socket is wanted" "a link by hand"
else
	spawn python3 "$here/guest-wire.py" "$guest_socket" "$(ask one)" line "$(ask two)" line "wait:$tmp/end" >"$tmp/answers"
	by_hand=$!
	ok "a link by hand" wait_for 10 has "$root/etc/hosts" two.test
	ok "its second request takes the first one's place" wait_for 5 eval "! grep -q one.test '$root/etc/hosts'"
	written=${EPOCHREALTIME/./}
	wait_for 10 eval "[ \${EPOCHREALTIME/./} -gt $((written + 6000000)) ]"
	ok "and stays, though the link says nothing for longer than a request may take" has "$root/etc/hosts" two.test
	touch "$tmp/end"
	wait "$by_hand"
	ok "and it goes with the link" wait_for 10 cmp "$root/etc/hosts" "$tmp/before"
	is "$(sort -u "$tmp/answers")" '{"jsonrpc":"2.0","id":1,"result":{"written":true,"path":"/etc/hosts"}}' "the answers"
fi

# Without --allow-expose; as another user

guest_start "$pod" --oci-root "$tmp/oci"
vzfwd pod add closed "$guest_endpoint" --handle c1
fails 77 'pod.(hosts|portAccept): not allowed by vzfwd-guest; see --allow-expose' "a guest that does not allow it" closed 80 --hosts
guest_start "$pod" --oci-root "$tmp/oci" --allow-expose --user 4321
vzfwd pod add user "$guest_endpoint" --handle c1
fails 77 'pod.hosts: /etc/hosts: permission denied' "a guest of another user" user 80 --hosts
chmod 666 "$root/etc/hosts"
expose one user 80 --hosts
ok "where the file is that user's to write to" wait_for 10 has "$root/etc/hosts" host.vz.internal
stop "$exposing"
ok "it is as it was" wait_for 5 cmp "$root/etc/hosts" "$tmp/before"
chmod 640 "$root/etc/hosts"

# Without a VM

container_start c1 "$root"
expose one "pid:$init" 80 --hosts
ok "pid: writes to the process's file" wait_for 10 has "$root/etc/hosts" host.vz.internal
is "$(inside getent hosts host.vz.internal | awk '{ print $1 }')" 192.168.127.254 "where getent finds it"
stop "$exposing"
same "$root/etc/hosts" "$tmp/before" "and takes it out"
expose one "pid:$init" 80 --hosts
wait_for 10 has "$root/etc/hosts" host.vz.internal
kill -KILL "$exposing"
wait_for 5 gone "$exposing"
expose one "pid:$init" 80 --hosts
ok "a vzfwd that was killed leaves it to the next one" wait_for 10 has "$tmp/one.out" "Names in"
is "$(grep -c host.vz.internal "$root/etc/hosts")" 1 "which has it once"
stop "$exposing"
same "$root/etc/hosts" "$tmp/before" "and takes it out"
mkdir -p "$tmp/netns"
expose one "netns:/run/netns/$pod" 80 --hosts-file "$tmp/netns/hosts"
ok "netns: writes to a file of the host's" wait_for 10 has "$tmp/netns/hosts" host.vz.internal
stop "$exposing"
is "$(cat "$tmp/netns/hosts")" "" "and takes it out"
same "$tmp/own" <(echo "127.0.0.1 localhost") "the host's own has nothing of all that"

done_testing
