# SPDX-License-Identifier: MIT
"""The service manager's side of sd_notify(3): notified.py SOCKET prints each datagram as a line, until it is killed.

A leading "@" is the abstract namespace, as in NOTIFY_SOCKET.
"""
import socket
import sys

manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(sys.argv[1].replace("@", "\0", 1))
print("bound", flush=True)
while True:
    print(manager.recv(4096).decode(), flush=True)
