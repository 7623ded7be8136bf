# SPDX-License-Identifier: MIT
"""Cases of proxy-wire.sh: what a proxy's clients send and get, to the byte.

proxy-wire.py NETNS TMP PORT AUTH-PORT FEW-PORT

The pod "web" has NETNS; AUTH-PORT wants user:password, FEW-PORT has 2 connections at most.
"""
import os
import socket
import struct
import sys
import time

from relaying import (CLONE_NEWNET, LIMIT, connecting_in, expect, expect_bytes, expect_gone, in_background, libc,
                      listen_in, pattern, put, read_to_end, reset, run, wait_for)
from telling import events_in

netns, tmp = sys.argv[1:3]
PORT, AUTH, FEW = map(int, sys.argv[3:6])
DATA = pattern(300000)
HELLO = b"\5\1\0"
CHUNKS = b"1\r\na\r\n29;x=y\r\n" + DATA[:41] + b"\r\n000\r\n\r\n"
ASKING = 10  # seconds that a client has
ASKING_MAX = 512
SMALL, LARGE = 536, 16384  # segments with which a socket's kernel holds a part of DATA, or all of it


def client(port=PORT):
    sock = socket.create_connection(("127.0.0.1", port), LIMIT)
    sock.settimeout(LIMIT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def request(port, host=b"web", command=1):
    return struct.pack("!BBBBB", 5, command, 0, 3, len(host)) + host + struct.pack("!H", port)


def head(port, host="web"):
    return b"CONNECT %s:%d HTTP/1.1\r\nHost: x\r\n\r\n" % (host.encode(), port)


def target():
    """A listener in the pod, and its port."""
    listener = listen_in(netns, 0)
    return listener, listener.getsockname()[1]


def accept(listener):
    sock, peer = listener.accept()
    sock.settimeout(LIMIT)
    return sock, peer


def reply(address, port):
    return b"\5\0\0\1" + socket.inet_aton(address) + struct.pack("!H", port)


def connected(sock):
    """The head of the answer to CONNECT."""
    expect_bytes(sock, b"HTTP/1.1 200 Connection established\r\n\r\n")


def slowly(sock, data):
    for byte in data:
        sock.sendall(bytes((byte,)))


def socks_in_turn():
    listener, port = target()
    sock = client()
    sock.sendall(HELLO)
    expect_bytes(sock, b"\5\0")
    sock.sendall(request(port))
    server, peer = accept(listener)
    server.sendall(b"banner")
    expect_bytes(sock, reply(*peer) + b"banner")
    sock.sendall(DATA)
    expect_bytes(server, DATA)
    server.close()
    expect(sock, b"", "eof")


def socks_by_address(kind, address):
    listener, port = target()
    sock = client()
    sock.sendall(HELLO + b"\5\1\0" + kind + address + struct.pack("!H", port))
    server, peer = accept(listener)
    expect_bytes(sock, b"\5\0" + reply(*peer))


def socks_ahead(put_all):
    """All at once or in bytes: what comes behind the request is the target's, with its end."""
    listener, port = target()
    sock = client()
    put_all(sock, b"\5\3\1\2\0" + request(port) + DATA[:20000])
    sock.shutdown(socket.SHUT_WR)
    server, peer = accept(listener)
    expect(server, DATA[:20000], "eof")
    server.sendall(DATA)
    server.close()
    expect(sock, b"\5\0" + reply(*peer) + DATA, "eof")


def connect_ahead(put_all, lines=b"\r\n"):
    listener, port = target()
    sock = client()
    put_all(sock, head(port).replace(b"\r\n", lines) + DATA[:20000])
    sock.shutdown(socket.SHUT_WR)
    server, _ = accept(listener)
    server.sendall(b"banner")
    expect(server, DATA[:20000], "eof")
    server.close()
    connected(sock)
    expect(sock, b"banner", "eof")


def get(sock, size):
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data))
    return data


def passes_resets(ask, answer):
    listener, port = target()
    sock = client()
    sock.sendall(ask(port))
    server, _ = accept(listener)
    get(sock, answer)
    reset(server)
    expect(sock, b"", "reset")
    sock = client()
    sock.sendall(ask(port))
    server, _ = accept(listener)
    get(sock, answer)
    reset(sock)
    expect(server, b"", "reset")
    for _ in range(20):  # whether the reply has been sent by then or not
        sock = client()
        sock.sendall(ask(port))
        server, _ = accept(listener)
        reset(sock)
        expect(server, b"", "reset")


