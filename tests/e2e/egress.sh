#!/bin/bash
# SPDX-License-Identifier: MIT
# What `vzfwd egress` lets go where: names, addresses, ports, TLS, DNS, and what it says of what it denies.
. "$(dirname "$0")/../functions.sh"
requires_root
requires openssl dig getent
. "$(dirname "$0")/egressing.sh"

egress_net
for i in {1..9}; do
	mkdir -p "$tmp/www/1.1.1.$i" "$tmp/www/2a00::$i"
	head -c 20000 /dev/urandom >"$tmp/www/1.1.1.$i/page"
	head -c 20000 /dev/urandom >"$tmp/www/2a00::$i/page"
done
page() {
	echo "$tmp/www/$1/page"
}
serve_net
names_are "1.1.1.1 good.example" "1.1.1.2 bad.example" "1.1.1.3 a.sub.example" "1.1.1.4 sub.example" \
	"1.1.1.5 both.example" "2a00::5 both.example" "2a00::6 six.example" "127.0.0.1 inside.example" \
	"10.9.0.3 private.example" "1.1.1.7 denied.sub.example" "1.1.1.8 moved.example" "1.1.1.8 late.example" "1.1.1.1 shared.example" \
	"1.1.1.3 shared.sub.example"
cat >"$tmp/policy.json" <<'END'
{ "allow": ["good.example", "*.sub.example:80", "both.example", "six.example", "inside.example",
	"private.example", "moved.example", "late.example/udp", "1.1.1.9/32:8080-8081", "1.1.1.6/32/udp", "[2a00::6]/udp", "[2a00::7]:80", "alias.example",
	"1.1.1.4", "many.example"],
  "deny": ["denied.sub.example", "1.1.1.9:8081"] }
END
guest_start "$pod" --allow-egress --allow-expose
egress_start --policy "$tmp/policy.json" --allow "alone.test" --deny "1.1.1.6/32:9/udp"
tls=(--cacert "$tmp/net.pem")

is "$(sort "$tmp/egress.out" | paste -sd' ')" \
	"Taking $alias_ip:53 Taking $alias_ip:53/udp Taking egress Taking egress/udp" "what it takes"

# By name.
gets http://good.example/page "$(page 1.1.1.1)" "a name"
gets http://good.example:8080/page "$(page 1.1.1.1)" "another port, where nothing is peeked at"
gets http://a.sub.example/page "$(page 1.1.1.3)" "a suffix"
gets https://good.example/page "$(page 1.1.1.1)" "TLS" "${tls[@]}"
gets https://good.example:8443/page "$(page 1.1.1.1)" "TLS on another port" "${tls[@]}"
gets http://alias.example/page "$(page 1.1.1.1)" "an alias of DNS"
gets http://GOOD.Example./page "$(page 1.1.1.1)" "a name in another form"
gets http://both.example/page "$(page 1.1.1.5)" "IPv4 of two" -4
gets http://both.example/page "$(page 2a00::5)" "IPv6 of two" -6
gets http://six.example/page "$(page 2a00::6)" "IPv6 alone"
gets "http://[2a00::7]/page" "$(page 2a00::7)" "an IPv6 address"
in_egress openssl s_client -connect good.example:443 -servername good.example -CAfile "$tmp/net.pem" \
	-verify_return_error <<<$'GET /page HTTP/1.0\r\n\r' >"$tmp/s_client" 2>&1
ok "openssl s_client" grep -q "Verify return code: 0" "$tmp/s_client"

# By address, with ports and networks.
gets http://1.1.1.9:8080/page "$(page 1.1.1.9)" "a range of ports"
ip -n "$pod" addr add 10.6.6.6/32 dev lo
from_new() {
	in_egress curl -sS --max-time 10 --interface 10.6.6.6 http://1.1.1.9:8080/page | cmp - "$(page 1.1.1.9)"
}
ok "from an address that the pod gets later" wait_for 10 from_new
ip -n "$pod" addr del 10.6.6.6/32 dev lo
udp() {
	in_egress python3 "$e2e/egress-udp.py" "$@"
}
ok "udp" udp echo 1.1.1.6:7 1 100 1400
for where in 1.1.1.6:7 "[2a00::6]:7"; do
	ok "from a pod's socket that has that port itself: $where" udp same-port "$where"
