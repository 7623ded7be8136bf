#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd ports` shows what listens in a pod; `vzfwd check` finds the step at which a path
# breaks. Each step's failure: its exit code, its hint, and nothing after it.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 setpriv

# Listens as it is told (tcp ADDRESS PORT | udp ADDRESS PORT)... under an odd process name.
cat >"$tmp/listeners.py" <<'PY'
import ctypes, signal, socket, sys
ctypes.CDLL(None).prctl(15, b"ev\x1b[31m\xff\n\\", 0, 0, 0)
socks, args = [], sys.argv[1:]
while args:
    kind, address, port = args[:3]
    del args[:3]
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                      socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    if s.family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((address, int(port)))
    if kind == "tcp":
        s.listen()
    socks.append(s)
signal.pause()
PY

# A dialer that lies: answers line after line of each connection with its arguments. "close" ends
# the link, "silent" says nothing more, "raw:TEXT" is sent as it is, all else is a result.
cat >"$tmp/fake.py" <<'PY'
import json, os, socket, sys
path, answers = sys.argv[1], sys.argv[2:]
s = socket.socket(socket.AF_UNIX)
s.bind(path)
s.listen()
kept = []
while True:
    c, _ = s.accept()
    f = c.makefile("rwb")
    for answer in answers:
        if answer == "close":
            break
        line = f.readline()
        if not line:
            break
        if answer == "silent":
            kept.append((c, f))
            break
        if answer.startswith("raw:"):
            f.write(answer[4:].encode() + b"\n")
        else:
            f.write(b'{"jsonrpc":"2.0","id":%s,"result":%s}\n' %
                    (json.dumps(json.loads(line)["id"]).encode(), answer.encode()))
        f.flush()
    if not (kept and kept[-1][0] is c):
        f.close()
        c.close()
PY

fake_count=0
fake() {
	fake_count=$((fake_count + 1))
	fake=$tmp/fake$fake_count.sock
	spawn python3 "$tmp/fake.py" "$fake" "$@"
	wait_for 10 unix_listens "$fake"
}

# check ARGUMENTS: exit code, the failing step, and words of its line and its hint
breaks() {
	local want=$1 step=$2 message=$3 hint=$4 name=$5

	shift 5
	run vzfwd check "$@"
	is "$status" "$want" "$name: exit code"
	like "$(grep -A1 '^FAIL' "$tmp/out")" "^FAIL $step +.*$message.*"$'\n'" +hint: .*$hint" "$name: line and hint"
	is "$(sed -n '/^FAIL/,$p' "$tmp/out" | wc -l)" 2 "$name: nothing after it"
	vzfwd check --json "$@" >"$tmp/json"
	is "$?" "$want" "$name: exit code with --json"
	ok "$name: JSON" python3 - "$tmp/json" "$step" <<-'PY'
		import json, sys
		data = open(sys.argv[1], "rb").read()
		assert data.count(b"\n") == 1 and data.isascii()
		steps = json.loads(data)
		assert all(s["ok"] is True and "hint" not in s for s in steps[:-1])
		last = steps[-1]
		assert last["ok"] is False and last["step"] == sys.argv[2], last
		assert last["hint"] and last["reason"] and last["message"]
	PY
}

pod=$(pod_new)
spawn in_pod "$pod" python3 "$tmp/listeners.py" tcp 127.0.0.1 80 tcp 0.0.0.0 8080 tcp ::1 80 \
	udp 127.0.0.1 5353 udp :: 5353
listeners=$!
wait_for 10 udp_bound 5353 "$pod"
guest_start "$pod"

# ports

ok "register" vzfwd pod add web "$guest_endpoint"
run vzfwd ports web
is "$status" 0 "ports"
{
	printf 'PROTO  ADDRESS    PORT   PROCESS\n'
	printf 'tcp    127.0.0.1  80     %s (%d)\n' 'ev\x1b[31m\xff\x0a\' "$listeners"
	printf 'tcp    ::1        80     %s (%d)\n' 'ev\x1b[31m\xff\x0a\' "$listeners"
	printf 'tcp    0.0.0.0    8080   %s (%d)\n' 'ev\x1b[31m\xff\x0a\' "$listeners"
	printf 'udp    127.0.0.1  5353   %s (%d)\n' 'ev\x1b[31m\xff\x0a\' "$listeners"
	printf 'udp    ::         5353   %s (%d)\n' 'ev\x1b[31m\xff\x0a\' "$listeners"
} >"$tmp/want"
same "$tmp/out" "$tmp/want" "the table"
cp "$tmp/out" "$tmp/table"

