# SPDX-License-Identifier: MIT
"""vzfwd listen --events fd:N with N a socket that has little room and is read late: events-socket.py OUT CLIENT.

What comes is whole lines, and those that are missing are counted.
"""
import json
import re
import signal
import socket
import subprocess
import sys
import time

CONNECTIONS = 60

out, client = sys.argv[1:]
ours, theirs = socket.socketpair()
theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
listen = subprocess.Popen(
    ["vzfwd", "listen", "-p", "web", "--events", f"fd:{theirs.fileno()}", "8080:80"],
    pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True)
theirs.close()
print(listen.stdout.readline())
ours.settimeout(20)
data = b""
for i in range(CONNECTIONS):
    with socket.create_connection(("127.0.0.1", 8080)) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    if i % 10 == 9:
        data += ours.recv(700)
listen.send_signal(signal.SIGTERM)
# What is left of a line when it ends can't be waited for: read while it goes.
while piece := ours.recv(1 << 16):
    data += piece
assert listen.wait(20) == 0
open(out, "wb").write(data)
lines = data.split(b"\n")
assert lines.pop() == b""
events = [json.loads(line) for line in lines]
counts = [event["count"] for event in events if event["event"] == "dropped"]
assert counts, "nothing was dropped"
told = len(events) - len(counts) + sum(counts)
print(len(events), counts)
# The last ones may not have had room, and nobody is left to count them.
assert told <= 2 + 2 * CONNECTIONS, (told, counts)
assert told >= 2 + 2 * CONNECTIONS - 3, (told, counts)
