# SPDX-License-Identifier: MIT
"""A stand-in for the hybrid vsock socket of a VMM, as Firecracker's and Cloud Hypervisor's.

hvsock.py LOG GUEST PATH=MODE...

Listens on each PATH. The request has to come as `CONNECT <port>\\n` in one read; any other is
answered by a bare end, and so are ports other than 893. Then, by MODE:

plain        "OK 1073741824\\n", and the connection to the Unix socket GUEST, half-closes included
split        the same byte by byte
delay        the same after a second
merge        as plain, but a half-close ends both directions, as Firecracker has it
late         "OK", but only after 300 ms does it go on to GUEST
say=TEXT     TEXT (with Python's escapes) and then the end
file=FILE    what is in FILE, in one write, and then what plain does with the rest: nothing is read
flood        bytes without end, and no newline
"""
import os
import socket
import sys
import threading
import time

OK = b"OK 1073741824\n"


def pump(source, sink, merge):
    """Copies to the end; `merge` makes an end of it in both directions."""
    try:
        while True:
            data = source.recv(1 << 16)
            if not data:
                break
            sink.sendall(data)
        for sock in (source, sink) if merge else (sink,):
            sock.shutdown(socket.SHUT_RDWR if merge else socket.SHUT_WR)
    except OSError:
        for sock in source, sink:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def splice(sock, guest, merge):
    link = socket.socket(socket.AF_UNIX)
    link.connect(guest)
    threads = [threading.Thread(target=pump, args=(*ends, merge)) for ends in ((sock, link), (link, sock))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    link.close()


def flood(sock, tell):
    sent = 0
    try:
        while sent < 16 << 20:
            sent += sock.send(b"O" * 4096)
    except OSError:
        pass
    tell("flood %s" % ("stopped" if sent < 16 << 20 else "was read"))


def answer(sock, mode, guest, tell):
    name, _, value = mode.partition("=")
    if name == "say":
        sock.sendall(value.encode().decode("unicode_escape").encode("latin-1"))
    elif name == "file":
        with open(value, "rb") as file:
            sock.sendall(file.read())
        while sock.recv(1 << 16):
            pass
    elif name == "flood":
        flood(sock, tell)
    elif name == "split":
        for byte in OK:
            sock.sendall(bytes([byte]))
            time.sleep(0.005)
        splice(sock, guest, False)
    else:
        if name == "delay":
            time.sleep(1)
        sock.sendall(OK)
        if name == "late":
            time.sleep(0.3)
        splice(sock, guest, name == "merge")


def handle(sock, mode, guest, tell):
    try:
        request = sock.recv(4096)
        tell("request %r" % request)
        if request == b"CONNECT 893\n":
            answer(sock, mode, guest, tell)
    except OSError as error:
        tell("error %s" % error)
    sock.close()


def serve(listener, mode, guest, tell):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=handle, args=(sock, mode, guest, tell), daemon=True).start()


def main():
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for spec in sys.argv[3:]:
        path, _, mode = spec.partition("=")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(128)

        def tell(text, name=os.path.basename(path)):
            os.write(log, b"%s %s\n" % (name.encode(), text.encode()))

        threading.Thread(target=serve, args=(listener, mode, sys.argv[2], tell), daemon=True).start()
    threading.Event().wait()


main()
