#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The two sides of a command that `vzfwd run` runs.

run.py caught FILE          the command: counts signals, which FILE tells in a line each, until a line comes on stdin
run.py status COMMAND...    prints how a command ended: "exit 3", "signal 15"
run.py terminal FILE COMMAND...
                            runs it on a terminal of its own, presses ^C ten times, once FILE has "ready", then sends a line
"""

import os
import pty
import signal
import subprocess
import sys
import time

LIMIT = 20
PRESSES = 10 # a signal that comes while the same is still waiting is lost


def caught(path):
    counts = {}

    def tell(line):
        with open(path, "a") as out:
            out.write(line + "\n")

    def count(number, _):
        counts[number] = counts.get(number, 0) + 1
        tell(f"{signal.Signals(number).name} {counts[number]}")

    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1,
                   signal.SIGUSR2, signal.SIGWINCH):
        signal.signal(number, count)
    tell("ready")
    line = sys.stdin.readline()
    tell("line " + line.strip())


def status(command):
    code = subprocess.call(command)
    print(f"signal {-code}" if code < 0 else f"exit {code}")


def has(path, text):
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if os.path.exists(path) and text in open(path).read():
            return True
        time.sleep(0.02)
    return False


def terminal(path, command):
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    if not has(path, "ready"):
        sys.exit("the command does not begin")
    for i in range(1, PRESSES + 1):
        os.write(fd, b"\x03")
        if not has(path, f"SIGINT {i}\n"):
            sys.exit("^C does not reach it")
        # What vzfwd would have passed on came before this.
        os.kill(pid, signal.SIGUSR1)
        if not has(path, f"SIGUSR1 {i}\n"):
            sys.exit("SIGUSR1 does not reach it")
    os.write(fd, b"hello\n")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    sys.exit(code if code >= 0 else 128 - code)


if sys.argv[1] == "caught":
    caught(sys.argv[2])
elif sys.argv[1] == "status":
    status(sys.argv[2:])
else:
    terminal(sys.argv[2], sys.argv[3:])
