# SPDX-License-Identifier: MIT
"""Cases of serve.sh: SIGTERM with connections open. What was passed on goes on; the rest is reset.

serve-stop.py NETNS SOCKET PID

127.0.0.1:8080 is forwarded to port 7 of the pod.
"""
import os
import signal
import socket
import sys

from relaying import LIMIT, expect, expect_bytes, listen_in, read_records, read_to_end, run
from serving import Caller

netns, path, pid = sys.argv[1:]


def stop():
    listener = listen_in(netns, 7)
    client = socket.create_connection(("127.0.0.1", 8080), LIMIT)
    client.settimeout(LIMIT)
    forwarded = listener.accept()[0]
    client.sendall(b"x")
    expect_bytes(forwarded, b"x")
    idle, raw, records, passer = (Caller(path) for _ in range(4))
    raw.dial("vm", 7)
    raw_server = listener.accept()[0]
    records.dial("vm", 7, framing="records")
    records_server = listener.accept()[0]
    passed, _ = passer.dial_fd("vm", 7)
    passed_server = listener.accept()[0]
    for server in forwarded, raw_server, records_server, passed_server:
        server.settimeout(LIMIT)

    os.kill(int(pid), signal.SIGTERM)
    expect(client, b"", "reset")
    for server in forwarded, raw_server, records_server:
        expect(server, b"", "reset")
    got, _ = read_records(records.sock)
    assert [kind for kind, _ in got] == [2], got
    for caller in idle, raw, passer:
        assert caller.closed()
    passed.sendall(b"still")
    passed.shutdown(socket.SHUT_WR)
    expect(passed_server, b"still", "eof")
    passed_server.sendall(b"here")
    passed_server.close()
    assert read_to_end(passed) == (b"here", "eof")


run([("SIGTERM: streams are reset, a passed descriptor is not", stop)])
