# SPDX-License-Identifier: MIT
"""Cases of serve.sh: what a caller of `vzfwd serve` gets, and what a bad one can't do.

serve.py NETNS SOCKET PID TMP GUEST-ENDPOINT

The pods vm (a guest on a Unix socket), net (netns:) and command (exec:) are registered.
"""
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time

from relaying import (LIMIT, connecting_in, expect, expect_bytes, in_background, listen_in, pattern, put, read_records,
                      read_to_end, record, reset, run, wait_for)
from serving import Caller, listening

netns, path, pid, tmp, endpoint = sys.argv[1:]
pid = int(pid)
DATA = pattern(3 << 20)
PODS = "vm", "net", "command"


def fd_count():
    return len(os.listdir("/proc/%d/fd" % pid))


class Target:
    """A server in the pod, and its port."""

    def __enter__(self):
        self.listener = listen_in(netns, 0)
        self.port = self.listener.getsockname()[1]
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        server = self.listener.accept()[0]
        server.settimeout(LIMIT)
        return server


def both_ways(client, server):
    """3 MiB each way at once; the client ends first, and still gets what comes later."""
    def client_sends():
        client.sendall(DATA)
        client.shutdown(socket.SHUT_WR)

    sent = in_background(client_sends)
    received = in_background(expect, server, DATA, "eof")
    answer = DATA[::-1]
    server_sent = in_background(server.sendall, answer)
    expect_bytes(client, answer)
    for join in sent, received, server_sent:
        join()
    server.sendall(b"after the end")
    server.close()
    expect(client, b"after the end", "eof")


# pod.portDial

def stream(pod):
    with Caller(path) as caller, Target() as target:
        sock, result = caller.dial(pod, target.port)
        assert result["framing"] == "raw" and result["network"] == "tcp", result
        assert result["remote"] == "127.0.0.1:%d" % target.port, result
        both_ways(sock, target.accept())


def stream_target_first(pod):
    with Caller(path) as caller, Target() as target:
        sock, _ = caller.dial(pod, target.port)
        server = target.accept()
        server.sendall(DATA)
        server.shutdown(socket.SHUT_WR)
        expect(sock, DATA, "eof")
        sock.sendall(DATA)
        sock.close()
        expect(server, DATA, "eof")


def stream_pipelined():
    """What follows the request is the stream's."""
    with Caller(path) as caller, Target() as target:
        caller.id = 1
        caller.sock.sendall(json.dumps({
            "jsonrpc": "2.0", "id": 1, "method": "pod.portDial",
            "params": {"handle": "vm", "network": "tcp", "port": target.port}}).encode() +
            b"\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"pod.list\"}\n")
        caller.answer()
        expect_bytes(target.accept(), b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"pod.list\"}\n")


def stream_records(pod):
    """In records: bytes, the ends of both directions, and the target's reset as what it is."""
    with Caller(path) as caller, Target() as target:
        sock, result = caller.dial(pod, target.port, framing="records")
        assert result["framing"] == "records", result
        server = target.accept()
        sock.sendall(record("DATA", b"hello") + record("EOF"))
        expect(server, b"hello", "eof")
        server.sendall(b"there")
        server.close()
        assert read_records(sock) == ([(0, b"there"), (1, b"")], "eof")
    with Caller(path) as caller, Target() as target:
        sock, _ = caller.dial(pod, target.port, framing="records")
        server = target.accept()
        put(server, b"some")
        reset(server)
        records, _ = read_records(sock)
        assert records[0] == (0, b"some") and records[-1][0] == 2, records


def stream_reset_by_caller(pod):
    """A caller that leaves unread bytes behind has not ended in order; nor has one in records without EOF."""
    with Caller(path) as caller, Target() as target:
        sock, _ = caller.dial(pod, target.port, framing="records")
        server = target.accept()
        sock.sendall(record("DATA", b"some"))
        expect_bytes(server, b"some")
        sock.close()
        expect(server, b"", "reset")