done
spawn nsenter --net="/run/netns/$pod" -- python3 -c "import socket, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(('127.0.0.1', 7777))
time.sleep(3600)"
wait_for 10 udp_bound 7777 "$pod"
is "$(vzfwd ports --json "$guest_endpoint" | grep -o '"port": *[0-9]*' | tr -dc '0-9\n' | paste -sd' ')" 7777 \
	"its flows are no ports of the pod"
stop $!
spawn vzfwd expose --alias-ip 1.1.1.6 "$guest_endpoint" 9 >"$tmp/alias.out" 2>&1
alias_pid=$!
wait_for 10 grep -q Exposing "$tmp/alias.out"
ok "an alias at that address" grep -qF 1.1.1.6 <<<"$(ip -n "$pod" address show dev lo)"
stop "$alias_pid"
no_alias() {
	! ip -n "$pod" address show dev lo | grep -qF 1.1.1.6
}
ok "which goes again, though there are flows to it" wait_for 5 no_alias
for where in 1.1.1.6:7 "[2a00::6]:7"; do
	ok "a flow ends when the client is not there for the answer: $where" udp gone "$where" "$tmp/events" "$egress_pid"
done
denies "udp, denied before it is allowed" "1.1.1.6:9 - 1.1.1.6/32:9/udp" udp silent 1.1.1.6:9
# Those that are held are no more than some.
held=$(fds_of "$egress_pid")
before=$(grep -c '"denied"' "$tmp/events")
udp flood 600 1.1.1.8:9
all_denied() {
	[ "$(($(grep -c '"denied"' "$tmp/events") - before))" -ge 500 ]
}
ok "hundreds of flows are denied" wait_for 20 all_denied
ok "and not all of them held" [ "$(($(fds_of "$egress_pid") - held))" -lt 200 ]
ok "nor in the way of others" udp echo 1.1.1.6:7 100
for where in 1.1.1.8:7 "[2a00::8]:7"; do
	ok "a flow is denied once, whatever it sends: $where" udp denied 20 "$where" "$tmp/events" 1.1.1.6:7
done
ok "and goes when its destination has got a name" udp forgiven 1.1.1.8:7 "$tmp/events" getent hosts late.example
denies "the next port" "1.1.1.9:8082 - default" client 1.1.1.9:8082 expect-eof
denies "a deny goes before an allow" "1.1.1.9:8081 - 1.1.1.9:8081" client 1.1.1.9:8081 expect-eof
denies "tcp is not udp" "1.1.1.6:7 - default" client 1.1.1.6:7 expect-eof
denies "udp is not tcp" "1.1.1.9:7 - default" udp silent 1.1.1.9:7
denies "the default" "1.1.1.2:8080 - default" client 1.1.1.2:8080 expect-eof
ok "and it is a reset" client 1.1.1.2:8080 expect-reset
denies "IPv6 too" "[2a00::8]:8080 - default" client "[2a00::8]:8080" expect-eof
denies "a suffix's port" "1.1.1.3:8080 a.sub.example default" in_egress curl -sS --max-time 10 http://a.sub.example:8080/
denies "a name that is denied below a suffix" "1.1.1.7:80 denied.sub.example denied.sub.example" \
	in_egress curl -sS --max-time 10 -H "Host: denied.sub.example" http://1.1.1.7/

# Special addresses have to be named, whatever names lead there.
denies "loopback by name" "10.9.0.1:80 - default" client 10.9.0.1:80 expect-eof
denies "private by name" "10.9.0.3:80 private.example default" in_egress curl -sS --max-time 10 http://private.example/
denies "metadata" "169.254.169.254:80 - default" client 169.254.169.254:80 expect-eof
spawn python3 "$e2e/http-server.py" 127.0.0.1 80 "$tmp/www/1.1.1.1" 2>/dev/null
wait_for 10 tcp_listens 80
is "$(in_egress curl -sS --max-time 10 http://inside.example/page 2>/dev/null)" "" "a name for loopback is the pod's own, and nobody there"

