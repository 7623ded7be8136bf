# SPDX-License-Identifier: MIT
"""Cases of serve-users.sh: what callers of other users may do.

serve-users.py UID CASE SOCKET [ARGUMENT]

It becomes that user: as somebody else, Python itself need not be there to be run.
"""
import encodings.idna  # what create_connection() would load as the user
import json
import os
import socket
import sys

from relaying import LIMIT, expect
from serving import Caller, listening

uid, case, path, *arguments = sys.argv[1:]


def stranger():
    """A word, and the end."""
    for _ in range(3):
        with Caller(path) as caller:
            answer = json.loads(caller.line()[0])
            assert answer["id"] is None and answer["error"]["data"]["reason"] == "denied", answer
            assert "uid %d" % os.geteuid() in answer["error"]["message"], answer
            assert caller.closed()


def pods():
    """What is no VM is a command, a file or a secret of the server's user."""
    token, = arguments
    denied = -32005, "denied"
    with Caller(path) as caller:
        for endpoint in "exec:id", "unix:///tmp/x", "netns:/proc/1/ns/net", "pid:1":
            caller.fails(*denied, "pod.add", name="mine", endpoint=endpoint)
        caller.fails(*denied, "pod.add", name="mine", endpoint="vsock://3", tokenFile=token)
        caller.fails(*denied, "pod.add", name="mine", endpoint="fd:0")
        caller.call("pod.add", name="mine", endpoint="vsock://3")
        caller.call("pod.add", name="mine", endpoint="hvsock:///run/vm.sock", replace=True)
        caller.fails(*denied, "pod.add", name="mine", endpoint="exec:id", replace=True)
        for name in "command", "secret", "malformed":
            message = caller.fails(*denied, "pod.add", name=name, endpoint="vsock://3", replace=True) \
                if name != "malformed" else \
                caller.fails(-32007, "not-running", "pod.add", name=name, endpoint="vsock://3", replace=True)
            assert message
        caller.fails(*denied, "pod.remove", name="command")
        caller.fails(*denied, "pod.remove", name="secret")
        caller.fails(*denied, "pod.remove", name="plain")
        caller.fails(*denied, "pod.add", name="plain", endpoint="vsock://5", replace=True)
        caller.fails(*denied, "pod.remove", name="theirs")
        caller.fails(*denied, "pod.add", name="theirs", endpoint="vsock://5", replace=True)
        listed = {pod["name"]: (pod["endpoint"], pod.get("addedBy")) for pod in caller.call("pod.list")["pods"]}
        assert listed == {"mine": ("hvsock:///run/vm.sock", os.geteuid()), "command": ("exec:true", None),
                          "secret": ("vsock://3", None), "plain": ("vsock://4", None),
                          "theirs": ("vsock://4", 999), "net": listed["net"]}, listed
        caller.call("pod.remove", name="mine")
        caller.fails(-32001, "not-found", "pod.remove", name="mine")


def dial():
    """All pods may be used."""
    with Caller(path) as caller:
        sock, _ = caller.dial("net", 7)
        expect(sock, b"hello", "eof")
    with Caller(path) as caller:
        sock, _ = caller.dial_fd("net", 7)
        expect(sock, b"hello", "eof")


def forwards():
    """Nothing that takes a privilege, and nothing for other machines."""
    where, = arguments
    denied = -32005, "denied"

    def add(listen):
        return "forward.add", {"pod": "net", "listen": listen, "network": "tcp", "port": 7}

    with Caller(path) as caller:
        for listen in ("127.0.0.1:80", "[::1]:1023", ":443", "*:8080", "0.0.0.0:0", "[::]:0", "192.0.2.1:8080",
                       "unix:" + where):
            method, params = add(listen)
            caller.fails(*denied, method, **params)
        assert not os.path.exists(where)
        for listen in "127.0.0.1:0", "127.0.0.9:1024", "localhost:0", ":0", "[::1]:0":
            method, params = add(listen)
            added = caller.call(method, **params)
            host, _, port = added["listen"].rpartition(":")
            client = socket.create_connection((host.strip("[]"), int(port)), LIMIT)
            client.settimeout(LIMIT)
            expect(client, b"hello", "eof")
            caller.call("forward.remove", id=added["id"])
        # The first one is the server's own user's.
        caller.fails(*denied, "forward.remove", id=1)
        assert [one["id"] for one in listening(caller)] == [1]


def deputy():
    """What the server may connect to and they may not stays hidden from them; a VMM of their own is reached."""
    secret, missing, own = arguments
    texts = set()
    with Caller(path) as caller:
        for endpoint in secret, missing, secret + "/below", os.path.dirname(secret):
            caller.call("pod.add", name="deputy", endpoint="hvsock://" + endpoint, replace=True)
            texts.add(caller.fails(-32003, "unreachable", "pod.portDial", handle="deputy", network="tcp",
                                   port=80, passFd=True))
        assert texts == {"no VMM of uid %d is reached at the pod's socket" % os.geteuid()}, texts

        listener = socket.socket(socket.AF_UNIX)
        listener.bind(own)
        listener.listen(1)
        caller.call("pod.add", name="deputy", endpoint="hvsock://" + own, replace=True)
        caller.send("pod.portDial", handle="deputy", network="tcp", port=80, passFd=True)
        link = listener.accept()[0].makefile("rwb")
        assert link.readline() == b"CONNECT 893\n"
        link.write(b"OK 1\n")
        link.flush()
        assert json.loads(link.readline())["method"] == "pod.portDial"
        link.write(b'{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"not here"}}\n')
        link.flush()
        assert caller.answer()[1]["message"] == "not here"
        caller.call("pod.remove", name="deputy")


def hoard():
    """Streams and listeners, as many as can be had; and pods."""
    callers = []
    while True:
        callers.append(Caller(path))
        callers[-1].send("pod.portDial", handle="hold", network="tcp", port=8)
        result, error = callers[-1].answer()
        if error:
            assert error["data"]["reason"] == "exhausted", error
            break
    listeners = []
    with Caller(path) as caller:
        while True:
            caller.send("forward.add", pod="net", listen="localhost:0", network="tcp", port=7)
            result, error = caller.answer()
            if error:
                assert error["data"]["reason"] == "exhausted" and "listeners" in error["message"], error
                break
            listeners += result["listeners"]
        assert len(callers) > 1 and len(listeners) > 1, (len(callers), listeners)
        print(len(callers) - 1, len(listeners), flush=True)
        sys.stdin.read()


def crowd():
    """Half of the places stay free for the server's own user; who comes too many gets no answer."""
    most, = arguments
    callers = []
    while True:
        caller = Caller(path)
        try:
            caller.send("pod.list")
            if caller.line()[0] == b"":
                break
        except OSError:  # closed with the request unread
            break
        callers.append(caller)
        assert len(callers) <= int(most), len(callers)
    assert len(callers) > int(most) // 4, len(callers)
    print(len(callers), flush=True)
    sys.stdin.read()


os.setgroups([])
os.setgid(int(uid))
os.setuid(int(uid))
globals()[case]()