run vzfwd ports --json -p web
is "$status" 0 "ports --json"
ok "the JSON" python3 - "$tmp/out" "$listeners" <<'PY'
import json, sys
data = open(sys.argv[1], "rb").read()
assert data.count(b"\n") == 1 and data.isascii() and all(b >= 32 for b in data[:-1]), data
process = {"pid": int(sys.argv[2]), "name": "ev\x1b[31m\\xff\n\\"}
want = [(n, a, p) for n, a, p in (("tcp", "127.0.0.1", 80), ("tcp", "::1", 80), ("tcp", "0.0.0.0", 8080),
                                  ("udp", "127.0.0.1", 5353), ("udp", "::", 5353))]
got = json.loads(data)
assert [(i["network"], i["address"], i["port"]) for i in got] == want, got
assert all(i["process"] == process for i in got), got
PY

for endpoint in "netns:/run/netns/$pod" "pid:$listeners" \
	"exec:vzfwd-guest --stdio --pod-netns /run/netns/$pod"; do
	run vzfwd ports "$endpoint"
	same "$tmp/out" "$tmp/table" "the same by ${endpoint%%:*}:"
	is "$(exit_of vzfwd check "$endpoint")" 0 "check ${endpoint%%:*}:"
done

empty=$(pod_new)
run vzfwd ports "netns:/run/netns/$empty"
is "$status/$(cat "$tmp/out")" "0/PROTO  ADDRESS  PORT   PROCESS" "nothing listens: the header"
is "$(vzfwd ports --json "netns:/run/netns/$empty")" "[]" "nothing listens: JSON"

is "$(exit_of vzfwd ports web web)" 64 "two PODs"
is "$(exit_of vzfwd ports -p web web)" 64 "two PODs, one by -p"
is "$(exit_of vzfwd ports)" 0 "the only registered pod"
is "$(exit_of vzfwd ports none)" 66 "no such pod"
is "$(exit_of vzfwd ports fd:0)" 64 "fd: is not for ports"
is "$(exit_of vzfwd ports web --container none)" 66 "no such container"
is "$(exit_of vzfwd ports web --container /)" 64 "no container's name"
is "$(exit_of vzfwd ports "unix://$tmp/none.sock")" 69 "no dialer"
for command in "ports web" "ports --json web" "check web" "check --json web"; do
	# shellcheck disable=SC2086 # words
	vzfwd $command >/dev/full 2>"$tmp/err"
	is "$?" 74 "$command: stdout is full"
	like "$(cat "$tmp/err")" "^vzfwd: .*no space left" "$command: one line says so"
done

n=0
for answer in '{}' '{"ports":{}}' '{"ports":[1]}' '{"ports":[{}]}' \
	'{"ports":[{"network":1,"address":"::","port":1}]}' \
	'{"ports":[{"network":"tcp","address":null,"port":1}]}' \
	'{"ports":[{"network":"tcp","address":"::","port":"1"}]}' \
	'{"ports":[{"network":"tcp","address":"::","port":0}]}' \
	'{"ports":[{"network":"tcp","address":"::","port":65536}]}' \
	'{"ports":[{"network":"tcp","address":"::","port":1,"process":"x"}]}' \
	'{"ports":[{"network":"tcp","address":"::","port":1,"process":{"name":"x","pid":"1"}}]}' \
	'{"ports":[{"network":"tcp","address":"::","port":1,"process":{"name":"x","pid":-1}}]}' \
	'{"ports":[{"network":"tcp","address":"::","port":1,"process":{"pid":1}}]}'; do
	n=$((n + 1))
	fake "$answer"
	is "$(exit_of vzfwd ports "unix://$fake")" 70 "hostile answer $n"
	is "$(exit_of vzfwd ports --json "unix://$fake")" 70 "hostile answer $n, --json"
done

