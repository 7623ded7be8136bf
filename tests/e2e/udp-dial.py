# SPDX-License-Identifier: MIT
"""Cases of udp-dial.sh: datagrams through `vzfwd dial` and a pod's own sockets, byte by byte.

udp-dial.py NETNS ENDPOINT...
"""
import os
import signal
import socket
import sys
import time

from dialing import read_all
from relaying import run
from udping import LARGEST, UdpDial, close_in, framed, pattern, read_framed, udp_in

SIZES = (0, 1, 2, 1471, 1472, 1473, 8192, 65506, LARGEST, 0)


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


def target_of(netns, host="127.0.0.1"):
    sock = udp_in(netns, host)
    return sock, "%s:%d" % ("[::1]" if ":" in host else host, sock.getsockname()[1])


def case_sizes(pod, netns, host="127.0.0.1", network="udp"):
    """Each size both ways, one after the other; then all that fit the target's buffer at once, in order."""
    target, address = target_of(netns, host)
    dial = UdpDial(pod, address, "--udp-idle", "0.2", network=network)
    dial.connected()
    total = 0
    for i, size in enumerate(SIZES):
        ask, answer = pattern(size, i), pattern(size, i + 100)
        write_all(dial.input, framed(ask))
        got, peer = target.recvfrom(1 << 16)
        assert got == ask, "%d bytes to the target came as %d" % (size, len(got))
        target.sendto(answer, peer)
        assert read_framed(dial.output) == answer, "%d bytes from the target" % size
        total += size
    many = [b"%d" % i + pattern(i % 50, i) for i in range(200)]
    write_all(dial.input, framed(*many))
    got = [target.recv(1 << 16) for _ in many]
    assert got == many, "order or bytes of many to the target"
    for data in many:
        target.sendto(data, peer)
    assert [read_framed(dial.output) for _ in many] == many, "order or bytes of many from the target"
    total += sum(map(len, many))
    dial.close_input()
    assert read_all(dial.output) == b""
    dial.ends(0)
    dial.closed("eof", total, total)


def case_reads(pod, netns):
    """Without lengths a read is a datagram, and so is a write."""
    target, address = target_of(netns)
    dial = UdpDial(pod, address, framing="none")
    dial.connected()
    for data in (b"one", b"two two", pattern(4096)):
        write_all(dial.input, data)
        got, peer = target.recvfrom(1 << 16)
        assert got == data
        target.sendto(data[::-1], peer)
        assert os.read(dial.output, 1 << 16) == data[::-1]
    dial.process.send_signal(signal.SIGTERM)
    assert dial.process.wait(30) == -signal.SIGTERM
    dial.closed("signal")


def case_file(pod, netns, path):
    """stdin from a file: as few datagrams as can be."""
    target, address = target_of(netns)
    data = pattern(LARGEST + 1000)
    with open(path, "wb") as file:
        file.write(data)
    with open(path, "rb") as file:
        dial = UdpDial(pod, address, "--udp-idle", "0.1", framing="none", stdin=file)
    assert target.recv(1 << 16) == data[:LARGEST]
    assert target.recv(1 << 16) == data[LARGEST:]
    dial.ends(0)


def case_idle(pod, netns):
    """After the end of stdin answers come for as long as they are not too far apart."""
    target, address = target_of(netns)
    dial = UdpDial(pod, address, "--udp-idle", "2")
    write_all(dial.input, framed(b"ask"))
    dial.close_input()
    _, peer = target.recvfrom(100)
    for i in range(3):
        time.sleep(0.8)  # the silence that is measured
        target.sendto(b"answer %d" % i, peer)
    last = time.monotonic()
    for i in range(3):
        assert read_framed(dial.output) == b"answer %d" % i
    dial.ends(0)
    waited = time.monotonic() - last
    assert 1.95 <= waited < 15, "ended %.2f s after the last answer" % waited


def case_default_idle(pod, netns):
    target, address = target_of(netns)
    start = time.monotonic()
    dial = UdpDial(pod, address)
    dial.close_input()
    dial.ends(0)
    waited = time.monotonic() - start
    assert 1.95 <= waited < 15, "ended after %.2f s" % waited
    target.close()


def case_refused(pod, netns):
    """Nobody is there: 69."""
    target, address = target_of(netns)
    close_in(netns, target)
    dial = UdpDial(pod, address)
    dial.connected()
    write_all(dial.input, framed(b"anybody?"))
    lines = dial.ends(69)
    assert "connection refused" in lines[0], lines
    dial.closed("reset", 0)


