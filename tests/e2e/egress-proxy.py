#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A proxy for the tests of --upstream: CONNECT of HTTP, and SOCKS 5 on the port after that.

usage: egress-proxy.py PORT LOG USER:PASSWORD NAME=ADDRESS...

LOG gets a line for each connection that is asked for, "http HOST:PORT" or "socks HOST:PORT", before it is refused or made.
"""

import base64
import os
import socket
import sys
import threading

NAMES = dict(pair.split("=") for pair in sys.argv[4:])
USER, PASSWORD = sys.argv[3].split(":")


def pump(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()


def join(client, server):
    back = threading.Thread(target=pump, args=(server, client), daemon=True)
    back.start()
    pump(client, server)
    back.join()


def connect(log, kind, host, port):
    os.write(log, ("%s %s:%d\n" % (kind, host, port)).encode())
    return socket.create_connection((NAMES.get(host, host), port), timeout=10)


def http(client, log):
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(1)
    lines = head.decode().split("\r\n")
    host, _, port = lines[0].split()[1].rpartition(":")
    wanted = "Proxy-Authorization: Basic " + base64.b64encode(sys.argv[3].encode()).decode()
    if wanted not in lines:
        client.sendall(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
        return
    try:
        server = connect(log, "http", host.strip("[]"), int(port))
    except OSError:
        client.sendall(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")
        return
    server.settimeout(None)
    client.sendall(b"HTTP/1.1 200 Yes\r\nX: y\r\n\r\n")
    join(client, server)


def exactly(sock, size):
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data)) or sys.exit()
    return data


def socks(client, log):
    methods = exactly(client, exactly(client, 2)[1])
    if 2 not in methods:
        client.sendall(b"\x05\xff")
        return
    client.sendall(b"\x05\x02")
    user = exactly(client, exactly(client, 2)[1])
    password = exactly(client, exactly(client, 1)[0])
    good = (user, password) == (USER.encode(), PASSWORD.encode())
    client.sendall(b"\x01\x00" if good else b"\x01\x01")
    if not good:
        return
    kind = exactly(client, 4)[3]
    if kind == 3:
        host = exactly(client, exactly(client, 1)[0]).decode()
    else:
        host = socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, exactly(client, 4 if kind == 1 else 16))
    port = int.from_bytes(exactly(client, 2), "big")
    try:
        server = connect(log, "socks", host, port)
    except OSError:
        client.sendall(b"\x05\x05\x00\x01" + bytes(6))
        return
    server.settimeout(None)
    client.sendall(b"\x05\x00\x00\x01" + bytes(6))
    join(client, server)


def run(job, client, log):
    try:
        job(client, log)
    except (OSError, SystemExit):
        pass
    client.close()


def serve(port, job, log):
    listener = socket.create_server(("127.0.0.1", port), backlog=200)
    while True:
        threading.Thread(target=run, args=(job, listener.accept()[0], log), daemon=True).start()


def main():
    log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    threading.Thread(target=serve, args=(int(sys.argv[1]), http, log), daemon=True).start()
    serve(int(sys.argv[1]) + 1, socks, log)


main()
