# SPDX-License-Identifier: MIT
"""What the relay's tests in Python share: sockets in a pod's netns, ways through vzfwd to them, a man
in the middle of a link, and cases that run side by side.

A test ends in run(cases); each case is (name, function, arguments...), and a failed assertion tells
what was wrong with it.
"""
import array
import contextlib
import ctypes
import fcntl
import hashlib
import os
import resource
import select
import socket
import struct
import termios
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

from dialing import Dial

LIMIT = 30
CLONE_NEWNET = 0x40000000
RECORDS = {"DATA": 0, "EOF": 1, "RESET": 2, "PING": 3, "PONG": 4}
libc = ctypes.CDLL(None, use_errno=True)


def pattern(size, seed=0):
    """Bytes that do not repeat within a megabyte or so."""
    block = b"".join(hashlib.sha256(b"%d %d" % (seed, i)).digest() for i in range(32771))
    return (block * (size // len(block) + 1))[:size]


def wait_for(condition, what, limit=LIMIT):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "not in time: " + what
        time.sleep(0.01)


@contextlib.contextmanager
def inside(netns):
    """Sockets that are made within belong to the netns."""
    with open("/proc/thread-self/ns/net") as own, open(netns) as pod:
        assert libc.setns(pod.fileno(), CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert libc.setns(own.fileno(), CLONE_NEWNET) == 0


def listen_in(netns, port):
    """A listening socket inside the netns; port 0: any."""
    with inside(netns):
        sock = socket.create_server(("127.0.0.1", port), backlog=100)
    sock.settimeout(LIMIT)
    return sock


def connecting_in(netns, port):
    """How many sockets inside the netns wait for a connect to the port."""
    with inside(netns), open("/proc/thread-self/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return sum(row[2].endswith(":%04X" % port) and row[3] == "02" for row in rows)


# What is sent and read

def unsent(sock):
    size = array.array("i", [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, size)
    return size[0]


def unread(sock):
    size = array.array("i", [0])
    fcntl.ioctl(sock, termios.FIONREAD, size)
    return size[0]


def put(sock, data):
    """Sends all, and waits until the other side's kernel has it."""
    sock.sendall(data)
    wait_for(lambda: unsent(sock) == 0, "bytes are acknowledged")


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_to_end(sock):
    """All that comes, and how it ended: "eof" or "reset"."""
    data = bytearray()
    while True:
        try:
            got = sock.recv(1 << 18)
        except ConnectionResetError:
            return bytes(data), "reset"
        if not got:
            return bytes(data), "eof"
        data += got


def expect(sock, data, end):
    got, how = read_to_end(sock)
    same = "the right" if got == data[:len(got)] else "other"
    assert got == data, "%d %s bytes of %d, then %s" % (len(got), same, len(data), how)
    assert how == end, "ended by %s, not %s" % (how, end)


def expect_bytes(sock, data):
    got = bytearray()
    while len(got) < len(data):
        piece = sock.recv(len(data) - len(got))
        assert piece, "ended after %d of %d bytes" % (len(got), len(data))
        got += piece
    assert got == data, "other bytes"


def expect_gone(sock):
    """The peer has reset a connection that it had ended before: there is nothing to read about it."""
    poll = select.poll()
    poll.register(sock, 0)
    assert poll.poll(LIMIT * 1000), "no reset"


def in_background(function, *args):
    """Runs it in a thread; the answer waits for it and hands its failure on."""
    failure = []

    def guarded():
        try:
            function(*args)
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()

    def join():
        thread.join(2 * LIMIT)
        assert not thread.is_alive(), "hangs: " + function.__name__
        if failure:
            raise failure[0]
    return join


# Ways through vzfwd

class Way:
    """From a client to a server in the pod. open() makes a connection: both ends, which are TCP sockets."""

    def __init__(self, name, netns, port):
        self.name = name
        self.listener = listen_in(netns, port)
        self.port = str(self.listener.getsockname()[1])
        self.lock = threading.Lock()

    def open(self):
        with self.lock:  # so that the server's end belongs to the client's
            client = self.connect()
            client.settimeout(LIMIT)
            server = self.accept()
        # Before the answer of the guest has come a reset may still count as a failed connect.
        client.sendall(b"?")
        expect_bytes(server, b"?")
        server.sendall(b"!")
        expect_bytes(client, b"!")
        return client, server

    def accept(self):
        server = self.listener.accept()[0]
        server.settimeout(LIMIT)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server


class Listen(Way):
    """Through a `vzfwd listen` that runs already."""

    def __init__(self, name, netns, local, port):
        super().__init__(name, netns, int(port))
        self.local = int(local)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.local), LIMIT)


class Expose(Way):
    """The way back: from a client in the pod, through a `vzfwd expose` that runs already, to a server at `port` here, or in the
    netns `served`."""

    def __init__(self, name, netns, host, exposed, port, served=None):
        self.name, self.netns = name, netns
        self.where = host, int(exposed)
        if served:
            self.listener = listen_in(served, int(port))
        else:
            self.listener = socket.create_server(("127.0.0.1", int(port)), backlog=100)
            self.listener.settimeout(LIMIT)
        self.lock = threading.Lock()

    def connect(self):
        with inside(self.netns):
            return connect(self.where)


def connect(where):
    sock = socket.socket(socket.AF_INET6 if ":" in where[0] else socket.AF_INET)
    sock.settimeout(LIMIT)
    sock.connect(where)
    return sock


class StreamFd(Way):
    """Through a `vzfwd dial --stream-fd` for each connection."""

    def __init__(self, name, netns, *args):
        super().__init__(name, netns, 0)
        self.args = args

    def connect(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname(), LIMIT)
            with listener.accept()[0] as inner:
                fd = inner.fileno()
                self.dial = Dial("--stream-fd", str(fd), *self.args, ":" + self.port,
                                 pass_fds=(fd,))
        return client


# Links

class Middle:
    """A Unix socket in front of a guest's. Each link is closed on both sides once so many bytes of its
    stream (what follows the first line) have gone to the host, or to the guest."""

    def __init__(self, path, guest):
        self.guest = guest
        self.to_host = self.to_guest = None
        self.link = None  # the last one: to the host, to the guest
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(10)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            host = self.listener.accept()[0]
            guest = socket.socket(socket.AF_UNIX)
            guest.connect(self.guest)
            self.link = host, guest
            for source, sink, limit in (guest, host, self.to_host), (host, guest, self.to_guest):
                threading.Thread(target=self.copy, args=(source, sink, limit), daemon=True).start()

    def copy(self, source, sink, limit):
        try:
            line = b""
            while not line.endswith(b"\n"):
                line += source.recv(1)
            sink.sendall(line)
            while limit is None or limit > 0:
                data = source.recv(1 << 16 if limit is None else min(limit, 1 << 16))
                if not data:
                    break
                sink.sendall(data)
                limit = None if limit is None else limit - len(data)
        except OSError:
            pass
        cut(source, sink)


def cut(*link):
    for sock in link:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def record(kind, payload=b""):
    return struct.pack(">I", RECORDS.get(kind, kind) << 24 | len(payload)) + payload


def read_records(sock):
    """All records until the link ends, as (type, payload)."""
    data, end = read_to_end(sock)
    records = []
    while len(data) >= 4:
        head = struct.unpack(">I", data[:4])[0]
        records.append((head >> 24, data[4:4 + (head & 0xffffff)]))
        data = data[4 + (head & 0xffffff):]
    return records, end


# Processes

def status_of(pid, name):
    with open("/proc/%d/status" % pid) as status:
        return next(line.split(":")[1].strip() for line in status if line.startswith(name + ":"))


def is_alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone by open(2), by read(2)
        return False


def rss_kb(pid):
    return int(status_of(pid, "VmRSS").split()[0])


def cpu_ms(pid):
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 // os.sysconf("SC_CLK_TCK")


def expect_idle(*pids):
    """A second of nothing: the processes sleep. With a sanitizer under emulation what wakes them takes ten times as long."""
    before = [cpu_ms(pid) for pid in pids]
    time.sleep(1)
    used = [cpu_ms(pid) - ms for pid, ms in zip(pids, before)]
    most = 30 * int(os.environ["VZFWD_TEST_SLOWNESS"]) * (2 if os.environ.get("VZFWD_SANITIZED") else 1)
    assert max(used) <= most, "CPU time in an idle second: %s ms" % used


# Cases

def run(cases, workers=8, more=False):
    """Side by side, as many as there are workers; ends the program, unless there are more to come."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def attempt(case):
        try:
            case[1](*case[2:])
            return "ok " + case[0]
        except Exception as error:
            traceback.print_exc()
            return "not ok %s: %s" % (case[0], str(error).replace("\n", " ") or type(error).__name__)

    with ThreadPoolExecutor(workers) as pool:
        for line in pool.map(attempt, cases):
            print(line, flush=True)
    if not more:
        print("ended", flush=True)
        os._exit(0)  # threads of a case that failed may still wait