def passed(pod):
    """The server is out of the path, and the caller goes on."""
    with Caller(path) as caller, Target() as target:
        for _ in range(3):
            sock, result = caller.dial_fd(pod, target.port)
            assert result["framing"] == "raw", result
            both_ways(sock, target.accept())
            sock.close()
        assert "pods" in caller.call("pod.list")
        caller.fails(-32002, "refused", "pod.portDial", handle=pod, network="tcp", port=1, passFd=True)
        caller.call("pod.list")


def passed_records():
    with Caller(path) as caller, Target() as target:
        sock, result = caller.dial_fd("vm", target.port, framing="records")
        assert result["framing"] == "records", result
        server = target.accept()
        sock.sendall(record("DATA", b"hello") + record("EOF"))
        expect(server, b"hello", "eof")
        server.close()
        assert read_records(sock) == ([(1, b"")], "eof")
        message = caller.fails(-32601, "unsupported", "pod.portDial", handle="net", network="tcp",
                               port=target.port, passFd=True, framing="records")
        assert "raw" in message
        caller.fails(-32601, "unsupported", "pod.portDial", handle="command", network="tcp",
                     port=target.port, passFd=True)


def passed_is_the_socket():
    with Caller(path) as caller, Target() as target:
        sock, result = caller.dial_fd("net", target.port)
        assert sock.family == socket.AF_INET
        assert sock.getpeername() == ("127.0.0.1", target.port)
        assert result["local"] == "127.0.0.1:%d" % sock.getsockname()[1]


def dial_errors():
    """Codes, reasons and texts of the wire; without a descriptor to be passed the connection ends."""
    cases = [
        (-32001, "not-found", {"handle": "nobody", "network": "tcp", "port": 80}),
        (-32602, "invalid", {"network": "tcp", "port": 80}),
        (-32602, "invalid", {"handle": "vm", "network": "tcp", "port": 0}),
        (-32602, "invalid", {"handle": "vm", "network": "tcp"}),
        (-32602, "invalid", {"handle": "vm", "network": "tcp", "port": 80, "passFd": "yes"}),
        (-32602, "invalid", {"handle": "vm", "network": "tcp", "port": 80, "framing": "none"}),
        (-32602, "invalid", {"handle": "vm", "network": "tcp", "port": 80, "timeoutMs": 0}),
        (-32601, "unsupported", {"handle": "vm", "network": "sctp", "port": 80}),
        (-32001, "not-found", {"handle": "vm", "network": "tcp", "port": 80, "containerID": "c"}),
        (-32002, "refused", {"handle": "vm", "network": "tcp", "port": 1}),
        (-32005, "denied", {"handle": "vm", "network": "tcp", "address": "192.0.2.1:80"}),
        (-32003, "unreachable", {"handle": "gone", "network": "tcp", "port": 80}),
        (-32007, "not-running", {"handle": "stale", "network": "tcp", "port": 80}),
        (-32001, "not-found", {"handle": endpoint.replace("unix", "exec"), "network": "tcp", "port": 80}),
    ]
    for code, reason, params in cases:
        if "exec" in params.get("handle", ""):  # an endpoint is no name: nothing is run
            code, reason = -32602, "invalid"
        with Caller(path) as caller:
            caller.fails(code, reason, "pod.portDial", **params)
            assert caller.closed(), params
    with Caller(path) as caller:
        text = caller.fails(-32601, "unsupported", "pod.portDial", handle="vm", network="sctp", port=1)
        assert text.startswith('pod.portDial: unsupported network "sctp"; '), text
    with Caller(path) as caller:
        text = caller.fails(-32602, "invalid", "pod.portDial", handle="vm", network="tcp", port=65536)
        assert text == "pod.portDial: port must be between 1 and 65535, got 65536", text


def dial_cancelled():
    """A caller that goes away while its target is dialed leaves nothing behind."""
    with Target() as target:
        target.listener.listen(0)
        with Caller(path) as caller:
            fillers = []
            while True:  # until its backlog is full, and the next connect waits
                caller.send("pod.portDial", handle="net", network="tcp", port=target.port, passFd=True,
                            timeoutMs=300)
                if caller.answer()[1]:
                    break
                fillers.append(socket.socket(fileno=caller.fds[0]))
        assert fillers
        for pod in "net", "vm":
            callers = [Caller(path) for _ in range(5)]
            for caller in callers:
                caller.send("pod.portDial", handle=pod, network="tcp", port=target.port)
            wait_for(lambda: connecting_in(netns, target.port) == 5, "five dials under way")
            for caller in callers:
                caller.sock.close()
            wait_for(lambda: connecting_in(netns, target.port) == 0, "they are cancelled")


