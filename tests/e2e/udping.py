# SPDX-License-Identifier: MIT
"""What the tests of UDP in Python share: sockets in a pod's netns, and datagrams as dial --udp-framing length has them."""
import socket
import struct

from dialing import Dial, read_exactly
from relaying import CLONE_NEWNET, LIMIT, libc, wait_for
from relaying import pattern as long_pattern

LARGEST = 65507
BLOCK = long_pattern(1 << 20)


def pattern(size, seed=0):
    """Bytes that are others for each seed of a few thousand."""
    return BLOCK[seed * 127:][:size]


def udp_in(netns, host, port=0):
    """A socket that is bound inside the netns; port 0: any."""
    with open("/proc/thread-self/ns/net") as own, open(netns) as pod:
        assert libc.setns(pod.fileno(), CLONE_NEWNET) == 0
        try:
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        finally:
            assert libc.setns(own.fileno(), CLONE_NEWNET) == 0
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind((host, port))
    sock.settimeout(LIMIT)
    return sock


def bound_in(netns, port):
    """How many sockets inside the netns are bound to the port and connected to nobody."""
    with open("/proc/thread-self/ns/net") as own, open(netns) as pod:
        assert libc.setns(pod.fileno(), CLONE_NEWNET) == 0
        try:
            rows = []
            for name in "udp", "udp6":
                with open("/proc/thread-self/net/" + name) as table:
                    rows += [line.split() for line in table][1:]
        finally:
            assert libc.setns(own.fileno(), CLONE_NEWNET) == 0
    return sum(row[1].endswith(":%04X" % port) and row[3] == "07" for row in rows)


def close_in(netns, sock):
    """Closes the last one on its port, also for children of this process that are about to be another program."""
    port = sock.getsockname()[1]
    sock.close()
    wait_for(lambda: bound_in(netns, port) == 0, "the port is closed")


def client(port, host="127.0.0.1"):
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((host, port))
    sock.settimeout(LIMIT)
    return sock


def framed(*datagrams):
    return b"".join(struct.pack(">H", len(data)) + data for data in datagrams)


def read_framed(fd):
    """The next datagram with its length before it."""
    return read_exactly(fd, struct.unpack(">H", read_exactly(fd, 2))[0])


class UdpDial(Dial):
    """dial POD udp, with lengths on stdin and stdout unless told otherwise."""

    def __init__(self, pod, address, *args, network="udp", framing="length", **popen):
        super().__init__("--udp-framing", framing, *args, pod, network, address, **popen)
