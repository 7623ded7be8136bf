#!/bin/bash
# SPDX-License-Identifier: MIT
# Every way in which `vzfwd dial` fails: its exit status, exactly one line on stderr, nothing on stdout,
# and what --status-fd says.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 setpriv

here=$(cd "$(dirname "$0")" && pwd)

# fails EXIT REASON TEXT NAME ARGUMENT...: TEXT is an extended regular expression. Standard input
# is empty; with the reason "usage" no status line is wanted, since the options were not understood.
fails() {
	local want=$1 reason=$2 text=$3 name=$4 said

	shift 4
	: >"$tmp/status"
	run vzfwd dial --status-fd 3 "$@" 3>"$tmp/status"
	is "$status" "$want" "$name: exit status"
	like "$(cat "$tmp/err")" "^vzfwd: dial[^"$'\n'"]*: $text\$" "$name: one line"
	is "$(cat "$tmp/out")" "" "$name: nothing on stdout"
	said=$(cat "$tmp/status")
	if [ "$reason" = usage ]; then
		is "$said" "" "$name: no status"
	else
		like "$said" "^\{\"status\":\"error\",\"code\":-32[0-9]{3},\"reason\":\"$reason\",\"message\":\"[^"$'\n'"]+\"\}\$" \
			"$name: status"
	fi
}

milliseconds() {
	echo $(($(date +%s%N) / 1000000))
}

# What a dialer answers to the first request, if it is not vzfwd-guest.
answer() {
	printf '%s\n' "{\"jsonrpc\":\"2.0\",\"id\":1,$1}" >"$tmp/answer-$2"
}
answer '"result":{"network":"tcp","remote":"127.0.0.1:7","local":"127.0.0.1:9"}' unframed
answer '"result":{"network":"tcp","remote":"127.0.0.1:7","local":"127.0.0.1:9","framing":"sealed"}' sealed
answer '"error":{"code":-32601,"message":"no \u001b[31msuch\u202e method\n"}' unknown
answer '"error":{"code":-32003,"message":"no route to host","data":{"reason":"unreachable"}}' unreachable
printf 'HTTP/1.1 400 Bad Request\r\n\r\n' >"$tmp/answer-http"
printf '{"jsonrpc":"2.0","id":2,"result":{}}\n' >"$tmp/answer-other"
printf '{"jsonrpc":"2.0","id":1,"res' >"$tmp/answer-half"
head -c 5000 /dev/zero | tr '\0' ' ' >"$tmp/answer-long"

pod=$(pod_new)
: >"$tmp/seen"
fakes=()
for name in unframed sealed unknown unreachable http other half long; do
	fakes+=("$tmp/$name=line,file:$tmp/answer-$name,shut,eof")
done
spawn in_pod "$pod" python3 "$here/target.py" "$tmp/seen" "${fakes[@]}" "$tmp/silent=hold" "$tmp/eof=line,shut" \
	"$tmp/close=close" "$tmp/full" 7=echo,shut 8=hold 9=read:4,reset 10=say:'part',hold
for port in 7 8 9 10; do
	wait_for 20 tcp_listens "$port" "$pod"
done
guest_start "$pod" --max-connections 1 --allow 10.20.30.2 --allow 192.0.2.0/24
web=$guest_endpoint

# 64