def hostile_dialer():
    """What a dialer says is escaped, whatever it is."""
    where = tmp + "/hostile.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(where)
    listener.listen(10)
    answers = [b'"network":"tcp","remote":"\\u001b[2J\\"\\\\\\u202e","framing":"records"',
               b'"ports":[{"network":"tcp","address":"\\u001b]0;x\\u0007","port":80,'
               b'"process":{"pid":1,"name":"\\u202e\\u009b"}}]']

    def serve():
        for answer in answers:
            link = listener.accept()[0]
            line = b""
            while not line.endswith(b"\n"):
                line += link.recv(1)
            link.sendall(b'{"jsonrpc":"2.0","id":1,"result":{' + answer + b"}}\n")
            link.recv(1)

    served = in_background(serve)
    with Caller(path) as caller:
        caller.call("pod.add", name="hostile", endpoint="unix://" + where)
        dialed = Caller(path)
        _, result = dialed.dial("hostile", 80)
        texts = [result["remote"]]
        dialed.sock.close()
        port = caller.call("pod.ports", handle="hostile")["ports"][0]
        texts += [port["address"], port["process"]["name"]]
        caller.call("pod.remove", name="hostile")
    for text in texts:
        assert text and text.isascii() and text.isprintable(), text
    served()


# Methods

def pods():
    with Caller(path) as caller:
        added = caller.call("pod.add", name="other", endpoint="vsock://7:1000", handle="h")
        assert added == {"name": "other", "endpoint": "vsock://7:1000", "handle": "h"}, added
        listed = caller.call("pod.list")["pods"]
        assert added in listed and {"vm", "net", "command"} <= {pod["name"] for pod in listed}, listed
        caller.fails(-32006, "exhausted", "pod.add", name="other", endpoint="vsock://8")
        caller.call("pod.add", name="other", endpoint="vsock://8", replace=True)
        assert {"name": "other", "endpoint": "vsock://8", "handle": "other"} in caller.call("pod.list")["pods"]
        assert caller.call("pod.remove", name="other") == {}
        caller.fails(-32001, "not-found", "pod.remove", name="other")
        caller.fails(-32602, "invalid", "pod.add", name="../x", endpoint="vsock://8")
        caller.fails(-32602, "invalid", "pod.add", name="x", endpoint="tcp://8")
        caller.fails(-32602, "invalid", "pod.add", name="x", endpoint="fd:3")
        caller.fails(-32602, "invalid", "pod.add", name="x")
        caller.fails(-32602, "invalid", "pod.add", name="x", endpoint="vsock://8", replace=1)
        caller.fails(-32602, "invalid", "pod.add", name="x", endpoint="vsock://8", tokenFile="relative")
        assert "x" not in {pod["name"] for pod in caller.call("pod.list")["pods"]}


def ports():
    with Caller(path) as caller, Target() as target:
        for pod in PODS:
            port, = [port for port in caller.call("pod.ports", handle=pod)["ports"]
                     if port["port"] == target.port]
            assert (port["network"], port["address"]) == ("tcp", "127.0.0.1"), port
        caller.fails(-32001, "not-found", "pod.ports", handle="nobody")
        caller.fails(-32003, "unreachable", "pod.ports", handle="gone")
        caller.fails(-32001, "not-found", "pod.ports", handle="vm", containerID="c")
        caller.call("pod.list")


def notified(caller, ports):
    """Changes the set of ports as the next line says."""
    data, _ = caller.line()
    told = json.loads(data)
    assert told["method"] == "pod.portsChanged" and "id" not in told, told
    for change, update in (("added", ports.add), ("removed", ports.discard)):
        for port in told["params"][change]:
            update((port["network"], port["address"], port["port"]))


