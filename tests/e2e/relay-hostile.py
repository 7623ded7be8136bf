# SPDX-License-Identifier: MIT
"""Cases of relay-hostile.sh: the other side of a link breaks the protocol after "connected", floods, or says
nothing any more. It gets a RESET, whoever is behind us gets a reset, and no process crashes, hangs or swells.

relay-hostile.py NETNS MEMORY-TOLD GUEST-SOCKET GUEST-PID FAKE-SOCKET LOCAL LISTEN-PID

FAKE is the socket of a dialer that is made here; a `vzfwd listen` forwards LOCAL to it.
"""
import json
import random
import socket
import sys
import threading
import time

from dialing import Dial, read_all
from relaying import (LIMIT, expect, expect_bytes, listen_in, pattern, read_records, read_to_end, record,
                      reset, rss_kb, run)

DATA = pattern(5000)
GROWTH_KB = 8 << 10
EOF, RESET = 1, 2


class Fake(socket.socket):
    """A link whose handshake is over, from either side of it."""

    def put(self, *records):
        """Sends as much as is taken; whoever has had enough may close."""
        try:
            self.sendall(b"".join(records))
        except OSError:
            pass

    def flood(self, data, size, wait=1):
        """Sends `size` bytes of it, or until nobody takes any for `wait` s; how many were taken."""
        self.settimeout(wait)
        sent = 0
        try:
            while sent < size:
                sent += self.send(data[sent % len(data):])
        except OSError:
            pass
        self.settimeout(LIMIT)
        return sent

    def expect_reset(self, text):
        """All that comes is DATA, EOF, PONG, then one RESET that tells why."""
        records, _ = read_records(self)
        assert records and records[-1][0] == RESET, records[-1:]
        assert text in records[-1][1].decode(), records[-1]
        assert all(kind in (0, EOF, 4) for kind, _ in records[:-1]), [kind for kind, _ in records]

    @classmethod
    def of(cls, sock):
        fake = cls(fileno=sock.detach())
        fake.settimeout(LIMIT)
        return fake


def read_line(sock):
    line = b""
    while not line.endswith(b"\n"):
        line += sock.recv(1)
    return json.loads(line)


# A dialer that is hostile, before a host: links come from `vzfwd dial`, or `vzfwd listen`

class FakeDialer:
    def __init__(self, path, local):
        self.endpoint, self.local = "unix://" + path, local
        self.lock = threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(10)
        self.listener.settimeout(LIMIT)

    def accept(self):
        link = Fake.of(self.listener.accept()[0])
        asked = read_line(link)
        link.sendall(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": {
            "network": "tcp", "remote": "127.0.0.1:80", "local": "127.0.0.1:1",
            "framing": "records"}}).encode() + b"\n")
        return link

    def client(self):
        """A client of `vzfwd listen`, and its link."""
        with self.lock:
            client = socket.create_connection(("127.0.0.1", self.local), LIMIT)
            link = self.accept()
        return client, link

    def dial(self):
        with self.lock:
            dial = Dial(self.endpoint, ":80")
            link = self.accept()
        dial.connected()
        return dial, link


def host_violation(fakes, text, *records):
    client, link = fakes.client()
    link.put(record("DATA", DATA), *records)
    link.expect_reset(text)
    got, end = read_to_end(client)
    assert got == DATA, (len(got), end)
    # An end that came before was passed on before.
    assert end == "reset" or records[0] == record("EOF"), end

    dial, link = fakes.dial()
    link.put(record("DATA", DATA), *records)
    link.expect_reset(text)
    assert read_all(dial.output) == DATA
    # A target that has ended is the end for `dial`: what it says then comes too late.
    dial.ends(74)
    dial.closed("reset", len(DATA), 0)


def host_garbage(fakes, seed):
    dial, link = fakes.dial()
    link.put(random.Random(seed).randbytes(random.Random(seed).randrange(1, 5000)))
    link.close()
    dial.ends(74)


def host_ping_flood(fakes, pid, told):
    before = rss_kb(pid)
    client, link = fakes.client()
    link.flood(record("PING", b"12345678") * 5000, 64 << 20)
    peak = rss_kb(pid)
    assert read_to_end(client)[1] == "reset"
    link.expect_reset("too many PINGs")
    assert not told or peak - before < GROWTH_KB, "memory grew by %d kB" % (peak - before)


