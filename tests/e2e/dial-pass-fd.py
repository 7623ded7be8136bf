# SPDX-License-Identifier: MIT
"""Cases of dial-pass-fd.sh: the connected socket itself, out of `vzfwd dial --pass-fd`. Ports are
those of its target.py."""
import array
import hashlib
import select
import socket

from dialing import LIMIT, Dial, is_nonblocking, main, wait_for
from target import pattern

ECHO, FIRST, HALF, SINK = "7", "8", "9", "10"


def receive(sock):
    """The descriptor that comes over sock, with one zero byte and no more."""
    assert select.select([sock], [], [], LIMIT)[0], "nothing came"
    fds = array.array("i")
    data, control, flags, _ = sock.recvmsg(16, socket.CMSG_SPACE(4 * fds.itemsize))
    for level, kind, text in control:
        assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS), control
        fds.frombytes(text)
    assert not flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC), flags
    assert data == (b"\0" if fds else b""), data
    return socket.socket(fileno=fds[0]) if len(fds) == 1 else None


def dial_for(pod, *args, gone=False, **popen):
    mine, theirs = socket.socketpair()
    if gone:
        mine.close()
    dial = Dial("--pass-fd", pod, *args, stdout=theirs, **popen)
    theirs.close()
    return dial, mine


def taken(pod, port):
    """The socket, after dial has ended as it should."""
    dial, mine = dial_for(pod, port)
    sock = receive(mine)
    assert sock, dial.errors()
    assert mine.recv(1) == b"", "more than a byte"
    dial.ends(0)
    status = dial.connected()
    assert status["framing"] == "raw", status
    dial.closed("eof", 0, 0)
    assert not is_nonblocking(sock.fileno()), "not in blocking mode"
    sock.settimeout(LIMIT)
    return sock, status


def read_all(sock):
    data = b""
    while True:
        got = sock.recv(1 << 16)
        if not got:
            return data
        data += got


def case_talk(pod):
    """There and back, half-closed by us first."""
    sock, _ = taken(pod, ECHO)
    sent = pattern(1 << 16)
    for _ in range(4):
        sock.sendall(sent)
        got = b""
        while len(got) < len(sent):
            got += sock.recv(1 << 16)
        assert got == sent
    sock.sendall(b"the end")
    sock.shutdown(socket.SHUT_WR)
    assert read_all(sock) == b"the end"


def case_half_close(pod):
    """Half-closed by the target first."""
    sock, _ = taken(pod, HALF)
    assert read_all(sock) == b"half\n"
    sock.sendall(pattern(100000))
    sock.shutdown(socket.SHUT_WR)


def case_server_first(pod):
    """What the target says right behind the answer is still in the socket, every byte of it."""
    for _ in range(20):
        sock, _ = taken(pod, FIRST)
        got = read_all(sock)
        assert got == pattern(200000), "%d bytes, or others" % len(got)


def case_its_own(pod):
    """Without a VM it is the TCP socket to the target itself."""
    sock, status = taken(pod, ECHO)
    assert sock.family == socket.AF_INET and sock.type == socket.SOCK_STREAM
    assert sock.getpeername() == ("127.0.0.1", int(ECHO)), sock.getpeername()
    assert "%s:%d" % sock.getsockname() == status["local"]
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    sock.sendall(b"x")
    assert sock.recv(1) == b"x"


def case_command(pod, pid_file):
    """The command of an exec: endpoint lives on, and ends with the socket."""
    sock, _ = taken(pod, ECHO)
    with open(pid_file) as file:
        pid = int(file.read())
    sock.sendall(b"hello")
    assert sock.recv(5) == b"hello"
    sock.close()
    wait_for(lambda: is_gone(pid), 10)


def is_gone(pid):
    """A zombie is, and what ends while it is looked at."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def case_fails(pod, port, code, reason):
    """Nothing is passed, and stdout carries nothing."""
    dial, mine = dial_for(pod, port)
    line = dial.ends(int(code))[0]
    assert receive(mine) is None
    status = dial.status()
    assert status["status"] == "error" and status["reason"] == reason, status
    assert line.endswith(": " + status["message"]), (line, status)
    assert dial.status() is None


def case_receiver_gone(pod):
    dial, _ = dial_for(pod, SINK, gone=True)
    dial.ends(74, 0)
    assert dial.status()["reason"] == "broken"
    assert dial.status() is None


main(globals())
