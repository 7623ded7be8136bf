# SPDX-License-Identifier: MIT
"""Cases of relay-matrix.sh: every order of ends and resets, on every way into a pod.

relay-matrix.py NETNS GUEST-ENDPOINT NAME=LOCAL:PORT... NAME=ENDPOINT...

LOCAL:PORT is a forward of `vzfwd listen`; `vzfwd dial` goes to GUEST-ENDPOINT and the other endpoints.
"""
import os
import sys
import time

from dialing import Dial, read_all
from orders import FEW, IN_ORDER, RESETS, SMALL
from relaying import (Listen, StreamFd, expect, expect_bytes, in_background, put, reset, run, unread,
                      wait_for)
import socket


# `vzfwd dial` with stdin and stdout

class DialWay(StreamFd):
    def start(self, *options):
        with self.lock:
            dial = Dial(*options, *self.args, ":" + self.port)
            server = self.accept()
        dial.connected()
        return dial, server


def feed(dial, data):
    view = memoryview(data)
    while view:
        view = view[os.write(dial.input, view):]


def dial_client_first(way):
    dial, server = way.start()
    join = in_background(feed, dial, SMALL)
    expect_bytes(server, SMALL)
    join()
    dial.close_input()
    expect(server, b"", "eof")
    server.sendall(SMALL[::-1])
    server.close()
    assert read_all(dial.output) == SMALL[::-1]
    dial.ends(0)
    dial.closed("eof", len(SMALL), len(SMALL))


def dial_server_first(way):
    dial, server = way.start()
    server.sendall(SMALL)
    server.close()
    assert read_all(dial.output) == SMALL
    dial.ends(0)
    dial.closed("eof", len(SMALL), 0)


def dial_half_close(way):
    dial, server = way.start("--half-close")
    server.sendall(SMALL)
    server.shutdown(socket.SHUT_WR)
    assert read_all(dial.output) == SMALL
    join = in_background(feed, dial, SMALL)
    expect_bytes(server, SMALL)
    join()
    dial.close_input()
    expect(server, b"", "eof")
    server.close()
    dial.ends(0)
    dial.closed("eof", len(SMALL), len(SMALL))


def dial_late_reply(way):
    dial, server = way.start()
    feed(dial, b"question")
    dial.close_input()
    expect(server, b"question", "eof")
    time.sleep(3)
    server.sendall(b"answer")
    server.close()
    assert read_all(dial.output) == b"answer"
    dial.ends(0)


def dial_reset(way, data):
    dial, server = way.start()
    put(server, data)
    reset(server)
    assert read_all(dial.output) == data
    dial.ends(74)
    dial.closed("reset", len(data), 0)


def dial_reset_after_fin(way):
    dial, server = way.start("--half-close")
    put(server, b"data")
    server.shutdown(socket.SHUT_WR)
    assert read_all(dial.output) == b"data"
    reset(server)
    dial.ends(74)
    dial.closed("reset", 4, 0)


def dial_leaves_unread(way):
    dial, server = way.start()
    feed(dial, b"unread")
    wait_for(lambda: unread(server) > 0, "bytes for the server")
    server.close()
    assert read_all(dial.output) == b""
    dial.ends(74)
    dial.closed("reset", 0, 6)


def dial_not_taken(way):
    """The target ends in order and reads no more: what stdin had for it is lost, and that is told."""
    dial, server = way.start()
    feed(dial, FEW)
    wait_for(lambda: unread(server) == len(FEW), "bytes for the server")
    server.shutdown(socket.SHUT_WR)
    assert read_all(dial.output) == b""
    server.close()
    # Its kernel may have acknowledged all before it closed: then nobody can tell.
    assert dial.process.wait(30) in (0, 74), dial.errors()


def main():
    netns, guest, *others = sys.argv[1:]
    ways = []
    endpoints = {guest.partition(":")[0] + ":": [guest]}
    for other in others:
        name, _, where = other.partition("=")
        if where[0].isdigit():
            ways.append(Listen("listen, " + name, netns, *where.split(":")))
        else:
            endpoints[name] = [where]
    ways += [StreamFd("dial --stream-fd, " + name, netns, *args) for name, args in endpoints.items()]
    raw_args = ["--framing", "raw", guest]
    raw = StreamFd("dial --stream-fd, raw", netns, *raw_args)
    dials = [DialWay("dial, " + name, netns, *args) for name, args in endpoints.items()]
    raw_dial = DialWay("dial, raw", netns, *raw_args)

    dial_in_order = [
        ("a reply 3 s after stdin's end", dial_late_reply),
        ("stdin ends first", dial_client_first),
        ("the target ends first", dial_server_first),
        ("the target ends first, --half-close", dial_half_close),
    ]
    dial_resets = [
        ("the target resets, idle", dial_reset, b""),
        ("the target resets behind data", dial_reset, FEW),
        ("the target resets after its FIN", dial_reset_after_fin),
        ("the target closes with unread data", dial_leaves_unread),
        ("the target goes without having read all", dial_not_taken),
    ]
    cases = [(way, case) for way in ways for case in IN_ORDER + RESETS]
    cases += [(raw, case) for case in IN_ORDER]
    cases += [(way, case) for way in dials for case in dial_in_order + dial_resets]
    cases += [(raw_dial, case) for case in dial_in_order]
    run([("%s: %s" % (way.name, name), function, way, *args) for way, (name, function, *args) in cases],
        workers=12)


main()
