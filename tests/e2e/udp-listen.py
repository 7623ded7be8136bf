# SPDX-License-Identifier: MIT
"""Cases of udp-listen.sh: flows of many clients through `vzfwd listen`, byte by byte.

udp-listen.py NETNS turns LOG PORT PID       PID forwards PORT, and PORT + 1 of TCP, with two connections at most
udp-listen.py NETNS mtu LOG PORT             10.0.1.2:PORT, there, is behind a way of 1,000 bytes
udp-listen.py NETNS KIND LOG PORT HOST...    the pod's port PORT is forwarded: there 127.0.0.1, here each HOST:PORT;
                                             flows of PORT + 1 end after 1.5 s; what is logged of PORT + 3 is in LOG
"""
import os
import random
import re
import select
import signal
import socket
import sys
import time

from relaying import LIMIT, in_background, listen_in, run, wait_for
from udping import LARGEST, bound_in, client, close_in, pattern, udp_in

SIZES = (0, 1, 2, 1471, 1472, 1473, 8192, 65506, LARGEST, 0)
FLOWS_MAX = 1024


def case_sizes(target, port, host):
    """Each size both ways; then many in order."""
    with client(port, host) as sock:
        for i, size in enumerate(SIZES):
            ask, answer = pattern(size, i), pattern(size, i + 100)
            sock.send(ask)
            got, peer = target.recvfrom(1 << 16)
            assert got == ask, "%d bytes to the target came as %d" % (size, len(got))
            target.sendto(answer, peer)
            got = sock.recv(1 << 16)
            assert got == answer, "%d bytes from the target came as %d" % (size, len(got))
        many = [b"%d" % i + pattern(i % 50, i) for i in range(100)]
        for data in many:
            sock.send(data)
        assert [target.recv(1 << 16) for _ in many] == many, "order or bytes to the target"
        for data in many:
            target.sendto(data, peer)
        assert [sock.recv(1 << 16) for _ in many] == many, "order or bytes from the target"


def case_clients(target, port):
    """Each client has a flow of its own, and gets what is its own."""
    clients = [client(port) for _ in range(50)]
    peers = set()
    for i, sock in enumerate(clients):
        sock.send(b"client %d" % i)
    for _ in clients:
        got, peer = target.recvfrom(100)
        peers.add(peer)
        target.sendto(got[::-1], peer)
    assert len(peers) == len(clients)
    for i, sock in enumerate(clients):
        assert sock.recv(100) == (b"client %d" % i)[::-1]
        sock.send(b"again")
    for _ in clients:
        got, peer = target.recvfrom(100)
        assert got == b"again" and peer in peers, "another flow"
    for sock in clients:
        sock.close()


def case_idle(target, port):
    """After silence a client has another flow; until then the same."""
    with client(port) as sock:
        peers = []
        for wait in 0, 0.5, 0.5, 3:
            time.sleep(wait)  # the silence that is measured
            sock.send(b"ask")
            peers.append(target.recvfrom(100)[1])
        assert peers[0] == peers[1] == peers[2], "its flow ended too soon"
        assert peers[3] != peers[0], "its flow did not end"
        # The target's datagrams are no silence.
        peer = peers[3]
        for _ in range(4):
            time.sleep(0.5)
            target.sendto(b"tick", peer)
            assert sock.recv(100) == b"tick"
        sock.send(b"ask")
        assert target.recvfrom(100)[1] == peer, "its flow ended while the target spoke"


def case_least_recently_used(target, port):
    """One flow too many takes the place of the one that was quiet for longest."""
    clients = [client(port) for _ in range(FLOWS_MAX + 1)]

    def ask(sock):
        sock.send(b"ask")
        return target.recvfrom(100)[1]
    peers = [ask(sock) for sock in clients[:FLOWS_MAX]]
    assert ask(clients[0]) == peers[0]
    target.sendto(b"news", peers[1])
    assert clients[1].recv(100) == b"news"
    ask(clients[FLOWS_MAX])
    assert ask(clients[0]) == peers[0], "the one that had sent is gone"
    assert ask(clients[1]) == peers[1], "the one that had received is gone"
    assert ask(clients[3]) == peers[3], "more than one is gone"
    assert ask(clients[2]) != peers[2], "the one that was quiet for longest is still there"
    for sock in clients:
        sock.close()


def case_addresses(target, port):
    """On a wildcard socket the answer comes from the address that was asked."""
    for host in "127.0.0.1", "127.0.0.2", "127.1.2.3", "::1", "fd00::5":
        with client(port, host) as sock:  # connected: it hears nobody else
            sock.send(b"where")
            got, peer = target.recvfrom(100)
            target.sendto(got, peer)
            assert sock.recv(100) == b"where"
    # One client's socket, two addresses of ours.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(LIMIT)
        for host in "127.0.0.1", "127.0.0.2":
            sock.sendto(host.encode(), (host, port))
            got, peer = target.recvfrom(100)
            target.sendto(got, peer)
            assert sock.recvfrom(100) == (host.encode(), (host, port))


