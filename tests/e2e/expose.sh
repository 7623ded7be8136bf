#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd expose`: what pods reach by it and what not, by which addresses and sockets; what it says and how it
# fails; events and status.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/exposing.sh"
requires socat

echo_at 127.0.0.1:7000 127.0.0.1:7001 '[::1]:7006'
spawn python3 "$here/target.py" "$tmp/seen" 7002=say:db,shut 7003=say:cache,shut 7004=read:1,reset "$tmp/service.sock=echo,shut"
wait_for 10 tcp_listens 7004
guest_start "$pod" --allow-expose
vzfwd pod add web "$guest_endpoint"

# What there is, and no more

expose_start web 7000 7010:7001 7005 db:5432:127.0.0.1:7002 "cache=192.168.127.253:5432:localhost:7003" 7006
wait_for 10 has_lines "$tmp/expose.out" Exposing 6
is "$(sort "$tmp/expose.out")" "Exposing 192.168.127.253:5432 -> localhost:7003
Exposing 192.168.127.254:5432 -> 127.0.0.1:7002
Exposing 192.168.127.254:7000 -> localhost:7000
Exposing 192.168.127.254:7005 -> localhost:7005
Exposing 192.168.127.254:7006 -> localhost:7006
Exposing 192.168.127.254:7010 -> localhost:7001" "what it says"
ok "the alias address is there" alias_there
ok "bytes both ways" client "$alias:7000" echo:3000000 eof expect-eof
ok "another port" client "$alias:7010" echo:1000 eof expect-eof
ok "localhost is ::1, too" client "$alias:7006" echo:1000 eof expect-eof
ok "one address" client "$alias:5432" expect:db expect-eof close
ok "another address" client 192.168.127.253:5432 expect:cache expect-eof close
ok "a service that nobody has: the client is reset" client "$alias:7005" expect-reset
like "$(cat "$tmp/expose.log")" "^vzfwd: web<localhost:7005 #[0-9]+: 127.0.0.1:7005: connection refused.*$" \
	"and that is told"
not_ok "what is not named is not there" client "$alias:7001" close
not_ok "nor is it on the pod's loopback" client 127.0.0.1:7000 close
is "$(lines "$tmp/expose.out" '^Handling connection for 7000$')" 1 "each client is told"

# Nothing leads back

fails_dial() { # ERE NAME ARGUMENT...
	run vzfwd dial web "${@:3}"
	is "$status" 77 "$2: denied"
	like "$(cat "$tmp/err")" "$1" "$2: why"
}
fails_dial "192.168.127.254:7000 is an address of vzfwd's own" "a dial to it" tcp "$alias:7000"
fails_dial "192.168.127.254:99 is an address of vzfwd's own" "a dial to another port" tcp "$alias:99"

# Who asks what listens in the pod

spawn in_pod "$pod" socat TCP-LISTEN:81,fork PIPE
wait_for 5 tcp_listens 81 "$pod"
is "$(vzfwd ports --json web | grep -o '"port": *[0-9]*' | tr -dc '0-9\n')" 81 "ports: the pod's own are shown, and no more"
spawn vzfwd ports --watch web >"$tmp/watched"
watch_pid=$!
wait_for 5 grep -q 81 "$tmp/watched"
stop "$expose_pid"
expose_start --on-loopback web 7000
wait_for 5 tcp_listens 7000 "$pod"
spawn in_pod "$pod" socat TCP-LISTEN:82,fork PIPE
ok "ports --watch: sees the pod's own" wait_for 5 grep -q 82 "$tmp/watched"
is "$(grep -c 7000 "$tmp/watched")" 0 "ports --watch: and no more"
stop "$watch_pid"

# --on-loopback

wait_for 5 has_lines "$tmp/expose.out" Exposing 2
is "$(sort "$tmp/expose.out")" "Exposing 192.168.127.254:7000 -> localhost:7000
Exposing localhost:7000 -> localhost:7000" "--on-loopback"
for host in "$alias" 127.0.0.1 '[::1]'; do
	ok "--on-loopback: $host" client "$host:7000" echo:1000 eof expect-eof
done
fails_dial "localhost:7000 is an address of vzfwd's own" "--on-loopback: a dial to it" tcp :7000
fails_dial "127.0.0.1:7000 is an address of vzfwd's own" "--on-loopback: by address" tcp 127.0.0.1:7000
is "$(exit_of vzfwd dial web udp :7000 --udp-idle 0.05)" 0 "--on-loopback: not to what has the same number"
stop "$expose_pid"

# --alias-ip

expose_start --alias-ip fd00::7 web 7000
is "$(cat "$tmp/expose.out")" "Exposing [fd00::7]:7000 -> localhost:7000" "--alias-ip: IPv6"
ok "--alias-ip: IPv6: works" client '[fd00::7]:7000' echo:1000 eof expect-eof
stop "$expose_pid"
ok "--alias-ip: is taken off" no_alias "$pod" fd00::7
ip -n "$pod" addr add 10.1.2.3/32 dev lo
expose_start web 10.1.2.3:7000
ok "an address of the pod's own" client 10.1.2.3:7000 echo:1000 eof expect-eof
stop "$expose_pid"
ok "an address of the pod's own stays" alias_there "$pod" 10.1.2.3

