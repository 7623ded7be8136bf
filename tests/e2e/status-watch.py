# SPDX-License-Identifier: MIT
"""vzfwd status --watch on a terminal: status-watch.py PORT; a forward that echoes is there."""
import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import sys
import termios
import time

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
seen = b""


def read_until(what, expected):
    global seen
    end = time.monotonic() + 15
    while not what():
        ready = select.select([terminal], [], [], max(0, end - time.monotonic()))[0]
        assert ready, (expected, seen)
        try:
            seen += os.read(terminal, 1 << 16)
        except OSError:  # the other side is gone
            assert what(), (expected, seen)


def resize(rows):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))


def stopped():
    return os.waitpid(child, os.WUNTRACED | os.WNOHANG)[0] == child


def screen():
    """What was drawn last, if that is complete."""
    drawn = seen.split(b"\x1b[H")[1:]
    return [text for text in drawn if text.endswith(b"\x1b[J")][-1:] or [b""]


port = int(sys.argv[1])
child, terminal = pty.fork()
if child == 0:
    os.environ["TERM"] = "xterm"
    os.execvp("vzfwd", ["vzfwd", "status", "--watch"])
resize(24)
listener = f"127.0.0.1:{port}".encode()
read_until(lambda: listener in screen()[0], "the forward")
assert seen.startswith(ENTER), seen
before = re.search(listener + rb" \S+ +80 +(\d+) +(\d+)", screen()[0])
with socket.create_connection(("127.0.0.1", port)) as connection:
    connection.sendall(b"x")
    assert connection.recv(1) == b"x"
    want = re.compile(listener + rb" \S+ +80 +%d +%d" % (int(before[1]) + 1, int(before[2]) + 1))
    read_until(lambda: want.search(screen()[0]), "an open connection")
assert re.search(rb"\x1b\[K\r+\n", screen()[0]), screen()
seen = b""
resize(1)
read_until(lambda: screen()[0].startswith(b"POD ") and b"\n" not in screen()[0], "one row")

# ^Z and fg
seen = b""
os.write(terminal, b"\x1a")
read_until(lambda: LEAVE in seen, "the screen given back at ^Z")
end = time.monotonic() + 10
while not stopped():
    assert time.monotonic() < end, "not stopped"
    time.sleep(0.01)
seen = b""
os.kill(child, signal.SIGCONT)
read_until(lambda: ENTER in seen and b"POD " in screen()[0], "the screen again")

seen = b""
os.write(terminal, b"\x03")
read_until(lambda: LEAVE in seen, "the screen given back at ^C")
assert b"\x1b[?25h" in seen and b"\x1b[?7h" in seen, seen
assert os.waitpid(child, 0)[1] == 0