# What is peeked at has to be what was resolved.
host_at() {
	in_egress curl -sS --max-time 10 -H "Host: $1" "http://$2/page"
}
denies "another Host" "1.1.1.1:80 bad.example default" host_at bad.example 1.1.1.1
denies "the right Host elsewhere" "1.1.1.2:80 good.example default" host_at good.example 1.1.1.2
denies "two names, of which one is allowed" "1.1.1.1:80 shared.example default" host_at shared.example 1.1.1.1
denies "no Host" "1.1.1.1:80 - default" client 1.1.1.1:80 $'send:GET / HTTP/1.0\r\n\r\n' expect-eof
denies "two of them" "1.1.1.1:80 - default" \
	client 1.1.1.1:80 $'send:GET / HTTP/1.1\r\nHost: good.example\r\nHost: bad.example\r\n\r\n' expect-eof
denies "no protocol that is known" "1.1.1.1:443 - default" client 1.1.1.1:443 $'send:SSH-2.0-x\r\n' expect-eof
sni_at() {
	in_egress curl -sS --max-time 10 "${tls[@]}" --connect-to "$1:443:$2:443" "https://$1/page"
}
denies "another SNI" "1.1.1.1:443 bad.example default" sni_at bad.example 1.1.1.1
denies "the right SNI elsewhere" "1.1.1.2:443 good.example default" sni_at good.example 1.1.1.2
denies "no SNI" "1.1.1.1:443 - default" in_egress curl -sSk --max-time 10 https://1.1.1.1/page
# A name that is denied at an address that is allowed: there is no waiting until nobody looks any more.
denies "a name that is denied" "1.1.1.4:80 denied.sub.example denied.sub.example" host_at denied.sub.example 1.1.1.4
gets http://1.1.1.4/page "$(page 1.1.1.4)" "none"
denies "a head that stops in its midst" "1.1.1.4:80 - default" \
	client 1.1.1.4:80 $'send:GET / HTTP/1.1\r\nHost: denied.su' expect-eof
ok "one that comes in pieces" client 1.1.1.1:80 $'send:GET /page HTTP/1.1\r\nHo' "touch:$tmp/piece" \
	$'send:st: good.example\r\n\r\n' "expect:HTTP/1.1 200 OK"
not_ok "nothing of the denied has arrived" grep -vE \
	'^(1.1.1.1:(80|443|8080|8443) (good|alias).example\.?(:[0-9]+)?|1.1.1.1:80 GOOD.Example\.|1.1.1.3:80 a.sub.example|(1.1.1.5|2a00::5):80 both.example|2a00::6:80 six.example|2a00::7:80 .*|1.1.1.9:8080 1.1.1.9:8080|(1.1.1.[68]|2a00::6):7/udp [0-9]+|1.1.1.4:80 1.1.1.4)$' \
	"$tmp/web.log"