def host_data_flood(fakes, pid, told):
    before = rss_kb(pid)
    client, link = fakes.client()
    taken = link.flood(record("DATA", bytes((1 << 20) - 4)), 256 << 20)
    assert taken < 128 << 20, "%d bytes were taken by nobody" % taken
    assert not told or rss_kb(pid) - before < GROWTH_KB, "memory grew"
    reset(client)
    read_to_end(link)


def host_empty_flood(fakes, pid, told):
    """Records without a payload: nothing to pass on, nothing to keep."""
    before = rss_kb(pid)
    client, link = fakes.client()
    size = 20 << 20
    assert link.flood(record("DATA") * 10000 + record("PONG", b"x") * 10000, size, LIMIT) >= size
    client.sendall(b"still here")
    expect_bytes(link, record("DATA", b"still here"))
    assert not told or rss_kb(pid) - before < GROWTH_KB, "memory grew"


def host_slow_bytes(fakes):
    """A record in single bytes is a record."""
    client, link = fakes.client()
    for byte in record("DATA", b"slow") + record("PING", b"ping") + record("EOF"):
        link.sendall(bytes([byte]))
        time.sleep(0.002)
    expect_bytes(link, record("PONG", b"ping"))
    expect(client, b"slow", "eof")


def host_reset_text(fakes):
    """What the other side says can't steer the terminal."""
    dial, link = fakes.dial()
    link.put(record("RESET", b"broken \x1b[2Jbad\n\xc2\x9b\xe2\x80\xae" + b"x" * 1000))
    lines = dial.ends(74)
    assert "\\x1b[2Jbad\\x0a\\xc2\\x9b\\xe2\\x80\\xae" in lines[0], lines
    assert lines[0].isprintable() and len(lines[0]) < 2000, lines


def host_reset_word(fakes):
    """A reset of the stream is 74, whatever word the other side has for it."""
    for word in b"timeout", b"internal", b"invalid", b"nonsense", b"":
        dial, link = fakes.dial()
        link.put(record("RESET", word + b" it is"))
        assert "it is" in dial.ends(74)[0]
        dial.closed("reset", 0)


def host_no_confirmation(fakes):
    """EOF both ways, and the link is not closed: `dial` waits for 5 s, and says that it does not know."""
    dial, link = fakes.dial()
    started = time.monotonic()
    link.put(record("EOF"))
    dial.ends(74)
    assert 4.5 < time.monotonic() - started < 10
    link.expect_reset("not taken in time")


def host_ends_at_once(fakes):
    """Ends, pings and a reset in one packet with the answer."""
    with fakes.lock:
        dial = Dial(fakes.endpoint, ":80")
        sock = fakes.listener.accept()[0]
        asked = read_line(sock)
        answer = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": {
            "network": "tcp", "remote": "127.0.0.1:80", "local": "127.0.0.1:1", "framing": "records"}})
        sock.sendall(answer.encode() + b"\n" + record("PING") + record("DATA", DATA) + record("EOF") +
                     record("RESET", b"broken at once"))
        sock.close()
    dial.connected()
    assert read_all(dial.output) == DATA
    dial.ends(74)
    dial.closed("reset", len(DATA))


# A host that is hostile, before a guest

class FakeHost:
    def __init__(self, netns, guest):
        self.guest = guest
        self.listener = listen_in(netns, 0)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()

    def open(self, *pipelined):
        with self.lock:
            link = Fake(socket.AF_UNIX)
            link.settimeout(LIMIT)
            link.connect(self.guest)
            link.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "pod.portDial", "params": {
                "handle": "default", "network": "tcp", "port": self.port}}).encode() + b"\n" +
                b"".join(pipelined))
            answer = read_line(link)
            assert "result" in answer, answer
            server = self.listener.accept()[0]
            server.settimeout(LIMIT)
        return link, server


def guest_violation(hosts, text, *records):
    for pipelined in False, True:
        sent = (record("DATA", DATA), *records)
        link, server = hosts.open(*(sent if pipelined else ()))
        if not pipelined:
            link.put(*sent)
        link.expect_reset(text)
        got, end = read_to_end(server)
        assert got == DATA, (len(got), end)
        assert end == "reset" or records[0] == record("EOF"), end


def guest_garbage(hosts, seed):
    link, server = hosts.open()
    link.put(random.Random(seed).randbytes(random.Random(seed).randrange(1, 5000)))
    link.close()
    assert read_to_end(server)[1] == "reset"