def passed(port, method="GET", more=""):
    """A request's head as the target gets it."""
    return ("%s /a?b=c HTTP/1.1\r\nHost: web:%d\r\nA: b\r\n%sVia: 1.1 vzfwd\r\nConnection: close\r\n\r\n"
            % (method, port, more)).encode()


def plain(port, method="GET", more=""):
    """A request's head as a client sends it."""
    return ("%s http://web:%d/a?b=c HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\nX-Hop: 1\r\nA: b\r\n"
            "Connection: keep-alive, X-Hop, Content-Length\r\nProxy-Authorization: Basic dXNlcjpwYXNzd29yZA==\r\n"
            "Upgrade: lines\r\n%s\r\n" % (method, port, more)).encode()


BEFORE = b"HTTP/1.1 200 Fine\r\nKeep-Alive: timeout=5\r\n more\r\nX: y\r\nconnection:keep-alive\r\n\r\n"
AFTER = b"HTTP/1.1 200 Fine\r\nX: y\r\nVia: 1.1 vzfwd\r\nConnection: close\r\n\r\n"


def requests_one(put_all, port_of_proxy):
    """What the target gets of two requests: the first. The answer ends with the target's end."""
    listener, port = target()
    sock = client(port_of_proxy)
    put_all(sock, plain(port) + plain(port, "POST"))
    server, _ = accept(listener)
    expect_bytes(server, passed(port))
    put_all(server, BEFORE + DATA[:20000])
    expect_bytes(sock, AFTER + DATA[:20000])
    server.settimeout(0.3)
    try:
        raise AssertionError(server.recv(1000))
    except TimeoutError:
        pass
    server.close()
    expect(sock, b"", "eof")


def requests_with_body(put_all, field, body):
    """The target gets the body and no more, and the end of a client that has none to wait for."""
    listener, port = target()
    sock = client()
    in_background(put_all, sock, plain(port, "POST", field) + body + plain(port))
    server, _ = accept(listener)
    expect_bytes(server, passed(port, "POST", field) + body)
    server.sendall(b"HTTP/1.1 100 Continue\r\nConnection: x\r\n\r\nHTTP/1.1 103 Early\r\n\r\n" + BEFORE + b"ok")
    expect_bytes(sock, b"HTTP/1.1 100 Continue\r\nConnection: x\r\n\r\nHTTP/1.1 103 Early\r\n\r\n" + AFTER + b"ok")
    sock.shutdown(socket.SHUT_WR)
    server.close()
    expect(sock, b"", "eof")


def answered_as_it_is(answer):
    """No answer of HTTP/1, but bytes."""
    listener, port = target()
    sock = client()
    sock.sendall(plain(port))
    server, _ = accept(listener)
    expect_bytes(server, passed(port))
    server.sendall(answer)
    server.close()
    expect(sock, answer, "eof")


def requests_end():
    """A client that has gone takes its request with it; one that has only ended gets its answer."""
    listener, port = target()
    for end, how in ((reset, "reset"), (lambda sock: sock.shutdown(socket.SHUT_WR), "eof")):
        sock = client()
        sock.sendall(plain(port))
        server, _ = accept(listener)
        expect_bytes(server, passed(port))
        end(sock)
        expect(server, b"", how)
    server.sendall(BEFORE + b"late")
    server.close()
    expect(sock, AFTER + b"late", "eof")


def requests_are_reset(pod):
    """Also behind a command, whose connection is over some time after it has been reset."""
    listener, port = target()
    for data, got in ((b"", b""), (BEFORE + b"half", AFTER + b"half"), (BEFORE + DATA, AFTER + DATA)):
        sock = client()
        sock.sendall(plain(port).replace(b"//web:", b"//%s:" % pod))
        server, _ = accept(listener)
        expect_bytes(server, passed(port).replace(b" web:", b" %s:" % pod))
        server.sendall(data)
        expect_bytes(sock, got)
        reset(server)
        expect(sock, b"", "reset")