# DNS through us.
asked() {
	in_egress dig +tries=1 +time=10 +nocookie "@$alias_ip" "$@" | sed -nE 's/.*status: ([A-Z]*),.*/\1/p; /^[^;]/ s/.*[[:space:]]//p' | paste -sd' '
}
is "$(asked good.example)" "NOERROR 1.1.1.1" "dig"
is "$(asked +tcp good.example)" "NOERROR 1.1.1.1" "dig, TCP"
# 40 questions (more than are asked at a time) and the end right behind them: the addresses that come back, and how often.
half_closed() {
	in_egress python3 -c '
import collections, socket, struct, sys

def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"

queries = [struct.pack(">6H", i, 0x100, 1, 0, 0, 0) + name(sys.argv[2]) + struct.pack(">2H", 1, 1) for i in range(40)]
sock = socket.create_connection((sys.argv[1], 53))
sock.sendall(b"".join(struct.pack(">H", len(query)) + query for query in queries))
sock.shutdown(socket.SHUT_WR)
data = b"".join(iter(lambda: sock.recv(65536), b""))
seen, ids = collections.Counter(), set()
while data:
    size, number = struct.unpack(">HH", data[:4])
    ids.add(number)
    seen[socket.inet_ntoa(data[size - 2:size + 2])] += 1
    data = data[size + 2:]
print(len(ids), *("%s*%d" % item for item in seen.items()))' "$alias_ip" "$1"
}
is "$(half_closed good.example)" "40 1.1.1.1*40" "TCP, half-closed behind the questions"
is "$(half_closed host.vz.internal)" "40 $alias_ip*40" "and of a zone of ours"
is "$(asked both.example AAAA)" "NOERROR 2a00::5" "dig, AAAA"
is "$(asked bad.example)" "REFUSED" "dig: a name that no rule has"
is "$(asked +tcp denied.sub.example)" "REFUSED" "dig: one that is denied"
not_ok "which the host's resolver was not asked for" grep -qE 'query\[[A-Z]*\] (bad|denied.sub)\.example from' "$tmp/dnsmasq.log"
is "$(in_egress getent ahostsv4 both.example | awk '$2 == "STREAM" { print $1 }')" "1.1.1.5" "getent"
is "$(in_egress getent hosts six.example | tr -s ' ')" "2a00::6 six.example" "getent, IPv6"
if command -v musl-gcc >/dev/null; then
	ok "a client with musl" musl-gcc -static -o "$tmp/musl" "$e2e/dns-client.c"
	is "$(in_egress "$tmp/musl" both.example)" "1.1.1.5 2a00::5" "musl"
else
	skip "needs musl-gcc" musl
fi

is "$(grep -c '"event":"denied".*"forward":"dns","name":"bad.example","id":[0-9]*,"rule":"default","reason":"denied"' "$tmp/events")" \
	1 "the event of a name that is refused"
ok "of one that is denied" grep -q '"forward":"dns","name":"denied.sub.example","id":[0-9]*,"rule":"denied.sub.example"' "$tmp/events"

# No name is rebound: what is connected to is what the client has, not what the name has become.
is "$(asked moved.example)" "NOERROR 1.1.1.8" "a name is known by an address"
names_are "1.1.1.1 good.example" "10.9.0.2 moved.example" "1.1.1.2 unseen.example"
is "$(asked moved.example)" "NOERROR 10.9.0.2" "and then by another"
gets http://moved.example/page "$(page 1.1.1.8)" "the first one goes on to be it" --resolve moved.example:80:1.1.1.8
denies "the other one is private" "10.9.0.2:80 moved.example default" in_egress curl -sS --max-time 10 http://moved.example/

# Addresses that a client has kept for longer than we have: a new process knows nothing.
stop "$egress_pid"
names_are "1.1.1.1 good.example" "1.1.1.2 bad.example" "1.1.1.1 alone.test" "2a00::5 both.example" \
	"1.1.1.8 many.example" 1.1.2.{1..80}" many.example"
egress_again
gets http://good.example/page "$(page 1.1.1.1)" "an address that was kept, by Host" --resolve good.example:80:1.1.1.1
gets https://both.example/page "$(page 2a00::5)" "and by SNI" "${tls[@]}" --resolve both.example:443:2a00::5
gets http://many.example/page "$(page 1.1.1.8)" "one of more addresses than a datagram has room for" --resolve many.example:80:1.1.1.8
denies "one that was never the name's" "1.1.1.2:80 good.example default" host_at good.example 1.1.1.2
denies "and without a name" "1.1.1.3:8080 - default" client 1.1.1.3:8080 expect-eof

