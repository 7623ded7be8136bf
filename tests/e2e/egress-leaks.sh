#!/bin/bash
# SPDX-License-Identifier: MIT
# Nothing leaves a pod whose egress is taken but what rules allow: attempts from inside it, as root and as a user, what comes of each,
# and that the Internet has seen no packet. In a VM (tests/vm/loopback.sh) by AF_VSOCK too.
. "$(dirname "$0")/../functions.sh"
requires_root
requires openssl setpriv nft
. "$(dirname "$0")/egressing.sh"

egress_net
mkdir -p "$tmp/www/1.1.1.1"
head -c 20000 /dev/urandom >"$tmp/www/1.1.1.1/page"
serve_net
names_are "1.1.1.1 good.example" "1.1.1.2 evil.example"
spawn in_net python3 "$e2e/egress-leaks.py" watch vn "$tmp/seen"
wait_for 10 grep -q watching "$tmp/seen"
spawn python3 "$e2e/http-server.py" 10.9.0.1 8080 "$tmp/www" 2>/dev/null
wait_for 10 tcp_listens 8080

# Another pod, which has a port of the host's at its alias.
first=$pod
pod=$(pod_new)
guest_start "$pod" --allow-expose
spawn vzfwd expose "$guest_endpoint" "$alias_ip:5432:10.9.0.1:8080" >"$tmp/expose.out" 2>"$tmp/expose.log"
if ! wait_for 10 grep -q "^Exposing" "$tmp/expose.out"; then
	spawn vzfwd expose "$guest_endpoint" 5432:10.9.0.1:8080 >"$tmp/expose.out" 2>"$tmp/expose.log"
	wait_for 10 grep -q "^Exposing" "$tmp/expose.out"
fi
ok "the other pod has it" client "$alias_ip:5432" $'send:GET / HTTP/1.0\r\n\r\n' "expect:HTTP/1.1 200"
pod=$first

guest_start "$pod" --allow-egress
egress_start --allow good.example

# What the kernel, and not the policy, decides about: what containers have as root by default, and nothing.
caps=+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap
as_root() {
	in_egress setpriv --bounding-set="-all,$caps" --inh-caps="-all" --no-new-privs "$@"
}
as_user() {
	in_egress setpriv --reuid 1000 --regid 1000 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
}

attempts() {
	local who=$1 vsock=()

	if in_vm; then
		# A dialer as it is by default, which serves the host alone.
		vsock=(vsock 4000)
	fi
	chmod 755 "$tmp"
	"as_$who" python3 "$e2e/egress-leaks.py" "try" "${vsock[@]}" >"$tmp/$who" 2>"$tmp/$who.err"
	is $? 0 "$who: all was tried"
}
if in_vm; then
	spawn "$VZFWD_GUEST" --listen vsock://any:4000 --pod-netns "/run/netns/$pod" >"$tmp/dialer.log" 2>&1
	wait_for 10 grep -q 'listening on' "$tmp/dialer.log"
fi

# OUTCOME-AS-ROOT OUTCOME-AS-USER NAME, an outcome being an extended regular expression.
table() {
	local root user name

	while read -r root user name; do
		like "$(sed -n "s|^$name: ||p" "$tmp/root")" "^($root)\$" "root: $name"
		like "$(sed -n "s|^$name: ||p" "$tmp/user")" "^($user)\$" "user: $name"
	done
}
# Whom vzfwd-guest has made a sandbox for: no vsock, whatever the netns.
as_exec() {
	in_egress "$VZFWD_GUEST" exec --netns "/run/netns/$pod" --user 1000:1000 -- "$@"
}
attempts root
attempts user
attempts exec
is "$(sed '/vsock/d; /packet/d; /user namespace/d' "$tmp/exec")" "$(sed '/vsock/d; /packet/d; /user namespace/d' "$tmp/user")" \
	"exec: the rest as the user"
ok "exec: no user namespace" grep -qx "a netns in a user namespace of its own: EPERM" "$tmp/exec"
not_ok "exec: none of them has got anywhere" grep -E "(vsock|packet).*: (answered|closed|done|nothing)" "$tmp/exec"
table <<'END'
reset reset TCP to an address
reset reset TCP to a web server's address, with a name that is allowed
reset reset TCP by IPv6
reset reset TCP by IPv4-mapped IPv6
reset reset TCP by NAT64
reset reset TCP to the host
reset reset TCP to metadata
reset reset TCP with data in its SYN
refused refused TCP from another source
reset reset|EPERM TCP bound to lo
refused refused TCP to the alias of another pod
nothing nothing DNS to 8.8.8.8
reset reset DNS to 8.8.8.8 by TCP
refused refused DNS of a name that no rule has
nothing nothing UDP
nothing nothing UDP by IPv6
nothing|refused|EPROTONOSUPPORT nothing|refused|EPROTONOSUPPORT UDP-Lite
nothing|ENETUNREACH nothing|ENETUNREACH UDP to everybody
nothing|ENETUNREACH nothing|ENETUNREACH UDP to a group
answered EPERM ICMP
answered|EACCES answered|EACCES ICMP without privilege
nothing EPERM a raw IP socket
nothing EPERM a packet socket
done EPERM IP_TRANSPARENT
done EPERM SO_MARK
EPERM|EACCES EPERM|EACCES /proc/1/ns/net
EPERM EPERM a netns of its own
ENETUNREACH|EPERM|ENOSPC ENETUNREACH|EPERM|ENOSPC a netns in a user namespace of its own
failed failed ip route add
failed failed ip route del
failed failed ip address add
failed failed ip address del
failed failed ip link add
failed failed nft add
END
if in_vm; then
	table <<'END'
closed|ENODEV|ENETUNREACH|reset closed|ENODEV|ENETUNREACH|reset vsock to the host, CID 2
closed|reset closed|reset vsock to the dialer, CID 1
closed|reset|ENODEV|EADDRNOTAVAIL|ENETUNREACH closed|reset|ENODEV|EADDRNOTAVAIL|ENETUNREACH|EACCES vsock to the dialer, by the VM's CID
END
	ok "the dialer has refused them" grep -q 'refused a peer' "$tmp/dialer.log"
fi
is "$(cat "$tmp/seen")" watching "the Internet has seen no packet"
is "$(cat "$tmp/web.log" 2>/dev/null)" "" "and nobody there a request"
not_ok "the host's resolver was not asked" grep -q 'query.*evil' "$tmp/dnsmasq.log"
gets http://good.example/page "$tmp/www/1.1.1.1/page" "what is allowed goes on"
ok "and is seen there" test "$(wc -l <"$tmp/seen")" -gt 3
done_testing