def slow_client(segment):
    """Takes what fits into few bytes of its kernel's, in segments of that size, until it reads."""
    sock = socket.socket()
    sock.settimeout(LIMIT)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
    sock.connect(("127.0.0.1", PORT))
    return sock


def clients(target, name):
    """Those of whom the proxy has told such an event."""
    return [event["client"] for event in events_in(tmp + "/events") if event["event"] == name and event.get("target") == target]


def closed(port):
    """The proxy has told of the end of a connection to this port."""
    return clients(str(port), "closed")


def broken_answer(segment):
    """A client that does not read, and a target that has sent DATA and is reset."""
    listener, port = target()
    sock = slow_client(segment)
    sock.sendall(plain(port))
    server, _ = accept(listener)
    expect_bytes(server, passed(port))
    put(server, BEFORE + DATA)
    reset(server)
    wait_for(lambda: closed(port), "the connection's end")
    return sock


def requests_are_reset_late(segment):
    """What came before the reset is delivered first, to who reads it late."""
    expect(broken_answer(segment), AFTER + DATA, "reset")


def requests_are_reset_in_time(segment):
    """Who does not take what came before the reset is reset all the same, some 5 s later."""
    sock = broken_answer(segment)
    begin = time.monotonic()
    expect_gone(sock)
    took = time.monotonic() - begin
    assert 4 < took < 8, took


def requests_badly():
    """A body that is none: both sides are reset, and what was right of it has been passed on at most."""
    listener, port = target()
    sock = client()
    sock.sendall(plain(port, "POST", "Transfer-Encoding: chunked\r\n") + b"5\r\nhello\r\nxyz\r\n")
    expect(sock, b"", "reset")
    try:
        server, _ = accept(listener)
        read_to_end(server)
    except TimeoutError:
        pass


def requests_in_bulk():
    """Neither side takes anything for a while: the other waits, and every byte comes."""
    data = pattern(30000000)
    listener, port = target()
    sock = client()
    field = "Content-Length: %d\r\n" % len(data)
    sending = in_background(sock.sendall, plain(port, "POST", field) + data)
    server, _ = accept(listener)
    time.sleep(0.5)
    expect_bytes(server, passed(port, "POST", field) + data)
    sending()
    sending = in_background(server.sendall, BEFORE + data)
    time.sleep(0.5)
    expect_bytes(sock, AFTER + data)
    sending()
    server.close()
    expect(sock, b"", "eof")


def udp_in(netns):
    """A UDP socket inside the netns, and its port."""
    with open("/proc/thread-self/ns/net") as own, open(netns) as pod:
        assert libc.setns(pod.fileno(), CLONE_NEWNET) == 0
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        finally:
            assert libc.setns(own.fileno(), CLONE_NEWNET) == 0
    sock.settimeout(LIMIT)
    sock.bind(("127.0.0.1", 0))
    return sock, sock.getsockname()[1]


def associate(port=PORT, own=0, host="127.0.0.1"):
    """The connection that has it, and a connected socket for its datagrams."""
    sock = socket.create_connection((host, port), LIMIT)
    sock.settimeout(LIMIT)
    family = sock.family
    udp = socket.socket(family, socket.SOCK_DGRAM)
    udp.settimeout(LIMIT)
    udp.bind((host, 0))
    if own:
        own = udp.getsockname()[1]
    sock.sendall(HELLO + struct.pack("!BBBB4sH", 5, 3, 0, 1, bytes(4), own))
    answer = get(sock, 12 if family == socket.AF_INET else 24)
    assert answer[:6] == b"\5\0\5\0\0" + (b"\1" if family == socket.AF_INET else b"\4"), answer
    assert socket.inet_ntop(family, answer[6:-2]) == host, answer
    udp.connect((host, struct.unpack("!H", answer[-2:])[0]))
    return sock, udp


def towards(port, host=b"web", fragment=0):
    return struct.pack("!HBBB", 0, fragment, 3, len(host)) + host + struct.pack("!H", port)


