# SPDX-License-Identifier: MIT
"""Every order of ends and resets between two TCP sockets, for the tests in Python: each case is (name, function,
arguments...), and the function takes a way (relaying.py) before these."""
import socket
import time

from relaying import expect, expect_gone, in_background, pattern, put, reset, unread, wait_for

FEW, SMALL, BULK = pattern(30000), pattern(300000), pattern(3 << 20, 1)


def client_first(way):
    client, server = way.open()
    client.sendall(SMALL)
    client.shutdown(socket.SHUT_WR)
    expect(server, SMALL, "eof")
    server.sendall(SMALL[::-1])
    server.close()
    expect(client, SMALL[::-1], "eof")


def server_first(way):
    client, server = way.open()
    server.sendall(SMALL)
    server.shutdown(socket.SHUT_WR)
    expect(client, SMALL, "eof")
    client.sendall(SMALL[::-1])
    client.close()
    expect(server, SMALL[::-1], "eof")


def nothing(way):
    client, server = way.open()
    client.close()
    expect(server, b"", "eof")
    server.close()


def late_reply(way):
    client, server = way.open()
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    expect(server, b"question", "eof")
    time.sleep(3)
    server.sendall(b"answer")
    server.close()
    expect(client, b"answer", "eof")


def both_ways(way):
    client, server = way.open()

    def send(sock, data):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    joins = [in_background(send, client, BULK), in_background(send, server, BULK[::-1]),
             in_background(expect, server, BULK, "eof")]
    expect(client, BULK[::-1], "eof")
    for join in joins:
        join()


def client_reset(way, data):
    """Few enough bytes are taken on the way before anybody reads them."""
    client, server = way.open()
    join = in_background(expect, server, data, "reset") if len(data) > len(FEW) else None
    put(client, data)
    reset(client)
    join() if join else expect(server, data, "reset")


def server_reset(way, data):
    client, server = way.open()
    join = in_background(expect, client, data, "reset") if len(data) > len(FEW) else None
    put(server, data)
    reset(server)
    join() if join else expect(client, data, "reset")


def client_reset_after_fin(way):
    client, server = way.open()
    client.sendall(SMALL)
    client.shutdown(socket.SHUT_WR)
    expect(server, SMALL, "eof")
    server.sendall(SMALL)
    reset(client)
    expect_gone(server)


def server_reset_after_fin(way):
    client, server = way.open()
    server.sendall(SMALL)
    server.shutdown(socket.SHUT_WR)
    expect(client, SMALL, "eof")
    client.sendall(SMALL)
    reset(server)
    expect_gone(client)


def server_leaves_unread(way):
    client, server = way.open()
    client.sendall(b"unread")
    wait_for(lambda: unread(server) > 0, "bytes for the server")
    server.close()
    expect(client, b"", "reset")


def client_leaves_unread(way):
    client, server = way.open()
    server.sendall(b"unread")
    wait_for(lambda: unread(client) > 0, "bytes for the client")
    client.close()
    expect(server, b"", "reset")


IN_ORDER = [
    ("a reply 3 s after the client's end", late_reply),
    ("the client ends first", client_first),
    ("the server ends first", server_first),
    ("nothing is sent", nothing),
    ("both ways at once", both_ways),
]
RESETS = [
    ("the client resets, idle", client_reset, b""),
    ("the client resets behind data", client_reset, FEW),
    ("the client resets behind more data", client_reset, SMALL),
    ("the server resets, idle", server_reset, b""),
    ("the server resets behind data", server_reset, FEW),
    ("the server resets behind more data", server_reset, SMALL),
    ("the client resets after its FIN", client_reset_after_fin),
    ("the server resets after its FIN", server_reset_after_fin),
    ("the server closes with unread data", server_leaves_unread),
    ("the client closes with unread data", client_leaves_unread),
]
