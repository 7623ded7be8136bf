# SPDX-License-Identifier: MIT
"""A caller of `vzfwd serve`, for its tests."""
import array
import json
import os
import socket

from relaying import LIMIT


class Caller:
    """A connection to a control socket."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        self.sock.connect(path)
        self.id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, method, **params):
        self.id += 1
        request = {"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}
        self.sock.sendall(json.dumps(request).encode() + b"\n")

    def line(self):
        """One line and the descriptors that came with its first byte; not a byte more is read."""
        fds = array.array("i")
        data, control, flags, _ = self.sock.recvmsg(1, socket.CMSG_SPACE(8 * fds.itemsize))
        assert not flags & socket.MSG_CTRUNC
        for level, kind, text in control:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS), control
            fds.frombytes(text)
        while data and not data.endswith(b"\n"):
            got = self.sock.recv(1)
            assert got, data
            data += got
        return data, list(fds)

    def answer(self):
        """What the next line but notifications is an answer with: (result, None) or (None, error)."""
        answer = {"method": None}
        while "method" in answer:
            data, fds = self.line()
            assert data, "closed without an answer"
            answer = json.loads(data)
        assert answer["jsonrpc"] == "2.0" and answer["id"] == self.id, answer
        assert ("result" in answer) != ("error" in answer), answer
        self.fds = fds
        return answer.get("result"), answer.get("error")

    def call(self, method, **params):
        """The result of a call that has to succeed."""
        self.send(method, **params)
        result, error = self.answer()
        assert error is None, error
        return result

    def fails(self, code, reason, method, **params):
        """The message of a call that has to fail so."""
        self.send(method, **params)
        result, error = self.answer()
        assert error, result
        assert (error["code"], error["data"]["reason"]) == (code, reason), error
        return error["message"]

    def dial(self, handle, port, **params):
        """A connection that becomes a stream: its socket, and the result."""
        result = self.call("pod.portDial", handle=handle, network="tcp", port=int(port), **params)
        assert not self.fds
        return self.sock, result

    def dial_fd(self, handle, port, **params):
        """The socket that was passed, and the result."""
        result = self.call("pod.portDial", handle=handle, network="tcp", port=int(port), passFd=True,
                           **params)
        assert len(self.fds) == 1, self.fds
        assert os.get_blocking(self.fds[0])
        sock = socket.socket(fileno=self.fds[0])
        sock.settimeout(LIMIT)
        return sock, result

    def closed(self):
        """Nothing more comes."""
        return self.line() == (b"", [])


def listening(caller):
    """The forwards that are not only there until their last connection ends."""
    return [one for one in caller.call("forward.list")["forwards"] if "removed" not in one]