def datagrams(host, name, own):
    """All sizes, both ways, each behind where it goes; and several targets of one client."""
    server, port = udp_in(netns)
    other, other_port = udp_in(netns)
    sock, udp = associate(own=own, host=host)
    there = towards(port, name)
    for size in (1, 0, 1400, 9000, 65507 - len(there), 0):
        data = DATA[:size]
        udp.send(there + data)
        got, peer = server.recvfrom(70000)
        assert got == data, (size, len(got))
        server.sendto(data[::-1], peer)
        got = udp.recv(70000)
        assert got == there + data[::-1], (size, len(got))
    udp.send(towards(other_port) + b"other")
    got, other_peer = other.recvfrom(100)
    assert got == b"other"
    for i in range(50):
        udp.send(there + b"%d" % i)
    assert [server.recv(100) for _ in range(50)] == [b"%d" % i for i in range(50)]
    other.sendto(b"from the other", other_peer)
    assert udp.recv(100) == towards(other_port) + b"from the other"
    sock.close()
    wait_for(lambda: is_refused(udp), "the socket's end")


def is_refused(udp):
    try:
        udp.send(b"")
        udp.setblocking(False)
        udp.recv(100)
    except ConnectionRefusedError:
        return True
    except BlockingIOError:
        pass
    return False


def told_by_client():
    """Events have the client's own address, whatever is between it and the connection."""
    for ask in (plain, head):
        listener, port = target()
        sock = client()
        address = "127.0.0.1:%d" % sock.getsockname()[1]
        sock.sendall(ask(port))
        server, _ = accept(listener)
        sock.close()
        server.close()
        wait_for(lambda: closed(port), "the connection's end")
        assert clients(str(port), "opened") == clients(str(port), "closed") == [address], (ask, closed(port), address)
    server, port = udp_in(netns)
    sock, udp = associate()
    udp.send(towards(port) + b"x")
    assert server.recv(100) == b"x"
    assert clients("%d/udp" % port, "opened") == ["127.0.0.1:%d" % udp.getsockname()[1]]


def datagrams_wrongly():
    """Who else sends, and what is no datagram, reaches nobody; what is right still does."""
    server, port = udp_in(netns)
    sock, udp = associate(own=True)
    there = towards(port)
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.sendto(there + b"stranger", udp.getpeername())
    for bad in (b"", b"\0", there[:-1], towards(port, fragment=1) + b"x", towards(0) + b"x", towards(port, b"") + b"x",
                towards(port, b"nobody") + b"x", towards(port, b"netns:" + netns.encode()) + b"x",
                b"\0\0\0\2" + there[4:] + b"x", towards(port, b"we\0b") + b"x"):
        udp.send(bad)
    for i in range(300):
        udp.send(towards(port, b"n%d" % i) + b"x")
    udp.send(there + b"right")
    assert server.recv(100) == b"right"
    sock.sendall(b"what?")
    wait_for(lambda: is_refused(udp), "the socket's end")


def leaves_while_dialed():
    """A target whose backlog is full: once the client is gone, nobody tries any more."""
    listener, port = target()
    listener.listen(0)
    clients = []
    for _ in range(4):
        clients.append(client())
        clients[-1].sendall(HELLO + request(port))
    wait_for(lambda: connecting_in(netns, port) > 0, "a connect that waits")
    for sock in clients:
        reset(sock)
    wait_for(lambda: connecting_in(netns, port) == 0, "the connect given up")


def refuses(data, answer, port=PORT):
    """The whole answer, in order, whatever else was sent."""
    sock = client(port)
    put(sock, data)
    expect(sock, answer, "eof")


def refuses_status(data, status):
    sock = client()
    put(sock, data)
    got, how = read_to_end(sock)
    assert got.startswith(b"HTTP/1.1 %d " % status), got[:100]
    assert how == "eof", how
    begin, body = got.split(b"\r\n\r\n", 1)
    assert b"\r\nContent-Length: %d\r\n" % len(body) in begin, got
    assert b"\r\nConnection: close" in begin, got


def fails(code):
    return b"\5\0" + b"\5" + bytes((code,)) + b"\0\1" + bytes(6)


def names_no_endpoint(name):
    refuses(HELLO + request(80, name), fails(4))
    refuses_status(b"CONNECT %s:80 HTTP/1.1\r\n\r\n" % name, 400 if b":" in name or b" " in name else 404)
    assert not os.path.exists(tmp + "/ran")


def authenticates():
    listener, port = target()
    sock = client(AUTH)
    slowly(sock, b"\5\2\0\2\1\4user\10password" + request(port) + b"x")
    server, peer = accept(listener)
    expect_bytes(sock, b"\5\2\1\0" + reply(*peer))
    expect_bytes(server, b"x")


