#!/bin/bash
# SPDX-License-Identifier: MIT
# vzfwd-guest's limits, and whom and what it lets through: connections, descriptors, targets, tokens, users, peers.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/guest-dialing.sh"

# Connections, targets, capabilities.

guest_start "$pod" --max-connections 1 --allow 10.0.0.0/8:83-84
socket=$guest_socket
spawn dial '"handle":"x","network":"tcp","port":80' line "wait:$tmp/go" >"$tmp/held"
held=$!
wait_for 5 grep -q result "$tmp/held"
is "$(dial '"handle":"x","network":"tcp","port":80' line)" \
	"$(error -32006 '1 connections: no more until one ends' exhausted)" "--max-connections"
touch "$tmp/go"
wait "$held"
ok "one that ended makes room" wait_for 5 eval 'dial "\"handle\":\"x\",\"network\":\"tcp\",\"port\":80" line | grep result'
cases=(
	"$(wire "$socket" each pod.portDial '"handle":"x","network":"tcp","address":"10.9.0.1:83"')" 'ECONNREFUSED'
	"$(wire "$socket" each pod.portDial '"handle":"x","network":"tcp","address":"10.0.0.9:83"')" 'unreachable'
	"$(wire "$socket" each pod.portDial '"handle":"x","network":"tcp","address":"10.0.0.9:85"')" 'denied'
)
for ((i = 0; i < ${#cases[@]}; i += 2)); do
	like "${cases[i]}" "${cases[i + 1]}" "--allow: ${cases[i + 1]}"
done
caps=$(awk '/^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs)/ { printf "%s ", $2 }' "/proc/$guest_pid/status")
is "$caps" "0000000000000000 0000000000280004 0000000000280004 0000000000280004 0000000000000000 1 " \
	"SYS_ADMIN, SYS_PTRACE and DAC_READ_SEARCH are all that is left"
stop "$guest_pid"

# Out of descriptors: told to those who dial, the others wait; it neither spins nor dies.

socket=$tmp/small.sock
spawn bash -c 'ulimit -n 24; exec "$0" "$@"' "$VZFWD_GUEST" --listen "unix://$socket" \
	--pod-netns "/run/netns/$pod" --max-connections 100 >"$tmp/small.log" 2>&1
small=$!
wait_for 10 unix_listens "$socket"
cat >"$tmp/crowd.py" <<'EOF'
import os, select, socket, sys, time
request = b'{"jsonrpc":"2.0","id":1,"method":"pod.portDial","params":{"handle":"x","network":"tcp","port":80}}\n'
links = []
for i in range(30):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    links.append(s)
while len(os.listdir("/proc/%s/fd" % sys.argv[2])) < 24:
    time.sleep(0.02)
links[0].sendall(request)
print(links[0].recv(4096), flush=True)
while not os.path.exists(sys.argv[3]):
    time.sleep(0.02)
EOF
spawn python3 "$tmp/crowd.py" "$socket" "$small" "$tmp/crowd.go" >"$tmp/crowd.out"
crowd=$!
ok "no descriptor left: who dials is told" wait_for 10 grep -q '"reason":"exhausted","errno":"EMFILE"' "$tmp/crowd.out"
cpu=$(cpu_ms_of "$small")
python3 -c 'import time; time.sleep(1)' # the time in which it must not be busy
cpu=$(($(cpu_ms_of "$small") - cpu))
ok "and it does not spin: $cpu ms of CPU in 1 s" test "$cpu" -lt 200
touch "$tmp/crowd.go"
wait "$crowd"
ok "it recovers" wait_for 10 eval 'dial "\"handle\":\"x\",\"network\":\"tcp\",\"port\":80" line | grep result'
stop "$small"

# Tokens, users, peers.

umask 077
echo 0123456789abcdef0123 >"$tmp/token"
umask 022
guest_start "$pod" --netns "web=/run/netns/$pod" --token-file "$tmp/token" --user 1234
socket=$guest_socket
for token in '"other":1:missing' '"token":"0123456789abcdef012":wrong' '"token":"":wrong'; do
	is "$(wire "$socket" each pod.portDial "${token%:*},\"handle\":\"nothing\"")" \
		"$(error -32005 "pod.portDial: ${token##*:} token" denied)" "${token##*:} token"
done
is "$(wire "$socket" 'send:{"jsonrpc":"2.0","id":1,"method":"pod.ports","params":{"handle":"web"}}\n' line)" \
	"$(error -32005 "pod.ports: missing token" denied)" "pod.ports wants it too"
like "$(wire "$socket" "send:$info" line)" '"pods":\[\]' "guest.info tells no pods without"
like "$(wire "$socket" 'send:{"jsonrpc":"2.0","id":1,"method":"guest.info","params":{"token":"0123456789abcdef0123"}}\n' line)" \
	'"pods":\["web"\]' "and does with it"
like "$(dial '"token":"0123456789abcdef0123","handle":"web","network":"tcp","port":80' line)" '"result"' "the right token"
is "$(awk '/^[UG]id:/ { printf "%s ", $3 }' "/proc/$guest_pid/status")" "1234 1234 " "--user"
not_ok "the token is not in the log" grep -q 0123456789 "$guest_log"
is "$(stat -c %a "$socket")" 600 "the socket's mode"
chmod 666 "$socket"
chmod 755 "$tmp"
is "$(setpriv --reuid 33 --clear-groups socat -t 5 - "UNIX-CONNECT:$socket" <<<"${info%\\n}" 2>/dev/null)" "" "another user gets no answer"
like "$(setpriv --reuid 1234 --clear-groups socat -t 5 - "UNIX-CONNECT:$socket" <<<"${info%\\n}")" vzfwd-guest "the dialer's own does"
ok "a line tells of it" wait_for 5 grep -q 'refused a peer: uid 33' "$guest_log"
stop "$guest_pid"

done_testing
