#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sockets and links in a pod, for the tests of Unix targets.

unix-target.py who PATH           tells each client the uid that it has for this side
unix-target.py gate PATH FILE     a backlog that is full; accepts once FILE is there, and greets each client
unix-target.py swap PATH A B      makes PATH a link to A, to B, to A, ... as fast as it can
unix-target.py datagram PATH      a datagram socket
unix-target.py stale PATH         a socket that nobody has open any more
unix-target.py greeter PATH       greets each client; PATH may be longer than sun_path
unix-target.py jail ROOT PATH     the same with ROOT for its root folder
"""

import os
import socket
import struct
import sys
import time


def listener(path, backlog=100):
    # By the folder: a path of any length will do.
    os.chdir(os.path.dirname(path))
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(os.path.basename(path))
    sock.listen(backlog)
    return sock


def greet(sock, text="hello"):
    while True:
        client = sock.accept()[0]
        try:
            client.sendall(text.encode() + b"\n")
        except OSError:
            pass
        client.close()


def who(path):
    sock = listener(path)
    while True:
        client = sock.accept()[0]
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        client.sendall(b"%d\n" % struct.unpack("iII", credentials)[1])
        client.close()


def gate(path, file):
    sock = listener(path, 0)
    mine = socket.socket(socket.AF_UNIX)
    mine.connect(os.path.basename(path))
    open(path + ".full", "w").close()
    while not os.path.exists(file):
        time.sleep(0.02)
    greet(sock)


def swap(path, *links):
    names = [f"{path}.{i}" for i in range(len(links))]
    while True:
        for name, link in zip(names, links):
            os.symlink(link, name)
            os.rename(name, path)


def datagram(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(path)
    sock.recv(1)


def stale(path):
    listener(path)


def greeter(path):
    greet(listener(path))


def jail(root, path):
    os.chroot(root)
    greeter(path)


globals()[sys.argv[1]](*sys.argv[2:])
