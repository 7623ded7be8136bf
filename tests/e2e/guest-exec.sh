#!/bin/bash
# SPDX-License-Identifier: MIT
# vzfwd-guest exec: the route and resolver it sets, what it passes through, and all that the command tries to change
# its network again or to leave it, as a user and as root without capabilities.
. "$(dirname "$0")/../functions.sh"
requires_root
requires nft dnsmasq busybox script unshare

user=1000
box=$(pod_new)
gateway=$(pod_new)
ip -n "$box" link add eth0 type veth peer name eth0 netns "$gateway"
ip -n "$box" addr add 192.0.2.2/24 dev eth0
ip -n "$box" addr add 2001:db8::2/64 dev eth0 nodad
ip -n "$gateway" addr add 192.0.2.1/24 dev eth0
ip -n "$gateway" addr add 2001:db8::1/64 dev eth0 nodad
ip -n "$gateway" addr add 198.51.100.7/32 dev lo
ip -n "$gateway" addr add 2001:db8:1::7/128 dev lo
ip -n "$box" link set eth0 up
ip -n "$gateway" link set eth0 up
mkdir "$tmp/www"
head -c 100000 /dev/urandom >"$tmp/www/data"
spawn in_pod "$gateway" busybox httpd -f -p 80 -h "$tmp/www"
spawn in_pod "$gateway" dnsmasq -k -C /dev/null -R -h --address=/web.test/198.51.100.7 --log-facility="$tmp/dnsmasq.log" \
	--user=root --pid-file="$tmp/dnsmasq.pid"
wait_for 5 tcp_listens 80 "$gateway"
wait_for 5 udp_bound 53 "$gateway"
cp "$abs_top_builddir/tests/e2e/attempt" "$tmp/attempt"
cp "$tmp/attempt" "$tmp/root-attempt"
chmod 4755 "$tmp/root-attempt"

# /etc as it is, where it can be changed; and mounts that would reach other mount namespaces.
mount --make-rshared /
cp -a /etc "$tmp/etc"
mount --bind "$tmp/etc" /etc
echo "nameserver 203.0.113.9" >"$tmp/machine.conf"
cp "$tmp/machine.conf" /etc/resolv.conf

inside() {
	${in_spawn:+exec} vzfwd-guest exec --netns "$box" --user "$user" "$@"
}

# The command line.
for arguments in '' '--netns x' '--user 1000 -- true' '--netns x --user 1000' '--netns .. --user 1000 true' \
	'--netns x --user nobody true' '--netns x --user 1000 --dns example.test true' \
	'--netns x --user 1000 --route-via 192.0.2.1 --route-via 192.0.2.3 true' \
	'--netns x --user 1000 --dns 192.0.2.1 --dns 192.0.2.1 --dns 192.0.2.1 --dns 192.0.2.1 true' \
	'--netns x --user 1000 --no-such true'; do
	# shellcheck disable=SC2086 # several words
	is "$(exit_of vzfwd-guest exec $arguments)" 64 "bad usage: exec $arguments"
done
run vzfwd-guest exec --help
is "$status:$(grep -c '^ *--route-via IP' "$tmp/out")" 0:1 "--help has the options"
is "$(exit_of vzfwd-guest exec --netns no-such --user "$user" -- true)" 78 "no such netns"
is "$(exit_of vzfwd-guest exec --netns /etc/passwd --user "$user" -- true)" 78 "what is no netns"
is "$(exit_of setpriv --reuid 1000 --clear-groups --bounding-set=-all \
	vzfwd-guest exec --netns /proc/self/ns/net --user 1000 -- true)" 77 "without root"

# What is set.
ip -n "$box" link set lo down
not_ok "without a route nothing is reached" inside busybox wget -T 2 -qO "$tmp/page" http://198.51.100.7/data
like "$(ip -n "$box" link show lo)" 'LOOPBACK,UP' "lo is brought up"
is "$(exit_of inside --route-via 198.51.100.99 -- true)" 69 "a gateway that is no neighbour"
# The file is opened before the user changes.
inside --route-via 192.0.2.1 -- busybox wget -qO - http://198.51.100.7/data >"$tmp/page"
same "$tmp/page" "$tmp/www/data" "--route-via: a page from beyond the gateway"
is "$(ip -n "$box" route show default)" "default via 192.0.2.1 dev eth0 proto static " "the route"
inside --route-via 192.0.2.1 --route-via 2001:db8::1 -- busybox wget -qO - 'http://[2001:db8:1::7]/data' >"$tmp/page"
same "$tmp/page" "$tmp/www/data" "again, beside one of IPv6"
ip -n "$box" route replace default via 192.0.2.9
inside --route-via 192.0.2.1 -- true
is "$(ip -n "$box" route show default)" "default via 192.0.2.1 dev eth0 proto static " "in place of another one"

