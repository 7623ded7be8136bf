#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd dial --pass-fd`: the socket itself, with every byte that was already in it, and no process left
# in the path; and ssh, which asks for that with ProxyUseFdpass.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
: >"$tmp/seen"
spawn in_pod "$pod" python3 "$here/target.py" "$tmp/seen" "$tmp/unframed.sock=line,file:$tmp/unframed" \
	7=echo,shut 8=send:200000,shut,eof 9=say:'half\n',shut,eof 10=eof
for port in 7 8 9 10; do
	wait_for 20 tcp_listens "$port" "$pod"
done
guest_start "$pod"
netns=netns:/run/netns/$pod

case_of() {
	ok "$1" python3 "$here/dial-pass-fd.py" "${@:2}"
}

saw() {
	grep "^$1 " "$tmp/seen" | tail -n 1 | cut -d' ' -f2-
}

cat >"$tmp/command" <<-END
	#!/bin/sh
	echo \$\$ >$tmp/command.pid
	exec vzfwd-guest --stdio --pod-netns /run/netns/$pod
END
chmod +x "$tmp/command"

endpoints=("$guest_endpoint")
over_vsock || endpoints+=("$netns" "exec:$tmp/command")
for endpoint in "${endpoints[@]}"; do
	name=${endpoint%%:*}
	: >"$tmp/seen"
	case_of "there and back, $name:" talk "$endpoint"
	case_of "the target ends first, $name:" half-close "$endpoint"
	wait_for 5 grep -q '^9 ' "$tmp/seen"
	like "$(saw 9)" '^eof 100000 ' "the target ends first, $name: it got what came then"
	case_of "the target speaks first, $name:" server-first "$endpoint"
	case_of "nobody listens, $name:" fails "$endpoint" 99 69 refused
	case_of "the receiver is gone, $name:" receiver-gone "$endpoint"
done
case_of "the target's own socket" its-own "$netns"
case_of "a command lives as long as the socket" command "exec:$tmp/command" "$tmp/command.pid"
case_of "no such dialer" fails "unix://$tmp/nothing" 7 69 unreachable

# A dialer that knows nothing of framing speaks raw, which is what is asked for.
printf '%s\n' '{"jsonrpc":"2.0","id":1,"result":{"network":"tcp"}}' >"$tmp/unframed"
printf 'right behind' >>"$tmp/unframed"
ok "an older dialer" python3 - "unix://$tmp/unframed.sock" "$here" <<-'PY'
	import importlib.util, sys
	pod, here = sys.argv[1:]
	sys.argv = ["", "nothing"]
	sys.path.insert(0, here)
	import dialing
	dialing.main = lambda names: None
	spec = importlib.util.spec_from_file_location("cases", here + "/dial-pass-fd.py")
	cases = importlib.util.module_from_spec(spec)
	spec.loader.exec_module(cases)
	sock, status = cases.taken(pod, "7")
	assert cases.read_all(sock) == b"right behind"
PY

vzfwd dial --pass-fd "$guest_endpoint" 7 >"$tmp/out" 2>"$tmp/err"
is "$? $(cat "$tmp/err")" "64 vzfwd: dial $guest_endpoint tcp 7: --pass-fd: stdout is not a Unix socket" "stdout is a file"
is "$(cat "$tmp/out")" "" "stdout is a file: nothing is in it"

# ssh into a pod whose sshd listens there alone: no process but ssh and sshd

if command -v ssh ssh-keygen sshd >/dev/null; then
	sshd=$(command -v sshd)
	ssh-keygen -q -t ed25519 -N '' -f "$tmp/host_key"
	ssh-keygen -q -t ed25519 -N '' -f "$tmp/user_key"
	cp "$tmp/user_key.pub" "$tmp/authorized"
	chmod 600 "$tmp/authorized"
	cat >"$tmp/sshd_config" <<-END
		ListenAddress 127.0.0.1
		Port 22
		HostKey $tmp/host_key
		AuthorizedKeysFile $tmp/authorized
		PidFile none
		StrictModes no
		PermitRootLogin yes
		UsePAM no
	END
	mkdir -p /run/sshd
	spawn in_pod "$pod" "$sshd" -D -e -f "$tmp/sshd_config" 2>"$tmp/sshd.log"
	wait_for 10 tcp_listens 22 "$pod"
	echo "pod $(cat "$tmp/host_key.pub")" >"$tmp/known_hosts"
	cat >"$tmp/ssh_config" <<-END
		Host pod
			ProxyCommand $tmp/bin/vzfwd dial --pass-fd $netns 22
			ProxyUseFdpass yes
			IdentityFile $tmp/user_key
			UserKnownHostsFile $tmp/known_hosts
			GlobalKnownHostsFile none
			BatchMode yes
			User root
		Host pod-vm
			HostKeyAlias pod
			ProxyCommand $tmp/bin/vzfwd dial --pass-fd $guest_endpoint 22
			ProxyUseFdpass yes
			IdentityFile $tmp/user_key
			UserKnownHostsFile $tmp/known_hosts
			GlobalKnownHostsFile none
			BatchMode yes
			User root
	END
	for host in pod pod-vm; do
		head -c 1000000 /dev/urandom >"$tmp/sent"
		# shellcheck disable=SC2016 # there
		ssh -F "$tmp/ssh_config" "$host" 'cat; pgrep -x vzfwd >&2' <"$tmp/sent" >"$tmp/got" 2>"$tmp/ssh.err"
		# Its shell may have said something before.
		is "$(grep -xE '[0-9]+' "$tmp/ssh.err")" "" "ssh $host: no vzfwd runs meanwhile"
		same "$tmp/got" "$tmp/sent" "ssh $host: a megabyte there and back"
	done
else
	skip "needs ssh and sshd" "ssh with ProxyUseFdpass"
fi

done_testing
