# SPDX-License-Identifier: MIT
"""Cases of relay-idle.sh: connections that wait for something take no CPU time, whatever has already ended.

relay-idle.py NETNS GUEST-PID LISTEN-PID LOCAL:PORT NETNS-LISTEN-PID LOCAL:PORT ENDPOINT

Everything that can wait is made to wait, and then all processes are measured at once.
"""
import os
import select
import socket
import sys
import tempfile
import time

from dialing import Dial, read_all
from relaying import (LIMIT, Listen, Way, expect_gone, expect_idle, read_to_end, reset,
                      run)

kept = []  # what must not be closed


def stuff(*socks):
    """Sends until nobody takes any more."""
    data = bytes(1 << 16)
    for sock in socks:
        sock.setblocking(False)
    while writable := select.select([], socks, [], 0.3)[1]:
        for sock in writable:
            try:
                sock.send(data)
            except BlockingIOError:
                pass


def forwards_wait(way):
    opened = way.open()
    client_ended = way.open()
    client_ended[0].shutdown(socket.SHUT_WR)
    server_ended = way.open()
    server_ended[1].shutdown(socket.SHUT_WR)
    # Behind what nobody reads there may be an end, or a reset: it has to be waited for, or found.
    down, up, both, ended, gone = (way.open() for _ in range(5))
    stuff(down[1], up[0], *both, ended[1], gone[1])
    ended[1].shutdown(socket.SHUT_WR)
    reset(gone[1])
    kept.extend((opened, client_ended, server_ended, down, up, both, ended, gone))


def dials_wait(netns, endpoint, pids):
    way = Way("dial", netns, 0)

    def start(*options, **popen):
        dial = Dial(*options, endpoint, ":" + way.port, **popen)
        server = way.accept()
        dial.connected()
        pids.append(dial.pid)
        kept.append((dial, server))
        return dial, server

    start()
    ended, _ = start()
    ended.close_input()
    with open(os.devnull) as null, open("/dev/zero") as zero:
        start(stdin=null)
        start(stdin=zero)  # nobody reads it in the pod
        with open(os.devnull, "w") as sink:
            start(stdin=zero, stdout=sink)
    _, server = start()
    stuff(server)
    _, server = start("--half-close")
    server.shutdown(socket.SHUT_WR)
    # stdin has ended, the target too, but it does not read: its kernel has not confirmed all.
    with tempfile.TemporaryFile() as file:
        file.write(bytes(400000))
        file.seek(0)
        dial, server = start("--half-close", stdin=file)
        server.shutdown(socket.SHUT_WR)
        assert read_all(dial.output) == b""


def waiting(ways, pids, netns, endpoint):
    for way in ways:
        forwards_wait(way)
    dials_wait(netns, endpoint, pids)
    time.sleep(0.3)  # the last ones have come to rest
    expect_idle(*pids)
    assert all(os.path.exists("/proc/%d/exe" % pid) for pid in pids), "one has ended"


def reset_is_found(way, limit):
    """Paused since the client reads nothing: the server's reset is noticed, and passed on after 5 s a hop."""
    client, server = way.open()
    stuff(server)
    reset(server)
    started = time.monotonic()
    expect_gone(client)
    assert time.monotonic() - started < limit + 2
    data, end = read_to_end(client)
    assert end == "reset" and len(data) > 100000 and not any(data), (end, len(data))


def stdout_closed(netns, endpoint):
    """The reader goes in the middle of a stream, while stdin has ended or has not: the end of it all."""
    way = Way("closed", netns, 0)
    for ended in False, True:
        dial = Dial(endpoint, ":" + way.port)
        server = way.accept()
        dial.connected()
        stuff(server)
        if ended:
            dial.close_input()
        os.close(dial.output)
        dial.ends(74, errors=0, limit=5)
        dial.closed("local")
        server.settimeout(LIMIT)
        assert read_to_end(server)[1] == "reset" or ended
        expect_gone(server)


def main():
    netns, guest, listen, forward, netns_listen, netns_forward, endpoint = sys.argv[1:]
    unix = Listen("unix:", netns, *forward.split(":"))
    own = Listen("netns:", netns, *netns_forward.split(":"))
    pids = [int(guest), int(listen), int(netns_listen)]
    run([("nothing that waits takes CPU time", waiting, (unix, own), pids, netns, endpoint)], more=True)
    run([("unix: a reset behind what nobody reads", reset_is_found, unix, 10),
         ("netns: a reset behind what nobody reads", reset_is_found, own, 5),
         ("unix: stdout is closed", stdout_closed, netns, endpoint),
         ("netns: stdout is closed", stdout_closed, netns, "netns:" + netns)])


main()
