# SPDX-License-Identifier: MIT
"""Asks vzfwd serve: serve-ask.py SOCKET METHOD [PARAMS]; prints the answer's result or error as JSON.

With pod.portDial stdin follows the request, half-closed at its end, and what comes back follows the answer.
"""
import json
import shutil
import socket
import sys
import threading


def take_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            sys.exit(f"the answer ended in {line!r}")
        line += byte
    return line


def send_stdin(connection):
    with connection.makefile("wb") as out:
        shutil.copyfileobj(sys.stdin.buffer, out)
    connection.shutdown(socket.SHUT_WR)


path, method = sys.argv[1:3]
params = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(20)
connection.connect(path)
request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
connection.sendall(json.dumps(request).encode() + b"\n")
answer = json.loads(take_line(connection))
if "error" in answer:
    print(json.dumps(answer["error"]))
    sys.exit(1)
if method != "pod.portDial":
    print(json.dumps(answer["result"]))
    sys.exit()
sender = threading.Thread(target=send_stdin, args=[connection])
sender.start()
while data := connection.recv(1 << 16):
    sys.stdout.buffer.write(data)
sender.join()
