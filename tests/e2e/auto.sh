#!/bin/bash
# SPDX-License-Identifier: MIT
# `listen --auto` forwards what listens in the pod for as long as it does, `ports --watch` tells of it, within a
# second each; what that costs the guest, and watchers that are slow, many or gone.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 setpriv sha256sum socat

# Listens where it is told on stdin, "+ KIND ADDRESS PORT" and "-" for the same again, and says "done". What it is
# sent by a connection it answers with its SHA-256, at the end.
cat >"$tmp/pod.py" <<'PY'
import hashlib, socket, sys, threading
socks = {}
def serve(s):
    while True:
        try:
            c, _ = s.accept()
        except OSError:
            return
        threading.Thread(target=answer, args=(c,), daemon=True).start()
def answer(c):
    h = hashlib.sha256()
    while data := c.recv(65536):
        h.update(data)
    c.sendall(h.hexdigest().encode())
    c.close()
def echo(s):
    while True:
        try:
            data, who = s.recvfrom(65536)
            s.sendto(data, who)
        except OSError:
            return
for line in sys.stdin:
    what, kind, address, port = line.split()
    key = kind, address, port
    if what == "+":
        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                          socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        if s.family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == "tcp")
        s.bind((address, int(port)))
        if kind == "tcp":
            s.listen()
        threading.Thread(target=serve if kind == "tcp" else echo, args=(s,), daemon=True).start()
        socks[key] = s
    else:
        s = socks.pop(key)
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        s.close()
    print("done", flush=True)
PY

# pod_serve POD: from now on, ports "+ tcp 127.0.0.1 80" is done there
pod_serve() {
	mkfifo "$tmp/$1.in" "$tmp/$1.out"
	exec {server_in}<>"$tmp/$1.in" {server_out}<>"$tmp/$1.out"
	spawn in_pod "$1" python3 "$tmp/pod.py" <"$tmp/$1.in" >"$tmp/$1.out"
	server=$!
}

server_has() {
	[ "$(fds_of "$server")" -ge "$1" ]
}

ports() {
	local said

	printf '%s\n' "$*" >&"$server_in"
	read -r -t 10 said <&"$server_out" && [ "$said" = "done" ]
}

# What one second allows, from a change in the pod on.
soon() {
	wait_for "$VZFWD_TEST_SLOWNESS" "$@"
}

digest() {
	python3 - "$1" "$2" "$tmp/data" <<-'PY'
		import socket, sys
		with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as s:
		    s.sendall(open(sys.argv[3], "rb").read())
		    s.shutdown(socket.SHUT_WR)
		    got = b""
		    while data := s.recv(4096):
		        got += data
		print(got.decode())
	PY
}

head -c 300000 /dev/urandom >"$tmp/data"
want=$(sha256sum <"$tmp/data")
want=${want%% *}

pod=$(pod_new)
ip -n "$pod" addr add 10.9.0.1/32 dev lo
guest_start "$pod"
ok "register" vzfwd pod add web "$guest_endpoint"
pod_serve "$pod"
ports + tcp 127.0.0.1 8000

