# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # for the test; what functions.sh sets
# SPDX-License-Identifier: MIT
#
# What the tests of `vzfwd egress` share; sourced after functions.sh. The Internet is a netns, "net", behind the host's
# default routes; it has 1.1.1.1 to 1.1.1.9 and 2a00::1 to 2a00::9. None of them is meant for a real one: the host's netns is the
# test's own, and nothing else is in it.
#
#	egress_net             makes it, with $pod and the host's resolver, which knows the names of $tmp/names
#	names_are LINE...      ADDRESS NAME each, from now on; names that are asked for later
#	serve_net              egress-net.py in it: the web, with the folders $tmp/www/ADDRESS, and $git_root; it writes $tmp/web.log
#	in_net CMD...          in_egress CMD...    in the Internet; in the pod, with our resolv.conf
#	egress_start OPTION... vzfwd egress for $egress_pod, until it takes all; egress_pid, $tmp/events, $tmp/egress.log
#	egress_again           the same once more
#	denies NAME WANT CMD...   CMD fails, and there is exactly one more denial: "TARGET NAME RULE", NAME "-" if there is none
#	gets URL FILE NAME CURL-OPTION...   curl in the pod gets the file
#	client ADDRESS:PORT STEP...         pod-client.py in the pod

e2e=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
alias_ip=192.168.127.254

in_net() {
	${in_spawn:+exec} nsenter --net=/run/netns/net -- "$@"
}

in_egress() {
	# shellcheck disable=SC2016
	${in_spawn:+exec} nsenter --net="/run/netns/$pod" -- unshare --mount sh -c \
		'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$tmp/pod-resolv.conf" "$@"
}

egress_net() {
	local i

	requires dnsmasq curl python3
	ip netns add net
	ip -n net link set lo up || skip_all "cannot make a netns"
	ip link add vh type veth peer name vn netns net || skip_all "cannot make a veth pair"
	ip addr add 10.9.0.1/24 dev vh
	ip addr add fd09::1/64 dev vh nodad
	ip -n net addr add 10.9.0.2/24 dev vn
	ip -n net addr add fd09::2/64 dev vn nodad
	ip link set vh up
	ip -n net link set vn up
	ip route add default via 10.9.0.2
	ip -6 route add default via fd09::2
	for i in {1..9}; do
		ip -n net addr add "1.1.1.$i/32" dev lo
		ip -n net addr add "2a00::$i/128" dev lo nodad
	done
	echo net >>"$tmp/.pods"
	pod=$(pod_new)

	echo "nameserver 127.0.0.1" >"$tmp/host-resolv.conf"
	echo "nameserver $alias_ip" >"$tmp/pod-resolv.conf"
	echo "hosts: files dns" >"$tmp/nsswitch.conf"
	echo "127.0.0.1 localhost" >"$tmp/hosts"
	cp "$tmp/host-resolv.conf" "$tmp/resolv.conf"
	for i in resolv.conf nsswitch.conf hosts; do
		[ -e "/etc/$i" ] || skip_all "needs /etc/$i"
		mount --bind "$tmp/$i" "/etc/$i"
	done
	: >"$tmp/names"
	spawn dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --pid-file --user=root \
		--listen-address=127.0.0.1 --bind-interfaces --addn-hosts="$tmp/names" --local-ttl=60 --local=/example/test/ \
		--cname=alias.example,good.example --log-queries --log-facility=- --no-ident >"$tmp/dnsmasq.log" 2>&1
	dnsmasq_pid=$!
	wait_for 10 udp_bound 53
}

names_are() {
	local last="t$RANDOM$RANDOM.test"

	printf '%s\n' "$@" "127.1.1.1 $last" >"$tmp/names"
	kill -HUP "$dnsmasq_pid"
	wait_for 10 resolver_has "$last"
}

resolver_has() {
	getent hosts "$1"
}

serve_net() {
	[ -e "$tmp/net.pem" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
		-keyout "$tmp/net.key" -out "$tmp/net.pem" -subj /CN=net \
		-addext "subjectAltName=DNS:good.example,DNS:both.example,DNS:git.example,DNS:*.test.example" 2>/dev/null || return
	spawn in_net python3 "$e2e/egress-net.py" "$tmp/www" "$tmp/net.pem" "$tmp/net.key" "$tmp/web.log" ${git_root:+"$git_root"} \
		>"$tmp/net.out" 2>"$tmp/net.log"
	net_pid=$!
	wait_for 10 grep -q ready "$tmp/net.out"
}

egress_is_up() {
	[ "$(grep -c "^Taking" "$tmp/egress.out")" = "${egress_places:-4}" ]
}

egress_start() {
	egress_options=("$@")
	egress_again
}

egress_again() {
	spawn vzfwd egress "${egress_pod:-$guest_endpoint}" --events "$tmp/events" "${egress_options[@]}" \
		>"$tmp/egress.out" 2>"$tmp/egress.log"
	egress_pid=$!
	wait_for 15 egress_is_up && return
	fail "vzfwd egress has not started"
	diag <"$tmp/egress.log"
	exit 1
}

# Denials so far: "TARGET NAME RULE" each, with - where there is no name.
denials() {
	sed -nE '/"event":"denied"/ s/.*"target":"([^"]*)"(,"name":"([^"]*)")?,"id".*"rule":"([^"]*)".*/\1 \3 \4/p' \
		"$tmp/events" 2>/dev/null | sed 's/  / - /'
}

more_denials() {
	[ "$(denials | wc -l)" -gt "$1" ]
}

denies() {
	local name=$1 want=$2 before

	shift 2
	before=$(denials | wc -l)
	not_ok "$name: fails" "$@"
	wait_for 5 more_denials "$before"
	is "$(denials | tail -n +$((before + 1)))" "$want" "$name: one denial"
}

gets() {
	local url=$1 file=$2 name=$3

	shift 3
	rm -f "$tmp/got"
	ok "$name" in_egress curl -sSf --max-time 20 -o "$tmp/got" "$@" "$url"
	same "$tmp/got" "$file" "$name: every byte"
}

client() {
	in_egress python3 "$e2e/pod-client.py" "$@"
}
