#!/bin/bash
# SPDX-License-Identifier: MIT
# vzfwd-guest spoken to by hand: its answers byte by byte, where handles and containers lead, and that it outlives whatever
# comes in.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/guest-dialing.sh"

guest_start "$pod" --log-level debug
socket=$guest_socket

# The methods.

is "$(wire "$socket" 'send:{"jsonrpc":"2.0","id":"a","method":"guest.info"}\n' line)" \
	'{"jsonrpc":"2.0","id":"a","result":{"name":"vzfwd-guest","version":"'"$("$VZFWD_GUEST" --version | cut -d' ' -f2)"'","protocol":1,"methods":["guest.info","pod.ports","pod.portDial"],"networks":["tcp","tcp4","tcp6","udp","udp4","udp6","unix"],"pods":[]}}' \
	"guest.info"
process='"process":{"pid":'$server',"name":"ech\\xffö"}'
is "$(wire "$socket" 'send:{"jsonrpc":"2.0","id":null,"method":"pod.ports","params":{"handle":"web"}}\n' line)" \
	'{"jsonrpc":"2.0","id":null,"result":{"ports":[{"network":"tcp","address":"127.0.0.1","port":80,'"$process"'},{"network":"tcp","address":"::1","port":81,'"$process"'},{"network":"tcp","address":"10.9.0.1","port":82,'"$process"'},{"network":"tcp","address":"127.0.0.1","port":83,'"$process"'},{"network":"udp","address":"0.0.0.0","port":53,'"$process"'}]}}' \
	"pod.ports: TCP listeners and unconnected UDP sockets, and whose they are"

like "$(dial '"handle":"web","network":"tcp","port":80,"framing":"raw"' line)" \
	"$(answer 127.0.0.1:80 127.0.0.1 raw)\$" "pod.portDial"
like "$(dial '"handle":"web","network":"tcp4","address":"localhost:80","containerID":null,"timeoutMs":600000,"news":[]' line)" \
	"$(answer 127.0.0.1:80 127.0.0.1 records)\$" "records by default, null and unknown members ignored"
like "$(dial '"handle":"web","network":"tcp","address":":81"' line)" \
	"$(answer '\[::1\]:81' '\[::1\]' records)\$" "::1 where 127.0.0.1 refuses"
like "$(dial '"handle":"web","network":"tcp","address":"10.9.0.1:82"' line)" \
	"$(answer 10.9.0.1:82 10.9.0.1 records)\$" "an address of the netns"
like "$(dial '"handle":"web","network":"tcp","address":"[::ffff:0.0.0.0]:80"' line)" \
	"$(answer 127.0.0.1:80 127.0.0.1 records)\$" "a mapped wildcard is loopback"

# Streams: what was pipelined behind the request, too.

like "$(dial '"handle":"web","network":"tcp","port":80,"framing":"raw"' 'send:one ' line 'send:two' shut rest)" \
	"$(answer 127.0.0.1:80 127.0.0.1 raw)"$'\n''one two$' "raw: bytes as they are, half-close by shutdown"
like "$(wire "$socket" 'send:{"jsonrpc":"2.0","id":1,"method":"pod.portDial","params":{"handle":"web","network":"tcp","port":80}}\n\x00\x00\x00\x03one\x01\x00\x00\x00' line records)" \
	"$(answer 127.0.0.1:80 127.0.0.1 records)"$'\n''one<EOF><end>$' "records, the whole stream in one write with the request"
like "$(wire "$socket" 'send:{"jsonrpc":"2.0","id":0,"method":"guest.info"}\n{"jsonrpc":"2.0","method":"pod.ports"}\n{"jsonrpc":"2.0","id":7,"method":"no\xc3\xb6"}\n' line line \
	'send:{"jsonrpc":"2.0","id":1,"method":"pod.portDial","params":{"handle":"web","network":"tcp","port":80,"framing":"raw"}}\none' line shut rest)" \
	'vzfwd-guest.*"id":7,"error":.*unsupported method \\"noö\\"'$'.*\n'"$(answer 127.0.0.1:80 127.0.0.1 raw | cut -c2-)"$'\n''one$' \
	"other methods before it, a notification without an answer, an unknown one"

# Errors, in the order of the checks. Each ends its link.