# SIGHUP.
told() {
	grep -qE "policy.json$1; the rules are as they were" "$tmp/egress.log"
}
answers() {
	[ "$(asked "$1")" = "$2" ]
}
echo '{ "allow": ["good.example", 7] }' >"$tmp/policy.json"
kill -HUP "$egress_pid"
ok "a bad policy is told of" wait_for 5 told ":1:29: a rule must be a string"
gets http://good.example/page "$(page 1.1.1.1)" "and the old one stays"
rm "$tmp/policy.json"
kill -HUP "$egress_pid"
ok "so is a missing one" wait_for 5 told ": no such file or directory"
spawn client 1.1.1.1:8080 "touch:$tmp/open" "wait:$tmp/go" $'send:GET /page HTTP/1.0\r\n\r\n' "expect:HTTP/1.1 200 OK"
open_pid=$!
wait_for 10 test -e "$tmp/open"
echo '{ "allow": ["bad.example"] }' >"$tmp/policy.json"
kill -HUP "$egress_pid"
ok "a new one is applied" wait_for 5 answers bad.example "NOERROR 1.1.1.2"
gets http://bad.example/page "$(page 1.1.1.2)" "it allows"
is "$(asked good.example)" "REFUSED" "and it no longer does"
denies "not by address either" "1.1.1.1:8080 good.example default" client 1.1.1.1:8080 expect-eof
gets http://alone.test/page "$(page 1.1.1.1)" "--allow stays"
# shellcheck disable=SC2016 # sh expands it
ok "a flow that was denied goes when the rules allow it" udp forgiven 1.1.1.9:7 "$tmp/events" \
	sh -c 'echo "{ \"allow\": [\"1.1.1.9/32/udp\"] }" >"$1/policy.json" && kill -HUP "$2"' - "$tmp" "$egress_pid"
touch "$tmp/go"
wait "$open_pid"
is $? 0 "what was open goes on"

# An address that the host gets later is its own, and no rule with a range names it.
stop "$egress_pid"
egress_start --allow "*" --allow 1.1.1.0/24:8000-9000 --allow 1.1.1.0/24:7/udp
gets http://1.1.1.9:8080/page "$(page 1.1.1.9)" "an address of the Internet's"
ip addr add 1.1.1.9/32 dev lo
is_denied() {
	client 1.1.1.9:9000 expect-eof
	denials | grep -qx "1.1.1.9:9000 - default"
}
ok "that becomes the host's" wait_for 15 is_denied
ok "a flow to it goes when it is not any more" udp forgiven 1.1.1.9:7 "$tmp/events" nsenter -t $$ -n ip addr del 1.1.1.9/32 dev lo

is "$(vzfwd status --json | python3 -c 'import json, sys
for one in json.load(sys.stdin): print(one["listeners"], one["network"], one["total"] > 3)')" \
	"['egress', 'egress/udp'] tcp True" "status"
like "$(grep '"event":"denied"' "$tmp/events" | head -n 1)" \
	'^\{"time":"[^"]*","event":"denied","pod":"[^"]*","forward":"egress/udp","target":"1.1.1.6:9","id":[0-9]+,"client":"127.0.0.1:[0-9]+","rule":"1.1.1.6/32:9/udp","reason":"denied","message":"a rule denies the address","durationMs":[0-9]+\}$' \
	"the event"
like "$(grep '"event":"closed"' "$tmp/events" | head -n 1)" \
	'"forward":"egress","target":"1.1.1.1:80","name":"good.example","id":[0-9]+,"client":"127.0.0.1:[0-9]+","reason":"eof","bytesIn":2[0-9]{4},"bytesOut":[0-9]+,' \
	"and that of an end"
# What is denied has no place that others want.
stop "$egress_pid"
egress_start --max-connections 8 --allow 1.1.1.9/32
udp flood 40 1.1.1.8:9
ok "many flows are denied" wait_for 20 eval '[ "$(grep -c "\"denied\"" "$tmp/events")" -ge 30 ]'
gets http://1.1.1.9:8080/page "$(page 1.1.1.9)" "and what is allowed goes on"

# Without a resolver nobody knows what a name leads to.
stop "$egress_pid"
egress_start --allow alone.test
stop "$dnsmasq_pid"
denies "a name that can't be resolved" "1.1.1.1:80 alone.test default" host_at alone.test 1.1.1.1
like "$(grep '"denied"' "$tmp/events" | tail -n 1)" "\"message\":\"the name can't be resolved just now\"" "which is said"
done_testing
