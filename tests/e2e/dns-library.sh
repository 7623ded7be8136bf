#!/bin/bash
# SPDX-License-Identifier: MIT
# The DNS library between real resolvers: dig, glibc and musl ask it, it asks dnsmasq, one that is gone, and one that lies.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 dig dnsmasq getent
serve=${abs_top_builddir:-}/tests/e2e/dns-serve
[ -x "$serve" ] || skip_all "needs $serve"
here=$(dirname "$0")

long=$(printf 'x%.0s' {1..250})
many=()
for i in {1..120}; do
	many+=(--host-record="many.example,10.2.0.$i")
done
dnsmasq_start() {
	spawn dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --pid-file --user=root \
		--listen-address=127.0.0.2 --bind-interfaces --edns-packet-max=4096 --local-ttl=77 \
		--host-record=a.example,10.2.0.1,fd02::1 --host-record=v4.example,10.2.0.2 --cname=alias.example,a.example \
		--txt-record=long.example,"$long,$long,$long,$long,$long,$long,$long,$long" "${many[@]}" \
		--local=/example/ --no-ident >>"$tmp/dnsmasq.log" 2>&1
	dnsmasq_pid=$!
	wait_for 10 udp_bound 53
}
dnsmasq_start

echo "nameserver 127.0.0.2" >"$tmp/upstream.conf"
spawn "$serve" 127.0.0.1 "$tmp/upstream.conf" bad.example \
	corp.test=10.1.0.1,web=10.1.0.2,web=fd01::2,four=10.1.0.4,ttl=33 "closed.test,a=10.1.0.5" \
	+host.vz.internal=192.168.127.254 >"$tmp/resolved.log" 2>"$tmp/serve.log"
serve_pid=$!
wait_for 10 tcp_listens 53

# What dig says: status, flags and numbers of answers and authorities in one line, then the records' data.
asked() {
	dig @127.0.0.1 +tries=1 +time=10 +nocookie "$@" >"$tmp/dig.out" 2>&1 ||
		echo "dig: $?"
	sed -nE 's/^;; ->>HEADER<<- opcode: [A-Z]*, status: ([A-Z]*),.*/\1/p; s/^;; flags: ([a-z ]*); QUERY: 1, ANSWER: ([0-9]*), AUTHORITY: ([0-9]*).*/\1 \2 \3/p' \
		"$tmp/dig.out" | paste -sd' '
	grep -v '^;' "$tmp/dig.out" | awk 'NF > 4 && $4 != "SOA" { print $2, $4, $5 }' | sort
}

for options in "" +tcp +noedns "+tcp +noedns" +bufsize=1232 +dnssec; do
	# shellcheck disable=SC2086 # several words, or none
	{
		is "$(asked $options web.corp.test)" "NOERROR qr aa rd ra 1 0"$'\n'"33 A 10.1.0.2" "dig $options: ours"
		is "$(asked $options WEB.corp.test AAAA)" "NOERROR qr aa rd ra 1 0"$'\n'"33 AAAA fd01::2" "dig $options: ours, AAAA"
		is "$(asked $options four.corp.test AAAA)" "NOERROR qr aa rd ra 0 1" "dig $options: no AAAA"
		is "$(asked $options a.b.corp.test)" "NOERROR qr aa rd ra 1 0"$'\n'"33 A 10.1.0.1" "dig $options: the default"
		is "$(asked $options no.closed.test)" "NXDOMAIN qr aa rd ra 0 1" "dig $options: no such name"
		is "$(asked $options host.vz.internal)" "NOERROR qr aa rd ra 1 0"$'\n'"60 A 192.168.127.254" "dig $options: the host"
		is "$(asked $options host.vz.internal AAAA)" "NOERROR qr aa rd ra 0 1" "dig $options: the host has no AAAA"
		like "$(asked $options a.example)" "^NOERROR qr (aa )?rd ra (ad )?1 0"$'\n'"77 A 10.2.0.1$" "dig $options: a resolver's"
		like "$(asked $options no.example)" "^NXDOMAIN " "dig $options: a resolver's NXDOMAIN"
		is "$(asked $options bad.example)" "REFUSED qr rd ra 0 0" "dig $options: what is not allowed"
	}