def watch(pod):
    """Changes are told within a second, many at once, and between answers."""
    with Caller(path) as caller, Target() as target:
        result = caller.call("pod.ports", handle=pod, watch=True)
        assert result["watch"] is True
        ports = {(port["network"], port["address"], port["port"]) for port in result["ports"]}
        assert ("tcp", "127.0.0.1", target.port) in ports, ports
        listener = listen_in(netns, 0)
        new = ("tcp", "127.0.0.1", listener.getsockname()[1])
        begin = time.monotonic()
        while new not in ports:
            notified(caller, ports)
        assert time.monotonic() - begin < 1.5 * int(os.environ["VZFWD_TEST_SLOWNESS"]), time.monotonic() - begin
        listener.close()
        while new in ports:
            notified(caller, ports)
        many = [listen_in(netns, 0) for _ in range(300)]
        wanted = {("tcp", "127.0.0.1", sock.getsockname()[1]) for sock in many}
        while not wanted <= ports:
            notified(caller, ports)
        for sock in many:
            sock.close()
        while wanted & ports:
            notified(caller, ports)
        assert caller.call("pod.list")["pods"]


def watch_errors():
    """Each is an answer, and the end of the watch before it."""
    with Caller(path) as caller:
        caller.fails(-32001, "not-found", "pod.ports", handle="nobody", watch=True)
        caller.fails(-32003, "unreachable", "pod.ports", handle="gone", watch=True)
        caller.fails(-32602, "invalid", "pod.ports", handle="vm", watch=1)
        caller.fails(-32001, "not-found", "pod.ports", handle="vm", watch=True, containerID="c")
        assert caller.call("pod.ports", handle="vm", watch=True)["watch"]
        caller.fails(-32003, "unreachable", "pod.ports", handle="gone", watch=True)
        caller.sock.settimeout(0.6)
        with listen_in(netns, 0):
            try:
                raise AssertionError(caller.line())
            except TimeoutError:
                pass


def listens(where):
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(where)
    except OSError:
        return False
    return True


def watch_restart():
    """A dialer that goes and comes: the watch goes on, with what has changed."""
    where = tmp + "/watched.sock"

    def start():
        guest = subprocess.Popen([os.environ["VZFWD_GUEST"], "--listen", "unix://" + where, "--pod-netns", netns],
                                 stderr=subprocess.DEVNULL)
        wait_for(lambda: listens(where), "the dialer")
        return guest

    guest = start()
    try:
        with Caller(path) as caller:
            caller.call("pod.add", name="watched", endpoint="unix://" + where)
            result = caller.call("pod.ports", handle="watched", watch=True)
            ports = {(port["network"], port["address"], port["port"]) for port in result["ports"]}
            guest.kill()
            guest.wait()
            listener = listen_in(netns, 0)
            guest = start()
            while ("tcp", "127.0.0.1", listener.getsockname()[1]) not in ports:
                notified(caller, ports)
            caller.call("pod.remove", name="watched")
    finally:
        guest.kill()
        guest.wait()


def forwards():
    with Caller(path) as caller, Target() as target:
        address = "127.0.0.1:%d" % target.port
        added = caller.call("forward.add", pod="vm", listen="127.0.0.1:0", network="tcp", address=address)
        local = int(added["listen"].split(":")[1])
        assert local > 0 and added["listeners"] == ["127.0.0.1:%d" % local], added
        client = socket.create_connection(("127.0.0.1", local), LIMIT)
        server = target.accept()
        both = caller.call("forward.add", pod="net", listen="localhost:0", network="tcp", port=target.port)
        assert len(both["listeners"]) == 2 and both["id"] != added["id"], both
        listed = {one["id"]: one for one in caller.call("forward.list")["forwards"]}
        one = listed[added["id"]]
        assert one == {**added, "pod": "vm", "network": "tcp", "address": address, "target": address,
                       "connections": 1, "total": 1, "failed": 0, "failures": {}, "bytesIn": 0, "bytesOut": 0}, one
        assert listed[both["id"]]["address"] == "localhost:%d" % target.port

        text = caller.fails(-32006, "exhausted", "forward.add", pod="vm", listen=added["listen"],
                            network="tcp", address=":80")
        assert added["listen"] in text, text
        assert caller.call("forward.remove", id=added["id"]) == {}
        caller.fails(-32001, "not-found", "forward.remove", id=added["id"])
        try:
            socket.create_connection(("127.0.0.1", local), LIMIT)
            raise AssertionError("it listens still")
        except ConnectionRefusedError:
            pass
        both_ways(client, server)  # what was connected goes on
        again = caller.call("forward.add", pod="vm", listen="127.0.0.1:%d" % local, network="tcp",
                            address=address)
        assert again["listen"] == added["listen"]
        for one in again, both:
            caller.call("forward.remove", id=one["id"])
        ids = {one["id"] for one in listening(caller)}
        assert not ids & {added["id"], both["id"], again["id"]}, ids