fails 64 invalid 'POD \[NETWORK\] ADDRESS is needed.*' "no operands"
fails 64 invalid 'POD \[NETWORK\] ADDRESS is needed.*' "no ADDRESS" "$web"
fails 64 invalid 'POD \[NETWORK\] ADDRESS is needed.*' "an operand too many" "$web" tcp 7 8
fails 64 invalid '.*port must be between 1 and 65535, got 0' "port 0" "$web" 0
fails 64 invalid '.*port must be between 1 and 65535, got 65536' "port 65536" "$web" 65536
fails 64 invalid '.*port.*' "no port" "$web" 127.0.0.1
fails 64 invalid '.*example\.org.*' "a name" "$web" example.org:80
fails 64 invalid '.*' "half an address" "$web" '[::1:80'
fails 64 invalid '.*::1.* is not an address for tcp4' "an address of another family" "$web" tcp4 '[::1]:80'
fails 64 invalid 'endpoint: .*' "no endpoint" vsock://x 7
fails 64 invalid '.*' "no name of a pod" ../web 7
fails 64 invalid '--handle: .*' "no handle" --handle / "$web" 7
fails 64 invalid '.*containerID.*' "no container" --container / "$web" 7
fails 64 invalid 'the request is longer than 4096 bytes' "a container's name too long" --container "$(printf '%05000d' 0)" "$web" 7
fails 64 invalid 'endpoint: .*' "a path too long" "unix:///$(printf '%0108d' 0)" 7
fails 64 usage '--timeout: .*' "--timeout 0" --timeout 0 "$web" 7
fails 64 usage '--timeout: .*' "--timeout 601" --timeout 601 "$web" 7
fails 64 usage '--timeout: .*' "--timeout in words" --timeout soon "$web" 7
fails 64 usage '--framing: .*' "--framing" --framing cooked "$web" 7
fails 64 usage '--status-fd: descriptor 77 is not open' "--status-fd: not open" --status-fd 77 "$web" 7
fails 64 usage '--status-fd.*' "--status-fd: no number" --status-fd x "$web" 7
fails 64 usage '--stream-fd: descriptor 77 is not open' "--stream-fd: not open" --stream-fd 77 "$web" 7
fails 64 usage '--allow: .*|.*not an IP.*|.*CIDR.*' "--allow" --allow nobody "$web" 7
fails 64 usage '.*--nonsense.*' "no such option" --nonsense "$web" 7
fails 64 invalid '--stream-fd: .*' "--stream-fd: a file" --stream-fd 4 "$web" 7 4<"$0"
fails 64 invalid '--pass-fd: stdout is not a Unix socket' "--pass-fd into a file" --pass-fd "$web" 7
fails 64 invalid 'fd:77 .*' "fd: that is not open" fd:77 7
fails 64 invalid 'fd:4 .*' "fd: that is a file" fd:4 7 4<"$0"
fails 64 invalid 'fd:0 has another use already' "fd: that is stdin" fd:0 7
run vzfwd dial --status-fd 1 "$web" 7
is "$status $(cat "$tmp/out")" "64 " "--status-fd on stdout"

# 66

fails 66 not-found '.*web.*' "no registry" web 7
mkdir -m 700 "$tmp/pods"
fails 66 not-found '.*web.*' "no such pod" web 7
fails 66 not-found '.*nothing.*' "no such container" --container nothing "$web" 7
vzfwd pod add token "$web" --token-file "$tmp/token"
fails 66 not-found ".*$tmp/token.*" "no token file" token 7

# 69

fails 69 refused '127\.0\.0\.1:99: connection refused; \[::1\]:99: connection refused' "refused" "$web" 99
fails 69 refused 'connection refused' "refused, one address" "$web" tcp6 '[::1]:99'
fails 69 unreachable '.*network is unreachable' "no route" "$web" 192.0.2.1:80
fails 69 unreachable ".*$tmp/nothing: no such socket" "no socket" "unix://$tmp/nothing" 7
fails 69 unreachable ".*$tmp/nothing/more: no such socket" "no folder" "unix://$tmp/nothing/more" 7
python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$tmp/stale"
fails 69 unreachable "nobody listens on $tmp/stale" "a stale socket" "unix://$tmp/stale" 7
fails 69 unreachable "nobody listens on $tmp/seen" "a file" "unix://$tmp/seen" 7
fails 69 unreachable 'the link ended before any answer' "an end for an answer" "unix://$tmp/eof" 7
fails 69 unreachable 'the link ended before any answer' "an end at once" "unix://$tmp/close" 7
fails 69 unreachable 'no route to host' "what the dialer says" "unix://$tmp/unreachable" 7
fails 69 unreachable 'the command ended before any answer' "a command that ends" "exec:exit 3" 7
fails 69 unreachable 'the command ended before any answer' "no such command" "exec:exec $tmp/nothing 2>/dev/null" 7

# 70

fails 70 internal 'not a vzfwd dialer: .*' "another protocol" "unix://$tmp/http" 7
fails 70 internal 'not a vzfwd dialer: .*' "an answer to something else" "unix://$tmp/other" 7
fails 70 internal 'not a vzfwd dialer: its framing is unknown' "an unknown framing" "unix://$tmp/sealed" 7
fails 70 internal 'the link ended in the middle of the answer' "half an answer" "unix://$tmp/half" 7
fails 70 internal 'the answer is longer than 4096 bytes' "an endless answer" "unix://$tmp/long" 7
fails 70 internal 'not a vzfwd dialer: .*' "a command that prints" "exec:echo hello" 7

