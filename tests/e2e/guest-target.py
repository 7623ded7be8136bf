# SPDX-License-Identifier: MIT
"""The pod of guest-dialing.sh: what a server does with each connection, by its port."""
import os, socket, sys, threading, time

def listen(address, port, family=socket.AF_INET, backlog=64):
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((address, port))
    s.listen(backlog)
    return s

def echo(c):
    try:
        while data := c.recv(65536):
            c.sendall(data)
        c.shutdown(socket.SHUT_WR)
    except ConnectionError:
        pass
    c.close()

def serve(s):
    while True:
        threading.Thread(target=echo, args=(s.accept()[0],), daemon=True).start()

open("/proc/self/comm", "wb").write(b"ech\xff\xc3\xb6")
for s in (listen("127.0.0.1", 80), listen("::1", 81, socket.AF_INET6), listen("10.9.0.1", 82)):
    threading.Thread(target=serve, args=(s,), daemon=True).start()
# Port 83 takes no connection: its backlog is full.
full, fill = listen("127.0.0.1", 83, backlog=0), []
while True:
    c = socket.socket()
    c.settimeout(0.3)
    fill.append(c)
    try:
        c.connect(("127.0.0.1", 83))
    except TimeoutError:
        c.close()
        break
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("0.0.0.0", 53))
connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
connected.bind(("127.0.0.1", 54))
connected.connect(("127.0.0.1", 53))
open(sys.argv[1], "w").close()
time.sleep(1000)