def forward_unix():
    where = tmp + "/forward.sock"
    with Caller(path) as caller, Target() as target:
        added = caller.call("forward.add", pod="vm", listen="unix:" + where, network="tcp", port=target.port)
        assert added["listen"] == "unix:" + where, added
        assert os.stat(where).st_mode & 0o777 == 0o600
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(LIMIT)
        client.connect(where)
        both_ways(client, target.accept())
        caller.call("forward.remove", id=added["id"])
        assert not os.path.exists(where)


def forward_replaces():
    """The listener of one that is replaced is never away, and whoever is the last of them closes it."""
    for listen in "127.0.0.1:8099", "unix:" + tmp + "/shared.sock":
        with Caller(path) as caller, Target() as first, Target() as second:
            def connect():
                client = socket.socket(socket.AF_UNIX if listen.startswith("unix:") else socket.AF_INET)
                client.settimeout(LIMIT)
                client.connect(listen[5:] if listen.startswith("unix:") else ("127.0.0.1", 8099))
                return client

            def add(target, **params):
                return caller.call("forward.add", pod="vm", listen=listen, network="tcp", port=target.port, **params)

            old = add(first)
            client = connect()
            server = first.accept()
            if listen[0] == "1":  # a Unix socket is knocked at, which is a connection
                caller.fails(-32006, "exhausted", "forward.add", pod="vm", listen=listen, network="tcp",
                             port=second.port)
            new = add(second, replaces=old["id"])
            assert new["listeners"] == old["listeners"] and new["id"] != old["id"], new
            caller.call("forward.remove", id=new["id"])  # it was not to be
            both_ways(connect(), first.accept())
            new = add(second, replaces=old["id"])
            caller.call("forward.remove", id=old["id"])
            both_ways(connect(), second.accept())
            both_ways(client, server)  # what the old one had goes on
            caller.fails(-32602, "invalid", "forward.add", pod="vm", listen="127.0.0.1:8098", network="tcp",
                         port=second.port, replaces=new["id"])
            caller.fails(-32001, "not-found", "forward.add", pod="vm", listen=listen, network="tcp",
                         port=second.port, replaces=old["id"])
            caller.call("forward.remove", id=new["id"])
            try:
                connect()
                raise AssertionError("it listens still")
            except (ConnectionRefusedError, FileNotFoundError):
                pass


def forward_held():
    with Caller(path) as caller, Target() as target:
        before = listening(caller)
        with Caller(path) as holder:
            held = holder.call("forward.add", pod="vm", listen="127.0.0.1:0", network="tcp", port=target.port, held=True)
            where = "127.0.0.1", int(held["listen"].split(":")[1])
            client = socket.create_connection(where, LIMIT)
            client.settimeout(LIMIT)
            server = target.accept()
            assert len(listening(caller)) == len(before) + 1
            caller.fails(-32602, "invalid", "forward.add", pod="vm", listen="127.0.0.1:0", network="tcp", port=80, held=1)
        wait_for(lambda: listening(caller) == before, "it ends with its caller")
        try:
            socket.create_connection(where, LIMIT)
            raise AssertionError("it listens still")
        except ConnectionRefusedError:
            pass
        both_ways(client, server)  # what was connected goes on