def guest_ping_flood(hosts, pid, told):
    before = rss_kb(pid)
    link, server = hosts.open()
    link.flood(record("PING", b"12345678") * 5000, 64 << 20)
    peak = rss_kb(pid)
    assert read_to_end(server)[1] == "reset"
    link.expect_reset("too many PINGs")
    assert not told or peak - before < GROWTH_KB, "memory grew by %d kB" % (peak - before)


def guest_data_flood(hosts, pid, told):
    before = rss_kb(pid)
    link, server = hosts.open()
    taken = link.flood(record("DATA", bytes((1 << 20) - 4)), 256 << 20)
    assert taken < 128 << 20, "%d bytes were taken by nobody" % taken
    assert not told or rss_kb(pid) - before < GROWTH_KB, "memory grew"
    link.close()
    assert read_to_end(server)[1] == "reset"


def guest_leaves(hosts):
    """Closed in the middle of a record, and of nothing; shut down without an EOF record."""
    for records in (record("DATA", DATA)[:100],), (), (record("DATA", DATA),):
        for close in socket.socket.close, lambda sock: sock.shutdown(socket.SHUT_WR):
            link, server = hosts.open()
            link.put(*records)
            close(link)
            payload = b"".join(records)[4:]
            expect(server, payload, "reset")


def guest_reset_record(hosts):
    link, server = hosts.open()
    link.put(record("DATA", DATA), record("RESET", b"broken I am stopped"))
    expect(server, DATA, "reset")
    assert read_records(link) == ([], "eof")


def guest_in_order(hosts):
    link, server = hosts.open(record("DATA", DATA), record("EOF"))
    expect(server, DATA, "eof")
    server.sendall(DATA[::-1])
    server.close()
    records, end = read_records(link)
    assert b"".join(payload for kind, payload in records if kind == 0) == DATA[::-1]
    assert records[-1] == (EOF, b"") and end == "eof", (records[-1], end)


def main():
    netns, told, guest, guest_pid, fake, local, listen_pid = sys.argv[1:]
    told, guest_pid, listen_pid = told == "yes", int(guest_pid), int(listen_pid)
    fakes, hosts = FakeDialer(fake, int(local)), FakeHost(netns, guest)
    violations = [
        ("an unknown type", "unknown record type 5", record(5)),
        ("type 255 and a length of 16 MB", "unknown record type 255", b"\xff" * 4),
        ("DATA of 1 MiB", "DATA record of", b"\x00\x0f\xff\xfd"),
        ("DATA of 16 MiB", "DATA record of", b"\x00\xff\xff\xff"),
        ("EOF with a payload", "EOF record of 1 byte", record("EOF", b"x")),
        ("RESET of more than 1 KiB", "RESET record of 1025 bytes", record("RESET", b"x" * 1025)),
        ("PING of 9 bytes", "PING record of 9 bytes", record("PING", b"123456789")),
        ("PONG of 9 bytes", "PONG record of 9 bytes", record("PONG", b"123456789")),
        ("DATA after EOF", "DATA record after EOF", record("EOF"), record("DATA", b"x")),
        ("EOF after EOF", "EOF record after EOF", record("EOF"), record("EOF")),
    ]
    cases = [("a host meets " + name, host_violation, fakes, *rest) for name, *rest in violations]
    cases += [("a guest meets " + name, guest_violation, hosts, *rest) for name, *rest in violations]
    cases += [("a host meets garbage %d" % seed, host_garbage, fakes, seed) for seed in range(8)]
    cases += [("a guest meets garbage %d" % seed, guest_garbage, hosts, seed) for seed in range(40)]
    cases += [
        ("a host meets single bytes", host_slow_bytes, fakes),
        ("a host meets a text that steers terminals", host_reset_text, fakes),
        ("a RESET of any word", host_reset_word, fakes),
        ("a host meets all at once", host_ends_at_once, fakes),
        ("a host waits for a confirmation", host_no_confirmation, fakes),
        ("a guest meets links that leave", guest_leaves, hosts),
        ("a guest meets RESET", guest_reset_record, hosts),
    ]
    run(cases, more=True)
    # One at a time: they look at the memory.
    run([("a host meets a flood of DATA", host_data_flood, fakes, listen_pid, told),
         ("a host meets a flood of PINGs", host_ping_flood, fakes, listen_pid, told),
         ("a host meets a flood of nothing", host_empty_flood, fakes, listen_pid, told),
         ("a guest meets a flood of DATA", guest_data_flood, hosts, guest_pid, told),
         ("a guest meets a flood of PINGs", guest_ping_flood, hosts, guest_pid, told),
         ("and still serves those in order", guest_in_order, hosts)], workers=1)


main()
