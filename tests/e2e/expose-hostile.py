# SPDX-License-Identifier: MIT
"""Cases of expose-hostile.sh: a dialer that misbehaves in each way, with a `vzfwd expose` of its own.

expose-hostile.py FOLDER MEMORY-TOLD SERVICE-PORT
"""
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

from relaying import cpu_ms, is_alive, record, rss_kb, run, status_of, wait_for

folder, memory_told, service = sys.argv[1:]
PARKED = b'{"jsonrpc":"2.0","id":%d,"result":{"parked":true,"network":"tcp","listen":"x","framing":"records"}}\n'
ACCEPTED = b'{"jsonrpc":"2.0","method":"pod.portAccepted","params":{"remote":"10.0.0.1:5","destination":"10.0.0.2:80"}}\n'
RATE = 50
SLOWNESS = int(os.environ["VZFWD_TEST_SLOWNESS"])


class Dialer:
    """Answers pod.portAccept, and then does to each link what it was told."""

    def __init__(self, name, then, parked=PARKED):
        self.path = os.path.join(folder, name + ".sock")
        self.then, self.parked = then, parked
        self.links = self.most = self.total = 0
        self.lock = threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(100)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            link = self.listener.accept()[0]
            threading.Thread(target=self.link, args=(link,), daemon=True).start()

    def count(self, n):
        with self.lock:
            self.links += n
            self.total += n > 0
            self.most = max(self.most, self.links)

    def link(self, link):
        self.count(1)
        try:
            line = b""
            while not line.endswith(b"\n"):
                got = link.recv(1)
                if not got:
                    return
                line += got
            link.sendall(self.parked % json.loads(line)["id"])
            self.then(link)
        except OSError:
            pass
        finally:
            link.close()
            self.count(-1)


def rest(link):
    while link.recv(1 << 16):
        pass


def case(name, then, parked=PARKED, links=200, kb=8000, options=()):
    dialer = Dialer(name.replace(" ", "-"), then, parked)
    expose = subprocess.Popen(
        ["vzfwd", "expose", "--connect-rate", str(RATE), "--park-max", "16", *options, "unix://" + dialer.path, "80:" + service],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: dialer.total > 0, "a link")
    before = cpu_ms(expose.pid)
    start = rss_kb(expose.pid)
    time.sleep(3)
    assert is_alive(expose.pid), "it has ended"
    used = cpu_ms(expose.pid) - before
    assert used <= 600 * SLOWNESS or memory_told == "no", "%d ms of CPU in 3 s" % used
    assert dialer.total <= links, "%d links in 3 s" % dialer.total
    assert dialer.most <= 16 + 4 * RATE, "%d links at a time" % dialer.most
    grown = int(status_of(expose.pid, "VmHWM").split()[0]) - start
    assert grown <= kb or memory_told == "no", "%d KB more" % grown
    expose.terminate()
    assert expose.wait(20) == 0, "its end"


def accepted(link):
    link.sendall(ACCEPTED)


def accepted_stays(link):
    link.sendall(ACCEPTED)
    rest(link)


def accepted_floods(link):
    """Nobody reads what it says, the service echoes."""
    link.sendall(ACCEPTED)
    while True:
        link.sendall(record("DATA", bytes(60000)))


def garbage_stream(link):
    link.sendall(ACCEPTED)
    link.sendall(struct.pack(">I", 0xff000005) + b"hello")
    rest(link)


def garbage(link):
    link.sendall(os.urandom(1000).replace(b"\n", b"") + b"\n")
    rest(link)


def long_line(link):
    while True:
        link.sendall(b" " * 65536)


def others(link):
    while True:
        link.sendall(b'{"jsonrpc":"2.0","method":"pod.other","params":{}}\n' * 100)


def no_address(link):
    link.sendall(b'{"jsonrpc":"2.0","method":"pod.portAccepted","params":{}}\n')
    link.sendall(record("EOF"))
    rest(link)


def bad_address(link):
    link.sendall(ACCEPTED.replace(b"10.0.0.1:5", b"\\u001b[31m"))
    rest(link)


# The rate is of links that are opened for clients; what fails has pauses.
CLIENTS = RATE * 5 + 20
run([
    ("clients that come at once and go", case, "go", accepted, PARKED, CLIENTS),
    ("clients that come at once and stay", case, "stay", accepted_stays, PARKED, CLIENTS),
    ("clients that say much and read nothing", case, "flood", accepted_floods, PARKED, CLIENTS, 200000,
     ("--max-connections", "3")),
    ("streams that are none", case, "garbage stream", garbage_stream, PARKED, CLIENTS),
    ("clients without an address", case, "no address", no_address, PARKED, CLIENTS),
    ("addresses that are none", case, "bad address", bad_address, PARKED, 60),
    ("links that end at once", case, "end", lambda link: None, PARKED, 60),
    ("lines that are none", case, "garbage", garbage, PARKED, 60),
    ("a line without an end", case, "long line", long_line, PARKED, 60, 2000),
    ("other notifications", case, "others", others),
], workers=2)