printf 'nameserver 192.0.2.1\nsearch .\n' >"$tmp/want.conf"
resolver_is_set() {
	inside --dns 192.0.2.1 -- cat /etc/resolv.conf >"$tmp/inside.conf"
	same "$tmp/inside.conf" "$tmp/want.conf" "--dns: its resolv.conf, $1"
	is "$(inside --dns 192.0.2.1 -- getent hosts web.test | tr -s ' ')" "198.51.100.7 web.test" "getent asks there, $1"
}
resolver_is_set "of a file"
same /etc/resolv.conf "$tmp/machine.conf" "the machine's own is as it was"
run inside -- cat /etc/resolv.conf
same "$tmp/out" "$tmp/machine.conf" "without --dns it is the machine's"
inside --dns 192.0.2.1 --dns 2001:db8::1 -- cat /etc/resolv.conf >"$tmp/inside.conf"
is "$(tr '\n' ' ' <"$tmp/inside.conf")" "nameserver 192.0.2.1 nameserver 2001:db8::1 search . " "two of them, one of IPv6"
mv /etc/resolv.conf /etc/elsewhere.conf
ln -s elsewhere.conf /etc/resolv.conf
resolver_is_set "of a link"
is "$(readlink /etc/resolv.conf)" elsewhere.conf "the machine's link is as it was"
same /etc/elsewhere.conf "$tmp/machine.conf" "and what it leads to"
ln -sf /run/nowhere/resolv.conf /etc/resolv.conf
resolver_is_set "of a link that leads nowhere"
is "$(readlink /etc/resolv.conf)" /run/nowhere/resolv.conf "that link is as it was"
rm /etc/resolv.conf
resolver_is_set "where there is none"
is "$(stat -c %s:%a /etc/resolv.conf)" 0:644 "an empty one has been made"
(umask 077 && inside --dns 192.0.2.1 -- cat /etc/resolv.conf >"$tmp/inside.conf")
same "$tmp/inside.conf" "$tmp/want.conf" "readable under any umask"
# As in an image that is not to be written: only a missing file is a matter.
rm /etc/resolv.conf
mount -o remount,bind,ro /etc
is "$(exit_of inside --dns 192.0.2.1 -- true)" 70 "a missing one that can't be made"
mount -o remount,bind,rw /etc
cp "$tmp/machine.conf" /etc/resolv.conf

# What is passed through.
inside -- cat <"$tmp/www/data" >"$tmp/page"
same "$tmp/page" "$tmp/www/data" "stdin and stdout"
run env -i PATH="$PATH" A='1 2' "$VZFWD_GUEST" exec --netns "$box" --user "$user" -- sh -c 'printf "%s\n" "$A" "$@"' x '' 'a b' --netns -- -v
printf '1 2\n\na b\n--netns\n--\n-v\n' >"$tmp/want"
same "$tmp/out" "$tmp/want" "arguments and environment"
run vzfwd-guest exec --netns "/run/netns/$box" --user "$user" sh -c 'echo "$@"' x --user 0 -h
is "$status:$(cat "$tmp/out")" "0:--user 0 -h" "a path as --netns; what follows the command is the command's"
is "$(exit_of inside -- sh -c 'exit 7')" 7 "the exit code"
is "$(exit_of inside -- sh -c 'kill -TERM $$')" 143 "SIGTERM ends it"
is "$(exit_of inside -- sh -c 'kill -PIPE $$')" 141 "SIGPIPE too"
is "$(exit_of inside -- "$tmp/no-such")" 127 "no such command"
is "$(exit_of inside -- "$tmp/www/data")" 126 "one that can't be executed"
is "$(inside -- pwd)" "$PWD" "the working folder"
is "$(setpriv --groups 4,27 vzfwd-guest exec --netns "$box" --user 1000:1001 -- sh -c 'id -u; id -g; id -G' | tr '\n' ' ')" \
	"1000 1001 1001 " "user, group and no others"
for id in 1000 0; do
	is "$(setpriv --inh-caps=+net_admin --ambient-caps=+net_admin vzfwd-guest exec --netns "$box" --user "$id" -- \
		grep -c '^Cap.*:.*0000000000000000$' /proc/self/status)" 5 "user $id: no capability that was to be inherited"
