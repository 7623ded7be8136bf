#!/bin/bash
# SPDX-License-Identifier: MIT
# `--capture` of listen and dial: what tshark makes of the file is what was sent, stream by stream, with the addresses,
# the ends and the resets that there were.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 tshark

vzfwd dial --capture "$tmp/probe" netns:/nowhere tcp :1 2>"$tmp/probe.err"
grep -q libpcap "$tmp/probe.err" && skip_all "$(cat "$tmp/probe.err")"

# 7000: reads to the end, answers with as many bytes, others, and ends. 7001: resets after 1000 bytes. 7003/udp: echoes.
cat >"$tmp/pod.py" <<'PY'
import os, socket, struct, sys, threading
blob = open(sys.argv[1], "rb").read()
def whole(c):
    n = 0
    while data := c.recv(65536):
        n += len(data)
    c.sendall(blob[:n])
    c.close()
def reset(c):
    n = 0
    while n < 1000:
        n += len(c.recv(1000 - n))
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
def serve(s, what):
    while True:
        c, _ = s.accept()
        threading.Thread(target=what, args=(c,), daemon=True).start()
for address, port, what in (("127.0.0.1", 7000, whole), ("127.0.0.1", 7001, reset), ("::1", 7004, whole)):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.bind((address, port))
    s.listen()
    threading.Thread(target=serve, args=(s, what), daemon=True).start()
u = socket.socket(type=socket.SOCK_DGRAM)
u.bind(("127.0.0.1", 7003))
while True:
    data, who = u.recvfrom(65536)
    u.sendto(data[::-1], who)
PY

# client.py BLOB KIND HOST PORT SIZE...: sends the first SIZE bytes of the blob, backwards, each on a connection of its own, at
# the same time; prints a line for each, client's port, SHA-256 of what went there, and of what came.
cat >"$tmp/client.py" <<'PY'
import hashlib, socket, sys, threading
blob = open(sys.argv[1], "rb").read()
kind, host, port, sizes = sys.argv[2], sys.argv[3], int(sys.argv[4]), map(int, sys.argv[5:])
def one(size):
    data = blob[:size][::-1]
    got = b""
    if kind == "udp":
        s = socket.socket(type=socket.SOCK_DGRAM)
        s.settimeout(10)
        s.connect((host, port))
        mine = s.getsockname()[1]
        s.send(data)
        got = s.recv(65536)
    else:
        s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        s.settimeout(20)
        s.bind((host, 0))
        mine = s.getsockname()[1]
        t = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
        try:
            s.connect((host, port))
            if kind == "reset":
                s.sendall(data)
            else:
                t.start()
            while part := s.recv(65536):
                got += part
        except ConnectionResetError:
            assert kind == "reset"
    with lock:
        print(mine, hashlib.sha256(data).hexdigest(), hashlib.sha256(got).hexdigest(), flush=True)
lock = threading.Lock()
threads = [threading.Thread(target=one, args=(size,)) for size in sizes]
[t.start() for t in threads]
[t.join() for t in threads]
PY

# follow.py FILE TCP|UDP: the same lines, of what tshark makes of each stream.
cat >"$tmp/follow.py" <<'PY'
import hashlib, subprocess, sys
file, proto = sys.argv[1:]
only = [o for port in ("tcp.port==7000", "tcp.port==7001", "tcp.port==7004", "udp.port==7003") for o in ("-d", port + ",data")]
def tshark(*args):
    return subprocess.run(["tshark", "-n", "-r", file, *only, *args], capture_output=True, text=True, check=True).stdout
streams = sorted({int(l) for l in tshark("-T", "fields", "-e", f"{proto}.stream", "-Y", proto).split()})
for stream in streams:
    lines = tshark("-q", "-z", f"follow,{proto},raw,{stream}").splitlines()
    port, other = (next(l for l in lines if l.startswith(f"Node {i}")).rsplit(":", 1)[1] for i in (0, 1))
    start = next(i for i, l in enumerate(lines) if l.startswith("Node 1")) + 1
    hexes = [l for l in lines[start:] if not l.startswith("===")]
    data = bytes.fromhex("".join(l for l in hexes if not l.startswith("\t")))
    back = bytes.fromhex("".join(l[1:] for l in hexes if l.startswith("\t")))
    if port == "0":  # it follows nothing without data
        continue
    if int(port) in range(7000, 7005):
        port, data, back = other, back, data
    print(port, hashlib.sha256(data).hexdigest(), hashlib.sha256(back).hexdigest())