done
is "$(grep -c 'EDNS: version: 0, flags: do;' "$tmp/dig.out")" 1 "DO comes back"
is "$(asked +noadflag +edns=1 +noednsneg web.corp.test)" "BADVERS qr rd ra 0 0" "another version of EDNS"
is "$(asked -x 10.1.0.2)" "NOERROR qr aa rd ra 1 0"$'\n'"33 PTR web.corp.test." "an address' name"
is "$(asked -x fd01::2)" "NOERROR qr aa rd ra 1 0"$'\n'"33 PTR web.corp.test." "an IPv6 address' name"
is "$(asked +notcp web.corp.test ANY)" "NOERROR qr aa rd ra 1 0"$'\n'"33 HINFO \"RFC8482\"" "ANY"
is "$(asked version.bind CH TXT)" "REFUSED qr rd ra 0 0" "version.bind"
like "$(asked +opcode=NOTIFY corp.test SOA)" "^NOTIMP" "NOTIFY"
asked corp.test AXFR >/dev/null
ok "AXFR" grep -q 'Transfer failed' "$tmp/dig.out"

like "$(asked +ignore +noedns many.example | head -n 1)" "^NOERROR qr aa tc rd ra [0-9]+ 0" "what does not fit is cut"
for options in "" +tcp; do
	# shellcheck disable=SC2086
	is "$(dig @127.0.0.1 +tries=1 +time=10 +short $options many.example | sort -u | wc -l)" 120 "dig $options: all of many"
	# shellcheck disable=SC2086
	is "$(dig @127.0.0.1 +tries=1 +time=10 +short +noedns $options long.example TXT | tr -d ' "\n' | sha256sum)" \
		"$(printf '%s' "$long$long$long$long$long$long$long$long" | sha256sum)" "dig $options: 2,000 bytes"
done
dig @127.0.0.1 +tries=1 +time=10 +short alias.example >"$tmp/out"
is "$(cat "$tmp/out")" "a.example."$'\n'"10.2.0.1" "an alias"
ok "the hook has it under the name that was asked for" grep -qx "alias.example 77 10.2.0.1" "$tmp/resolved.log"
for i in {1..300}; do
	echo "n$i.corp.test"
	echo "v4.example"
done >"$tmp/names"
is "$(dig @127.0.0.1 +tries=2 +time=10 +short -f "$tmp/names" | sort | uniq -c | tr -s ' ')" \
	" 300 10.1.0.1"$'\n'" 300 10.2.0.2" "600 questions"
is "$(dig @127.0.0.1 +tries=1 +time=10 +tcp +keepopen +short -f "$tmp/names" | sort | uniq -c | tr -s ' ')" \
	" 300 10.1.0.1"$'\n'" 300 10.2.0.2" "600 questions on one connection"

# glibc and musl, by the file that both read.
echo "nameserver 127.0.0.1" >"$tmp/resolv.conf"
echo "hosts: files dns" >"$tmp/nsswitch.conf"
: >"$tmp/hosts"
for file in resolv.conf nsswitch.conf hosts; do
	[ -e "/etc/$file" ] || skip_all "needs /etc/$file"
	mount --bind "$tmp/$file" "/etc/$file"
done
is "$(getent ahosts web.corp.test | awk '$2 == "STREAM" { print $1 }' | sort)" "10.1.0.2"$'\n'"fd01::2" "getent: ours"
is "$(getent hosts 10.1.0.2 | tr -s ' ')" "10.1.0.2 web.corp.test" "getent: an address' name"
check_client() {
	local name=$1 client=$2

	is "$("$client" web.corp.test)" "10.1.0.2 fd01::2" "$name: ours"
	is "$("$client" host.vz.internal)" "192.168.127.254" "$name: the host"
	is "$("$client" a.example)" "10.2.0.1 fd02::1" "$name: a resolver's"
	is "$("$client" alias.example)" "10.2.0.1 fd02::1" "$name: an alias"
	is "$("$client" no.closed.test)" "no such name" "$name: no such name"
	is "$("$client" no.example)" "no such name" "$name: no such name at the resolver"
}
if command -v gcc >/dev/null; then
	ok "a client with glibc" gcc -o "$tmp/glibc" "$here/dns-client.c"
	check_client glibc "$tmp/glibc"
	is "$("$tmp/glibc" many.example | wc -w)" 120 "glibc: many"
