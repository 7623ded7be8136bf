# SPDX-License-Identifier: MIT
"""Cases of dial-stdio.sh: what stdin and stdout may be. Ports are those of its target.py."""
import fcntl
import os
import pty
import signal
import socket
import termios
import threading
import time

from dialing import Dial, is_nonblocking, main, read_all, read_exactly, wait_for
from target import pattern

ECHO, BYE, HALF, LATE = "7", "9", "10", "11"
QUIET = 0.5 * int(os.environ["VZFWD_TEST_SLOWNESS"])  # s, until nothing moves any more
DATA = bytes(range(256)) * 4 + pattern(3 << 20)


class Watch:
    """Looks again and again at descriptors' O_NONBLOCK, which must never be set."""

    def __init__(self, *fds):
        self.fds, self.seen, self.stop = fds, False, threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.stop.wait(0.0005):
            self.seen |= any(map(is_nonblocking, self.fds))

    def __enter__(self):
        self.thread.start()

    def __exit__(self, kind, *error):
        self.stop.set()
        self.thread.join()
        self.seen |= any(map(is_nonblocking, self.fds))
        assert kind or not self.seen, "O_NONBLOCK was set on what it had inherited"


def feed(fd, data, end):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view[:1 << 16]):]
    end()


def talk(dial, source, half_close, sink):
    """Sends DATA, half-closes, and wants the same back from the echo server, and nothing else."""
    thread = threading.Thread(target=feed, args=(source, DATA, half_close))
    thread.start()
    got = read_exactly(sink, len(DATA))
    thread.join()
    assert got == DATA, "other bytes"
    dial.ends(0)
    dial.connected()
    dial.closed("eof", len(DATA), len(DATA))


def case_pipes(pod):
    in_r, in_w = os.pipe()
    out_r, out_w = os.pipe()
    with Watch(in_r, out_w):
        talk(Dial(pod, ECHO, stdin=in_r, stdout=out_w), in_w, lambda: os.close(in_w), out_r)
    os.close(out_w)
    assert read_all(out_r) == b"", "more bytes"


def case_one_socket(pod):
    mine, theirs = socket.socketpair()
    with Watch(theirs.fileno()):
        dial = Dial(pod, ECHO, stdin=theirs, stdout=theirs)
        talk(dial, mine.fileno(), lambda: mine.shutdown(socket.SHUT_WR), mine.fileno())
    theirs.close()
    assert mine.recv(1) == b"", "more bytes"


def case_two_sockets(pod):
    in_mine, in_theirs = socket.socketpair()
    out_mine, out_theirs = socket.socketpair()
    with Watch(in_theirs.fileno(), out_theirs.fileno()):
        dial = Dial(pod, ECHO, stdin=in_theirs, stdout=out_theirs)
        talk(dial, in_mine.fileno(), lambda: in_mine.shutdown(socket.SHUT_WR), out_mine.fileno())
    out_theirs.close()
    assert out_mine.recv(1) == b"", "more bytes"


def case_tcp_socket(pod):
    """As a server that inetd or systemd starts for each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mine = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with Watch(theirs.fileno()):
        dial = Dial(pod, ECHO, stdin=theirs, stdout=theirs)
        talk(dial, mine.fileno(), lambda: mine.shutdown(socket.SHUT_WR), mine.fileno())
    theirs.close()
    assert mine.recv(1) == b"", "more bytes"


def case_stream_fd(pod):
    mine, theirs = socket.socketpair()
    fd = theirs.fileno()
    with Watch(fd):
        dial = Dial("--stream-fd", str(fd), pod, ECHO, pass_fds=(fd,))
        talk(dial, mine.fileno(), lambda: mine.shutdown(socket.SHUT_WR), mine.fileno())
    assert read_all(dial.output) == b"", "stdout is not the stream's"
    theirs.close()
    assert mine.recv(1) == b"", "more bytes"


def case_stream_fd_half_close(pod):
    """The target ends first; what is sent after that still arrives."""
    mine, theirs = socket.socketpair()
    fd = theirs.fileno()
    dial = Dial("--stream-fd", str(fd), pod, HALF, pass_fds=(fd,))
    theirs.close()
    assert read_all(mine.fileno()) == b"half\n"
    feed(mine.fileno(), DATA, lambda: mine.shutdown(socket.SHUT_WR))
    dial.ends(0)
    dial.connected()
    dial.closed("eof", 5, len(DATA))


def case_half_close(pod):
    """The same for stdin and stdout."""
    dial = Dial("--half-close", pod, HALF)
    assert read_all(dial.output) == b"half\n"
    feed(dial.input, DATA, dial.close_input)
    dial.ends(0)
    dial.connected()
    dial.closed("eof", 5, len(DATA))


def raw_terminal(echo=False):
    master, slave = pty.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST
    if not echo:
        attributes[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    return master, slave


def case_tty(pod):
    master, slave = raw_terminal()
    with Watch(slave):
        dial = Dial(pod, ECHO, stdin=slave, stdout=slave)
        os.write(master, b"hello\n")
        assert read_exactly(master, 6) == b"hello\n"
        # Typed in the middle of a line Ctrl-D sends what there is, at its beginning it is the end.
        os.write(master, b"more\x04")
        assert read_exactly(master, 4) == b"more"
        assert dial.process.poll() is None
        os.write(master, b"\x04")
        dial.ends(0)
    dial.connected()
    dial.closed("eof", 10, 10)


def drop():
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def with_link_of_ours(endpoint, **popen):
    """A dial of another user, over a link that we opened."""
    scheme, _, where = endpoint.partition("://")
    if scheme == "vsock":  # a VM of tests/vm
        link = socket.socket(socket.AF_VSOCK)
        link.connect(tuple(int(number) for number in where.split(":")))
    else:
        link = socket.socket(socket.AF_UNIX)
        link.connect(where)
    fd = link.fileno()
    dial = Dial("fd:%d" % fd, ECHO, pass_fds=(fd,), preexec_fn=drop, **popen)
    link.close()
    return dial


def case_tty_of_another_user(pod):
    """It can't be opened anew: O_NONBLOCK is set, and taken off at the end."""
    for number in 0, signal.SIGTERM, signal.SIGHUP:
        master, slave = raw_terminal()
        os.fchmod(slave, 0o600)
        dial = with_link_of_ours(pod, stdin=slave, stdout=slave)
        os.write(master, b"hello\n")
        assert read_exactly(master, 6) == b"hello\n"
        assert is_nonblocking(slave), "this is not the case that was meant"
        if number:
            os.kill(dial.pid, number)
            dial.ends(-number, 0)
        else:
            os.write(master, b"\x04")
            dial.ends(0)
        assert not is_nonblocking(slave), "O_NONBLOCK was left behind"
        os.close(master)
        os.close(slave)