PY

# What tshark has to complain about.
complaints() {
	tshark -n -r "$1" -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE -d tcp.port==7000,data \
		-d tcp.port==7001,data -d tcp.port==7004,data -d udp.port==7003,data \
		-Y '_ws.malformed || tcp.analysis.flags || ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0 || (_ws.expert.severity >= 6291456 && tcp.flags.reset == 0)' 2>&1 |
		grep -v '^Running as user'
}

packets() {
	tshark -n -r "$1" -Y "$2" 2>/dev/null | wc -l
}

head -c 5000000 /dev/urandom >"$tmp/blob"
pod=$(pod_new)
spawn in_pod "$pod" python3 "$tmp/pod.py" "$tmp/blob"
wait_for 10 udp_bound 7003 "$pod"
guest_start "$pod"

for endpoint in "$guest_endpoint" "netns:/run/netns/$pod"; do
	kind=${endpoint%%:*}
	file=$tmp/$kind.pcap
	spawn vzfwd listen -p "$endpoint" --capture "$file" 7000 7001 7002 7003/udp "7004:[::1]:7004" >"$tmp/listen" 2>"$tmp/listen.err"
	listen=$!
	wait_for 10 tcp_listens 7004
	is "$(stat -c %a "$file")" 600 "$kind: nobody else's to read"
	{
		python3 "$tmp/client.py" "$tmp/blob" tcp 127.0.0.1 7000 1 70000 5000000 0
		python3 "$tmp/client.py" "$tmp/blob" tcp ::1 7000 300000
		python3 "$tmp/client.py" "$tmp/blob" tcp 127.0.0.1 7004 100000
		python3 "$tmp/client.py" "$tmp/blob" reset 127.0.0.1 7001 1000
	} >"$tmp/tcp"
	python3 "$tmp/client.py" "$tmp/blob" reset 127.0.0.1 7002 0 >"$tmp/refused"
	python3 "$tmp/client.py" "$tmp/blob" udp 127.0.0.1 7003 1 1400 65507 >"$tmp/udp"
	python3 "$tmp/client.py" "$tmp/blob" udp 127.0.0.1 7003 0 >/dev/null
	is "$(wc -l <"$tmp/tcp"),$(wc -l <"$tmp/refused"),$(wc -l <"$tmp/udp")" 7,1,3 "$kind: all is sent"
	kill -TERM $listen
	wait $listen
	is "$?" 0 "$kind: ends in order"
	cat "$tmp/tcp" "$tmp/refused" | sort >"$tmp/want"
	python3 "$tmp/follow.py" "$file" tcp | sort >"$tmp/got"
	same "$tmp/got" "$tmp/want" "$kind: as many streams, from the same ports, and the same bytes each way"
	sort "$tmp/udp" >"$tmp/want"
	python3 "$tmp/follow.py" "$file" udp | sort >"$tmp/got"
	same "$tmp/got" "$tmp/want" "$kind: the same of UDP"
	is "$(packets "$file" 'udp.length == 65515')" 2 "$kind: one packet a datagram"
	is "$(packets "$file" 'udp.length == 8')" 2 "$kind: of no bytes too"
	is "$(complaints "$file")" "" "$kind: tshark has nothing to complain about"
	is "$(packets "$file" 'tcp.flags.reset == 1 && tcp.srcport == 7001')" 1 "$kind: the target's reset"
	is "$(packets "$file" 'tcp.flags.reset == 1 && tcp.srcport == 7002')" 1 "$kind: one that was refused"
	is "$(packets "$file" 'tcp.flags.fin == 1')" 12 "$kind: an end each way of those that ended"
	is "$(packets "$file" 'ip.dst == 127.0.0.1 && ip.src == 127.0.0.1 && tcp.dstport == 7000 && tcp.flags.syn == 1')" 4 "$kind: the addresses"
	is "$(packets "$file" 'ipv6.src == ::1 && ipv6.dst == ::ffff:127.0.0.1 && tcp.dstport == 7000 && tcp.flags.syn == 1')" 1 "$kind: of two families"
done

# dial

