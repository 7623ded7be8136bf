#!/bin/bash
# SPDX-License-Identifier: MIT
# vzfwd-guest nat: a container's TCP, UDP and ICMP reach a gateway that knows the VM's address only; and all of it
# is undone, whatever ends it. box ---- vm (nat) ---- gateway, by veth pairs.
. "$(dirname "$0")/../functions.sh"
requires_root
requires nft busybox python3

here=$(dirname "$0")

gateway=$(pod_new)
vm=$(pod_new)
box=$(pod_new)
ip -n "$vm" link add eth0 type veth peer name eth0 netns "$gateway"
ip -n "$vm" link add br.0 type veth peer name eth0 netns "$box"
ip -n "$gateway" addr add 192.0.2.1/24 dev eth0
ip -n "$gateway" addr add 2001:db8::1/64 dev eth0 nodad
ip -n "$vm" addr add 192.0.2.2/24 dev eth0
ip -n "$vm" addr add 192.0.2.77/24 dev eth0
ip -n "$vm" addr add 2001:db8::2/64 dev eth0 nodad
ip -n "$vm" addr add 10.88.0.1/24 dev br.0
ip -n "$vm" addr add fd00:88::1/64 dev br.0 nodad
ip -n "$box" addr add 10.88.0.2/24 dev eth0
ip -n "$box" addr add 10.99.0.2/32 dev lo
ip -n "$box" addr add fd00:88::2/64 dev eth0 nodad
ip -n "$gateway" link set eth0 up
ip -n "$vm" link set eth0 up
ip -n "$vm" link set br.0 up
ip -n "$box" link set eth0 up
ip -n "$vm" route add default via 192.0.2.1
ip -n "$vm" route add 10.99.0.2 via 10.88.0.2
ip -n "$vm" -6 route add default via 2001:db8::1
ip -n "$box" route add default via 10.88.0.1
ip -n "$box" -6 route add default via fd00:88::1
# A gateway whose answers say who it sees, and that counts pings of the VM's address.
spawn in_pod "$gateway" python3 "$here/guest-nat.py" serve
wait_for 5 tcp_listens 7 "$gateway"
in_pod "$gateway" nft -f - <<'END'
table ip seen {
	chain input {
		type filter hook input priority 0;
		ip saddr 192.0.2.2 icmp type echo-request counter
	}
}
END

in_vm_netns() {
	in_pod "$vm" "$@"
}

sysctl_is() {
	in_vm_netns cat "/proc/sys/net/$1"
}

sysctl_set() {
	# shellcheck disable=SC2016 # the inner shell's
	in_vm_netns sh -c 'echo "$2" >"/proc/sys/net/$1"' sh "$@"
}

# What an administrator may have set, and a change of ip_forward by itself would not leave.
sysctl_set ipv4/conf/all/accept_redirects 0
sysctl_set ipv4/conf/br.0/forwarding 1
sysctl_set ipv6/conf/br.0/forwarding 1

# All that can be seen of the VM's netns, but counts.
state() {
	in_vm_netns grep -rs . /proc/sys/net | grep -v -e nf_conntrack_count -e nf_conntrack_max | sort
	ip -n "$vm" route
	ip -n "$vm" -6 route | sed 's/ expires [0-9]*sec//'
	in_vm_netns nft list ruleset
}

# Link-local addresses come with routes of their own, a second later.
settled() {
	! ip -n "$vm" addr | grep -q tentative
}

answer() {
	in_pod "$box" python3 "$here/guest-nat.py" ask "$@"
}

ping_once() {
	in_pod "$box" busybox ping -c 1 -W $((2 * VZFWD_TEST_SLOWNESS)) "$1"
}

pings_seen() {
	in_pod "$gateway" nft list ruleset | sed -n 's/.*counter packets \([0-9]*\).*/\1/p'
}

table() {
	in_vm_netns nft list table "${1:-ip}" vzfwd-nat
}

no_table() {
	! table "$1" 2>/dev/null
}

nat_start() {
	nat_log=$tmp/nat.log
	spawn in_vm_netns vzfwd-guest nat "$@" >"$nat_log" 2>&1
	nat_pid=$!
	wait_for 5 grep -q "^READY=1" "$tmp/told" && : >"$tmp/told"
}

export NOTIFY_SOCKET=$tmp/notify
spawn python3 "$here/notified.py" "$NOTIFY_SOCKET" >>"$tmp/told"
wait_for 5 grep -q bound "$tmp/told"

# The command line.
for arguments in '--source x' '--source 10.0.0.0/33' '--source 10.0.0.0/8:80' '--out a/b' '--out a23456789012345678' '--out=' \
	'operand' '--no-such'; do
	# shellcheck disable=SC2086 # several words
	is "$(exit_of vzfwd-guest nat $arguments)" 64 "bad usage: nat $arguments"
done
run vzfwd-guest nat --help
is "$status:$(grep -c '^ *--out INTERFACE' "$tmp/out")" 0:1 "--help has the options"
is "$(exit_of setpriv --reuid 1000 --clear-groups --bounding-set=-all vzfwd-guest nat)" 77 "without root"

wait_for 5 settled
state >"$tmp/before"
not_ok "without nat no TCP" answer tcp 192.0.2.1
not_ok "no UDP" answer udp 192.0.2.1
not_ok "no ICMP" ping_once 192.0.2.1