def case_refused(netns, log, port):
    """A target that is not there is noticed, and one that comes back is found."""
    def refusals():
        with open(log) as lines:
            return len(re.findall(r"#\d+: connection refused", lines.read()))
    wait_for(lambda: bound_in(netns, port) == 0, "nobody is there")
    with client(port) as sock:
        sock.send(b"anybody?")
        wait_for(refusals, "the refusal is logged")

        def asks():
            sock.send(b"and now?")
            return select.select([target], [], [], 0.1)[0]
        target = udp_in(netns, "127.0.0.1", port)
        wait_for(asks, "the target that has come back is asked")
        got, peer = target.recvfrom(100)
        assert got == b"and now?"
        target.sendto(b"yes", peer)
        assert sock.recv(100) == b"yes"
        close_in(netns, target)
    before = refusals()
    with client(port) as sock:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            sock.send(b"once more")
    more = refusals() - before
    assert more == 1, "%d refusals of one client in half a second" % more


def case_flood(target, port):
    """Many sources at once: what they send is lost or not, and the next one is served."""
    stop = time.monotonic() + 1
    socks = []
    for i in range(200):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.9.%d.%d" % (i // 250, i % 250 + 1), 0))
        socks.append(sock)

    def drain():
        target.setblocking(False)
        while time.monotonic() < stop + 0.5:
            if select.select([target], [], [], 0.1)[0]:
                target.recv(1 << 16)
        target.settimeout(LIMIT)
    done = in_background(drain)
    rng = random.Random(1)
    sent = 0
    while time.monotonic() < stop:
        sock = rng.choice(socks)
        sock.sendto(bytes(rng.choice((0, 1, 1000, 9000))), ("127.0.0.%d" % rng.randrange(1, 250), port))
        sent += 1
    done()
    assert sent > 1000
    with client(port) as sock:
        def answered():
            sock.send(b"still there?")
            while select.select([target], [], [], 0.2)[0]:
                got, peer = target.recvfrom(1 << 16)
                if got == b"still there?":
                    target.sendto(b"yes", peer)
                    return select.select([sock], [], [], 0.2)[0]
        wait_for(answered, "somebody is served")


def case_mtu(target, log, port):
    """What is too long for the way is lost, once; the flow goes on, and the next ones are cut for the way."""
    with client(port) as sock:
        sock.send(b"small")
        got, peer = target.recvfrom(100)
        assert got == b"small"
        long = pattern(1400)

        def comes():
            sock.send(long)
            return select.select([target], [], [], 0.1)[0]
        wait_for(comes, "a long one gets through")
        assert target.recvfrom(1 << 16) == (long, peer), "other bytes, or another flow"
        target.sendto(long[::-1], peer)
        assert sock.recv(1 << 16) == long[::-1]
    with open(log) as lines:
        assert "too long" not in lines.read()


def ask(target, sock):
    """By one datagram; whom the target heard."""
    sock.send(b"ask")
    got, peer = target.recvfrom(100)
    assert got == b"ask"
    return peer


def logged(log, text):
    with open(log) as lines:
        return text in lines.read()


def case_held(netns, log, port):
    """A flow that is over keeps nobody out, though it is remembered and has no place to give."""
    with client(port) as gone:
        gone.send(b"anybody?")
        wait_for(lambda: logged(log, "connection refused"), "the refusal is logged")
        clients = [client(port) for _ in range(3)]
        with udp_in(netns, "127.0.0.1", port) as target:
            peers = [ask(target, sock) for sock in clients]
            assert ask(target, clients[1]) == peers[1], "more than one flow has ended"
    for sock in clients:
        sock.close()


def case_turns(netns, log, port, pid):
    """A TCP client that waits at the limit has the next place: new flows don't overtake it, however many."""
    with udp_in(netns, "127.0.0.1", port) as target, listen_in(netns, port + 1) as listener:
        with client(port) as one, client(port) as two:
            ask(target, one)
            peer = ask(target, two)
            with socket.create_connection(("127.0.0.1", port + 1)) as waiting:
                wait_for(lambda: logged(log, "2 connections: no more until one ends"), "it waits")
                waiting.sendall(b"at last")
                crowd = [client(port) for _ in range(5)]
                os.kill(pid, signal.SIGSTOP)  # so that it meets them all at once
                for sock in crowd:
                    sock.send(b"me first")
                os.kill(pid, signal.SIGCONT)
                with listener.accept()[0] as served:
                    served.settimeout(LIMIT)
                    assert served.recv(100) == b"at last"
                    assert ask(target, two) == peer, "more than one flow has ended"
                    assert ask(target, crowd[0]) != peer, "then a flow takes the place of another"
                for sock in crowd:
                    sock.close()


netns, kind, log, port, *hosts = sys.argv[1:]
port = int(port)
if kind == "turns":
    run([("flows that are over, at the limit", case_held, netns, log, port),
         ("turns at the limit", case_turns, netns, log, port, int(hosts[0]))], workers=1)
    sys.exit()
if kind == "mtu":
    run([("a way with a smaller MTU", case_mtu, udp_in(netns, "10.0.1.2", port), log, port)], workers=1)
    sys.exit()
target = udp_in(netns, "127.0.0.1", port)
idle_target = udp_in(netns, "127.0.0.1", port + 1)
wildcard_target = udp_in(netns, "127.0.0.1", port + 2)
cases = [("%s: sizes from %s" % (kind, host), case_sizes, target, port, host) for host in hosts]
cases += [
    (kind + ": clients", case_clients, target, port),
    (kind + ": idle", case_idle, idle_target, port + 1),
    (kind + ": addresses of a wildcard socket", case_addresses, wildcard_target, port + 2),
    (kind + ": refused", case_refused, netns, log, port + 3),
    (kind + ": least recently used", case_least_recently_used, target, port),
    (kind + ": flood", case_flood, wildcard_target, port + 2),
]
run(cases, workers=1)
