# SPDX-License-Identifier: MIT
"""Cases of udp-hostile.sh: one flow's trouble is no other's, and neither side of a link can hurt the other.

udp-hostile.py NETNS MEMORY-TOLD GUEST-SOCKET GUEST-PID FAKE-SOCKET LOCAL LISTEN-PID LIMITED

FAKE is the socket of a dialer that is made here; a `vzfwd listen` forwards the UDP port LOCAL to it, and
another one LIMITED, with two flows at most.
"""
import json
import queue
import select
import socket
import struct
import sys
import threading
import time

from relaying import LIMIT, read_records, record, rss_kb, run, wait_for
from udping import LARGEST, client, pattern, udp_in

GROWTH_KB = 8 << 10
RESET = 2


class FakeDialer:
    """Connects every link, and leaves what follows to the test: links, in the order in which they came."""

    def __init__(self, path):
        self.links = queue.Queue()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(100)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            link = self.listener.accept()[0]
            line = b""
            while not line.endswith(b"\n"):
                line += link.recv(1)
            link.sendall(json.dumps({"jsonrpc": "2.0", "id": json.loads(line)["id"], "result": {
                "network": "udp", "remote": "127.0.0.1:53", "framing": "records"}}).encode() + b"\n")
            link.settimeout(LIMIT)
            self.links.put(link)

    def link(self):
        return self.links.get(timeout=LIMIT)


def guest_link(target):
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(LIMIT)
    link.connect(guest)
    link.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "pod.portDial", "params": {
        "handle": "x", "network": "udp", "port": target.getsockname()[1]}}).encode() + b"\n")
    line = b""
    while not line.endswith(b"\n"):
        line += link.recv(1)
    assert "result" in json.loads(line), line
    return link


def put(link, data):
    """Sends as much as is taken; whoever has had enough may close."""
    try:
        link.sendall(data)
    except OSError:
        pass


def read_record(link):
    head = b""
    while len(head) < 4:
        head += link.recv(4 - len(head))
    kind, size = head[0], struct.unpack(">I", head)[0] & 0xffffff
    data = b""
    while len(data) < size:
        data += link.recv(size - len(data))
    return kind, data


def grown(pid, before):
    kb = rss_kb(pid) - before
    assert not memory_told or kb <= GROWTH_KB, "%d KiB more" % kb


def case_stuck():
    """A link that takes nothing holds nobody up, and not much memory; what it takes later is whole and in order."""
    before = rss_kb(listen_pid)
    with client(local) as one, client(local) as two:
        one.send(b"first")
        stuck = fake.link()
        two.send(b"first")
        other = fake.link()
        assert read_record(other) == (0, b"first")
        size = 1400
        for i in range(20000):
            one.send(b"%06d" % i + pattern(size - 6))
            if i % 1000 == 0:
                # The flood may have filled the socket that both share, so this is sent until it comes.
                def asked():
                    two.send(b"ask")
                    return select.select([other], [], [], 0.05)[0]
                wait_for(asked, "the other flow is served")
                while select.select([other], [], [], 0)[0]:
                    assert read_record(other) == (0, b"ask")
                other.sendall(record("DATA", b"%d" % i))
                assert two.recv(100) == b"%d" % i
        grown(listen_pid, before)
        assert read_record(stuck) == (0, b"first")
        last, count = -1, 0
        while True:
            if not select.select([stuck], [], [], 0.3)[0]:
                one.send(b"once more")
                continue
            kind, data = read_record(stuck)
            if data == b"once more":
                break
            number = int(data[:6])
            assert kind == 0 and number > last and data[6:] == pattern(size - 6), (kind, number, last)
            last, count = number, count + 1
        assert 20 < count < 20000, "%d of 20000 came through a link that took nothing" % count
        stuck.close()
        other.close()