# Unix sockets

expose_start web "7000:unix:$tmp/service.sock" "7001:unix:$tmp/nobody.sock"
wait_for 5 has_lines "$tmp/expose.out" Exposing 2
ok "to a Unix socket" client "$alias:7000" echo:100000 eof expect-eof
ok "to one where nobody is" client "$alias:7001" expect-reset
ok "which is told" wait_for 5 has_lines "$tmp/expose.log" "unix:$tmp/nobody.sock: connection refused" 1
stop "$expose_pid"

# Events and status

picked() { # FILE EXPRESSION
	python3 -c 'import json, sys
all = [json.loads(line) for line in open(sys.argv[1])]
print(eval(sys.argv[2]))' "$@"
}
expose_start --events "$tmp/events" web 7000 7005 7004
wait_for 5 has_lines "$tmp/expose.out" Exposing 3
is "$(picked "$tmp/events" 'sorted([e[k] for k in ("event", "pod", "forward", "target", "listeners")] for e in all)[0]')" \
	"['listening', 'web', '192.168.127.254:7000', 'localhost:7000', ['192.168.127.254:7000']]" "events: it listens"
client "$alias:7000" echo:12345 eof expect-eof
client "$alias:7005" expect-reset
client "$alias:7004" send:x expect-reset
ok "events: three connections" wait_for 5 has_lines "$tmp/events" '"(closed|failed)"' 3
is "$(picked "$tmp/events" '[[e.get(k) for k in ("event", "id", "reason", "bytesIn", "bytesOut")] for e in all if e["event"] not in ("listening",)]')" \
	"[['opened', 1, None, None, None], ['closed', 1, 'eof', 12345, 12345], ['failed', 2, 'refused', None, None], ['opened', 3, None, None, None], ['closed', 3, 'reset', 0, 1]]" \
	"events: what became of them"
like "$(picked "$tmp/events" '[e["client"] for e in all if e["event"] == "opened"][0]')" "^192.168.127.254:[0-9]+$" "events: who it was"
is "$(vzfwd status --json | python3 -c 'import json, sys
for e in sorted(json.load(sys.stdin), key=lambda e: e["listen"]):
    print([e[k] for k in ("listen", "listeners", "pod", "network", "target", "exposed", "connections", "total", "failed", "failures", "bytesIn", "bytesOut")], e["process"]["command"])')" \
	"['192.168.127.254:7000', ['192.168.127.254:7000'], 'web', 'tcp', 'localhost:7000', True, 0, 1, 0, {}, 12345, 12345] expose
['192.168.127.254:7004', ['192.168.127.254:7004'], 'web', 'tcp', 'localhost:7004', True, 0, 1, 0, {}, 0, 1] expose
['192.168.127.254:7005', ['192.168.127.254:7005'], 'web', 'tcp', 'localhost:7005', True, 0, 1, 1, {'refused': 1}, 0, 0] expose" "status"
stop "$expose_pid"
ok "events: it has stopped" has_lines "$tmp/events" '"stopped"' 3

# What is wrong

fails 64 "which POD[?] See .*" "no POD"
fails 64 "which PORT[?] See .*" "no PORT" web
fails 64 "expose 0: a port must be .*" "port 0" web 0
fails 64 "expose -x:80: \"-x\" is neither .*" "a name that is none" web -- -x:80
fails 64 "expose localhost:80: .*" "localhost as a name" web localhost:80
fails 64 "expose 80:example.com:80: the service's host must be an IP address or localhost, got example.com" "a service by name" \
	web 80:example.com:80
fails 64 "80 and db:80:pod:db:80 are the same place in the pod.*" "twice the same" web 80 db:80:pod:db:80
fails 64 "--park is more than --park-max" "--park" --park 5 --park-max 4 web 80
fails 64 "--alias-ip must be an IP address, got \"x\"" "--alias-ip" --alias-ip x web 80
fails 64 ".*listen must be one address of the pod, not all of them" "all addresses" web 0.0.0.0:80
fails 66 ".*no pod nosuch.*" "an unknown pod" nosuch 80
fails 69 ".*" "nobody is there" "unix://$tmp/nobody.sock" 80
fails 73 ".*cannot listen on 192.168.127.254:81 in the pod: address already in use" "in use in the pod" web 81
ok "in use in the pod: the alias address is gone again" wait_for 2 no_alias
guest_start "$pod"
fails 77 ".*not allowed by vzfwd-guest; see --allow-expose" "not allowed" "$guest_endpoint" 80
gone=$(pod_new)
guest_start "$gone" --allow-expose
ip netns del "$gone"
fails 78 ".*" "the pod has gone" "$guest_endpoint" 80
is "$(exit_of vzfwd-guest --stdio --allow-expose)" 64 "the guest: not with --stdio"
done_testing