def case_refused_later(pod, netns):
    """Somebody was there, and is not any more: 74; what came is not lost, an empty datagram too."""
    for answer in (b"answer", b""):
        target, address = target_of(netns)
        dial = UdpDial(pod, address)
        dial.connected()
        write_all(dial.input, framed(b"ask"))
        _, peer = target.recvfrom(100)
        target.sendto(answer, peer)
        assert read_framed(dial.output) == answer
        close_in(netns, target)
        write_all(dial.input, framed(b"still there?"))
        lines = dial.ends(74)
        assert "connection refused" in lines[0], lines
        dial.closed("reset", len(answer))


def case_localhost(pod, netns):
    """A port alone is 127.0.0.1's, unless only ::1 has somebody there."""
    both = udp_in(netns, "::1")
    port = both.getsockname()[1]
    address = ":%d" % port

    def asks(target, network="udp"):
        dial = UdpDial(pod, address, "--udp-idle", "0.1", network=network)
        remote = dial.connected()["remote"]
        write_all(dial.input, framed(b"who?"))
        dial.close_input()
        if target is not None:
            assert target.recv(100) == b"who?"
            dial.ends(0)
        else:
            dial.ends(69)
        return remote
    assert asks(both) == "[::1]:%d" % port
    assert asks(None, "udp4") == "127.0.0.1:%d" % port
    four = udp_in(netns, "127.0.0.1", port)
    assert asks(four) == "127.0.0.1:%d" % port
    assert asks(both, "udp6") == "[::1]:%d" % port
    both.close()
    close_in(netns, four)
    assert asks(None) == "127.0.0.1:%d" % port
    wildcard = udp_in(netns, "::", port)
    assert asks(wildcard) == "127.0.0.1:%d" % port, "a socket for both families"


def case_stdout(pod, netns):
    """An output that nobody reads any more ends it, also while it is idle."""
    target, address = target_of(netns)
    dial = UdpDial(pod, address)
    dial.connected()
    os.close(dial.output)
    dial.ends(74, errors=0)
    dial.closed("local")
    target.close()


def case_slow_reader(pod, netns):
    """Who does not read gets what the kernel kept, from the first on, whole; and memory stays small."""
    target, address = target_of(netns)
    dial = UdpDial(pod, address)
    dial.connected()
    write_all(dial.input, framed(b"ask"))
    _, peer = target.recvfrom(100)
    size = 1 << 14
    for i in range(4000):
        target.sendto(b"%06d" % i + pattern(size - 6), peer)
    got, last = 0, -1
    close_in(netns, target)
    write_all(dial.input, framed(b"still there?"))
    data = read_all(dial.output)
    while data:
        assert data[:2] == size.to_bytes(2, "big") and len(data) >= 2 + size
        number = int(data[2:8])
        assert number > last and data[8:2 + size] == pattern(size - 6)
        assert got > 0 or number == 0
        got, last = got + 1, number
        data = data[2 + size:]
    assert got >= 4, "only %d came" % got
    dial.ends(74)


def case_bad_input(pod, netns):
    for data in (b"\xff\xff" + bytes(100), b"\0\5half", b"\0"):
        target, address = target_of(netns)
        dial = UdpDial(pod, address)
        dial.connected()
        write_all(dial.input, data)
        dial.close_input()
        lines = dial.ends(74)
        assert "datagram" in lines[0], lines
        dial.closed("local")


def case_pass_fd(pod, netns):
    """The UDP socket itself, where there is one on this side."""
    target, address = target_of(netns)
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    dial = UdpDial(pod, address, "--pass-fd", stdout=theirs)
    theirs.close()
    if not pod.startswith("netns:"):
        assert "udp has a socket to pass only in" in dial.ends(64)[0]
        return
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    dial.ends(0)
    with socket.socket(fileno=fds[0]) as sock:
        assert sock.type == socket.SOCK_DGRAM and sock.getblocking()
        sock.send(b"direct")
        got, peer = target.recvfrom(100)
        assert got == b"direct" and peer == sock.getsockname()


netns, tmp, *pods = sys.argv[1:]
cases = []
for i, pod in enumerate(pods):
    kind = pod.split(":")[0]
    for name, case in list(globals().items()):
        if not name.startswith("case_"):
            continue
        args = (os.path.join(tmp, "file%d" % i),) if case == case_file else ()
        cases.append(("%s: %s" % (kind, name[5:].replace("_", " ")), case, pod, netns, *args))
    cases.append(("%s: sizes over IPv6" % kind, case_sizes, pod, netns, "::1", "udp6"))
run(cases)