else
	skip "needs gcc" glibc
fi
if command -v musl-gcc >/dev/null; then
	ok "a client with musl" musl-gcc -static -o "$tmp/musl" "$here/dns-client.c"
	check_client musl "$tmp/musl"
	ok "musl: many, or as many as fit" test "$("$tmp/musl" many.example | wc -w)" -ge 24
else
	skip "needs musl-gcc" musl
fi

# Milliseconds that a command takes; its output is in $tmp/timed.
timed() {
	local start=${EPOCHREALTIME/./}

	"$@" >"$tmp/timed"
	echo $(((${EPOCHREALTIME/./} - start) / 1000))
}

stop "$dnsmasq_pid"
ms=$(timed asked a.example)
like "$(cat "$tmp/timed")" "^SERVFAIL qr rd ra 0 0" "no resolver: SERVFAIL"
ok "at once: $ms ms" test "$ms" -lt $((2000 * VZFWD_TEST_SLOWNESS))
like "$(asked +tcp a.example)" "^SERVFAIL qr rd ra 0 0" "over TCP too"
like "$(asked web.corp.test)" "^NOERROR" "ours is there all the same"
dnsmasq_start
like "$(asked a.example)" "^NOERROR" "a resolver that is there again"
kill -STOP "$dnsmasq_pid"
ms=$(timed asked b.example)
like "$(cat "$tmp/timed")" "^SERVFAIL qr rd ra 0 0" "one that does not answer: SERVFAIL"
ok "within what a client waits for: $ms ms" test "$ms" -lt 5000 -a "$ms" -gt 3000
kill -CONT "$dnsmasq_pid"

spawn python3 "$here/dns-upstream.py" 127.0.0.3 >"$tmp/upstream.log" 2>&1
wait_for 10 tcp_listens 53
wait_for 10 grep -q 0300007F:0035 /proc/net/udp
echo "nameserver 127.0.0.3" >"$tmp/upstream.conf"
is "$(asked forged.test | tail -n 1)" "30 A 10.9.0.1" "forged answers are not believed"
is "$(asked slow.test | tail -n 1)" "30 A 10.9.0.1" "a slow one is waited for"
is "$(asked +ignore cut.test | head -n 1)" "NOERROR qr tc rd ra 1 0" "one that is cut is passed on so"
is "$(asked cut.test | tail -n 1)" "30 A 10.9.0.1" "and the client asks again over TCP"
is "$(asked +tcp a.test | tail -n 1)" "30 A 10.9.0.1" "over TCP, byte by byte"
like "$(asked +tcp forged.test)" "^SERVFAIL" "over TCP, with another ID"
like "$(asked +tcp closed.test2)" "^SERVFAIL" "over TCP, closed without an answer"
is "$(asked silent.test)" "SERVFAIL qr rd ra 0 0" "silence"
printf 'nameserver 127.0.0.4\nnameserver 127.0.0.3\n' >"$tmp/upstream.conf"
is "$(asked a.test | tail -n 1)" "30 A 10.9.0.1" "a nameserver that is gone is passed over"
not_ok "no forged address got through" grep -q '10\.6\.6\.6' "$tmp/resolved.log"

not_ok "the server is still there" gone "$serve_pid"
ok "with no descriptor left behind" wait_for 10 eval "[ \$(fds_of $serve_pid) -lt 16 ]"
is "$(cat "$tmp/serve.log")" "" "it had nothing to complain of"
done_testing
