# SPDX-License-Identifier: MIT
"""A server that does as it is told, for the tests of `vzfwd dial`.

target.py LOG WHERE[=STEP,STEP...]...

WHERE is [ADDRESS:]PORT, or the path of a Unix socket to be made. Every connection runs the steps of
its WHERE, and each step that reads adds a line to LOG, after the port (or the file's name): "7 eof 5
SHA256", "7 reset ECONNRESET".

say:TEXT send:N file:F  a text; N bytes of pattern(); a file
read:N line eof         reads N bytes; reads a line; reads to the end
echo                    sends back what comes, to the end
sleep:S wait:FILE       for some seconds; until FILE is there
shut close reset        half-close; close; close with a RST
hold                    keeps the connection open without reading

Without steps nobody accepts: connections stay in the backlog, which is as short as can be.
"""
import errno
import hashlib
import os
import socket
import struct
import sys
import threading
import time


BLOCK = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(4099))


def pieces(size):
    """Bytes that look random, and are soon made; their period fits no buffer's size."""
    while size > 0:
        yield BLOCK[:size]
        size -= len(BLOCK)


def pattern(size):
    return b"".join(pieces(size))


class Target:
    def __init__(self, log, name, steps):
        self.log, self.name, self.steps = log, name, steps

    def tell(self, text):
        os.write(self.log, b"%s %s\n" % (self.name.encode(), text.encode()))

    def read(self, sock, size=None, each=None):
        digest, got = hashlib.sha256(), 0
        while size is None or got < size:
            data = sock.recv(min(1 << 18, size - got) if size else 1 << 18)
            if not data:
                break
            digest.update(data)
            got += len(data)
            if each:
                each(data)
        self.tell("%s %d %s" % ("eof" if size is None else "read", got, digest.hexdigest()))

    def step(self, sock, name, value):
        if name == "say":
            sock.sendall(value.encode().decode("unicode_escape").encode("latin-1"))
        elif name == "send":
            for piece in pieces(int(value)):
                sock.sendall(piece)
        elif name == "file":
            with open(value, "rb") as file:
                sock.sendall(file.read())
        elif name == "line":
            line = b""
            while not line.endswith(b"\n"):
                line += sock.recv(1) or b"\n"
            self.tell("line " + line.decode().rstrip())
        elif name == "read":
            self.read(sock, int(value))
        elif name == "eof":
            self.read(sock)
        elif name == "echo":
            self.read(sock, None, sock.sendall)
        elif name == "sleep":
            time.sleep(float(value))
        elif name == "wait":
            while not os.path.exists(value):
                time.sleep(0.02)
        elif name == "shut":
            sock.shutdown(socket.SHUT_WR)
        elif name == "close":
            sock.close()
        elif name == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        elif name == "hold":
            threading.Event().wait()
        else:
            sys.exit("unknown step " + name)

    def run(self, sock):
        try:
            for step in self.steps:
                self.step(sock, *step.partition(":")[::2])
        except OSError as error:
            self.tell("reset " + errno.errorcode[error.errno])
        sock.close()


def serve(listener, target):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=target.run, args=(sock,), daemon=True).start()


def listen(where):
    if where.startswith("/"):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(where)
        return listener, os.path.basename(where)
    host, _, port = where.rpartition(":")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host.strip("[]") or "127.0.0.1", int(port)))
    return listener, port


def main():
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    kept = []
    for spec in sys.argv[2:]:
        where, _, steps = spec.partition("=")
        listener, name = listen(where)
        listener.listen(128 if steps else 0)
        kept.append(listener)
        if steps:
            target = Target(log, name, steps.split(","))
            threading.Thread(target=serve, args=(listener, target), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
