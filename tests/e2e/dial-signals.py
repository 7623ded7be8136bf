# SPDX-License-Identifier: MIT
"""Cases of dial-signals.sh: how `vzfwd dial` is ended, and what is left then. Ports are those of its
target.py."""
import os
import signal
import socket
import subprocess
import sys
import time

from dialing import Dial, main, read_all, read_exactly, wait_for

SINK, FLOOD, STAYS = "8", "9", "10"


def case_signal(pod, number):
    """The target sees a reset, dial dies by the signal, and says so."""
    number = int(number)
    dial = Dial(pod, SINK)
    dial.connected()
    os.write(dial.input, b"hello")
    time.sleep(0.1)  # on its way to the target; a RST throws nothing away that it has got
    os.kill(dial.pid, number)
    dial.ends(-number, 0, 5)
    dial.closed("signal", 0, 5)
    assert read_all(dial.output) == b""


def case_signal_before(pod):
    """Nothing is connected yet, nor will be."""
    for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
        dial = Dial(pod, SINK)
        wait_for(lambda: caught(dial.pid, number))
        os.kill(dial.pid, number)
        dial.ends(-number, 0, 5)
        status = dial.status()
        assert status["status"] == "error" and status["reason"] == "unreachable", status
        assert dial.status() is None


def caught(pid, number):
    with open("/proc/%d/status" % pid) as status:
        fields = dict(line.split(":\t", 1) for line in status.read().splitlines())
    return int(fields["SigCgt"], 16) & 1 << number - 1


def case_second_signal(pod):
    """What is under way to stdout is waited for; a second signal makes an end of that."""
    dial = Dial(pod, FLOOD)
    dial.connected()
    wait_for(lambda: is_stuck(dial.pid))
    os.kill(dial.pid, signal.SIGTERM)
    time.sleep(0.5)
    assert dial.process.poll() is None, "this is not the case that was meant"
    os.kill(dial.pid, signal.SIGINT)
    dial.ends(-signal.SIGINT, 0, 1)
    dial.closed("signal", None, 0)


def is_stuck(pid):
    """Its output is full: it has written, and does no more."""

    def written():
        with open("/proc/%d/io" % pid) as io:
            return int(dict(line.split(": ") for line in io.read().splitlines())["wchar"])

    before = written()
    time.sleep(0.2)
    return before > 65536 and written() == before


