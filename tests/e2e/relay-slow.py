# SPDX-License-Identifier: MIT
"""Cases of relay-slow.sh: somebody does not read while 200 MB are sent. The sender has to wait, memory stays
as it was, no CPU time is used; and then everything arrives.

relay-slow.py NETNS MEMORY-TOLD NAME=LOCAL:PORT:PID,PID... | NAME=ENDPOINT:PID...
"""
import hashlib
import os
import select
import sys
import time

from dialing import Dial
from relaying import LIMIT, Listen, Way, expect_idle, in_background, rss_kb, run

SIZE = (200 if os.environ["VZFWD_TEST_SLOWNESS"] == "1" else 100) << 20
BLOCK = hashlib.sha256(b"block").digest() * (1 << 15)
GROWTH_KB = 8 << 10


def block(i):
    """1 MiB, another one each time."""
    return i.to_bytes(8, "big") + BLOCK[8:]


class Sender:
    """Sends all to a descriptor that is not blocking; .sent tells how far it is."""

    def __init__(self, fd):
        self.fd, self.sent, self.digest = fd, 0, hashlib.sha256()
        self.join = in_background(self.send)

    def send(self):
        os.set_blocking(self.fd, False)
        for i in range(SIZE >> 20):
            view = memoryview(block(i))
            self.digest.update(view)
            while view:
                assert select.select([], [self.fd], [], 4 * LIMIT)[1], "nobody takes anything"
                try:
                    n = os.write(self.fd, view)
                except BlockingIOError:
                    continue
                view = view[n:]
                self.sent += n

    def stalls(self):
        """Half a second in which nothing more is taken."""
        before, since = -1, time.monotonic()
        while time.monotonic() - since < 0.5:
            if self.sent != before:
                before, since = self.sent, time.monotonic()
            time.sleep(0.05)
        assert before < SIZE / 2, "%d of %d bytes were taken by nobody" % (before, SIZE)


def slow(source, sink, close, pids, memory_told):
    """From one descriptor to the other, through processes."""
    before = [rss_kb(pid) for pid in pids]
    sender = Sender(source)
    sender.stalls()
    expect_idle(*pids)
    os.set_blocking(sink, True)
    digest, got = hashlib.sha256(), 0
    for _ in range(20):  # read for a while, and stop again
        data = os.read(sink, 1 << 20)
        digest.update(data)
        got += len(data)
    sender.stalls()
    peak = [rss_kb(pid) for pid in pids]
    while got < SIZE:
        data = os.read(sink, 1 << 20)
        assert data, "ended after %d bytes" % got
        digest.update(data)
        got += len(data)
    sender.join()
    peak = [max(kb, rss_kb(pid)) for kb, pid in zip(peak, pids)]
    close()
    assert os.read(sink, 1) == b"", "more than was sent"
    assert digest.digest() == sender.digest.digest(), "other bytes"
    growth = [kb - was for kb, was in zip(peak, before)]
    assert not memory_told or max(growth) < GROWTH_KB, "memory grew by %s kB" % growth


def listen_case(way, pids, told):
    def close(sock):
        return lambda: sock.shutdown(1)

    client, server = way.open()
    slow(server.fileno(), client.fileno(), close(server), pids, told)
    slow(client.fileno(), server.fileno(), close(client), pids, told)


def dial_case(netns, endpoint, pids, told):
    way = Way("dial", netns, 0)
    dial = Dial("--half-close", endpoint, ":" + way.port)
    server = way.accept()
    dial.connected()
    pids = [dial.pid, *pids]
    slow(server.fileno(), dial.output, lambda: server.shutdown(1), pids, told)
    slow(dial.input, server.fileno(), dial.close_input, pids, told)
    server.close()
    dial.ends(0)
    dial.closed("eof", SIZE, SIZE)


def main():
    netns, told, *ways = sys.argv[1:]
    told, cases = told == "yes", []
    for text in ways:
        name, _, rest = text.partition("=")
        where, _, pids = rest.rpartition(":")
        pids = [int(pid) for pid in pids.split(",") if pid]
        if where[0].isdigit():
            cases.append((name, listen_case, Listen(name, netns, *where.split(":")), pids, told))
        else:
            cases.append((name, dial_case, netns, where, pids, told))
    run(cases, workers=len(cases))


main()