odd='{"network":"tcp","address":"\u001b[2J\u202e","port":1,"process":null}'
long='{"network":"x","address":"long-'$(printf '%0200d' 0)'","port":65535,
	"process":{"name":"\u009b","pid":7}}'
fake "{\"ports\":[$odd,$(tr -d '\n\t' <<<"$long")]}"
run vzfwd ports "unix://$fake"
is "$(sed -n 2p "$tmp/out" | tr -s ' ')" 'tcp \x1b[2J\xe2\x80\xae 1 -' "an address cannot steer the terminal"
like "$(sed -n 3p "$tmp/out")" ' 65535  \\xc2\\x9b \(7\)$' "nor a process name"
is "$(sed -n 2p "$tmp/out" | wc -c)" 64 "one long cell does not widen the others"
vzfwd ports --json "unix://$fake" >"$tmp/out"
is "$(LC_ALL=C tr -d '\040-\176\n' <"$tmp/out" | wc -c)" 0 "nor can JSON"

# check: all is well

run vzfwd check web
is "$status" 0 "check"
is "$(cut -c1-16 "$tmp/out" | sed 's/ *$//')" "ok   pod file
ok   token
ok   endpoint
ok   handshake
ok   version
ok   netns
ok   round trip" "its steps"
like "$(cat "$tmp/out")" "web\.json: unix://.*, handle web" "it tells the pod file"
like "$(cat "$tmp/out")" "netns +entered; listening ports: 5" "and the ports"
like "$(cat "$tmp/out")" "round trip +9 calls: min [0-9.]+ ms, median [0-9.]+ ms" "and times"
like "$(vzfwd check --handle other "$guest_endpoint")" "endpoint given: .*, handle other" "an endpoint"
ok "its JSON" python3 - <<PY
import json, subprocess
steps = json.loads(subprocess.check_output(["vzfwd", "check", "--json", "web"]))
assert [s["step"] for s in steps] == ["pod file", "token", "endpoint", "handshake", "version", "netns",
                                      "round trip"]
assert all(s["ok"] is True and s["message"] and "hint" not in s for s in steps)
assert [("ms" in s) for s in steps] == [False, False, True, True, False, False, True]
PY

# check: the pod file

breaks 66 "pod file" "none" "vzfwd pod add" "no such pod" none
breaks 64 "pod file" "" "name a registered pod" "a bad name" ../web
echo '{"endpoint":"unix:///x"' >"$VZFWD_PODS_DIR/broken.json"
breaks 78 "pod file" "" "--replace" "a malformed file" broken
rm "$VZFWD_PODS_DIR/broken.json"
cp "$VZFWD_PODS_DIR/web.json" "$VZFWD_PODS_DIR/open.json"
chmod 666 "$VZFWD_PODS_DIR/open.json"
breaks 77 "pod file" "" "writable by others" "an unsafe file" open
rm "$VZFWD_PODS_DIR/open.json"

# check: the token

head -c 20 /dev/zero | tr '\0' t >"$tmp/token"
chmod 600 "$tmp/token"
vzfwd pod add token "$guest_endpoint" --token-file "$tmp/token"
is "$(exit_of vzfwd check token)" 0 "a token that nobody asked for"
chmod 644 "$tmp/token"
breaks 77 token "" "chmod 600" "an open token file" token
echo short >"$tmp/token"
chmod 600 "$tmp/token"
breaks 64 token "" "16 to 256 bytes" "a short token" token
rm "$tmp/token"
breaks 66 token "" "without --token-file" "no token file" token
head -c 20 /dev/zero | tr '\0' x >"$tmp/token"
chmod 600 "$tmp/token"
cp "$tmp/token" "$tmp/guest-token"
vzfwd pod rm token

# check: the endpoint

