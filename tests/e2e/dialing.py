# SPDX-License-Identifier: MIT
"""What the tests of `vzfwd dial` in Python share: a running dial, and cases by name.

A test program ends in main(globals()): its functions case_NAME are run by their names, with the
rest of the command line as arguments; a failed assertion tells what was wrong.
"""
import fcntl
import json
import os
import select
import subprocess
import sys
import tempfile
import time

LIMIT = 30


def wait_for(condition, limit=LIMIT):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "not in time: %s" % condition
        time.sleep(0.02)


def is_nonblocking(fd):
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK)


def read_all(fd):
    data = b""
    while True:
        assert select.select([fd], [], [], LIMIT)[0], "no end within %d s: %r" % (LIMIT, data[:100])
        got = os.read(fd, 1 << 16)
        if not got:
            return data
        data += got


def read_exactly(fd, size):
    data = b""
    while len(data) < size:
        assert select.select([fd], [], [], LIMIT)[0], "only %d of %d" % (len(data), size)
        got = os.read(fd, size - len(data))
        assert got, "ended after %d of %d" % (len(data), size)
        data += got
    return data


class Dial:
    """A `vzfwd dial`; where stdin and stdout are not given they are pipes: .input and .output."""

    def __init__(self, *args, stdin=None, stdout=None, pass_fds=(), command=("vzfwd",), **popen):
        self.input = self.output = None
        closing = []
        if stdin is None:
            stdin, self.input = os.pipe()
            closing.append(stdin)
        if stdout is None:
            self.output, stdout = os.pipe()
            closing.append(stdout)
        self.status_fd, status = os.pipe()
        closing.append(status)
        self.stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [*command, "dial", "--status-fd", str(status), *args],
            stdin=stdin, stdout=stdout, stderr=self.stderr, pass_fds=(status, *pass_fds), **popen)
        self.pid = self.process.pid
        for fd in closing:
            os.close(fd)
        self.status_rest = b""

    def status(self):
        """The next line of --status-fd, or None at its end."""
        while b"\n" not in self.status_rest:
            assert select.select([self.status_fd], [], [], LIMIT)[0], "no status line"
            got = os.read(self.status_fd, 4096)
            if not got:
                assert not self.status_rest, self.status_rest
                return None
            self.status_rest += got
        line, self.status_rest = self.status_rest.split(b"\n", 1)
        assert line.isascii(), line
        return json.loads(line)

    def connected(self):
        status = self.status()
        assert status and status["status"] == "connected", (status, self.errors())
        return status

    def closed(self, reason, bytes_in=None, bytes_out=None):
        status = self.status()
        assert status is not None, "no last line: " + self.errors()
        assert list(status) == ["status", "reason", "bytesIn", "bytesOut"], status
        assert status["status"] == "closed" and status["reason"] == reason, (status, self.errors())
        assert bytes_in is None or status["bytesIn"] == bytes_in, (status, bytes_in)
        assert bytes_out is None or status["bytesOut"] == bytes_out, (status, bytes_out)
        assert self.status() is None, "more than a last line"

    def close_input(self):
        os.close(self.input)
        self.input = None

    def errors(self):
        self.stderr.seek(0)
        return self.stderr.read().decode("utf-8", "backslashreplace")

    def ends(self, code, errors=None, limit=LIMIT):
        """The exit status within `limit` s, and how many lines on stderr (default: 0 for 0, else 1)."""
        try:
            got = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("still running after %s s: %s" % (limit, self.errors()))
        lines = self.errors().splitlines()
        assert got == code, "exit status %d, want %d: %s" % (got, code, lines)
        want = errors if errors is not None else 1 if code > 0 else 0
        assert len(lines) == want, lines
        assert all(line.startswith("vzfwd: dial") for line in lines), lines
        return lines


def main(names):
    case = names["case_" + sys.argv[1].replace("-", "_")]
    case(*sys.argv[2:])