bad='"network":"no","port":0'
cases=(
	'"network":"tcp","port":80' "$(error -32602 'pod.portDial: handle is missing' invalid)"
	"\"handle\":1,$bad" "$(error -32602 'pod.portDial: handle must be a string' invalid)"
	"\"handle\":\"../x\",\"containerID\":\"c\",$bad" "$(error -32602 'pod.portDial: handle "../x" is not a valid name' invalid)"
	"\"handle\":\"../x\",\"containerID\":5,$bad" "$(error -32602 'pod.portDial: handle "../x" is not a valid name' invalid)"
	"\"handle\":\"x\",\"containerID\":5,$bad" "$(error -32602 'pod.portDial: containerID must be a string' invalid)"
	"\"handle\":\"x\",\"containerID\":\"c\",$bad" "$(error -32001 'no such container "c"' not-found)"
	"\"handle\":\"x\",$bad" "$(error -32601 'pod.portDial: unsupported network "no"; supported: tcp, tcp4, tcp6, udp, udp4, udp6, unix' unsupported)"
	'"handle":"x","network":"udp9","address":":1"' "$(error -32601 'pod.portDial: unsupported network "udp9"; supported: tcp, tcp4, tcp6, udp, udp4, udp6, unix' unsupported)"
	'"handle":"x","network":"unix","address":"/a"' "$(error -32005 'pod.portDial: /a is not allowed; see --allow-unix' denied)"
	'"handle":"x","network":"unix","port":1' "$(error -32602 'pod.portDial: unix needs an address, which is a path' invalid)"
	'"handle":"x","network":"unix","address":"a"' "$(error -32602 "pod.portDial: a socket's path in the pod must be absolute, got a" invalid EINVAL)"
	'"handle":"x","network":"unix"' "$(error -32602 'pod.portDial: either address or port is needed' invalid)"
	'"handle":"x","network":"udp","port":0,"framing":"raw"' "$(error -32602 'pod.portDial: port must be between 1 and 65535, got 0' invalid)"
	'"handle":"x","network":"udp","address":"192.0.2.1:80","framing":"raw"' "$(error -32602 'pod.portDial: udp is framed in records' invalid)"
	'"handle":"x","network":"udp","address":"192.0.2.1:80"' "$(error -32005 'pod.portDial: 192.0.2.1:80 is not an address of the pod; see --allow' denied)"
	'"handle":"x","network":"tcp","port":0' "$(error -32602 'pod.portDial: port must be between 1 and 65535, got 0' invalid)"
	'"handle":"x","network":"tcp","port":-1' "$(error -32602 'pod.portDial: port must be between 1 and 65535, got -1' invalid)"
	'"handle":"x","network":"tcp","address":"10.0.0.9:65536"' "$(error -32602 'pod.portDial: port must be between 1 and 65535, got 65536' invalid EINVAL)"
	'"handle":"x","network":"tcp","port":"80"' "$(error -32602 'pod.portDial: port must be between 1 and 65535, got "80"' invalid)"
	'"handle":"x","network":"tcp"' "$(error -32602 'pod.portDial: either address or port is needed' invalid)"
	'"handle":"x","network":"tcp","port":80,"address":":80"' "$(error -32602 'pod.portDial: either address or port is needed' invalid)"
	'"handle":"x","network":"tcp4","address":"[::1]:80"' "$(error -32602 'pod.portDial: [::1]:80 is not an address for tcp4' invalid)"
	'"handle":"x","network":"tcp","port":80,"timeoutMs":0' "$(error -32602 'pod.portDial: timeoutMs must be an integer from 1 to 600000' invalid)"
	'"handle":"x","network":"tcp","port":80,"timeoutMs":600001' "$(error -32602 'pod.portDial: timeoutMs must be an integer from 1 to 600000' invalid)"
	'"handle":"x","network":"tcp","port":80,"framing":"http"' "$(error -32602 'pod.portDial: framing must be records or raw, got "http"' invalid)"
	'"handle":"x","network":"tcp","address":"10.0.0.9:80","timeoutMs":-1' "$(error -32602 'pod.portDial: timeoutMs must be an integer from 1 to 600000' invalid)"
	'"handle":"x","network":"tcp","address":"10.0.0.9:80"' "$(error -32005 'pod.portDial: 10.0.0.9:80 is not an address of the pod; see --allow' denied)"
	'"handle":"x","network":"tcp","address":"[fd00::9]:80"' "$(error -32005 'pod.portDial: [fd00::9]:80 is not an address of the pod; see --allow' denied)"
	'"handle":"x","network":"tcp","port":1' "$(error -32002 '127.0.0.1:1: connection refused; [::1]:1: connection refused' refused ECONNREFUSED)"
	'"handle":"x","network":"tcp4","port":81' "$(error -32002 'connection refused' refused ECONNREFUSED)"
	'"handle":"x","network":"tcp","address":"127.0.0.1:81"' "$(error -32002 'connection refused' refused ECONNREFUSED)"
	'"handle":"x","network":"tcp6","port":80' "$(error -32002 'connection refused' refused ECONNREFUSED)"
	'"handle":"x","network":"tcp","port":83,"timeoutMs":100' "$(error -32004 'connection timed out' timeout ETIMEDOUT)"
)
params=()
want=
for ((i = 0; i < ${#cases[@]}; i += 2)); do
	params+=("${cases[i]}")
	want+=${cases[i + 1]}$'\n'
done
wire "$socket" each pod.portDial "${params[@]}" >"$tmp/got"
printf '%s' "$want" >"$tmp/want"
same "$tmp/got" "$tmp/want" "errors of pod.portDial: ${#params[@]} of them" || diff "$tmp/got" "$tmp/want" >&2

in_pod "$pod" sysctl -q -w net.ipv6.conf.all.disable_ipv6=1
is "$(dial '"handle":"x","network":"tcp","port":1' line)" "$(error -32002 'connection refused' refused ECONNREFUSED)" \
	"without IPv6 there is but one error to tell"
in_pod "$pod" sysctl -q -w net.ipv4.ip_local_port_range="40000 40001"
many=()
for ((i = 0; i < 4; i++)); do
	many+=('"handle":"x","network":"tcp4","port":40000')
done
is "$(wire "$socket" each pod.portDial "${many[@]}" | sort -u)" \
	"$(error -32002 'connection refused' refused ECONNREFUSED)" "a connection to itself is none"
in_pod "$pod" sysctl -q -w net.ipv4.ip_local_port_range="32768 60999"

# What is no request ends the link, so that nothing behind it is taken for one.

id=null
like "$(wire "$socket" "send:GET / HTTP/1.0\r\n\r\n$info" rest)" '^\{"jsonrpc":"2.0","id":null,"error":\{"code":-32700,[^'$'\n'']*\}$' "not JSON"
like "$(wire "$socket" "send:[]\n$info" rest)" '^\{"jsonrpc":"2.0","id":null,"error":\{"code":-32600,[^'$'\n'']*\}$' "no request"
is "$(wire "$socket" "send:$(printf '%5000s' x)\n$info" rest)" "$(error -32600 'request is longer than 4096 bytes' invalid)" "a line too long"
like "$(wire "$socket" 'send:{"jsonrpc":"2.0","method":"pod.portDial","params":{"handle":"x","network":"tcp","port":80}}\n'"$info" rest)" \
	'^(<reset>)?$' "pod.portDial without an id"
wire "$socket" "send:$(for ((i = 0; i < 20; i++)); do echo -n "$info"; done)" rest >"$tmp/out"
is "$(grep -c vzfwd-guest "$tmp/out")" 16 "16 requests on a link"
like "$(tail -n 1 "$tmp/out")" '^\{"jsonrpc":"2.0","id":1,.*"reason":"exhausted"' "and no more"
wire "$socket" "send:$(for ((i = 0; i < 16; i++)); do echo -n "$info"; done)" \
	'send:{"jsonrpc":"2.0","id":17,"method":"pod.portDial","params":{"handle":"x","network":"tcp","port":80}}\n' \
	shut rest >"$tmp/out"
like "$(tail -n +17 "$tmp/out" | head -n 1)" '^\{"jsonrpc":"2.0","id":17,"result":' "a pod.portDial behind 16 others"
id=1

# A closed link cancels its connect; a half-closed one does not.

syn_sent() { # a connect to port 83 is under way
	in_pod "$pod" cat /proc/net/tcp | awk '$3 ~ /:0053$/ && $4 == "02" { n++ } END { exit !n }'
}
spawn dial '"handle":"x","network":"tcp4","port":83' rest
client=$!
ok "a connect that hangs" wait_for 5 syn_sent
kill -KILL "$client"
ok "is cancelled when its link is closed" wait_for 2 eval '! syn_sent'
is "$(dial '"handle":"x","network":"tcp4","port":83,"timeoutMs":500' shut rest)" \
	"$(error -32004 'connection timed out' timeout ETIMEDOUT)" "and not by a half-close"

# Descriptors stay flat; 300 silent links do not shut others out for long.

fds=$(fds_of "$guest_pid")
many=()
for ((i = 0; i < 300; i++)); do
	many+=('"handle":"x","network":"tcp","port":1')
done
wire "$socket" each pod.portDial "${many[@]}" >"$tmp/out"
is "$(wc -l <"$tmp/out")" 300 "300 links that fail"
ok "leave no descriptor behind" wait_for 5 eval "[ \$(fds_of $guest_pid) = $fds ]"
cat >"$tmp/idle.py" <<'EOF'
import socket, sys
links = []
for i in range(300):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(sys.argv[1])
    links.append(s)
open(sys.argv[2], "w").close()
print({s.recv(4096) for s in links[:256]})
EOF
spawn python3 "$tmp/idle.py" "$socket" "$tmp/idle" >"$tmp/idle.out"
idle=$!
wait_for 10 test -e "$tmp/idle"
like "$(wire "$socket" "send:$info" line)" vzfwd-guest "answered once silent links ran out of time"
wait "$idle"
like "$(cat "$tmp/idle.out")" '^\{b.\{"jsonrpc":"2.0","id":null,"error":\{"code":-32004,' "who were told so"
ok "and left no descriptor behind" wait_for 10 eval "[ \$(fds_of $guest_pid) = $fds ]"

run vzfwd-guest --log-format json --nonsense
like "$status $(cat "$tmp/err")" '^64 \{.*"level":"error".*\}$' "a usage error in the format that was asked for"

# Nor do targets that hang keep others out: what is being connected is no handshake any more.

cat >"$tmp/hung.py" <<'EOF'
import signal, socket, sys
links = []
for i in range(300):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(b'{"jsonrpc":"2.0","id":1,"method":"pod.portDial","params":'
              b'{"handle":"x","network":"tcp","port":83,"timeoutMs":60000}}\n')
    links.append(s)
open(sys.argv[2], "w").close()
signal.pause()
EOF
spawn python3 "$tmp/hung.py" "$socket" "$tmp/hung"
hung=$!
wait_for 10 test -e "$tmp/hung"
like "$(dial '"handle":"x","network":"tcp","port":80' line)" '"result"' "300 dials that hang keep nobody out"
stop "$hung"
ok "and leave no descriptor behind" wait_for 10 eval "[ \$(fds_of $guest_pid) = $fds ]"

# SIGTERM resets what is left.

spawn dial '"handle":"x","network":"tcp","port":80' line 'data:hello' records >"$tmp/stream"
stream=$!
ok "a stream" wait_for 5 grep -q hello "$tmp/stream"
kill -TERM "$guest_pid"
wait "$guest_pid"
is $? 0 "SIGTERM: exit 0"
wait "$stream"
like "$(cat "$tmp/stream")" 'hello<RESET>broken .*<end>$' "the stream is reset"
not_ok "the socket is removed" test -e "$socket"

# Where handles and container IDs lead.

other=$(pod_new)
mkdir "$tmp/dir" "$tmp/oci" "$tmp/oci/runc" "$tmp/oci/crun" "$tmp/oci/reused" "$tmp/oci/broken" "$tmp/oci/stopped"
ln -s "/run/netns/$pod" "$tmp/dir/link"
touch "$tmp/dir/plain" "$tmp/dir/pod"
mkfifo "$tmp/dir/fifo"
mount --bind "/run/netns/$pod" "$tmp/dir/pod"
spawn in_pod "$pod" python3 -c 'import signal; signal.pause()'
init=$!
start=$(stat_of "$init" 22)
echo "{\"id\":\"runc\",\"init_process_pid\":$init,\"init_process_start\":$start}" >"$tmp/oci/runc/state.json"
echo "{\"pid\":$init,\"process-start-time\":$start}" >"$tmp/oci/crun/status"
echo "{\"id\":\"reused\",\"init_process_pid\":$init,\"init_process_start\":$((start - 1))}" >"$tmp/oci/reused/state.json"
echo "{" >"$tmp/oci/broken/state.json"
echo '{"pid":0}' >"$tmp/oci/stopped/status"
guest_start "$other" --netns "named=/run/netns/$pod" --netns "gone=$tmp/none" --netns-dir "$tmp/dir" --netns-dir "$tmp/none" \
	--oci-root "$tmp/oci"
socket=$guest_socket
like "$(wire "$socket" "send:$info" line)" '"pods":\["broken","crun","fifo","gone","link","named","plain","pod","reused","runc","stopped"\]' \
	"guest.info names the pods"
reasons() { # HANDLE [CONTAINER]
	dial "\"handle\":\"$1\",${2:+\"containerID\":\"$2\",}\"network\":\"tcp\",\"port\":80" line |
		sed -E 's/.*"reason":"([a-z-]+)".*/\1/; s/.*"result".*/connected/'
}
for where in named:connected pod:connected runc:connected crun:connected nothing:not-found plain:not-running fifo:not-running \
	link:denied gone:not-running reused:not-running broken:not-running stopped:not-running; do
	is "$(reasons "${where%:*}")" "${where#*:}" "handle $where"
	is "$(reasons gone "${where%:*}")" "${where#*:}" "containerID $where"
done
is "$(reasons nothing runc)" not-found "a container of a pod that is none"
umount "$tmp/dir/pod"
is "$(reasons pod)" not-running "a netns that was unmounted"
stop "$init"
is "$(reasons runc)" not-running "a container whose init exited"
mv "$tmp/oci/crun" "$tmp/oci/pod"
is "$(reasons crun)" not-found "a container that was removed"
stop "$guest_pid"

# A rootless pod: no capability here, so a child goes where the socket is made.

if setpriv --reuid 1234 --regid 1234 --clear-groups unshare --user --map-root-user --net true; then
	cat >"$tmp/rootless.py" <<'EOF'
import signal, socket
s = socket.create_server(("127.0.0.1", 80))
signal.pause()
EOF
	chmod 1777 "$tmp"
	spawn setpriv --reuid 1234 --regid 1234 --clear-groups unshare --user --map-root-user --net \
		sh -c 'ip link set lo up && exec python3 "$0"' "$tmp/rootless.py"
	rootless=$!
	wait_for 10 eval "nsenter --net=/proc/$rootless/ns/net cat /proc/net/tcp | grep :0050"
	socket=$tmp/rootless.sock
	spawn setpriv --reuid 1234 --regid 1234 --clear-groups "$tmp/bin/vzfwd-guest" --listen "unix://$socket" \
		--pod-netns "/proc/$rootless/ns/net" >"$tmp/rootless.log" 2>&1
	guest_pid=$!
	wait_for 10 unix_listens "$socket"
	like "$(dial '"handle":"x","network":"tcp","port":80' line)" "$(answer 127.0.0.1:80 127.0.0.1 records)\$" "a rootless pod"
	like "$(wire "$socket" 'send:{"jsonrpc":"2.0","id":1,"method":"pod.ports","params":{"handle":"x"}}\n' line)" \
		"\"port\":80,\"process\":\{\"pid\":$rootless," "its ports"
	is "$(reasons x)" connected "again"
	fds=$(fds_of "$guest_pid")
	wire "$socket" each pod.portDial "${many[@]}" >"$tmp/out"
	ok "no descriptor is left behind" wait_for 5 eval "[ \$(fds_of $guest_pid) = $fds ]"
	is "$(ps -o stat= --ppid "$guest_pid")" "" "and no child"
	stop "$rootless"
	is "$(reasons x)" not-running "a pod that is gone"
	stop "$guest_pid"
else
	skip "no user namespaces for users here" "a rootless pod"
fi

# One link on stdin and stdout.

printf '%b' "$info"'{"jsonrpc":"2.0","id":1,"method":"pod.portDial","params":{"handle":"x","network":"tcp","port":80,"framing":"raw"}}\nbytes' |
	vzfwd-guest --stdio --pod-netns "/run/netns/$pod" | tail -n +2 >"$tmp/out"
is "${PIPESTATUS[*]}" "0 0 0" "--stdio over pipes: exit 0"
like "$(cat "$tmp/out")" "$(answer 127.0.0.1:80 127.0.0.1 raw)"$'\n''bytes$' "its answers, then the stream"
echo '{"jsonrpc":"2.0","id":1,"method":"pod.portDial","params":{"handle":"x","network":"tcp","port":1}}' |
	vzfwd-guest --stdio --pod-netns "/run/netns/$pod" | grep -q '"reason":"refused"'
is "${PIPESTATUS[*]}" "0 69 0" "--stdio, refused: exit 69"
for usage in --nonsense operand '--listen tcp://x' '--stdio --listen vsock://any' '--max-connections 0' '--user x' '--netns =x' \
	'--allow x' '--log-level loud'; do
	# shellcheck disable=SC2086 # two words
	is "$(exit_of vzfwd-guest $usage)" 64 "usage: $usage"
done
is "$(exit_of vzfwd-guest --listen "unix://$tmp/none/x")" 66 "no such folder"
is "$(exit_of vzfwd-guest --listen "unix:///run/x" --token-file "$tmp/none")" 66 "no such token file"
done_testing