# 73

exec {held}<> <(:)
spawn vzfwd dial --status-fd 5 "$web" 8 5>"$tmp/held" 0<&"$held" >"$tmp/out"
holder=$!
wait_for 10 grep -q connected "$tmp/held"
fails 73 exhausted '1 connections: .*' "--max-connections" "$web" 7
stop "$holder"
wait_for 10 vzfwd dial "$web" 7

# 75

ip link add v0 netns "$pod" type veth peer name v1
ip link set v1 up
ip -n "$pod" address add 10.20.30.1/24 dev v0
ip -n "$pod" link set v0 up
ip -n "$pod" neighbour add 10.20.30.2 lladdr 02:00:00:00:00:02 dev v0
begin=$(milliseconds)
fails 75 timeout 'connection timed out' "a target that does not answer" --timeout 0.3 "$web" 10.20.30.2:80
took=$(($(milliseconds) - begin))
ok "--timeout 0.3: after $took ms" test "$took" -ge 300 -a "$took" -lt 3000

# These take 5 s each, so all at once: a dialer that never answers, a command that never
# answers, and a socket whose backlog is full.
python3 -c 'import socket, sys, time
a, b = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
a.connect(sys.argv[1])
b.setblocking(False)
try:
    b.connect(sys.argv[1])
except BlockingIOError:
    pass
else:
    b.close()
print(flush=True)
time.sleep(3600)' "$tmp/full" >"$tmp/backlog" &
cleanup kill "$!"
wait_for 20 test -s "$tmp/backlog"
timed_out() {
	local begin status

	begin=$(milliseconds)
	vzfwd dial --timeout 0.2 "$1" 7 >"$tmp/$2.out" 2>"$tmp/$2.err"
	status=$?
	echo "$status $(($(milliseconds) - begin))" >"$tmp/$2.code"
}
spawn timed_out "unix://$tmp/silent" silent-dialer
spawn timed_out "hvsock://$tmp/silent" silent-vmm
spawn timed_out "exec:exec sleep 3600" silent-command
spawn timed_out "unix://$tmp/full" full-backlog
while read -r name limit text; do
	wait_for 20 test -s "$tmp/$name.code"
	read -r status took <"$tmp/$name.code"
	is "$status" 75 "$name: exit status"
	like "$(cat "$tmp/$name.err")" "^vzfwd: dial [^"$'\n'"]*: $text\$" "$name: one line"
	is "$(cat "$tmp/$name.out")" "" "$name: nothing on stdout"
	ok "$name: after $took ms, not much more than $limit" test "$took" -ge "$limit" -a "$took" -lt $((limit + 3000))
done <<-'CASES'
	silent-dialer 5200 the dialer did not answer in time
	silent-vmm 5000 connecting to the dialer timed out
	silent-command 5200 the dialer did not answer in time
	full-backlog 5000 connecting to the dialer timed out
CASES

fails 64 invalid 'udp is framed in records' 'udp in raw' "$web" --framing raw udp 7
fails 64 invalid '--udp-framing and --udp-idle are for udp' 'an option of udp' "$web" --udp-idle 1 tcp 7
fails 64 usage '--udp-idle: "0" is not a number of seconds .*' 'no time to wait' "$web" --udp-idle 0 udp 7
fails 64 usage '--udp-framing: "lines" is neither .*' 'an unknown framing' "$web" --udp-framing lines udp 7
fails 64 invalid '.*::1.* is not an address for udp4' 'udp of another family' "$web" udp4 '[::1]:80'

# 76

for network in udp9 sctp ''; do
	fails 76 unsupported "unsupported network \"$network\"; .*" "network \"$network\"" "$web" "$network" 7
done
fails 76 unsupported 'the dialer does not speak records; .*' "a dialer that speaks raw alone" "unix://$tmp/unframed" 7
fails 76 unsupported 'no \\x1b\[31msuch\\xe2\\x80\\xae method\\x0a' "an older dialer" "unix://$tmp/unknown" 7
like "$(cat "$tmp/status")" '"code":-32601,.*"message":"no \\\\x1b\[31msuch\\\\xe2\\\\x80\\\\xae method\\\\x0a"' \
	"an older dialer: its text is escaped"

# 77

