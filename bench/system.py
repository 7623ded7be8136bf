# SPDX-License-Identifier: MIT
"""What the benchmark reads from the system and does to it: processes, memory, listeners, the pod's netns.

All of it happens in network, mount and process namespaces of the benchmark's own (scripts/bench), so names and
ports are fixed and nothing outlives it.
"""
import os
import re
import signal
import subprocess
import time
from pathlib import Path

RUN = Path("/run/bench")  # sockets, configurations and logs of the peers
POD = "/run/netns/pod"
SERVER_PORT = 7000
LOAD = "load"  # the load's own processes are no relay's, though one peer starts one
TICKS = os.sysconf("SC_CLK_TCK")


def in_pod(pod):
    return ["nsenter", f"--net={pod}", "--"]


IN_POD = in_pod(POD)


def run(*command, **kwargs):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **kwargs).stdout


def make_pod():
    """The two ends: the benchmark's own netns stands for the host, "pod" is the pod's."""
    run("mount", "-t", "tmpfs", "-o", "mode=755", "none", "/run")
    RUN.mkdir()
    Path("/run/netns").mkdir()
    Path("/run/sshd").mkdir()  # where sshd wants to be chrooted
    set_up_net([])
    add_pod(POD)


def add_pod(pod):
    """One more netns like the pod's, with nothing but lo."""
    run("ip", "netns", "add", os.path.basename(pod))
    set_up_net(in_pod(pod))


def set_up_net(prefix):
    run(*prefix, "ip", "link", "set", "lo", "up")
    # Many short connections: as many ports as there can be, and each one free again after a second.
    run(*prefix, "sysctl", "-q", "-w", "net.ipv4.ip_local_port_range=10000 65000",
        "net.ipv4.tcp_tw_reuse=1", "net.core.somaxconn=8192")


def wait_until(condition, seconds, what, alive=()):
    """Polls; gives up with the log of a program of alive that has ended, or when time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        for program in alive:
            if program.poll() is not None:
                raise RuntimeError(f"ended with {program.returncode}: {program.last_words()}")
        if time.monotonic() > deadline:
            words = "; ".join(filter(None, (program.last_words() for program in alive)))
            raise RuntimeError(f"not within {seconds} s: {what}. {words}")
        time.sleep(0.01)


# The kernel lists the sockets of one netns only: that of the process asked about.

def tcp_listens(port, pid):
    return any(fields[1].endswith(f":{port:04X}") and fields[3] == "0A"
               for fields in map(str.split, Path(f"/proc/{pid}/net/tcp").read_text().splitlines()))


def unix_listens(path, pid):
    """Some bind another name first and rename it: the kernel goes on showing that one, which begins alike."""
    return os.path.exists(path) and any(f" {path}" in line and " 00010000 " in line
                                        for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines())


class Program(subprocess.Popen):
    """A program of a peer in the background; its output goes to /run/bench/NAME.log."""

    def __init__(self, name, command):
        self.log = RUN / f"{name}.log"
        with open(self.log, "ab") as log:
            super().__init__(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                             start_new_session=True)

    def last_words(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def stop(self):
        family = tree(self.pid, processes())
        self.terminate()
        try:
            self.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
            self.wait()
        for pid in family:  # what it has forked need not end with it
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)  # its orphans are ours, process 1 here
            except (ProcessLookupError, ChildProcessError):
                pass


def processes():
    """{pid: (parent, name, CPU seconds with those of ended children)}"""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path(f"/proc/{entry}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name, fields = stat[stat.index("(") + 1:stat.rindex(")")], stat[stat.rindex(")") + 2:].split()
        found[int(entry)] = int(fields[1]), name, sum(map(int, fields[11:15])) / TICKS
    return found


def tree(root, found):
    """The pids of a process and all below it, among those that processes() found."""
    children = {}
    for pid, (parent, _, _) in found.items():
        children.setdefault(parent, []).append(pid)
    pids, queue = [], [root]
    while queue:
        pid = queue.pop()
        if pid in found:
            pids.append(pid)
            queue += children.get(pid, [])
    return pids


def relay_tree(root, found):
    return [pid for pid in tree(root, found) if found[pid][1] != LOAD]


def cpu_seconds(root):
    """Asked twice at least: a forked process that is just being reaped is seen neither alone nor with its parent."""
    last = None
    while True:
        found = processes()
        pids = relay_tree(root, found)
        if pids == last:
            return sum(found[pid][2] for pid in pids)
        last = pids
        time.sleep(0.01)


def memory_kib(root):
    """Pss of the tree: what is shared counts once. For a single process its growth is that of RSS."""
    total = 0
    for pid in relay_tree(root, processes()):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M).group(1))
    return total


def kernel_kib():
    """Slab objects in use and TCP's buffers, of the whole machine, once it has come to rest."""
    def read():
        slab = 0
        for line in Path("/proc/slabinfo").read_text().splitlines()[2:]:
            fields = line.split()
            slab += int(fields[1]) * int(fields[3])
        pages = re.search(r"^TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.M)
        return slab / 1024 + int(pages.group(1)) * os.sysconf("SC_PAGE_SIZE") / 1024

    last = read()
    for _ in range(30):
        time.sleep(0.1)
        now = read()
        if abs(now - last) < 64:
            break
        last = now
    return now


def machine():
    cpu = re.search(r"^model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.M)
    uname = os.uname()
    return {
        "cpu": cpu.group(1) if cpu else uname.machine,
        "cores": os.cpu_count(),
        "memory": f"{int(memory.group(1)) / 2**20:.0f} GiB",
        "kernel": f"{uname.sysname} {uname.release} {uname.machine}",
        "system": re.search(r'^PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text(), re.M).group(1),
    }