done
exec 7<"$tmp/machine.conf" 9>"$tmp/nine"
is "$(inside -- sh -c 'for fd in 3 5 7 9; do [ ! -e /proc/self/fd/$fd ] || echo $fd; done')" "" "no other descriptors"
exec 7<&- 9>&-
spawn inside -- sleep 60
child=$!
wait_for 5 grep -q sleep "/proc/$child/comm"
is "$(cat "/proc/$child/comm")" sleep "the command takes its process"
is "$(readlink "/proc/$child/ns/net")" "net:[$(stat -Lc %i "/run/netns/$box")]" "in the netns"
stop "$child"

# What the command tries: OUTCOME ATTEMPT, one after the other.
attempt() {
	is "$(inside --dns 192.0.2.1 -- "$tmp/${3:-attempt}" "$2")" "$1" "user $user: $2: $1${3:+ ($3)}"
}

# denied TEXT COMMAND...: fails, and says why.
denied() {
	run inside --dns 192.0.2.1 -- "${@:2}"
	like "$status $(cat "$tmp/err")" "^[1-9].*$1" "user $user: ${*:2}: $1"
}

network_of() {
	ip -n "$box" -d link
	ip -n "$box" addr
	ip -n "$box" route show table all
	ip -n "$box" -6 route show table all
	ip -n "$box" rule
	in_pod "$box" nft list ruleset
	in_pod "$box" grep -rs . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf
}

ok "what is tried" test -s "$(dirname "$0")/attempts"
try_all() {
	local read_only=$1 outcome name

	is "$(inside -- sh -c 'sed -n "s/^\(Cap...\|NoNewPrivs\|Seccomp\):[[:space:]]*/\1 /p" /proc/self/status' | tr '\n' ' ')" \
		"CapInh 0000000000000000 CapPrm 0000000000000000 CapEff 0000000000000000 CapBnd 0000000000000000 CapAmb 0000000000000000 NoNewPrivs 1 Seccomp 2 " \
		"user $user: no capabilities, no_new_privs, a filter"
	denied 'Operation not permitted' ip route add 203.0.113.0/24 via 192.0.2.1
	denied 'Operation not permitted' ip route del default
	denied 'Operation not permitted' ip -6 route add 2001:db8:2::/64 via 2001:db8::1
	denied 'Operation not permitted' ip rule add from 192.0.2.2 lookup 7
	denied 'Operation not permitted' ip addr add 192.0.2.77/24 dev eth0
	denied 'Operation not permitted' ip addr del 192.0.2.2/24 dev eth0
	denied 'Operation not permitted' ip link set eth0 down
	denied 'Operation not permitted' ip link add dummy7 type dummy
	denied 'Operation not permitted' ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0
	denied 'Operation not permitted' nft add table ip mine
	denied 'Operation not permitted' nft flush ruleset
	denied 'not permitted' busybox ifconfig eth0 192.0.2.88
	denied "$read_only" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
	denied "$read_only" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6'
	denied "$read_only" sh -c 'echo nameserver 8.8.8.8 >/etc/resolv.conf'
	while read -r outcome name <&3; do
		attempt "$outcome" "$name"
	done 3<"$(dirname "$0")/attempts"
	denied 'not permitted' unshare -n true
	denied 'not permitted' unshare -Un true
	denied 'not permitted|ermission denied' nsenter --net=/proc/1/ns/net true
	denied 'not permitted|ermission denied' ip netns exec "$gateway" true
	if [ "$(uname -m)" = x86_64 ]; then
		attempt ENOSYS i386_socket
		attempt ENOSYS i386_socketcall
		attempt ENOSYS i386_getpid
		attempt ENOSYS x32_socket
	fi
}

# Link-local addresses come with routes of their own, a second later.
settled() {
	! ip -n "$box" addr | grep -q tentative
}

wait_for 5 settled
network_of >"$tmp/network.before"
try_all 'Permission denied|Read-only file system'
attempt EPERM setuid
attempt EPERM be_root root-attempt
user=0
try_all 'Read-only file system'
network_of >"$tmp/network.after"
same "$tmp/network.after" "$tmp/network.before" "the netns is as it was before all that"

# ATTEMPT: as from a terminal of root's, where gcov may complain, too.
on_terminal() {
	script -qec "vzfwd-guest exec --netns $box --user 1000 -- $tmp/attempt $1" /dev/null | tr -d '\r' | sed '/^profiling:/d'
}
is "$(on_terminal tiocsti)" EPERM "nothing can be typed into a terminal"
is "$(on_terminal terminal)" ok "which can be used"
same /etc/resolv.conf "$tmp/machine.conf" "the machine's resolv.conf is still as it was"
done_testing