fails 77 denied '.*10\.0\.0\.1:80 is not an address of the pod.*' "policy" "$web" 10.0.0.1:80
fails 77 denied '.*10\.0\.0\.1:80 is not an address of the pod.*' "policy, netns:" "netns:/run/netns/$pod" 10.0.0.1:80
(umask 077 && echo a-token-of-the-pod >"$tmp/token" && echo another-token-than-that >"$tmp/other-token")
guest_start "$pod" --token-file "$tmp/token"
fails 77 denied '.*missing token' "no token" "$guest_endpoint" 7
vzfwd pod add other "$guest_endpoint" --token-file "$tmp/other-token"
fails 77 denied '.*wrong token' "the wrong token" other 7
vzfwd pod add --replace token "$guest_endpoint" --token-file "$tmp/token"
is "$(echo hello | vzfwd dial token 7)" hello "the right token"
printf 'no UTF-8: \377\376 and so on' >"$tmp/other-token"
fails 64 invalid '.*: a token is 16 to 256 bytes of UTF-8 text' "a token that can't be sent" other 7
chmod 644 "$tmp/token"
fails 77 denied '.*' "a token that others can read" token 7
chmod 666 "$tmp/pods/other.json"
fails 77 denied '.*' "a pod file that others can write" other 7

# 78

echo '{"endpoint":' >"$tmp/pods/bad.json"
fails 78 not-running '.*' "a malformed pod file" bad 7
fails 78 not-running '.*' "no netns" netns:/run/netns/nothing 7
fails 78 not-running '.*not a network namespace.*' "a file for a netns" "netns:$(realpath "$0")" 7
(exit) &
wait "$!"
fails 78 not-running '.*' "no process" "pid:$!" 7
: >/run/netns/gone
guest_start gone
fails 78 not-running '.*' "the pod's netns is gone" "$guest_endpoint" 7

# 0 and 74: connected. Status: the two lines.

# ends EXIT TEXT STATUS NAME ARGUMENT...
ends() {
	local want=$1 text=$2 closed=$3 name=$4

	shift 4
	run vzfwd dial --status-fd 3 "$@" 3>"$tmp/status"
	is "$status" "$want" "$name: exit status"
	like "$(cat "$tmp/err")" "^$text\$" "$name: stderr"
	like "$(sed -n 1p "$tmp/status")" '^\{"status":"connected","network":"tcp","remote":"127\.0\.0\.1:[0-9]+","local":"127\.0\.0\.1:[0-9]+","framing":"(raw|records)"\}$' \
		"$name: connected"
	is "$(sed 1d "$tmp/status")" "{\"status\":\"closed\",$closed}" "$name: closed"
}

echo hello >"$tmp/hello"
for endpoint in "$web" "netns:/run/netns/$pod"; do
	ends 0 '' '"reason":"eof","bytesIn":6,"bytesOut":6' "in order, ${endpoint%%:*}:" "$endpoint" 7 <"$tmp/hello"
	is "$(cat "$tmp/out")" hello "in order, ${endpoint%%:*}: the bytes"
	ends 74 'vzfwd: dial .*: connection reset by peer' '"reason":"reset","bytesIn":0,"bytesOut":6' "reset, ${endpoint%%:*}:" \
		"$endpoint" 9 <"$tmp/hello"
	is "$(cat "$tmp/out")" "" "reset, ${endpoint%%:*}: no bytes"
done

# What a build for coverage writes at its end goes elsewhere.
head -c 5000 /dev/zero >"$tmp/many"
ulimit -S -f 1
GCOV_PREFIX=$tmp/gcov GCOV_ERROR_FILE=/dev/null run vzfwd dial --status-fd 3 "$web" 7 <"$tmp/many" 3>"$tmp/status"
ulimit -S -f unlimited
is "$status $(stat -c %s "$tmp/out")" "74 1024" "a file may be no longer than the limit: exit status"
like "$(cat "$tmp/err")" '^vzfwd: dial .*: file too large$' "stderr"
like "$(tail -n 1 "$tmp/status")" '^\{"status":"closed","reason":"local",.*\}$' "closed"

guest_start "$pod"
(
	wait_for 10 grep -q connected "$tmp/status"
	wait_for 10 test -s "$tmp/out"
	kill -KILL "$guest_pid"
) &
ends 74 'vzfwd: dial .*: the link was cut' '"reason":"cut","bytesIn":4,"bytesOut":0' "cut" "$guest_endpoint" 10 0<&"$held"
is "$(cat "$tmp/out")" part "cut: what came before"

done_testing
