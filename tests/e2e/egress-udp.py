#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A client of UDP in a pod whose egress is taken; exits with 1 if it goes wrong.

usage: egress-udp.py echo ADDRESS:PORT COUNT SIZE...   COUNT datagrams of each size, one after the other, come back
       egress-udp.py silent ADDRESS:PORT               nothing comes back, within a moment; exits with 1 then
       egress-udp.py same-port ADDRESS:PORT            from a socket that has that port itself, for all addresses; and one after it
       egress-udp.py spread COUNT ADDRESS:PORT...      from one unconnected socket to all in turn: each answers for itself
       egress-udp.py flows COUNT ADDRESS:PORT          COUNT sockets at once; all, or the first ones anew, get their answers
       egress-udp.py flood COUNT ADDRESS:PORT          COUNT flows, for whose answers nobody waits
       egress-udp.py gone ADDRESS:PORT EVENTS PID      the egress of PID has the answer when its socket is closed: that ends the flow
       egress-udp.py denied COUNT ADDRESS:PORT EVENTS ALLOWED  COUNT datagrams of one flow are denied, which is one event
       egress-udp.py forgiven ADDRESS:PORT EVENTS CMD...  a flow that is denied is not any more when CMD has run
       egress-udp.py idle ADDRESS:PORT EVENTS          a flow's second datagram, after it was forgotten, is answered too
"""

import os
import resource
import signal
import socket
import subprocess
import sys
import time

from telling import events_in

LIMIT = 30 * int(os.environ["VZFWD_TEST_SLOWNESS"])


def parse(where):
    host, _, port = where.rpartition(":")
    return host.strip("[]"), int(port)


def client(where, connected=True):
    host, port = parse(where)
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.settimeout(LIMIT)
    if connected:
        sock.connect((host, port))
    return sock


def exchange(sock, data, tries=1):
    """Datagrams may be lost where there are many."""
    sock.settimeout(LIMIT / tries)
    for _ in range(tries):
        sock.send(data)
        try:
            while True:
                got = sock.recv(65536)
                if got == data:
                    return
                assert tries > 1, "something else came"
        except socket.timeout:
            pass
    raise AssertionError("no answer")


def echo(where, count, *sizes):
    sock = client(where)
    for size in sizes:
        for _ in range(int(count)):
            exchange(sock, os.urandom(int(size)))


def silent(where):
    sock = client(where)
    sock.send(b"x")
    sock.settimeout(1)
    try:
        sock.recv(65536)
    except OSError:
        sys.exit(1)


def same_port(where):
    host, port = parse(where)
    for _ in range(2):
        sock = client(where, connected=False)
        sock.bind(("::" if ":" in host else "0.0.0.0", port))
        sock.sendto(b"ask", (host, port))
        data, peer = sock.recvfrom(65536)
        assert (data, peer[:2]) == (b"ask", (host, port)), (data, peer)
        sock.close()


def spread(count, *wheres):
    sock = client(wheres[0], connected=False)
    wanted = set()
    for i in range(int(count)):
        for where in wheres:
            data = ("%s %d" % (where, i)).encode()
            sock.sendto(data, parse(where))
            wanted.add((parse(where), data))
    while wanted:
        data, peer = sock.recvfrom(65536)
        wanted.remove((peer[:2], data))


def many(count, where):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return [client(where) for _ in range(int(count))]


def flows(count, where):
    socks = many(count, where)
    for i, sock in enumerate(socks):
        exchange(sock, b"%d" % i, 10)
    for i, sock in enumerate(socks):
        exchange(sock, b"again %d" % i, 10)


def flood(count, where):
    for i in range(int(count)):
        sock = client(where)
        sock.send(b"%d" % i)
        sock.close()


def name_of(sock):
    name = sock.getsockname()
    return ("[%s]:%d" if ":" in name[0] else "%s:%d") % name[:2]


def events_of(who, events, event):
    return [one for one in events_in(events) if one["event"] == event and one.get("client") == who]


def await_event(who, events, event):
    """The last one of the client's."""
    end = time.monotonic() + LIMIT
    while True:
        seen = events_of(who, events, event)
        if seen:
            return seen[-1]
        assert time.monotonic() < end, "the flow is not " + event
        time.sleep(0.05)


def denied(count, where, events, allowed):
    sock = client(where)
    for i in range(int(count)):
        sock.send(b"%d" % i)
        await_event(name_of(sock), events, "denied")
    exchange(client(allowed), b"through")
    seen = events_of(name_of(sock), events, "denied")
    assert len(seen) == 1, seen


def forgiven(where, events, *command):
    sock = client(where)
    sock.send(b"first")
    await_event(name_of(sock), events, "denied")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    exchange(sock, b"second", 10)


def gone(where, events, pid):
    sock = client(where)
    name = name_of(sock)
    exchange(sock, b"first")
    os.kill(int(pid), signal.SIGSTOP)
    try:
        sock.send(b"second")
        sock.close()
    finally:
        os.kill(int(pid), signal.SIGCONT)
    reason = await_event(name, events, "closed")["reason"]
    assert reason != "eof", reason


def idle(where, events):
    sock = client(where)
    exchange(sock, b"first")
    await_event(name_of(sock), events, "closed")
    exchange(sock, b"second")


globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
