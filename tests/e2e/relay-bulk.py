# SPDX-License-Identifier: MIT
"""Cases of relay-bulk.sh: much at a time through a `vzfwd listen` and a vzfwd-guest.

relay-bulk.py NETNS NAME=PORT:LISTEN-PID:GUEST-PID...

The names are: bulk; few, with few descriptors; stop-listen and stop-guest, which get a SIGTERM; kill-listen and kill-guest.
"""
import gc
import os
import signal
import socket
import sys

from relaying import (Listen, expect_bytes, expect_idle, in_background, is_alive, pattern, reset,
                      run, wait_for)

SIZE = 64 << 20
DATA = memoryview(pattern(SIZE, 7))
PIECE = 1 << 20
PART = 4 << 20  # so much before something happens


class Receiver:
    """Reads and compares, in a thread of its own, up to the end; .got tells how far it is, .end how it ended."""

    def __init__(self, sock, repeated=False):
        self.sock, self.repeated, self.got, self.end = sock, repeated, 0, None
        self.join = in_background(self.read)

    def read(self):
        buffer = memoryview(bytearray(1 << 18))
        while True:
            try:
                n = self.sock.recv_into(buffer)
            except (ConnectionResetError, BrokenPipeError):
                self.end = "reset"
                return
            if not n:
                self.end = "eof"
                return
            at = self.got % SIZE if self.repeated else self.got
            first = min(n, SIZE - at)
            assert buffer[:first] == DATA[at:at + first], "other bytes at %d" % self.got
            assert buffer[first:n] == DATA[:n - first], "other bytes from %d" % (self.got + first)
            self.got += n

    def has(self, size):
        wait_for(lambda: self.got >= size or self.end, "%d bytes" % size)
        assert self.got >= size, "%s after %d bytes" % (self.end, self.got)

    def ends(self, how, size=None):
        self.join()
        assert self.end == how, "ended by %s after %d bytes" % (self.end, self.got)
        assert size is None or self.got == size, "%d bytes of %d" % (self.got, size)


class Endless:
    """Sends all the time, until told to stop or its connection fails."""

    def __init__(self, sock):
        self.sock, self.stopped, self.reset = sock, False, False
        self.join = in_background(self.send)

    def send(self):
        at = 0
        try:
            while not self.stopped:
                self.sock.sendall(DATA[at:at + PIECE])
                at = (at + PIECE) % SIZE
        except (ConnectionResetError, BrokenPipeError):
            self.reset = True

    def stop(self):
        self.stopped = True
        self.join()


def send(sock, size=SIZE):
    """All of it, and then an end."""
    sock.sendall(DATA[:size])
    sock.shutdown(socket.SHUT_WR)


def one_way(way, up):
    client, server = way.open()
    source, sink = (client, server) if up else (server, client)
    receiver = Receiver(sink)
    send(source)
    receiver.ends("eof", SIZE)
    sink.sendall(b"thanks")
    expect_bytes(source, b"thanks")


def both_ways(way, count, size):
    pairs = [way.open() for _ in range(count)]
    ends = [end for pair in pairs for end in pair]
    receivers = [Receiver(end) for end in ends]
    senders = [in_background(send, end, size) for end in ends]
    for sender in senders:
        sender()
    for receiver in receivers:
        receiver.ends("eof", size)


def slow_beside_fast(way):
    client, server = way.open()
    sender = in_background(send, server)
    one_way(way, True)
    one_way(way, False)
    receiver = Receiver(client)
    sender()
    receiver.ends("eof", SIZE)


def reset_in_the_middle(way, client_resets, sends):
    """Whoever resets was sending, and the other one reads of it; or is being sent to, and the other one can't go on."""
    near, far = way.open()
    one, other = (near, far) if client_resets else (far, near)
    sender = Endless(one if sends else other)
    receiver = Receiver(other, True) if sends else None
    if sends:
        receiver.has(PART)
        sender.stop()
        reset(one)
        receiver.ends("reset")
    else:
        expect_bytes(one, DATA[:PART])
        reset(one)
        sender.join()


def interactive_beside_bulk(way):
    busy = way.open()
    receivers = [Receiver(end, True) for end in busy]
    senders = [Endless(end) for end in busy]
    for receiver in receivers:
        receiver.has(PART)
    client, server = way.open()
    before = [receiver.got for receiver in receivers]
    for i in range(300):
        client.sendall(b"%4d" % i)
        expect_bytes(server, b"%4d" % i)
        server.sendall(b"%4d" % -i)
        expect_bytes(client, b"%4d" % -i)
    for receiver, was in zip(receivers, before):
        receiver.has(was + 1)
    for sender in senders:
        sender.stop()
    for end in busy:
        end.shutdown(socket.SHUT_WR)
    for receiver in receivers:
        receiver.ends("eof")