def case_pipes_of_another_user(pod):
    in_r, in_w = os.pipe()
    out_r, out_w = os.pipe()
    dial = with_link_of_ours(pod, stdin=in_r, stdout=out_w)
    talk(dial, in_w, lambda: os.close(in_w), out_r)
    assert not is_nonblocking(in_r) and not is_nonblocking(out_w), "O_NONBLOCK was left behind"


def case_late(pod):
    """A reply 3 s after stdin's end."""
    dial = Dial(pod, LATE)
    feed(dial.input, b"question", dial.close_input)
    begin = time.monotonic()
    assert read_all(dial.output) == b"late\n"
    assert time.monotonic() - begin > 2.9
    dial.ends(0)
    dial.connected()
    dial.closed("eof", 5, 8)


def case_target_closes(pod):
    """stdin stays open, and quiet; dial ends all the same."""
    dial = Dial(pod, BYE)
    assert read_all(dial.output) == b"bye\n"
    begin = time.monotonic()
    dial.ends(0)
    assert time.monotonic() - begin < 3
    dial.connected()
    dial.closed("eof", 4, 0)


def case_not_taken(pod, port, go):
    """The target never reads, until all on the way is full, and then sends its end."""
    in_r, in_w = os.pipe()
    dial = Dial(pod, port, stdin=in_r)
    os.close(in_r)
    os.set_blocking(in_w, False)
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < QUIET:
        try:
            os.write(in_w, bytes(1 << 16))
            quiet_since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    os.close(os.open(go, os.O_WRONLY | os.O_CREAT))
    assert read_all(dial.output) == b"bye\n"
    line = dial.ends(74)[0]
    assert "not taken" in line, line
    dial.connected()
    dial.closed("local", 4)


def case_not_delivered(pod, port, go):
    """All that stdin had is in the guest, but the target's buffers are small, and it does not read."""
    in_r, in_w = os.pipe()
    dial = Dial(pod, port, stdin=in_r)
    feed(in_w, pattern(200000), lambda: os.close(in_w))
    wait_for(lambda: fcntl.ioctl(in_r, termios.FIONREAD, bytes(4)) == bytes(4))
    os.close(os.open(go, os.O_WRONLY | os.O_CREAT))
    assert read_all(dial.output) == b"bye\n"
    line = dial.ends(74)[0]
    assert "not taken" in line, line
    dial.connected()
    dial.closed("local", 4)


def case_growing(pod):
    """An interactive stream: every answer comes before the next question."""
    dial = Dial(pod, ECHO)
    for i in range(200):
        text = b"%d " % i * (i + 1)
        os.write(dial.input, text)
        assert read_exactly(dial.output, len(text)) == text
    dial.close_input()
    assert read_all(dial.output) == b""
    dial.ends(0)


def case_idle(pod):
    """Nothing to do takes no time: neither a tty nor pipes nor sockets make it spin."""
    for ends in os.pipe, socket.socketpair, raw_terminal:
        source, sink = ends()
        dial = Dial(pod, ECHO, stdin=sink if ends != os.pipe else source)
        dial.connected()
        before = cpu_ticks(dial.pid)
        time.sleep(QUIET)
        assert cpu_ticks(dial.pid) - before < 20 * QUIET, "it spins"
        dial.process.kill()
        dial.process.wait()


def cpu_ticks(pid):
    with open("/proc/%d/stat" % pid) as stat:
        return sum(map(int, stat.read().rpartition(")")[2].split()[11:13]))


def case_privileges(pod):
    """Connected, it has no capabilities left, and no way to new ones."""
    dial = Dial(pod, ECHO)
    dial.connected()
    wait_for(lambda: "NoNewPrivs:\t1" in status_of(dial.pid))
    fields = dict(line.split(":\t", 1) for line in status_of(dial.pid).splitlines())
    want = os.environ.get("CAPS_KEPT", "0" * 16)
    for name in "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
        kept = want if name in ("CapPrm", "CapEff", "CapBnd") else "0" * 16
        assert fields[name] == kept, (name, fields[name])
    feed(dial.input, b"on", dial.close_input)
    assert read_all(dial.output) == b"on"
    dial.ends(0)


def status_of(pid):
    with open("/proc/%d/status" % pid) as status:
        return status.read()


main(globals())