breaks 69 endpoint "" "no such socket" "no socket" "unix://$tmp/none.sock"
python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$tmp/stale.sock"
breaks 69 endpoint "nobody listens" "start it again" "a stale socket" "unix://$tmp/stale.sock"
breaks 69 endpoint "nobody listens" "start it again" "a stale hvsock" "hvsock://$tmp/stale.sock"
breaks 64 endpoint "dial only" "descriptor" "fd:" fd:0
run setpriv --reuid 65534 --regid 65534 --clear-groups vzfwd check "$guest_endpoint"
is "$status" 77 "somebody else's socket"
like "$(cat "$tmp/out")" "FAIL endpoint .*hint: .*somebody else's" "and its hint"
fake close
breaks 69 endpoint "" "found no listener on this port" "hvsock: end of file" "hvsock://$fake:894"
fake "raw:SSH-2.0-x"
breaks 70 endpoint "" "use unix://" "hvsock: no VMM" "hvsock://$fake:894"
fake "raw:OK 1" "raw:{}"
breaks 70 handshake "" "no vzfwd-guest" "hvsock: no dialer behind it" "hvsock://$fake:894"

# check: the handshake

fake close
breaks 69 handshake "" "is vzfwd-guest running in the VM" "closed at once" "unix://$fake"
fake "raw:SSH-2.0-x"
breaks 70 handshake "" "no vzfwd-guest" "another service" "unix://$fake"
fake silent
run vzfwd check "unix://$fake"
is "$status" 75 "no answer"
like "$(cat "$tmp/out")" "FAIL handshake .*hint: .*nothing answers" "and its hint"
breaks 69 handshake "" "vzfwd-guest --stdio" "a command that ends" "exec:exit 1"
guest_start "$pod" --token-file "$tmp/guest-token"
breaks 77 netns "missing token" "--token-file" "no token" "$guest_endpoint"
vzfwd pod add --replace token "$guest_endpoint" --token-file "$tmp/token"
is "$(exit_of vzfwd check token)" 0 "the right token"
echo 0123456789abcdef >"$tmp/token"
breaks 77 netns "wrong token" "--token-file" "a wrong token" token
vzfwd pod rm token
fake 'raw:{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method"}}'
breaks 76 handshake "no such method" "of this version" "no guest.info" "unix://$fake"

# check: the version

fake '{"name":"vzfwd-guest","version":"9\u001b[2J","protocol":2}'
breaks 76 version '9\\x1b\[2J speaks protocol 2' "from one version" "another protocol" "unix://$fake"
fake '{"name":"vzfwd-guest","version":1,"protocol":1}'
breaks 70 version "" "" "a version that is none" "unix://$fake"

# check: the netns

info='{"name":"vzfwd-guest","version":"0","protocol":1}'
guest_start "$pod" --netns "one=/run/netns/$pod"
is "$(exit_of vzfwd check "$guest_endpoint" --handle one)" 0 "a pod by name"
like "$(vzfwd check "$guest_endpoint" --handle one --container one)" "netns +entered container one; " \
	"a container by name"
breaks 66 netns "two" "--netns-dir" "no such handle" "$guest_endpoint" --handle two
breaks 66 netns "two" "--netns-dir" "no such container" "$guest_endpoint" --handle one --container two
gone_pod=$(pod_new)
guest_start "$gone_pod"
ip netns del "$gone_pod"
sed -i "/^$gone_pod\$/d" "$tmp/.pods"
breaks 78 netns "" "--pod-netns" "a pod that is gone" "$guest_endpoint"
breaks 78 netns "" "the container has ended" "netns: that is gone" "netns:/run/netns/$gone_pod"
breaks 78 netns "" "the container has ended" "pid: that is gone" pid:4194303
run setpriv --reuid 65534 --regid 65534 --clear-groups vzfwd check "netns:/run/netns/$pod"
is "$status" 77 "netns: for a user"
like "$(cat "$tmp/out")" "FAIL netns .*hint: run vzfwd as root" "and its hint"
fake "$info" '{"ports":0}'
breaks 70 netns "" "" "a wrong answer about ports" "unix://$fake"

# check: the round trip

fake "$info" '{"ports":[]}' "$info" close
breaks 69 "round trip" "" "restarting" "a link that breaks" "unix://$fake"

# A process with a socket, and no port

empty=$(pod_new)
spawn in_pod "$empty" python3 -c 'import socket, sys, time
a, b = socket.socketpair()
open(sys.argv[1], "w").close()
time.sleep(1000)' "$tmp/there"
wait_for 10 test -e "$tmp/there"
is "$(vzfwd ports --json "netns:/run/netns/$empty")" "[]" "a process with a socket, and no port"

done_testing