def few_descriptors(way, pids):
    """Bulk that is held up has the pipes there are; connections go all the same, and nobody spins."""
    pairs = [way.open() for _ in range(12)]
    ends = [end for pair in pairs for end in pair]
    first = [Receiver(end) for end in pairs[0]]
    senders = [in_background(send, end, 16 << 20) for end in ends]
    for receiver in first:
        receiver.ends("eof", 16 << 20)
    client, server = way.open()
    for _ in range(10):
        client.sendall(b"up")
        expect_bytes(server, b"up")
        server.sendall(b"down")
        expect_bytes(client, b"down")
    expect_idle(*pids)
    receivers = [Receiver(end) for end in ends[2:]]
    for sender in senders:
        sender()
    for receiver in receivers:
        receiver.ends("eof", 16 << 20)


def ended_in_the_middle(way, pid, number):
    """Nothing that was under way looks whole."""
    up, down, both = (way.open() for _ in range(3))
    receivers = [Receiver(sink, True) for sink in (up[1], down[0], *both)]
    senders = [Endless(source) for source in (up[0], down[1], *both)]
    for receiver in receivers:
        receiver.has(PART)
    os.kill(pid, number)
    for sender in senders:
        sender.join()
        assert sender.reset
    for receiver in receivers[:2]:
        receiver.ends("reset")
    for receiver in receivers[2:]:
        receiver.join()  # its socket's sender may have been told of the reset: that happens once
    wait_for(lambda: not is_alive(pid), "its end", 10)


def descriptors(pid):
    """(pipes' ends, all others)"""
    names = []
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            names.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        except FileNotFoundError:
            pass
    pipes = sum(name.startswith("pipe:") for name in names)
    return pipes, len(names) - pipes


def descriptors_freed(pids, before):
    """Each thread keeps four pipes, and all but the first have a loop of their own."""
    threads = min(os.cpu_count(), 4)

    def freed(pid, were):
        pipes, others = descriptors(pid)
        return pipes <= were[0] + 8 * (1 + threads) and others <= were[1] + 6 + 6 * threads

    gc.collect()  # sockets of ours that nobody closed
    for pid, were in zip(pids, before):
        wait_for(lambda: freed(pid, were), "freed: %s before, %s now" % (were, descriptors(pid)), 10)
    expect_idle(*pids)


def main():
    netns, *args = sys.argv[1:]
    ways, pids = {}, {}
    for arg in args:
        name, _, rest = arg.partition("=")
        port, *numbers = rest.split(":")
        ways[name] = Listen(name, netns, port, port)
        pids[name] = [int(number) for number in numbers]
    bulk = ways["bulk"]
    before = [descriptors(pid) for pid in pids["bulk"]]
    run([
        ("64 MiB up", one_way, bulk, True),
        ("64 MiB down", one_way, bulk, False),
        ("eight connections at once, both ways", both_ways, bulk, 8, 16 << 20),
        ("a slow reader beside fast ones", slow_beside_fast, bulk),
        ("round trips beside bulk", interactive_beside_bulk, bulk),
        ("a client that sends is reset", reset_in_the_middle, bulk, True, True),
        ("a client that is sent to is reset", reset_in_the_middle, bulk, True, False),
        ("a target that sends is reset", reset_in_the_middle, bulk, False, True),
        ("a target that is sent to is reset", reset_in_the_middle, bulk, False, False),
        ("64 descriptors", few_descriptors, ways["few"], pids["few"]),
        ("listen is stopped", ended_in_the_middle, ways["stop-listen"],
         pids["stop-listen"][0], signal.SIGTERM),
        ("the guest is stopped", ended_in_the_middle, ways["stop-guest"],
         pids["stop-guest"][1], signal.SIGTERM),
        ("listen is killed", ended_in_the_middle, ways["kill-listen"],
         pids["kill-listen"][0], signal.SIGKILL),
        ("the guest is killed", ended_in_the_middle, ways["kill-guest"],
         pids["kill-guest"][1], signal.SIGKILL),
    ], workers=4, more=True)
    run([("descriptors are freed", descriptors_freed, pids["bulk"], before)])


main()
