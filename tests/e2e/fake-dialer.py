#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A dialer that cannot be trusted: answers each link's first line with a text, and ends the link.

usage: fake-dialer.py SOCKET [ANSWER [PORTS]]

PORTS is its answer where it is asked for a pod's ports.
Without ANSWER it never answers, and prints a line when a link was closed by the other side.
"""

import socket
import sys
import threading


def serve(link):
    line = b""
    while not line.endswith(b"\n"):
        line += link.recv(1)
    if len(sys.argv) > 2:
        asked = len(sys.argv) > 3 and b'"pod.ports"' in line
        link.sendall(sys.argv[3 if asked else 2].encode() + b"\n")
    else:
        while link.recv(4096):  # what the client has sent already
            pass
        print("closed", flush=True)
    link.close()


def main():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(100)
    while True:
        link, _ = listener.accept()
        threading.Thread(target=serve, args=(link,), daemon=True).start()


main()
