#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One connection, step by step; exits with 1 at the first step that goes wrong.

usage: pod-client.py ADDRESS:PORT|unix:PATH STEP...

    send:TEXT     expect:TEXT    bytes go out; exactly these come in
    pattern:N     expect-pattern:N       the same with N bytes of target.py's pattern
    echo:N        N random bytes go out while the same are read back
    stuff                        bytes go out until nobody takes any more
    eof           expect-eof     this side's end; the other's
    expect-reset                 a reset, after whatever is read on the way to it
    expect-end                   the end or a reset, and nothing before it
    close         reset          with a FIN; with a RST
    touch:FILE    wait:FILE      tells the test; waits for it
"""

import os
import random
import select
import socket
import struct
import sys
import threading
import time

import target

LIMIT = 60 * int(os.environ["VZFWD_TEST_SLOWNESS"])


def connect(where):
    if where.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        address = where[len("unix:"):]
    else:
        host, _, port = where.rpartition(":")
        sock = socket.socket(socket.AF_INET6 if "[" in host else socket.AF_INET)
        address = (host.strip("[]"), int(port))
    sock.settimeout(LIMIT)
    sock.connect(address)
    return sock


def send_pattern(sock, size):
    for piece in target.pieces(size):
        sock.sendall(piece)


def expect_pattern(sock, size):
    for piece in target.pieces(size):
        expect(sock, piece)


def receive(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(min(1 << 20, size - len(data)))
        if not piece:
            break
        data += piece
    return data


def expect(sock, want):
    got = receive(sock, len(want))
    if got != want:
        sys.exit(f"got {got[:100]!r} ({len(got)} bytes), want {want[:100]!r} ({len(want)})")


def echo(sock, size):
    data = random.randbytes(size)
    sender = threading.Thread(target=sock.sendall, args=(data,))
    sender.start()
    expect(sock, data)
    sender.join()


def stuff(sock):
    while select.select([], [sock], [], 0.5)[1]:
        sock.send(bytes(1 << 16), socket.MSG_DONTWAIT)


def expect_eof(sock):
    data = sock.recv(100)
    if data:
        sys.exit(f"got {data!r} instead of the end")


def expect_reset(sock):
    try:
        while sock.recv(1 << 16):
            pass
    except ConnectionResetError:
        return
    sys.exit("got an end instead of a reset")


def expect_end(sock):
    try:
        expect_eof(sock)
    except ConnectionResetError:
        pass


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def wait(path):
    end = time.monotonic() + LIMIT
    while not os.path.exists(path):
        if time.monotonic() > end:
            sys.exit(f"no {path}")
        time.sleep(0.02)


def main():
    steps = {
        "send": lambda text: sock.sendall(text.encode()),
        "expect": lambda text: expect(sock, text.encode()),
        "pattern": lambda size: send_pattern(sock, int(size)),
        "expect-pattern": lambda size: expect_pattern(sock, int(size)),
        "echo": lambda size: echo(sock, int(size)),
        "stuff": lambda _: stuff(sock),
        "eof": lambda _: sock.shutdown(socket.SHUT_WR),
        "expect-eof": lambda _: expect_eof(sock),
        "expect-end": lambda _: expect_end(sock),
        "expect-reset": lambda _: expect_reset(sock),
        "close": lambda _: sock.close(),
        "reset": lambda _: reset(sock),
        "touch": lambda path: open(path, "w").close(),
        "wait": wait,
    }
    try:
        sock = connect(sys.argv[1])
    except ConnectionResetError:
        # Some resets are that quick.
        sys.exit(None if sys.argv[2:] == ["expect-reset"] else "reset")
    for step in sys.argv[2:]:
        name, _, value = step.partition(":")
        try:
            steps[name](value)
        except OSError as e:
            sys.exit(f"{step}: {e}")


main()
