#!/bin/bash
# SPDX-License-Identifier: MIT
# ssh, scp and sftp to an sshd in the pod: through `vzfwd dial` as ProxyCommand, with the
# connected socket handed over (ProxyUseFdpass), and through `vzfwd listen`.
. "$(dirname "$0")/../functions.sh"
requires_root
requires ssh scp sftp sshd ssh-keygen pgrep

pod=$(pod_new)
mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f "$tmp/host-key"
ssh-keygen -q -t ed25519 -N '' -f "$tmp/key"
cat >"$tmp/sshd.conf" <<END
Port 2222
ListenAddress 127.0.0.1
HostKey $tmp/host-key
AuthorizedKeysFile $tmp/key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
Subsystem sftp internal-sftp
END
spawn in_pod "$pod" "$(command -v sshd)" -D -e -f "$tmp/sshd.conf" 2>"$tmp/sshd.log"
wait_for 10 tcp_listens 2222 "$pod"
guest_start "$pod"
vzfwd pod add web "$guest_endpoint"
spawn vzfwd listen -p web 2200:2222 >"$tmp/listen.out" 2>"$tmp/listen.log"
wait_for 5 tcp_listens 2200

echo "pod $(cut -d' ' -f1,2 "$tmp/host-key.pub")" >"$tmp/known_hosts"
cat >"$tmp/ssh.conf" <<END
Host *
	User root
	IdentityFile $tmp/key
	IdentitiesOnly yes
	UserKnownHostsFile $tmp/known_hosts
	GlobalKnownHostsFile /dev/null
	StrictHostKeyChecking yes
	HostKeyAlias pod
	BatchMode yes
	ConnectTimeout 20
Host dial
	ProxyCommand vzfwd dial web tcp :2222
Host pass
	ProxyCommand vzfwd dial --pass-fd web tcp :2222
	ProxyUseFdpass yes
Host listen
	HostName 127.0.0.1
	Port 2200
Host nobody
	ProxyCommand vzfwd dial web tcp :2223
END
head -c 20000000 /dev/urandom >"$tmp/data"

remote() {
	timeout 60 ssh -F "$tmp/ssh.conf" "$@"
}

for host in dial pass listen; do
	# shellcheck disable=SC2029 # sent as it is
	is "$(remote "$host" "echo hello; readlink /proc/self/ns/net")" \
		"$(echo hello && in_pod "$pod" readlink /proc/self/ns/net)" "$host: a command runs in the pod"
	run remote "$host" "echo out; echo err >&2; exit 7"
	is "$status $(cat "$tmp/out") $(cat "$tmp/err")" "7 out err" "$host: exit status, stdout and stderr pass"
	remote "$host" cat <"$tmp/data" >"$tmp/data.ssh"
	same "$tmp/data.ssh" "$tmp/data" "$host: 20 MB there and back by cat"
	ok "$host: scp there" timeout 60 scp -q -F "$tmp/ssh.conf" "$tmp/data" "$host:$tmp/data.there"
	same "$tmp/data.there" "$tmp/data" "$host: scp there: every byte"
	ok "$host: scp back" timeout 60 scp -q -F "$tmp/ssh.conf" "$host:$tmp/data.there" "$tmp/data.back"
	same "$tmp/data.back" "$tmp/data" "$host: scp back: every byte"
	printf 'put %s %s\nget %s %s\n' "$tmp/data" "$tmp/data.put" "$tmp/data.put" "$tmp/data.get" |
		timeout 60 sftp -q -F "$tmp/ssh.conf" -b - "$host"
	same "$tmp/data.get" "$tmp/data" "$host: sftp there and back"
	rm "$tmp"/data.*
done

# Who is in the path.

for host in dial pass; do
	spawn remote "$host" "echo there >$tmp/$host.there; until [ -e $tmp/$host.end ]; do sleep 0.05; done; exit 3"
	remote_pid=$!
	wait_for 20 test -s "$tmp/$host.there"
	is "$(pgrep -cf '^vzfwd dial')" "$([ "$host" = dial ] && echo 1 || echo 0)" "$host: processes that stay"
	touch "$tmp/$host.end"
	wait "$remote_pid"
	is "$?" 3 "$host: and the exit status"
done
for host in dial pass; do
	for _ in 1 2 3 4 5 6; do
		remote "$host" true
	done 2>"$tmp/quiet"
	is "$(cat "$tmp/quiet")" "" "$host: the end of a session is no reason to complain"
done
run remote nobody true
is "$status" 255 "nobody listens: ssh says so"
like "$(cat "$tmp/err")" "vzfwd: dial web tcp :2223: .*connection refused" "and vzfwd why"
is "$(cat "$tmp/listen.log")" "" "listen has nothing to complain about"

done_testing