def case_bad_links():
    """What is no record ends the flow by a RESET, and the next flow is served."""
    for data, text in ((record("DATA", bytes(LARGEST + 1)), "a datagram of 65508 bytes"),
                       (b"\0\x0f\xff\xfc" + bytes(100), "a datagram of 1048572 bytes"),
                       (b"\0\xff\xff\xff", "DATA record of 16777215 bytes"),
                       (b"\x09\0\0\0", "unknown record type 9"),
                       (b"\x01\0\0\1x", "EOF record of 1 bytes"),
                       (b"\x02\0\x08\0" + bytes(100), "RESET record of 2048 bytes")):
        with client(local) as sock:
            sock.send(b"ask")
            link = fake.link()
            link.sendall(record("DATA", b"before"))
            assert sock.recv(100) == b"before"
            put(link, data)
            got = read_records(link)[0]
            assert got[-1][0] == RESET and text in got[-1][1].decode(), (text, got)
            link.close()
    for data in record("RESET", b"\xff\x1b[31m\n" * 100), record("RESET"), record("EOF"), b"":
        with client(local) as sock:
            sock.send(b"ask")
            link = fake.link()
            put(link, data)
            link.shutdown(socket.SHUT_WR)
            read_records(link)
            link.close()
    with client(local) as sock:
        sock.send(b"still there?")
        link = fake.link()
        assert read_record(link) == (0, b"still there?")
        link.close()


def case_floods():
    """Empty datagrams and PINGs from a dialer that reads nothing: no memory grows, and no other flow waits."""
    before = rss_kb(listen_pid)
    with client(local) as one, client(local) as two:
        one.send(b"ask")
        link = fake.link()
        flood = (record("DATA") * 50 + record("PING", b"12345678") * 50) * 100
        stop = time.monotonic() + 1
        link.settimeout(0.5)
        try:
            while time.monotonic() < stop:
                link.send(flood)
        except OSError:
            pass
        two.send(b"ask")
        other = fake.link()
        assert read_record(other) == (0, b"ask")
        other.sendall(record("DATA", b"answer"))
        assert two.recv(100) == b"answer"
        grown(listen_pid, before)
        link.close()
        other.close()


def case_guest():
    """The guest with a host that misbehaves, and with one that does not read."""
    before = rss_kb(guest_pid)
    for data, text in ((record("DATA", bytes(LARGEST + 1)), "a datagram of 65508 bytes"),
                       (b"\x09\0\0\0", "unknown record type 9"),
                       (record("EOF") * 2, "EOF record after EOF")):
        with udp_in(netns, "127.0.0.1") as target:
            link = guest_link(target)
            link.sendall(record("DATA", b"before"))
            assert target.recv(100) == b"before"
            put(link, data)
            got = read_records(link)[0]
            assert got[-1][0] == RESET and text in got[-1][1].decode(), (text, got)
    with udp_in(netns, "127.0.0.1") as target:
        link = guest_link(target)
        link.sendall(record("DATA", b"ask"))
        peer = target.recvfrom(100)[1]
        for i in range(5000):
            target.sendto(b"%06d" % i + pattern(9000), peer)
        other = guest_link(target)
        other.sendall(record("DATA", b"other"))
        got, other_peer = target.recvfrom(100)
        assert got == b"other"
        target.sendto(b"answer", other_peer)
        assert read_record(other) == (0, b"answer")
        grown(guest_pid, before)
        # A record in pieces that never becomes whole.
        other.sendall(record("DATA", pattern(LARGEST))[:-1])
        target.sendto(b"more", other_peer)
        assert read_record(other) == (0, b"more")
        assert not select.select([target], [], [], 0)[0]
        other.close()
        link.close()


def case_limit():
    """--max-connections counts flows: with two of them a third takes the place of the first."""
    clients = [client(limited) for _ in range(3)]
    links = []
    for sock in clients[:2]:
        sock.send(b"ask")
        links.append(fake.link())
        assert read_record(links[-1]) == (0, b"ask")
    clients[0].send(b"more")
    assert read_record(links[0]) == (0, b"more")

    def third():
        clients[2].send(b"ask")
        return not fake.links.empty()
    wait_for(third, "the third is served")
    assert read_record(fake.link()) == (0, b"ask")
    assert read_records(links[1]) == ([(1, b"")], "eof"), "the one that was quiet for longest ends"
    links[0].sendall(record("DATA", b"still here"))
    assert clients[0].recv(100) == b"still here"
    for sock in clients:
        sock.close()


netns, memory_told, guest, guest_pid, path, local, listen_pid, limited = sys.argv[1:]
memory_told = memory_told == "yes"
guest_pid, local, listen_pid, limited = int(guest_pid), int(local), int(listen_pid), int(limited)
fake = FakeDialer(path)
run([("a stuck flow", case_stuck), ("links that break the protocol", case_bad_links), ("floods from a link", case_floods),
     ("hosts that misbehave", case_guest), ("flows are limited", case_limit)], workers=1)