def forward_errors():
    cases = [
        (-32001, "not-found", {"pod": "nobody"}),
        (-32602, "invalid", {"pod": endpoint}),
        (-32602, "invalid", {"listen": "127.0.0.1"}),
        (-32602, "invalid", {"listen": "127.0.0.1:65536"}),
        (-32602, "invalid", {"listen": "example.com:80"}),
        (-32602, "invalid", {"listen": "192.0.2.1:0"}),
        (-32602, "invalid", {"listen": "unix:relative"}),
        (-32602, "invalid", {"listen": "1:2:3"}),
        (-32602, "invalid", {"listen": None}),
        (-32602, "invalid", {"address": ":0"}),
        (-32602, "invalid", {"address": None}),
        (-32602, "invalid", {"containerID": "a/b"}),
        (-32601, "unsupported", {"network": "sctp"}),
    ]
    with Caller(path) as caller:
        before = listening(caller)
        for code, reason, params in cases:
            caller.fails(code, reason, "forward.add",
                         **{"pod": "vm", "listen": "127.0.0.1:0", "network": "tcp", "address": ":80", **params})
        caller.fails(-32602, "invalid", "forward.remove", id="1")
        caller.fails(-32602, "invalid", "forward.remove")
        caller.fails(-32001, "not-found", "forward.remove", id=-1)
        assert listening(caller) == before


def forward_resets():
    """As with `listen`: a reset stays one, a refused target resets the client."""
    with Caller(path) as caller, Target() as target:
        added = caller.call("forward.add", pod="vm", listen="127.0.0.1:0", network="tcp", port=target.port)
        where = "127.0.0.1", int(added["listen"].split(":")[1])
        client = socket.create_connection(where, LIMIT)
        client.settimeout(LIMIT)
        server = target.accept()
        client.sendall(b"?")
        expect_bytes(server, b"?")
        server.sendall(b"!")
        expect_bytes(client, b"!")
        put(server, b"some")
        reset(server)
        expect(client, b"some", "reset")
        target.listener.close()
        try:
            client = socket.create_connection(where, LIMIT)
            client.settimeout(LIMIT)
            expect(client, b"", "reset")
        except ConnectionResetError:
            pass  # so soon that connect(2) has told it
        caller.call("forward.remove", id=added["id"])


def order():
    """Requests that come at once are answered in turn."""
    with Caller(path) as caller:
        caller.sock.sendall(b"".join(
            json.dumps({"jsonrpc": "2.0", "id": i, "method": method, "params": {"handle": "vm"}}).encode() + b"\n"
            for i, method in enumerate(["pod.ports", "pod.list", "none", "pod.ports", "forward.list"] * 20)))
        caller.sock.shutdown(socket.SHUT_WR)
        data, end = read_to_end(caller.sock)
        lines = [json.loads(line) for line in data.splitlines()]
        assert [line["id"] for line in lines] == list(range(100)) and end == "eof"
        assert all(("error" in line) == (line["id"] % 5 == 2) for line in lines)


# Bad callers

def bad_lines():
    cases = [
        (b"hello\n", -32700), (b"[]\n", -32600), (b"{}\n", -32600), (b"\n", -32700), (b"\0\n", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"pod.list","params":[]}\n', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"pod.list","id":2}\n', -32700),
        (b"[" * 1000 + b"\n", -32700), (b"x" * 4096 + b"\n", -32600), (b"x" * 100000, -32600),
    ]
    for data, code in cases:
        with Caller(path) as caller:
            caller.sock.sendall(data)
            answer = json.loads(caller.line()[0])
            assert answer["error"]["code"] == code, (data[:50], answer)
            assert caller.closed(), data[:50]
    for data in b"", b"{", b'{"jsonrpc":"2.0","method":"pod.portDial"}\n':
        with Caller(path) as caller:
            caller.sock.sendall(data)
            caller.sock.shutdown(socket.SHUT_WR)
            assert caller.closed(), data
    with Caller(path) as caller:  # a notification is not answered
        caller.sock.sendall(b'{"jsonrpc":"2.0","method":"pod.list"}\n')
        caller.fails(-32601, "unsupported", "guest.info")
        caller.fails(-32601, "unsupported", "")


def half_a_line():
    """Idle is fine for as long as one likes, half a line is not."""
    with Caller(path) as idle, Caller(path) as caller:
        caller.call("pod.list")
        caller.sock.sendall(b'{"jsonrpc":')
        answer = json.loads(caller.line()[0])
        assert answer["error"]["data"]["reason"] == "timeout", answer
        assert caller.closed()
        idle.call("pod.list")