def credentials(user, password):
    return b"\1" + bytes((len(user),)) + user + bytes((len(password),)) + password


def silent():
    """Whoever says nothing, or not all, is out of time; whoever is slow but through is not."""
    begin = time.monotonic()
    listener, port = target()
    through = client()
    through.sendall(HELLO + request(port))
    server, _ = accept(listener)
    nothing, half, lines = client(), client(), client()
    half.sendall(HELLO + b"\5\1")
    lines.sendall(b"CONNECT web:80 HTTP/1.1\r\nHost")
    slow, told = client(), 0
    slow.settimeout(0.2)
    gone = False
    while not gone and time.monotonic() < begin + 2 * ASKING:
        try:
            slow.sendall(b"\5" if told == 0 else b"\377" if told == 1 else b"\1")
            told += 1
            gone = not slow.recv(1)
        except TimeoutError:
            pass
        except OSError:
            gone = True
    assert gone, "a byte now and then is kept waiting for"
    expect(nothing, b"", "eof")
    expect(half, b"\5\0", "eof")
    got, how = read_to_end(lines)
    assert got.startswith(b"HTTP/1.1 408 ") and how == "eof", (got, how)
    took = time.monotonic() - begin
    assert ASKING - 0.5 < took < ASKING + 5, took
    through.sendall(b"still there")
    expect_bytes(server, b"still there")


def crowd():
    """They have their number; the oldest goes first, and nobody waits for them."""
    begin = time.monotonic()
    many = [client() for _ in range(ASKING_MAX)]
    for sock in many[::3]:
        sock.sendall(b"CONNECT ")
    for _ in range(20):
        many.append(client())
    expect(many[1], b"", "eof")
    assert time.monotonic() - begin < ASKING - 2, "it was out of time"
    listener, port = target()
    sock = client()
    sock.sendall(HELLO + request(port) + b"hello")
    server, _ = accept(listener)
    expect_bytes(server, b"hello")
    many[-1].sendall(HELLO)
    expect_bytes(many[-1], b"\5\0")
    for one in many:
        one.close()


def few():
    """The third one waits for an end of the first two."""
    listener, port = target()
    pairs = []
    for _ in range(2):
        sock = client(FEW)
        sock.sendall(HELLO + request(port))
        server, peer = accept(listener)
        expect_bytes(sock, b"\5\0" + reply(*peer))
        pairs.append((sock, server))
    third = client(FEW)
    third.sendall(HELLO + request(port) + b"third")
    third.settimeout(0.3)
    try:
        assert not third.recv(1), "ended"
        raise AssertionError("served beyond the limit")
    except TimeoutError:
        pass
    for sock in pairs.pop(0):
        sock.close()
    server, _ = accept(listener)
    expect_bytes(server, b"third")


def few_crowd():
    """All places are taken by who says nothing: they have a second, and who asks by then keeps its place."""
    listener, port = target()
    first, second = client(FEW), client(FEW)
    for sock in first, second:
        sock.sendall(HELLO)
        expect_bytes(sock, b"\5\0")
    begin = time.monotonic()
    first.sendall(request(port))
    through, peer = accept(listener)
    expect_bytes(first, reply(*peer))
    many = [client(FEW) for _ in range(2)]
    last = client(FEW)
    last.sendall(HELLO + request(port))
    server, peer = accept(listener)
    expect_bytes(last, b"\5\0" + reply(*peer))
    took = time.monotonic() - begin
    assert took < ASKING - 2, took
    for sock in second, *many:
        expect(sock, b"", "eof")
    first.sendall(b"still there")
    expect_bytes(through, b"still there")


def garbage():
    """Random bytes in pieces, by many at a time: each ends in some way, within its time."""
    import random
    for seed in range(300):
        rng = random.Random(seed)
        sock = client()
        first = rng.choice((b"\5", b"\4", b"C", b"G", b"\0", b"\r", b"\5\1\0\5\1\0\3"))
        put(sock, first + rng.randbytes(rng.choice((1, 5, 40, 3000, 40000))))
        if rng.random() < 0.5:
            reset(sock)
        else:
            sock.shutdown(socket.SHUT_WR)
            read_to_end(sock)
            sock.close()