for endpoint in web "netns:/run/netns/$pod"; do
	kind=${endpoint%%:*}

	# ports --watch

	spawn vzfwd ports --watch "$endpoint" >"$tmp/watch" 2>"$tmp/watch.err"
	watch=$!
	spawn vzfwd ports --watch --json "$endpoint" >"$tmp/json"
	watch_json=$!
	wait_for 10 grep -q '^+ tcp  127\.0\.0\.1 *8000 ' "$tmp/watch"
	wait_for 10 grep -q 8000 "$tmp/json"
	ports + tcp ::1 8001
	ok "$kind: a new port within a second" soon grep -qE '^\+ tcp  ::1 +8001   python3 \([0-9]+\)$' "$tmp/watch"
	soon grep -q 8001 "$tmp/json"
	ports - tcp ::1 8001
	ok "$kind: one that is gone, too" soon grep -qE '^- tcp  ::1 +8001 ' "$tmp/watch"
	soon grep -q '"removed"' "$tmp/json"
	ok "$kind: as JSON" python3 - "$tmp/json" <<-'PY'
		import json, sys
		lines = [json.loads(line) for line in open(sys.argv[1])]
		for line in lines:
		    assert line.pop("process")["name"] == "python3"
		assert lines == [{"change": c, "network": "tcp", "address": a, "port": p} for c, a, p in
		                 (("added", "127.0.0.1", 8000), ("added", "::1", 8001), ("removed", "::1", 8001))], lines
	PY
	is "$(cat "$tmp/watch.err")" "" "$kind: without a word besides"
	stop $watch
	stop $watch_json

	# listen --auto

	spawn python3 -m http.server 8002 --bind 127.0.0.1
	busy=$!
	wait_for 10 tcp_listens 8002
	spawn vzfwd listen --auto -p "$endpoint" --auto-exclude 8500-8600,8700 7777:8700 >"$tmp/listen" 2>"$tmp/listen.err"
	listen=$!
	ok "$kind: what listens already" wait_for 10 grep -qx 'Forwarding from 127.0.0.1:8000 -> 8000' "$tmp/listen"
	is "$(digest 127.0.0.1 8000)" "$want" "$kind: every byte"
	ports + tcp 127.0.0.1 8002
	ok "$kind: the next free port within a second" soon grep -qx 'Forwarding from 127.0.0.1:8003 -> 8002' "$tmp/listen"
	is "$(grep -c -- '-> 8002$' "$tmp/listen")" 2 "$kind: the same one in both families"
	is "$(digest ::1 8003)" "$want" "$kind: which leads there"
	for where in ::1 0.0.0.0 :: 10.9.0.1; do
		port=$((8100 + ${#where}))
		ports + tcp $where $port
		soon grep -q "^Forwarding from 127.0.0.1:$port " "$tmp/listen"
		is "$(digest 127.0.0.1 $port)" "$want" "$kind: a listener on $where"
	done
	like "$(cat "$tmp/listen")" '127.0.0.1:8108 -> 10.9.0.1:8108' "$kind: the address itself is dialed"

	fds=$(fds_of "$server")
	exec {held}<>/dev/tcp/127.0.0.1/8103
	wait_for 10 server_has $((fds + 1))
	ports - tcp ::1 8103
	ok "$kind: a port that is gone is forwarded no more" soon grep -qx 'Stopped forwarding 8103' "$tmp/listen"
	not_ok "$kind: nobody listens" tcp_listens 8103
	ok "$kind: its connection goes on" python3 - $held "$tmp/data" "$want" <<-'PY'
		import socket, sys
		s = socket.socket(fileno=int(sys.argv[1]))
		s.sendall(open(sys.argv[2], "rb").read())
		s.shutdown(socket.SHUT_WR)
		got = b""
		while data := s.recv(4096):
		    got += data
		assert got.decode() == sys.argv[3], got
	PY
	exec {held}>&-

	ports + tcp 127.0.0.1 8550
	ports + tcp 127.0.0.1 8700
	ports + udp 127.0.0.1 40000
	ports + udp 0.0.0.0 5353
	ok "$kind: UDP" soon grep -qx 'Forwarding from 127.0.0.1:5353 -> 5353/udp' "$tmp/listen"
	is "$(python3 -c 'import socket
s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(10); s.connect(("127.0.0.1", 5353))
s.send(b"datagram"); print(s.recv(100).decode())')" datagram "$kind: and back"
	is "$(grep -cE -- '-> (8550|40000)' "$tmp/listen")" 0 "$kind: neither what is excluded nor a client's UDP"
	is "$(grep -c -- '-> 8700' "$tmp/listen")" 2 "$kind: what was asked for by name, once"
	for which in "tcp 127.0.0.1 8550" "tcp 127.0.0.1 8700" "udp 127.0.0.1 40000" "udp 0.0.0.0 5353" "tcp 127.0.0.1 8002" \
		"tcp 0.0.0.0 8107" "tcp :: 8102" "tcp 10.9.0.1 8108"; do
		# shellcheck disable=SC2086 # three words
		ports - $which
	done
	ok "$kind: the last of them is gone" soon grep -qx 'Stopped forwarding 10.9.0.1:8108' "$tmp/listen"
	kill -TERM $listen
	wait $listen
	is "$?" 0 "$kind: ends in order"
	stop $busy
done

# Privileged ports, as another user: the next one that anybody may bind.

ports + tcp 127.0.0.1 80
spawn socat "UNIX-LISTEN:$tmp/open.sock,fork,mode=666" "UNIX-CONNECT:$guest_socket"
wait_for 10 unix_listens "$tmp/open.sock"
echo 1024 >/proc/sys/net/ipv4/ip_unprivileged_port_start
spawn setpriv --reuid=65534 --clear-groups --inh-caps=-all vzfwd listen --auto --auto-include 80,443-444 \
	-p "unix://$tmp/open.sock" >"$tmp/user" 2>"$tmp/user.err"
user=$!
ok "a privileged port" wait_for 10 grep -qx 'Forwarding from 127.0.0.1:1024 -> 80' "$tmp/user"
is "$(digest 127.0.0.1 1024)" "$want" "leads there"
ports + tcp 127.0.0.1 444
ok "one of a range" soon grep -q -- '-> 444' "$tmp/user"
is "$(grep -c -- '-> 8000' "$tmp/user")" 0 "not what isn't included"
stop $user
ports - tcp 127.0.0.1 80
ports - tcp 127.0.0.1 444

# The link is lost, and back; the pod is gone, and back.

spawn vzfwd listen --auto -p web --events "$tmp/events" >"$tmp/listen" 2>"$tmp/listen.err"
listen=$!
spawn vzfwd ports --watch web >"$tmp/watch" 2>"$tmp/watch.err"
watch=$!
wait_for 10 grep -q -- '-> 8000' "$tmp/listen"
wait_for 10 grep -q 8000 "$tmp/watch"
stop "$guest_pid"
ok "the link is lost" wait_for 10 grep -q 'web: lost: ' "$tmp/listen.err"
ok "an event of it" wait_for 10 grep -q '"pod-lost"' "$tmp/events"
ok "its ports stay" tcp_listens 8000
ports + tcp 127.0.0.1 8004
digest 127.0.0.1 8000 >"$tmp/waits" &
waits=$!
wait_for 5 grep -q 'Handling connection for 8000' "$tmp/listen"
guest_again
ok "it is back" wait_for 15 grep -qx 'Forwarding from 127.0.0.1:8004 -> 8004' "$tmp/listen"
wait $waits
is "$(cat "$tmp/waits")" "$want" "a client has waited for it"
is "$(grep -o '"pod-[a-z]*"' "$tmp/events" | tr -d '\n')" '"pod-lost""pod-back"' "an event of each, whoever met it"
is "$(sed 's/: lost: .*/: lost/; s/ after .*//' "$tmp/listen.err" | tr '\n' '|')" \
	"vzfwd: warning: web: lost|vzfwd: warning: web: back|" "and a line of each"
is "$(grep -c -- '127.0.0.1:8000 -> 8000' "$tmp/listen")" 1 "the other one was not touched"
ok "ports --watch goes on" wait_for 15 grep -qE '^\+ tcp  127.0.0.1 +8004 ' "$tmp/watch"
is "$(digest 127.0.0.1 8000)" "$want" "and leads there"
mv "/run/netns/$pod" "/run/netns/$pod.away" 2>/dev/null || {
	touch "/run/netns/$pod.away"
	mount --bind "/run/netns/$pod" "/run/netns/$pod.away"
	umount "/run/netns/$pod"
}
ok "the pod is gone" wait_for 2 grep -qx 'Stopped forwarding 8000' "$tmp/listen"
ok "with all of its ports" soon grep -qx 'Stopped forwarding 8004' "$tmp/listen"
mount --bind "/run/netns/$pod.away" "/run/netns/$pod"
ok "the pod is back" wait_for 2 eval '[ "$(grep -c -- "127.0.0.1:8000 -> 8000" "$tmp/listen")" = 2 ]'
stop $listen
stop $watch

# A pod that has a thousand ports, others as fast as it can tell, or ends each watch: none takes more than its share.

cat >"$tmp/thousand.py" <<'PY'
import json, os, socket, sys, threading, time
path, mode = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(100)
opened = []
def ports(first):
    return [{"network": "tcp", "address": "127.0.0.1", "port": first + i} for i in range(1000)]
def serve(link):
    request = json.loads(link.makefile("rb").readline())
    def say(**what):
        link.sendall(json.dumps({"jsonrpc": "2.0", **what}).encode() + b"\n")
    if request["method"] == "pod.portDial":
        say(id=request["id"], error={"code": -32002, "message": "nobody there", "data": {"reason": "refused"}})
        return
    say(id=request["id"], result={"ports": ports(10000), "watch": True})
    opened.append(time.time())
    if mode == "flaps":
        if len(opened) == 4:
            print(int((opened[3] - opened[0]) * 1000), flush=True)
        link.close()
        return
    now, next, told, end = 10000, 20000, 0, time.time() + 2
    count = 1000 if mode == "floods" else 1
    while mode != "stays" and time.time() < end:
        say(method="pod.portsChanged", params={"added": ports(next)[:count], "removed": ports(now)[:count], "pad": "x" * 100000})
        now, next, told = next, now, told + 1
    print(told, flush=True)
    link.recv(1)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
PY
for mode in stays floods chatters flaps; do
	spawn python3 "$tmp/thousand.py" "$tmp/$mode.sock" "$mode" >"$tmp/$mode.told"
	thousand=$!
	wait_for 10 unix_listens "$tmp/$mode.sock"
	# shellcheck disable=SC2016 # bash's
	spawn bash -c 'ulimit -n "$1"; exec vzfwd listen --auto -p "unix://$2" 7777:80' - \
		"$([ $mode = stays ] && echo 600 || echo 10000)" "$tmp/$mode.sock" >"$tmp/listen" 2>"$tmp/listen.err"
	listen=$!
	wait_for 10 test -s "$tmp/$mode.told"
	if [ $mode = stays ]; then
		ok "a thousand: a quarter of the descriptors" \
			wait_for 5 grep -qx "vzfwd: warning: unix://$tmp/stays.sock: no more than 75 ports are forwarded" "$tmp/listen.err"
		digest 127.0.0.1 7777 >"$tmp/client" 2>&1
		ok "a thousand: a port that was asked for has what it needs" wait_for 5 grep -q 'nobody there' "$tmp/listen.err"
	elif [ $mode = floods ]; then
		changes=$(grep -c 'Stopped\|127.0.0.1' "$tmp/listen")
		diag "$changes changes in 2 s"
		ok "a flood: is done at a rate" [ "$changes" -le 2500 ]
		ok "a flood: something is done" [ "$changes" -ge 200 ]
	elif [ $mode = flaps ]; then
		took=$(cat "$tmp/flaps.told")
		diag "four watches in $took ms"
		ok "one that ends each watch: is asked less and less often" [ "$took" -ge 1500 ]
		is "$(cat "$tmp/listen.err")" "" "one that ends each watch: without a line for each"
	else
		told=$(cat "$tmp/chatters.told")
		diag "$told notifications in 2 s"
		ok "a chatterer: is read at a rate" [ "$told" -le 30 ]
	fi
	stop $listen
	stop $thousand
done

# Raw: many watches, one that doesn't read, ones that are gone; what it costs.

ok "watches, as they are on the wire" python3 - "$guest_socket" "$guest_pid" "/run/netns/$pod" "$(sanitized && echo yes)" <<'PY'
import ctypes, json, os, resource, select, signal, socket, subprocess, sys, threading, time
path, pid, netns, sanitized = sys.argv[1:]
slow = float(os.environ["VZFWD_TEST_SLOWNESS"])
def start(buffer=None):
    s = socket.socket(socket.AF_UNIX)
    if buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    s.settimeout(10)
    s.connect(path)
    s.sendall(b'{"jsonrpc":"2.0","id":1,"method":"pod.ports","params":{"handle":"h%d","watch":true}}\n' % s.fileno())
    f = s.makefile("rb")
    return s, f, json.loads(f.readline())
def cpu():  # clock_getcpuclockid(3); ticks are too coarse
    return time.clock_gettime(~int(pid) << 3 | 2) * 1000
def rss():
    return int(next(l for l in open(f"/proc/{pid}/status") if l.startswith("VmRSS")).split()[1])
fd = os.open(netns, os.O_RDONLY)
assert ctypes.CDLL(None).setns(fd, 0x40000000) == 0
def listen(port, address="127.0.0.1"):
    s = socket.socket()
    s.bind((address, port))
    s.listen()
    return s

# One can ask on, and is told in between.
s, f, answer = start()
assert answer["result"]["watch"] is True
s.sendall(b'{"jsonrpc":"2.0","id":2,"method":"guest.info"}\n')
assert json.loads(f.readline())["id"] == 2
l = listen(9000)
told = json.loads(f.readline())
assert told["method"] == "pod.portsChanged" and "id" not in told, told
assert [p["port"] for p in told["params"]["added"]] == [9000] and told["params"]["removed"] == [], told

# A slow one: many changes, of which it reads nothing; in the end there is one state, whatever was between.
lazy, lf, answer = start(buffer=2048)
known = {(p["address"], p["port"]) for p in answer["result"]["ports"]}
before = rss()
for i in range(8):
    many = [listen(20000 + n, "127.9.9.9") for n in range(400)]
    while len(json.loads(f.readline())["params"]["added"]) == 0:
        pass
    for m in many:
        m.close()
    gone = 0
    while gone < 400:
        gone += len(json.loads(f.readline())["params"]["removed"])
grown = rss() - before
final = listen(9001)
lines = 0
while ("127.0.0.1", 9001) not in known:
    change = json.loads(lf.readline())["params"]
    lines += 1
    known -= {(p["address"], p["port"]) for p in change["removed"]}
    known |= {(p["address"], p["port"]) for p in change["added"]}
assert lines < 17, lines
assert not any(p >= 20000 for _, p in known), known
print(f"# a slow watcher: {lines} notifications for 17 changes, the guest grew by {grown} KiB", file=sys.stderr)
assert grown < 4096 or sanitized, grown

# No more than 64, and who has gone makes room.
more = [start() for _ in range(62)]
assert all("result" in m[2] for m in more)
s65, f65, refused = start()
assert refused["error"]["data"]["reason"] == "exhausted", refused
s65.close()
for m in more:
    m[1].close()
    m[0].close()
end = time.time() + 10
while True:
    extra = start()
    if "result" in extra[2] or time.time() > end:
        break
assert "result" in extra[2], extra[2]

# What it costs with 200 listeners.
many = [listen(21000 + n, "127.9.9.9") for n in range(200)]
while 21199 not in [p["port"] for p in json.loads(f.readline())["params"]["added"]]:
    pass
began, used = time.time(), cpu()
while (left := began + 5 - time.time()) > 0:
    assert not select.select([s], [], [], left)[0], "told of nothing"
used = cpu() - used
print(f"# 200 listeners, 3 watches: {used:.1f} ms of the processor in {time.time() - began:.2f} s", file=sys.stderr)
assert used <= 50 * slow, used

# How soon.
worst = 0
for i in range(10):
    at = time.time()
    l = listen(22000 + i)
    while 22000 + i not in [p["port"] for p in json.loads(f.readline())["params"]["added"]]:
        pass
    worst = max(worst, time.time() - at)
print(f"# the longest of ten: {worst * 1000:.0f} ms", file=sys.stderr)
assert worst < slow, worst

# Something new all the time, beside processes with many descriptors, which are looked through for whose it is.
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = [os.open("/dev/null", os.O_RDONLY) for _ in range(3000)]
children = []
for _ in range(8):
    children.append(os.fork())
    if children[-1] == 0:
        signal.pause()
began, used, changes = time.time(), cpu(), 0
while time.time() < began + 3:
    u = socket.socket(type=socket.SOCK_DGRAM)
    u.bind(("127.0.0.1", 23000 + changes))
    while 23000 + changes not in [p["port"] for p in json.loads(f.readline())["params"]["added"]]:
        pass
    u.close()
    changes += 1
used, took = cpu() - used, time.time() - began
print(f"# {changes} changes beside 24000 descriptors: {used:.1f} ms of the processor in {took:.2f} s", file=sys.stderr)
assert used <= (20 * took + 40) * slow, used
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
for fd in held:
    os.close(fd)

# The longest that a port can be, by which the number of them is limited.
assert ctypes.CDLL(None).prctl(15, b"\1" * 15) == 0  # PR_SET_NAME
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
u.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
u.bind(("2001:1111:2222:3333:4444:5555:6666:7777", 65535))
with socket.socket(socket.AF_UNIX) as asks:
    asks.connect(path)
    asks.sendall(b'{"jsonrpc":"2.0","id":1,"method":"pod.ports","params":{"handle":"web"}}\n')
    line = asks.makefile("rb").readline()
longest = next(p for p in line.split(b'{"network":') if b":7777" in p).split(b"}}")[0]
assert longest.count(b"\\u0001") == 15, longest
length = len(b'{"network":' + longest + b"}},") + len("4194304") - len(str(os.getpid()))
assert length == 209, (length, longest)
u.close()

# Too many, of which each watcher is told by its link's end, and by the answer to the next one.
programs = [subprocess.Popen(["vzfwd", "ports", "--watch", endpoint], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for endpoint in (f"unix://{path}", f"netns:{netns}")]
for program in programs:
    assert program.stdout.readline().startswith(b"+ ")
    threading.Thread(target=program.stdout.read, daemon=True).start()
many = [listen(24000 + n, "127.9.9.8") for n in range(2401)]
while f.readline():
    pass
while lf.readline():
    pass
late, _, refused = start()
assert refused["error"]["data"]["reason"] == "exhausted", refused
assert "2400" in refused["error"]["message"], refused
late.close()
for program in programs:
    while b"lost: more than 2400 ports are not watched" not in (told := program.stderr.readline()):
        assert told
for m in many:
    m.close()
for program in programs:
    while b"is back" not in (told := program.stderr.readline()):
        assert told
    program.kill()
PY
cat "$tmp/.ok" >&2
not_ok "the guest is still there" gone "$guest_pid"

is "$(exit_of vzfwd listen --auto-include 80 -p web 80)" 64 "--auto-include without --auto"
run vzfwd listen --auto --auto-exclude 90-80 -p web
is "$status" 64 "a range that is none"
like "$(cat "$tmp/err")" '"90-80" is not a port or a range' "which is named"
run vzfwd ports --watch "unix://$tmp/nobody"
is "$status" 69 "ports --watch without a dialer"
done_testing