def half_a_notification():
    """One that came in two pieces, and is followed by nothing for long."""
    with Caller(path) as caller:
        caller.sock.sendall(b'{"jsonrpc"')
        time.sleep(0.3)  # it is read by then, or the case shows nothing
        caller.sock.sendall(b':"2.0","method":"pod.list"}\n')
        time.sleep(6)  # longer than a line may take
        caller.call("pod.list")


def flood():
    """Who asks without end, faster than is read, has turns like others."""
    flooders = [subprocess.Popen([sys.executable, "-c", """if True:
        import socket, sys
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(sys.argv[1])
        lines = b'{"jsonrpc":"2.0","method":"x"}\\n' * 2000
        sock.sendall(lines)
        print(flush=True)
        while True:
            sock.sendall(lines)""", path], stdout=subprocess.PIPE) for _ in range(6)]
    for flooder in flooders:
        flooder.stdout.read(1)
    with Caller(path) as caller:
        caller.sock.settimeout(4)
        for _ in range(20):
            caller.call("forward.list")
    for flooder in flooders:
        assert flooder.poll() is None
        flooder.kill()
        flooder.wait()


def deaf():
    """One who asks and does not read is left alone in the end, and others are served meanwhile."""
    with Caller(path) as caller, Caller(path) as other:
        request = b'{"jsonrpc":"2.0","id":1,"method":"pod.list"}\n'
        caller.sock.settimeout(0.2)
        try:
            while True:
                caller.sock.sendall(request * 100)
        except (TimeoutError, socket.timeout):
            pass
        other.call("pod.list")
        poll = select.poll()
        poll.register(caller.sock, 0)
        assert poll.poll(LIMIT * 1000), "it was not closed"


def crowd():
    """Hundreds at once, each with a request and a stream."""
    with Target() as target:
        def answer(server):
            server.sendall(server.recv(100))
            server.close()

        def echo():
            for _ in range(300):
                threading.Thread(target=answer, args=(target.accept(),)).start()

        echoed = in_background(echo)
        callers = [Caller(path) for _ in range(300)]
        for i, caller in enumerate(callers):
            caller.send("pod.portDial", handle="vm", network="tcp", port=target.port)
        for i, caller in enumerate(callers):
            assert caller.answer()[0]
            caller.sock.sendall(b"%d" % i)
        for i, caller in enumerate(callers):
            expect(caller.sock, b"%d" % i, "eof")
            caller.sock.close()
        echoed()


def nothing_is_left(before):
    wait_for(lambda: fd_count() <= before, "descriptors are closed: %d before, %d now" %
             (before, fd_count()))
    with Caller(path) as caller:
        wait_for(lambda: caller.call("forward.list")["forwards"] == [], "the last removed forward is gone")


with Caller(path) as first:
    first.call("pod.ports", handle="vm")
start = fd_count()
# Pipes that bulk has gone through are kept, and so is the second thread's epoll and what wakes it.
run([("bulk starts", stream, "vm")], more=True)
wait_for(lambda: fd_count() <= start + 80, "first stream is gone")
cases = [("%s, %s" % (function.__name__.replace("_", " "), pod), function, pod)
         for pod in PODS for function in (stream, stream_target_first, stream_records, stream_reset_by_caller)]
cases += [("passed, " + pod, passed, pod) for pod in ("vm", "net")]
cases += [("watch, " + pod, watch, pod) for pod in ("vm", "net", "command")]
cases += [(function.__name__.replace("_", " "), function) for function in (
    stream_pipelined, passed_records, passed_is_the_socket, dial_errors, hostile_dialer, pods, ports,
    watch_errors, watch_restart,
    forward_unix, order, bad_lines, half_a_line, half_a_notification, deaf, crowd)]
run(cases, more=True)
run([("flood", flood)], more=True)
# One after the other: a port that is free again is not to be another case's.
run([("dial cancelled", dial_cancelled), ("forwards", forwards), ("forward resets", forward_resets),
     ("forward errors", forward_errors), ("forward replaces", forward_replaces), ("forward held", forward_held)], 1, more=True)
run([("nothing is left", nothing_is_left, start + 80)])
