# SPDX-License-Identifier: MIT
"""Cases of expose-udp.sh.

expose-udp.py NETNS SIBLING-NETNS EVENTS NETNS-EVENTS MANY-EVENTS PID

In NETNS 192.168.127.254 has ports 5300 to 5302, which lead to 5300 and 5311 here and to SIBLING-NETNS; flows end after a second,
which is told in EVENTS; .253 has 5300, without a VM, of which NETNS-EVENTS
tells; 5305 leads to 5305 here, by the process PID, which tells MANY-EVENTS, and its flows stay.
"""
import os
import select
import socket
import struct
import sys
import threading
import time

from relaying import LIMIT, in_background, inside, run, wait_for
from telling import events_in
from udping import LARGEST, pattern, udp_in

netns, sibling, events, netns_events, many_events, many_pid = sys.argv[1:]
ALIAS, OTHER = "192.168.127.254", "192.168.127.253"


def client(*where):
    with inside(netns):
        sock = socket.socket(socket.AF_INET6 if ":" in where[0] else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.settimeout(LIMIT)
    sock.connect(where)
    return sock


def server(port, host="127.0.0.1"):
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.settimeout(LIMIT)
    sock.bind((host, port))
    return sock


def take(sock, want):
    got, who = sock.recvfrom(1 << 16)
    assert got == want, "%d bytes, want %d" % (len(got), len(want))
    return who


def echo_sizes(where, served):
    sock = client(*where)
    for seed, size in enumerate((1, 0, 2, 1472, 9000, 0, LARGEST, 3)):
        data = pattern(size, seed)
        sock.send(data)
        who = take(served, data)
        served.sendto(data[::-1], who)
        assert sock.recv(1 << 16) == data[::-1], "the answer of %d bytes" % size
    sock.close()


def sizes():
    with server(5300) as served:
        for where in (ALIAS, 5300), ("127.0.0.1", 5300), ("::1", 5300), (OTHER, 5300):
            echo_sizes(where, served)


def kernel_tells():
    """Who has a UDP port: udp_diag, by a dump of the sockets, of which there is one. User-mode Linux has none."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as sock, server(5300, "::1"):  # NETLINK_SOCK_DIAG
        request = struct.pack("=BBBxI48x", socket.AF_INET6, socket.IPPROTO_UDP, 0, 0xffffffff)  # inet_diag_req_v2
        sock.send(struct.pack("=IHHII", 16 + len(request), 20, 0x301, 1, 0) + request)  # SOCK_DIAG_BY_FAMILY
        return struct.unpack_from("=IH", sock.recv(65536))[1] == 20


def by_ipv6():
    with server(5300, "::1") as served:
        for where in (ALIAS, 5300), (OTHER, 5300):
            echo_sizes(where, served)


def another_port():
    with server(5311) as served:
        echo_sizes((ALIAS, 5301), served)


def another_pod():
    with udp_in(sibling, "127.0.0.1", 5302) as served:
        echo_sizes((ALIAS, 5302), served)


def burst():
    """More at once than are read in a go, before there is any answer: one flow, in order."""
    with server(5305) as served:
        for where, count, size in ((ALIAS, 5305), 400, 10), ((ALIAS, 5305), 3, 60000):
            sock = client(*where)
            for i in range(count):
                sock.send(b"%06d" % i + bytes(size))
            seen = {}
            served.settimeout(LIMIT)
            while sum(map(len, seen.values())) < count:
                data, who = served.recvfrom(1 << 16)
                seen.setdefault(who, []).append(int(data[:6]))
            assert len(seen) == 1, "%d flows" % len(seen)
            assert list(seen.values())[0] == list(range(count)), "not in order"
            sock.close()


def many_at_once():
    """A hundred clients, three datagrams each: a flow for each, and all come; again and again, since it is about moments."""
    for _ in range(8):
        hundred()


def hundred():
    with server(5305) as served:
        clients = [client(ALIAS, 5305) for _ in range(100)]
        for part in range(3):
            for number, sock in enumerate(clients):
                sock.send(b"%d %d" % (number, part))
        flows = {}
        for _ in range(3 * len(clients)):
            data, who = served.recvfrom(1 << 16)
            number, part = map(int, data.split())
            flows.setdefault(who, []).append((number, part))
            served.sendto(data, who)
        assert len(flows) == len(clients), "%d flows" % len(flows)
        # Their order is the kernel's, which may have sent them on from two processors.
        wrong = [got for got in flows.values() if sorted(got) != [(got[0][0], part) for part in range(3)]]
        assert not wrong, "mixed up: %s" % wrong
        for number, sock in enumerate(clients):
            got = sorted(sock.recv(100) for _ in range(3))
            assert got == [b"%d %d" % (number, part) for part in range(3)], "client %d got %s" % (number, got)
            sock.close()


def fds():
    return len(os.listdir("/proc/%s/fd" % many_pid))


def least_recent():
    """1,024 flows: one more, and the one that is silent longest has to go; others stay."""
    with server(5305) as served:
        clients = []
        flow_of = {}
        before = fds()
        for number in range(1030):
            sock = client(ALIAS, 5305)
            sock.send(b"%d" % number)
            who = take(served, b"%d" % number)
            served.sendto(b"yes", who)
            assert sock.recv(10) == b"yes"
            clients.append(sock)
            flow_of[number] = who
        assert fds() <= before + 2 * 1024 + 20, "%d descriptors, %d before" % (fds(), before)
        clients[1029].send(b"again")
        assert take(served, b"again") == flow_of[1029], "a flow that was in use"
        clients[0].send(b"again")
        assert take(served, b"again") != flow_of[0], "a flow that was to go"
        for sock in clients:
            sock.close()


def told(name, where=events, **members):
    return [event for event in events_in(where) if event["event"] == name and all_of(event, members)]


def all_of(event, members):
    return all(event.get(name) == value for name, value in members.items())


def idle():
    """A second of silence, and the flow has ended, in order; what comes later is another one."""
    with server(5311) as served:
        sock = client(ALIAS, 5301)
        who = "%s:%d" % sock.getsockname()
        sock.send(b"first")
        first = take(served, b"first")
        served.sendto(b"answer", first)
        assert sock.recv(10) == b"answer"
        wait_for(lambda: told("closed", client=who, reason="eof", bytesIn=6, bytesOut=5), "the flow's end")
        sock.send(b"second")
        assert take(served, b"second") != first, "the same flow"
        sock.close()


def crossing():
    """Datagrams that come just when the flow ends for want of them: they belong to it or to another, and none is lost."""
    count, rounds = 100, 8
    before = len(told("closed"))
    wanted = {b"%d %d" % (number, i) for number in range(count) for i in range(rounds)}
    with server(5311) as served:
        clients = [client(ALIAS, 5301) for _ in range(count)]
        sender = threading.Thread(target=send_in_time, args=(clients, rounds))
        sender.start()
        while wanted and (sender.is_alive() or select.select([served], [], [], LIMIT)[0]):
            if select.select([served], [], [], 0.1)[0]:
                wanted.discard(served.recv(100))
        sender.join()
        assert not wanted, "%d were lost" % len(wanted)
        assert len(told("closed")) - before > count, "flows have not ended"
        for sock in clients:
            sock.close()


def send_in_time(clients, rounds):
    """Idle flows last a second, and up to 20 ms more, since they end by a sweep of the loop: each client hits another moment of that."""
    start = time.monotonic()
    for i in range(rounds):
        for number, sock in enumerate(clients):
            due = start + 0.005 * number + i * (1 + 0.001 * (number % 25))
            time.sleep(max(0, due - time.monotonic()))
            sock.send(b"%d %d" % (number, i))


def client_gone():
    """A service that goes on and on, and a client that has closed its socket: that ends the flow, which was never idle."""
    for host, port, path in ((ALIAS, 5305, many_events), (OTHER, 5300, netns_events)):
        with server(port) as served:
            sock = client(host, port)
            who = "%s:%d" % sock.getsockname()
            sock.send(b"ask")
            flow = take(served, b"ask")
            served.sendto(b"answer", flow)
            assert sock.recv(10) == b"answer"
            sock.close()
            wait_for(lambda: served.sendto(b"more", flow) and told("closed", path, client=who), "the flow's end")
            assert told("closed", path, client=who)[0]["reason"] != "eof"


def nobody():
    """The service is not there: the flow ends, and the next datagram tries again."""
    sock = client(ALIAS, 5301)
    who = "%s:%d" % sock.getsockname()
    sock.send(b"lost")
    wait_for(lambda: told("closed", client=who) or told("failed", client=who), "an end")
    with server(5311) as served:
        wait_for(lambda: sock.send(b"again") and came(served), "a datagram")
    sock.close()


def came(served):
    served.settimeout(0.2)
    try:
        return served.recv(100) == b"again"
    except TimeoutError:
        return False


# Else it is 127.0.0.1.
IPV6 = ("by IPv6", by_ipv6) if kernel_tells() else ("by IPv6 # SKIP needs udp_diag", lambda: None)
for case in (("sizes", sizes), IPV6, ("another port", another_port), ("another pod", another_pod), ("a burst is one flow", burst),
             ("many at once", many_at_once), ("idle flows end", idle), ("at the moment of the end", crossing),
             ("the client is gone", client_gone), ("nobody is there", nobody), ("the least recently used makes room", least_recent)):
    run([case], more=True)
run([])