nat_start
is "$(sysctl_is ipv4/ip_forward)" 1 "forwarding is on"
is "$(answer tcp 192.0.2.1)" 192.0.2.2 "TCP, from the VM's address"
is "$(answer udp 192.0.2.1)" 192.0.2.2 "UDP too"
ok "ICMP too" ping_once 192.0.2.1
is "$(pings_seen)" 1 "also from there"
is "$(answer tcp 192.0.2.1 10.99.0.2)" 192.0.2.2 "whatever the source"
is "$(in_vm_netns python3 "$here/guest-nat.py" ask tcp 192.0.2.1 192.0.2.77)" 192.0.2.77 "what the VM sends itself is left alone"
is "$(sysctl_is ipv6/conf/all/forwarding)" 0 "IPv6 is left alone"
is "$(sed -n 's/^Cap\(Eff\|Bnd\):\t//p' "/proc/$nat_pid/status" | uniq)" 0000000000001000 "it keeps CAP_NET_ADMIN only"
run in_vm_netns timeout 20 vzfwd-guest nat
is "$status" 73 "a second one"
like "$(cat "$tmp/err")" '^vzfwd-guest: another vzfwd-guest nat runs in this network namespace' "is told so"
is "$(answer tcp 192.0.2.1)" 192.0.2.2 "and does no harm"
stop "$nat_pid"
is "$(tr '\n' ' ' <"$tmp/told")" "STOPPING=1 " "the service manager is told"
state >"$tmp/after"
same "$tmp/after" "$tmp/before" "after SIGTERM all is as it was"
not_ok "and no TCP again" answer tcp 192.0.2.1

# IPv6, and sources.
nat_start --source 10.88.0.0/16 --source fd00:88::/33
is "$(answer tcp 192.0.2.1)" 192.0.2.2 "--source: one of these"
not_ok "none of these" answer tcp 192.0.2.1 10.99.0.2
is "$(answer tcp 2001:db8::1)" 2001:db8::2 "IPv6"
is "$(sysctl_is ipv6/conf/eth0/accept_ra)" 2 "router advertisements are still taken"
kill -INT "$nat_pid"
ok "SIGINT ends it" wait "$nat_pid"
state >"$tmp/after"
same "$tmp/after" "$tmp/before" "after SIGINT all is as it was"

# The way out.
ip -n "$vm" link add eth1 type veth peer name eth1 netns "$gateway"
ip -n "$gateway" addr add 198.51.100.1/24 dev eth1
ip -n "$vm" addr add 198.51.100.2/24 dev eth1
# Without IPv6, whose routes are told of when they go with their interface.
sysctl_set ipv6/conf/eth1/disable_ipv6 1
ip -n "$gateway" link set eth1 up
ip -n "$vm" link set eth1 up
ip -n "$vm" route del default
wait_for 5 settled
state >"$tmp/before"
nat_start
like "$(cat "$nat_log")" 'no default route' "no default route yet"
not_ok "so nothing is masqueraded" answer tcp 192.0.2.1
ip -n "$vm" route add default via 192.0.2.1 metric 20
ok "one that comes is found" wait_for 5 eval 'table | grep -q "oifname \"eth0\""'
is "$(answer tcp 192.0.2.1)" 192.0.2.2 "and used"
ip -n "$vm" route add default via 198.51.100.1 metric 10
ok "a better one too" wait_for 5 eval 'table | grep -q "oifname \"eth1\""'
is "$(answer tcp 198.51.100.1)" 198.51.100.2 "and used"
is "$(table | grep -c masquerade)" 1 "in place of the other one"
ip -n "$vm" link set eth1 down
ok "an interface that goes down is left" wait_for 5 eval 'table | grep -q "oifname \"eth0\""'
ip -n "$vm" route del default
ok "a route that goes too" wait_for 5 eval '! table | grep -q masquerade'
ip -n "$vm" link set eth1 up
stop "$nat_pid"
nat_start --out eth1
is "$(answer tcp 198.51.100.1)" 198.51.100.2 "--out: without a default route"
not_ok "and nothing by others" answer tcp 192.0.2.1
stop "$nat_pid"
wait_for 5 settled
state >"$tmp/after"
same "$tmp/after" "$tmp/before" "after all that it is as it was"
ip -n "$vm" route add default via 192.0.2.1

# What others have set, and have left.
sysctl_set ipv4/ip_forward 1
nat_start
stop "$nat_pid"
is "$(sysctl_is ipv4/ip_forward)" 1 "forwarding that was on stays on"
nat_start
sysctl_set ipv4/ip_forward 0
stop "$nat_pid"
is "$(sysctl_is ipv4/ip_forward)" 0 "and what somebody has turned off stays off"
nat_start --source ::/0
sysctl_set ipv6/conf/eth0/accept_ra 0
stop "$nat_pid"
is "$(sysctl_is ipv6/conf/eth0/accept_ra):$(sysctl_is ipv6/conf/br.0/accept_ra)" 0:1 "so with router advertisements"
nat_start --source ::/0 --source 0.0.0.0/0
kill -KILL "$nat_pid"
wait "$nat_pid" 2>/dev/null
ok "after SIGKILL the table is gone" no_table ip
ok "that of IPv6 too" no_table ip6
is "$(sysctl_is ipv4/ip_forward)" 1 "forwarding is not"
in_vm_netns nft -f - <<'END'
table ip vzfwd-nat {
	chain old {
		counter
	}
}
table ip6 vzfwd-nat {
}
END
nat_start
is "$(table | grep -c -e 'chain old' -e masquerade)" 1 "a table that an older kernel has kept is replaced"
ok "one of the other family is removed" no_table ip6
stop "$nat_pid"
is "$(in_vm_netns nft list ruleset)" "" "and nothing is left"
done_testing