def case_nohup(pod):
    dial = Dial(pod, SINK, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    dial.connected()
    os.kill(dial.pid, signal.SIGHUP)
    os.write(dial.input, b"on")
    dial.close_input()
    dial.ends(0)
    dial.closed("eof", 0, 2)


def case_reader_gone(pod):
    """Nobody reads stdout any more, and nothing else happens; nor is there anybody to be told."""
    dial = Dial(pod, SINK)
    dial.connected()
    os.close(dial.output)
    dial.ends(74, 0, limit=5)
    dial.closed("local", 0, 0)


def case_socket_gone(pod):
    """The same with sockets, and a target that does not end when we do."""
    for kind in "one", "two", "stream-fd":
        mine, theirs = socket.socketpair()
        other, stdin = socket.socketpair()
        fd = theirs.fileno()
        if kind == "stream-fd":
            dial = Dial("--stream-fd", str(fd), pod, STAYS, pass_fds=(fd,))
        else:
            dial = Dial(pod, STAYS, stdin=theirs if kind == "one" else stdin, stdout=theirs)
        theirs.close()
        dial.connected()
        mine.close()
        dial.ends(74, 0, limit=5)
        dial.closed("local", 0, 0)
        other.close()


def case_shim(kind, pod, pid_file):
    """The shim is killed while its dial is idle, or still dialing: no process is left."""
    if os.path.exists(pid_file):
        os.unlink(pid_file)
    process = subprocess.Popen([sys.executable, __file__, "run-shim", kind, pod, pid_file])
    pid = pid_in(pid_file)
    assert is_running(pid)
    process.kill()
    process.wait()
    wait_for(lambda: not is_running(pid), 5)


def case_run_shim(kind, pod, pid_file):
    """Starts a dial in the way of `kind`, tells its pid, and waits to be killed."""
    mine, theirs = socket.socketpair()
    other = socket.socketpair()
    status_r, status_w = os.pipe()
    command = ["vzfwd", "dial", "--timeout", "600", "--status-fd", str(status_w)]
    how = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    if kind == "socket":
        how = {"stdin": theirs, "stdout": theirs}
    elif kind == "sockets":
        how = {"stdin": other[1], "stdout": theirs}
    elif kind == "stream-fd":
        command += ["--stream-fd", str(theirs.fileno())]
        how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    elif kind == "pass-fd":
        command.append("--pass-fd")
        how = {"stdin": subprocess.DEVNULL, "stdout": theirs}
    process = subprocess.Popen([*command, pod, SINK], pass_fds=(status_w, theirs.fileno()), **how)
    theirs.close()
    other[1].close()
    os.close(status_w)
    if pod.endswith("/silent"):
        wait_for(lambda: caught(process.pid, signal.SIGTERM))
    else:
        assert b"connected" in os.read(status_r, 4096)
    with open(pid_file + ".new", "w") as file:
        file.write(str(process.pid))
    os.rename(pid_file + ".new", pid_file)
    signal.pause()


def is_running(pid):
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# exec: endpoints. The command leaves the pid of a process that it started in a file.


def pid_in(path):
    wait_for(lambda: os.path.exists(path) and os.path.getsize(path) > 0)
    with open(path) as file:
        return int(file.read())


def case_command(command, pid_file, how):
    """However dial ends, the command and all it has started end too."""
    if os.path.exists(pid_file):
        os.unlink(pid_file)
    dial = Dial(command, SINK, preexec_fn=os.setpgrp)
    dial.connected()
    grandchild = pid_in(pid_file)
    group = os.getpgid(grandchild)
    assert group != os.getpgid(dial.pid), "the command has no process group of its own"
    assert is_running(group) and is_running(grandchild)
    if how == "eof":
        dial.close_input()
        dial.ends(0)
        dial.closed("eof", 0, 0)
    elif how == "kill":
        # Its link ends: vzfwd-guest does, and nobody is there to end the others.
        dial.process.kill()
        dial.process.wait()
        wait_for(lambda: not is_running(group), 5)
        os.kill(grandchild, signal.SIGKILL)
    else:
        os.kill(dial.pid, int(how))
        dial.ends(-int(how), 0)
        dial.closed("signal", 0, 0)
    wait_for(lambda: not is_running(group) and not is_running(grandchild), 2)


def case_command_before(command, pid_file):
    """The same if it ends before the command has answered."""
    if os.path.exists(pid_file):
        os.unlink(pid_file)
    dial = Dial(command, SINK)
    pid = pid_in(pid_file)
    os.kill(dial.pid, signal.SIGTERM)
    dial.ends(-signal.SIGTERM, 0, 5)
    wait_for(lambda: not is_running(pid), 2)


def case_inherits(command, seen):
    """What the command gets from us: default signals, three descriptors, our stderr."""
    mine, theirs = socket.socketpair()
    fd = theirs.fileno()
    left = os.pipe()  # open, and of no use to vzfwd
    dial = Dial("--stream-fd", str(fd), command, SINK, pass_fds=(fd, *left))
    theirs.close()
    os.close(left[0])
    os.close(left[1])
    dial.connected()
    mine.close()
    dial.process.wait(10)
    lines = dial.errors().splitlines()
    assert lines[0] == "to stderr", lines
    with open(seen) as file:
        text = file.read().splitlines()
    fields = dict(line.split(":\t") for line in text if ":\t" in line)
    # 32 and 33 are glibc's own: its posix_spawn() leaves them ignored in what make(1) starts.
    ignored = int(fields["SigIgn"], 16) & ~(3 << 31)
    assert ignored == 0 and int(fields["SigBlk"], 16) == 0, fields
    assert [line for line in text if ":\t" not in line] == ["0 1 2"], text


main(globals())