answered = "SOCKS: "
cases = [
    ("who says nothing is out of time after 10 s", silent),
    (answered + "in turn, and the target's address in the reply", socks_in_turn),
    (answered + "by an IPv4 address", socks_by_address, b"\1", socket.inet_aton("127.0.0.1")),
    (answered + "by an IPv6 address that is an IPv4 one", socks_by_address, b"\4",
     socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1")),
    (answered + "by an address in text", socks_by_address, b"\3", b"\x09127.0.0.1"),
    (answered + "localhost in capitals", socks_by_address, b"\3", b"\x09LOCALHOST"),
    (answered + "all at once, and the stream and its end behind it", socks_ahead, put),
    (answered + "byte by byte", socks_ahead, slowly),
    ("CONNECT: the stream and its end behind it", connect_ahead, put),
    ("CONNECT: byte by byte", connect_ahead, slowly),
    ("CONNECT: lines that end in a newline only", connect_ahead, put, b"\n"),
    (answered + "resets, both ways", passes_resets, lambda port: HELLO + request(port), 12),
    ("CONNECT: resets, both ways", passes_resets, head, 39),
    ("a client that leaves while its target is dialed", leaves_while_dialed),
    (answered + "BIND: 7", refuses, HELLO + request(80, command=2), fails(7)),
    (answered + "no such command: 7", refuses, HELLO + request(80, command=9), fails(7)),
    (answered + "another kind of address: 8", refuses, HELLO + b"\5\1\0\2" + b"web" * 10, fails(8)),
    (answered + "another version in the request: 1", refuses, HELLO + b"\4" + request(80)[1:], fails(1)),
    (answered + "port 0: 1", refuses, HELLO + request(0), fails(1)),
    (answered + "no name: 1", refuses, HELLO + request(80, b""), fails(1)),
    (answered + "a NUL in the name: 1", refuses, HELLO + request(80, b"web\0x"), fails(1)),
    (answered + "the longest name: 4", refuses, HELLO + request(80, b"w" * 255), fails(4)),
    (answered + "an answer in front of a flood", refuses, HELLO + request(80, b"nobody") + DATA, fails(4)),
    (answered + "no methods", refuses, b"\5\0" + request(80), b"\5\xff"),
    (answered + "GSSAPI only", refuses, b"\5\1\1" + request(80), b"\5\xff"),
    (answered + "a password only, where none is wanted", refuses, b"\5\1\2" + request(80), b"\5\xff"),
    ("SOCKS 4 is refused in its own words", refuses, b"\4\1\0\x50\0\0\0\1me\0web\0", b"\0\x5b" + bytes(6)),
    ("names are no endpoints: a command", names_no_endpoint, b"exec:touch " + tmp.encode() + b"/ran"),
    ("names are no endpoints: a netns", names_no_endpoint, b"netns:" + netns.encode()),
    ("names are no paths", names_no_endpoint, b"../pods/web"),
    ("users: byte by byte", authenticates),
    ("users: a wrong one", refuses, b"\5\1\2" + credentials(b"user", b"wrong") + request(80), b"\5\2\1\1", AUTH),
    ("users: the longest", refuses, b"\5\1\2" + credentials(b"u" * 255, b"p" * 255) + request(80), b"\5\2\1\1", AUTH),
    ("users: none, and nothing", refuses, b"\5\1\2" + credentials(b"", b""), b"\5\2\1\1", AUTH),
    ("users: a NUL", refuses, b"\5\1\2" + credentials(b"user", b"password\0x"), b"\5\2\1\1", AUTH),
    ("users: another version", refuses, b"\5\1\2\2" + credentials(b"user", b"password")[1:], b"\5\2\1\1", AUTH),
    ("users: no way round", refuses, HELLO + request(80), b"\5\xff", AUTH),
    ("HTTP: TLS", refuses_status, b"\x16\3\1\2\0\1\0\1\xfc\3\3" + b"\n\n" + DATA[:500], 400),
    ("HTTP: two words", refuses_status, b"CONNECT web:80\r\n\r\n", 400),
    ("HTTP: another version", refuses_status, b"CONNECT web:80 HTTP/2.0\r\n\r\n", 400),
    ("HTTP: no port", refuses_status, b"CONNECT web HTTP/1.1\r\n\r\n", 400),
    ("HTTP: no such port", refuses_status, b"CONNECT web:65536 HTTP/1.1\r\n\r\n", 400),
    ("HTTP: a NUL", refuses_status, b"CONNECT web:80 HTTP/1.1\r\nA: \0\r\n\r\n", 400),
    ("HTTP: a carriage return alone", refuses_status, b"CONNECT web:80 HTTP/1.1\r\nA: b\rC: d\r\n\r\n", 400),
    ("HTTP: a folded line", refuses_status, b"CONNECT web:80 HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
    ("HTTP: a space before the colon", refuses_status, b"CONNECT web:80 HTTP/1.1\r\nA : b\r\n\r\n", 400),
    ("HTTP: too many fields", refuses_status, b"CONNECT web:80 HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", 400),
    ("HTTP: too long a head", refuses_status, b"CONNECT web:80 HTTP/1.1\r\nA: " + b"b" * 17000, 431),
    ("HTTP: too long a line", refuses_status, b"C" * 20000, 431),
    ("HTTP: an answer in front of a flood", refuses_status, b"CONNECT nobody:80 HTTP/1.1\r\n\r\n" + DATA, 404),
    ("a request: one, and no more", requests_one, put, PORT),
    ("a request: byte by byte", requests_one, slowly, PORT),
    ("a request: the user is not passed on", requests_one, put, AUTH),
    ("a request: a body by length", requests_with_body, put, "Content-Length: 300000\r\n", DATA),
    ("a request: a body in chunks", requests_with_body, put, "Transfer-Encoding: chunked\r\n", CHUNKS),
    ("a request: in chunks, byte by byte", requests_with_body, slowly, "Transfer-Encoding: chunked\r\n", CHUNKS[:59]
     + b"0\r\nTrailer: x\r\n\r\n"),
    ("a request: an answer of another kind", answered_as_it_is, b"hello\r\n\r\n" + DATA),
    ("a request: an answer without a head", answered_as_it_is, b"HTTP/1.1 200 OK\r\nA: b\r\n"),
    ("a request: a head without an end", answered_as_it_is, b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100000),
    ("a request: no answer", answered_as_it_is, b""),
    ("a request: its client's end", requests_end),
    ("a request: its target's reset", requests_are_reset, b"web"),
    ("a request: its target's reset, by a command", requests_are_reset, b"command"),
    ("a request: its target's reset, behind what is still to be taken", requests_are_reset_late, LARGE),
    ("a request: its target's reset, behind what is still to be sent", requests_are_reset_late, SMALL),
    ("a request: its target's reset, and nobody takes what came before", requests_are_reset_in_time, LARGE),
    ("a request: its target's reset, and nobody lets it be sent", requests_are_reset_in_time, SMALL),
    ("a request: its body is none", requests_badly),
    ("a request: 30 MB each way to who does not take them", requests_in_bulk),
    ("HTTP: a body with two ends", refuses_status, plain(80, "POST", "Content-Length: 1\r\nContent-Length: 1\r\n"), 400),
    ("HTTP: a body of two kinds", refuses_status,
     plain(80, "POST", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400),
    ("HTTP: a body in a coding", refuses_status, plain(80, "POST", "Transfer-Encoding: gzip, chunked\r\n"), 400),
    ("HTTP: a body of no length", refuses_status, plain(80, "POST", "Content-Length: -1\r\n"), 400),
    ("HTTP: https without CONNECT", refuses_status, b"GET https://web/ HTTP/1.1\r\n\r\n", 400),
    ("HTTP: a user in the address", refuses_status, b"GET http://me:you@web/ HTTP/1.1\r\n\r\n", 400),
    ("datagrams: to a pod", datagrams, "127.0.0.1", b"web", False),
    ("datagrams: by ::1, and by the client's port", datagrams, "::1", b"web", True),
    ("datagrams: to localhost", datagrams, "127.0.0.1", b"localhost", True),
    ("datagrams: wrong ones", datagrams_wrongly),
    ("events: the client", told_by_client),
    ("--max-connections", few),
    ("garbage", garbage),
]
run(cases, more=True)
run([("a crowd that says nothing keeps nobody out", crowd),
     ("--max-connections: nor out of the last connection", few_crowd)])
