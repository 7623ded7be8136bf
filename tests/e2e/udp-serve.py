# SPDX-License-Identifier: MIT
"""Cases of udp-serve.sh: datagrams for callers of `vzfwd serve`, and forwards of udp at run time.

udp-serve.py NETNS SOCKET

The pods vm (a guest on a Unix socket), net (netns:) and command (exec:) are registered.
"""
import json
import select
import socket
import struct
import sys

from relaying import expect_bytes, read_records, record, run
from serving import Caller
from udping import LARGEST, client, close_in, pattern, udp_in

PODS = "vm", "net", "command"


def read_record(sock):
    head = sock.recv(4)
    assert len(head) == 4, "the link ended"
    head = struct.unpack(">I", head)[0]
    data = b""
    while len(data) < head & 0xffffff:
        data += sock.recv((head & 0xffffff) - len(data))
    return head >> 24, data


def dial(caller, pod, target, **params):
    result = caller.call("pod.portDial", handle=pod, network="udp", port=target.getsockname()[1], **params)
    assert result["framing"] == "records" and result["network"] == "udp", result
    return caller.sock


def case_datagrams(pod):
    with Caller(path) as caller, udp_in(netns, "127.0.0.1") as target:
        sock = dial(caller, pod, target)
        for i, size in enumerate((0, 1, 1500, LARGEST)):
            sock.sendall(record("DATA", pattern(size, i)))
            got, peer = target.recvfrom(1 << 16)
            assert got == pattern(size, i), "%d bytes to the target" % size
            target.sendto(pattern(size, i + 9), peer)
            assert read_record(sock) == (0, pattern(size, i + 9)), "%d bytes from the target" % size
        many = [b"%d" % i for i in range(100)]
        sock.sendall(b"".join(record("DATA", data) for data in many) + record("PING", b"alive?"))
        assert [target.recv(100) for _ in many] == many
        assert read_record(sock) == (4, b"alive?")
        sock.sendall(record("EOF"))
        target.sendto(b"after the end", peer)
        assert read_record(sock) == (0, b"after the end")


def case_pipelined(pod):
    """What follows the request goes to the target, and a datagram that comes in pieces is one."""
    with Caller(path) as caller, udp_in(netns, "127.0.0.1") as target:
        data = pattern(LARGEST)
        caller.id = 1
        caller.sock.sendall(json.dumps({
            "jsonrpc": "2.0", "id": 1, "method": "pod.portDial",
            "params": {"handle": pod, "network": "udp", "port": target.getsockname()[1]}}).encode() +
            b"\n" + record("DATA", b"early") + record("DATA", data)[:30000])
        caller.answer()
        assert target.recv(100) == b"early"
        caller.sock.sendall(record("DATA", data)[30000:] + record("DATA") + record("EOF"))
        assert target.recv(1 << 16) == data
        assert target.recv(100) == b""


def case_refused(pod):
    with Caller(path) as caller:
        target = udp_in(netns, "127.0.0.1")
        sock = dial(caller, pod, target)
        close_in(netns, target)
        sock.sendall(record("DATA", b"anybody?"))
        assert read_records(sock)[0] == [(2, b"refused connection refused")]


def case_broken(pod):
    for data, text in ((record("DATA", bytes(LARGEST + 1)), "a datagram of 65508 bytes"),
                       (record("DATA", bytes(1 << 19)), "a datagram of 524288 bytes"),
                       (b"\t\0\0\0", "unknown record type 9"),
                       (record("EOF") + record("DATA", b"more"), "DATA record after EOF")):
        with Caller(path) as caller, udp_in(netns, "127.0.0.1") as target:
            sock = dial(caller, pod, target)
            sock.sendall(record("DATA", b"before"))
            assert target.recv(100) == b"before"
            try:
                sock.sendall(data)
            except BrokenPipeError:
                pass
            got = read_records(sock)[0]
            assert got and got[-1][0] == 2 and text in got[-1][1].decode(), got
            assert not select.select([target], [], [], 0)[0], "it came through"


def case_raw():
    with Caller(path) as caller:
        assert "udp is framed in records" in caller.fails(
            -32602, "invalid", "pod.portDial", handle="vm", network="udp", port=7, framing="raw")
        assert caller.closed()


def case_passed():
    with Caller(path) as caller, udp_in(netns, "127.0.0.1") as target:
        dial(caller, "vm", target, passFd=True)
        assert len(caller.fds) == 1
        with socket.socket(fileno=caller.fds[0]) as sock:
            sock.sendall(record("DATA", b"passed"))
            got, peer = target.recvfrom(100)
            assert got == b"passed"
            target.sendto(b"back", peer)
            expect_bytes(sock, record("DATA", b"back"))


def case_forwards(pod):
    with Caller(path) as caller, udp_in(netns, "127.0.0.1") as target:
        params = {"pod": pod, "network": "udp", "port": target.getsockname()[1]}
        added = caller.call("forward.add", listen="localhost:0", **params)
        assert len(added["listeners"]) == 2, added
        port = int(added["listen"].rsplit(":")[-1])
        with client(port) as sock:
            sock.send(b"ask")
            got, peer = target.recvfrom(100)
            target.sendto(got[::-1], peer)
            assert sock.recv(100) == b"ksa"
            listed = [forward for forward in caller.call("forward.list")["forwards"] if forward["id"] == added["id"]]
            assert listed[0]["network"] == "udp" and listed[0]["connections"] == 1, listed
            assert caller.fails(-32006, "exhausted", "forward.add", listen="127.0.0.1:%d" % port, **params)
            caller.call("forward.remove", id=added["id"])
            again = caller.call("forward.add", listen="127.0.0.1:%d" % port, **params)
            sock.send(b"ask")
            assert target.recvfrom(100)[1] != peer
        caller.call("forward.remove", id=again["id"])
        assert "cannot be forwarded to udp" in caller.fails(
            -32602, "invalid", "forward.add", listen="unix:/run/udp.sock", **params)


netns, path = sys.argv[1:]
cases = [(name[5:] + ", " + pod, case, pod) for name, case in list(globals().items()) for pod in PODS
         if name in ("case_datagrams", "case_pipelined", "case_refused", "case_broken", "case_forwards")]
run(cases + [("raw", case_raw), ("passed", case_passed)])