head -c 200000 "$tmp/blob" | tac >"$tmp/up"
vzfwd dial --capture "$tmp/dial.pcap" "$guest_endpoint" tcp :7000 <"$tmp/up" >"$tmp/down"
same "$tmp/down" <(head -c "$(wc -c <"$tmp/up")" "$tmp/blob") "dial as ever"
is "$(python3 "$tmp/follow.py" "$tmp/dial.pcap" tcp | cut -d' ' -f2-)" \
	"$(sha256sum <"$tmp/up" | cut -d' ' -f1) $(sha256sum <"$tmp/down" | cut -d' ' -f1)" "and in the file"
is "$(complaints "$tmp/dial.pcap")" "" "without a complaint"
printf datagram | vzfwd dial --udp-idle 0.2 --capture "$tmp/dial.pcap" "$guest_endpoint" udp :7003 >"$tmp/down"
is "$(cat "$tmp/down")" margatad "a datagram"
is "$(packets "$tmp/dial.pcap" udp)" 2 "two in the file, in place of what it had"

# Its limit

spawn vzfwd listen -p "$guest_endpoint" --capture "$tmp/small.pcap" --capture-limit 100K 7000 >/dev/null 2>"$tmp/small.err"
listen=$!
wait_for 10 tcp_listens 7000
python3 "$tmp/client.py" "$tmp/blob" tcp 127.0.0.1 7000 1000000 >"$tmp/tcp"
is "$(cut -d' ' -f3 "$tmp/tcp")" "$(head -c 1000000 "$tmp/blob" | sha256sum | cut -d' ' -f1)" "a connection goes on when the file is full"
like "$(cat "$tmp/small.err")" 'small.pcap has [0-9]+ bytes: nothing more is captured' "which is said"
is "$(grep -c 'nothing more' "$tmp/small.err")" 1 "once"
ok "it is as long as it may be" test "$(stat -c %s "$tmp/small.pcap")" -le 102400 -a "$(stat -c %s "$tmp/small.pcap")" -gt 50000
is "$(complaints "$tmp/small.pcap")" "" "and whole"

# Files that it is not to be

spawn vzfwd listen -p "$guest_endpoint" --capture "$tmp/held.pcap" 7001 >/dev/null
wait_for 10 tcp_listens 7001
is "$(exit_of vzfwd listen -p "$guest_endpoint" --capture "$tmp/held.pcap" 7002)" 73 "a file that another one writes to"
echo precious >"$tmp/precious"
ln -s precious "$tmp/link.pcap"
run vzfwd listen -p "$guest_endpoint" --capture "$tmp/link.pcap" 7002
is "$status" 64 "no symlink is followed"
like "$(cat "$tmp/err")" 'link.pcap: a symbolic link' "which is said"
is "$(cat "$tmp/precious")" precious "nor its target touched"
run vzfwd listen -p "$guest_endpoint" --capture "$tmp/nosuch/x.pcap" 7002
is "$status:$(cat "$tmp/err")" "66:vzfwd: listen: --capture $tmp/nosuch/x.pcap: no such file or directory" "a folder that is not there"
is "$(exit_of vzfwd listen -p "$guest_endpoint" --capture "$tmp" 7002)" 73 "nor a folder"
mkfifo "$tmp/fifo"
is "$(exit_of vzfwd listen -p "$guest_endpoint" --capture "$tmp/fifo" 7002)" 64 "no pipe"
is "$(exit_of vzfwd listen -p "$guest_endpoint" --capture-limit 1M 7002)" 64 "a limit of nothing"
is "$(exit_of vzfwd listen -p "$guest_endpoint" --capture "$tmp/x" --capture-limit 1T 7002)" 64 "a limit that is none"
is "$(exit_of vzfwd dial --pass-fd --capture "$tmp/x" "$guest_endpoint" tcp :7000)" 64 "--pass-fd, of which nothing is seen"
mount -t tmpfs -o size=64k none /mnt
spawn vzfwd listen -p "$guest_endpoint" --capture /mnt/full.pcap 7002:7000 >/dev/null 2>"$tmp/full.err"
wait_for 10 tcp_listens 7002
python3 "$tmp/client.py" "$tmp/blob" tcp 127.0.0.1 7002 1000000 >"$tmp/tcp"
is "$(cut -d' ' -f3 "$tmp/tcp")" "$(head -c 1000000 "$tmp/blob" | sha256sum | cut -d' ' -f1)" "a connection goes on when the disk is full"
ok "which is said" wait_for 5 grep -q 'no space left on device: nothing more is captured' "$tmp/full.err"
umount -l /mnt
not_ok "the guest is still there" gone "$guest_pid"
done_testing
