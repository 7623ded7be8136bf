# SPDX-License-Identifier: MIT
"""The figures: what is measured, how, and what vzfwd must reach."""
import json
import math
import re
import statistics
import subprocess
from dataclasses import dataclass

from system import RUN, cpu_seconds, in_pod, kernel_kib, memory_kib, processes, tree, wait_until

IDLE_WARM = 64
STARTUPS = 10
COUNT_MS = 300000  # valgrind takes its time
COUNT_BYTES = 8 << 20, 72 << 20
COUNT_CONNECTIONS = 100, 600
# By default large copies are done by "rep movsb", of which valgrind counts every byte as an instruction.
CALLGRIND = ["env", "GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=1000000000",
             "valgrind", "--tool=callgrind", "-q"]


@dataclass
class Figure:
    title: str
    column: str  # the same in its table
    unit: str
    more: bool = False  # more is better
    digits: int = 2


@dataclass
class Bar:
    """What vzfwd must reach: its ratio to the best of some peers, or a plain value where there are none."""
    figure: str
    against: str
    factor: float


FIGURES = {}
for _direction in "up", "down", "both":
    for _connections in 1, 8:
        _key, _column = f"{_direction}{_connections}", f"{_direction} ×{_connections}"
        FIGURES[_key] = Figure(f"throughput {_column}", _column, "GB/s", more=True)
        FIGURES[f"{_key}-cpu"] = Figure(f"CPU {_column}", _column, "s/GB", digits=3)
        for _hop in "host", "guest":
            FIGURES[f"{_key}-{_hop}"] = Figure(f"CPU {_column} {_hop}", f"{_column} {_hop}", "s/GB", digits=3)
FIGURES |= {
    "ping-p50": Figure("round trip p50", "p50", "µs", digits=0),
    "ping-p99": Figure("round trip p99", "p99", "µs", digits=0),
    "loaded-p50": Figure("round trip p50 under bulk", "p50 under bulk", "µs", digits=0),
    "loaded-p99": Figure("round trip p99 under bulk", "p99 under bulk", "µs", digits=0),
    "loaded-bulk": Figure("the bulk beside round trips", "the bulk beside it, GB/s", "GB/s", more=True),
    "connect1": Figure("connections, sequential", "sequential", "1/s", more=True, digits=0),
    "connect50": Figure("connections, 50 at a time", "50 at a time", "1/s", more=True, digits=0),
    "connect1-cpu": Figure("CPU a connection, sequential", "CPU sequential, µs each", "µs", digits=0),
    "connect50-cpu": Figure("CPU a connection, 50 at a time", "CPU 50 at a time, µs each", "µs", digits=0),
    "startup-p50": Figure("exec to first byte", "exec to first byte", "ms"),
    "idle-host": Figure("idle connection, host hop", "host hop", "KiB"),
    "idle-guest": Figure("idle connection, guest hop", "guest hop", "KiB"),
    "idle-memory": Figure("idle connection, both hops", "both hops", "KiB"),
    "idle-kernel": Figure("idle connection, kernel", "kernel, with client and server", "KiB"),
    "idle-count": Figure("idle connections", "of so many", "", more=True, digits=0),
    "instructions-up": Figure("instructions per byte, up", "per byte up", "", digits=4),
    "instructions-down": Figure("instructions per byte, down", "per byte down", "", digits=4),
    "instructions-connect": Figure("instructions per connection", "per connection", "", digits=0),
}

BARS = [
    Bar("up1", "socat", 1.1),
    Bar("down1", "socat", 1.1),
    Bar("up1", "splice", 1.0),
    Bar("down1", "splice", 1.0),
    Bar("up1-cpu", "socat", 0.8),
    Bar("down1-cpu", "socat", 0.8),
    Bar("loaded-p50", "peers", 1.0),
    Bar("loaded-p99", "peers", 1.0),
    Bar("connect1", "haproxy", 1.0),
    Bar("connect50", "haproxy", 1.0),
    Bar("idle-memory", "", 1.0),
    Bar("startup-p50", "socat's UNIX-CONNECT", 1.2),
]

# The names that --figures takes, in the order of measuring.
STEPS = ["up1", "down1", "both1", "up8", "down8", "both8", "ping", "loaded", "connect1", "connect50",
         "startup", "idle", "instructions"]
ONCE = ["instructions"]  # free of noise
SESSION = ["up1", "down1", "both1", "ping", "connect1", "connect50"]  # of those in a kubectl session


class Meter:
    def __init__(self, load, seconds, idle):
        self.load = load
        self.ms = str(int(seconds * 1000))
        self.timeout = seconds + 60
        self.idle_count = idle

    def measure(self, step, peer):
        """{figure: value}; empty where the peer has nothing to measure."""
        if step[:-1] in ("up", "down", "both"):
            return self.bulk(step, peer)
        if step.startswith("connect"):
            return self.connect(step, peer)
        return getattr(self, step)(peer)

    def client(self, peer, *words):
        prefix = in_pod(peer.pod) if peer.client_in_pod else []
        return [*prefix, self.load, "--at", peer.address, words[0], str(peer.port), *map(str, words[1:])]

    def run(self, peer, *words, timeout=None):
        return self.output(self.client(peer, *words), timeout)

    def output(self, command, timeout=None):
        done = subprocess.run(command, text=True, capture_output=True, timeout=timeout or self.timeout)
        if done.returncode:
            raise RuntimeError(done.stderr.strip() or f"exit code {done.returncode}")
        return json.loads(done.stdout)

    def bulk(self, key, peer):
        before = hops(peer, cpu_seconds)
        got = self.run(peer, "bulk", key[:-1], key[-1], self.ms)
        giga = (got["up"] + got["down"]) / 1e9
        values = {key: giga / got["seconds"]}
        spent = {hop: (seconds - before[hop]) / giga for hop, seconds in hops(peer, cpu_seconds).items()}
        if spent:
            values |= {f"{key}-{hop}": value for hop, value in spent.items()}
            values[f"{key}-cpu"] = sum(spent.values())
        return values

    def ping(self, peer):
        got = self.run(peer, "ping", self.ms)
        return {"ping-p50": got["p50_us"], "ping-p99": got["p99_us"]}

    def loaded(self, peer):
        got = self.run(peer, "ping", self.ms, "both")
        return {"loaded-p50": got["p50_us"], "loaded-p99": got["p99_us"],
                "loaded-bulk": (got["up"] + got["down"]) / got["seconds"] / 1e9}

    def connect(self, key, peer):
        before = sum(hops(peer, cpu_seconds).values())
        got = self.run(peer, "connect", key.removeprefix("connect"), self.ms)
        values = {key: got["connections"] / got["seconds"]}
        if peer.programs:
            values[f"{key}-cpu"] = (sum(hops(peer, cpu_seconds).values()) - before) / got["answered"] * 1e6
        return values

    def startup(self, peer):
        if not peer.dial:
            return {}
        return {"startup-p50": self.output([self.load, "startup", str(STARTUPS), *peer.dial])["p50_us"] / 1e3}

    def idle(self, peer):
        """On hops that were started anew: what they have freed before would hide what they need."""
        count = min(self.idle_count, peer.idle)
        peer.stop()
        peer.start()
        self.run(peer, "connect", 8, 60000, IDLE_WARM)
        memory, kernel = hops(peer, memory_kib), kernel_kib()
        with subprocess.Popen(self.client(peer, "idle", count), text=True, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
            opened = client.stdout.readline()
            values = {f"idle-{hop}": (kib - memory[hop]) / count
                      for hop, kib in hops(peer, memory_kib).items()}
            values["idle-kernel"] = (kernel_kib() - kernel) / count
            _, errors = client.communicate("\n")
        if client.returncode or not opened:
            raise RuntimeError(errors.strip())
        if memory:
            values["idle-memory"] = sum(values[f"idle-{hop}"] for hop in memory)
        return values | {"idle-count": count}

    def instructions(self, peer):
        """Those of both hops, in user space: the difference of a long and a short run, so without start and end."""
        if not peer.counted:
            return {}
        values = {}
        for direction in "up", "down":
            short, long = (self.count(peer, "bulk", direction, 1, COUNT_MS, size) for size in COUNT_BYTES)
            values[f"instructions-{direction}"] = ((long[0] - short[0]) /
                                                   (long[1][direction] - short[1][direction]))
        short, long = (self.count(peer, "connect", 8, COUNT_MS, number) for number in COUNT_CONNECTIONS)
        values["instructions-connect"] = ((long[0] - short[0]) /
                                          (long[1]["connections"] - short[1]["connections"]))
        return values

    def count(self, peer, *words):
        """(instructions of both hops, what the load says)"""
        for path in RUN.glob("callgrind.*"):
            path.unlink()
        peer.stop()
        peer.start(lambda hop: [*CALLGRIND, f"--callgrind-out-file={RUN}/callgrind.%p"])
        try:
            got = self.run(peer, *words, timeout=COUNT_MS / 1000)
            for program in peer.programs.values():  # a forked one writes down its count when it ends
                wait_until(lambda pid=program.pid: len(tree(pid, processes())) == 1, 30, "connections end")
        finally:
            peer.stop()
        total = sum(int(re.search(r"^(?:totals|summary): (\d+)", path.read_text(), re.M).group(1))
                    for path in RUN.glob("callgrind.*"))
        return total, got


def hops(peer, measure):
    """{"host": ..., "guest": ...} of the hops that the peer has"""
    return {hop: measure(program.pid) for hop, program in peer.programs.items()}


def median(values):
    return statistics.median(values)


def best(samples, figure, names):
    """The peer whose median is best, of those that have the figure; or None."""
    sign = -1 if FIGURES[figure].more else 1
    found = [name for name in names if samples.get(figure, {}).get(name)]
    return min(found, key=lambda name: sign * median(samples[figure][name]), default=None)


def rivals(peers, against):
    if against == "peers":
        return [peer.name for peer in peers if not peer.limit and peer.hops == 2 and peer.name != "vzfwd"]
    if against == "socat's UNIX-CONNECT":
        return [peer.name for peer in peers if peer.dial and peer.dial[0] == "socat"]
    return [peer.name for peer in peers if peer.name.split("-")[0] == against]


def by_round(ours, theirs):
    """Their ratios round by round, since the rounds are what was measured at about the same time."""
    return [a / b if b else math.inf for a, b in zip(ours, theirs)]


def judge(samples, peers, bar):
    """A row of "What it must reach", or None if it was not measured."""
    ours = samples.get(bar.figure, {}).get("vzfwd")
    rival = best(samples, bar.figure, rivals(peers, bar.against))
    if not ours:
        return None
    row = {"figure": bar.figure, "against": rival or bar.against, "ours": median(ours), "bar": bar.factor}
    if bar.against and not rival:
        return row | {"verdict": "not measured"}
    theirs = samples[bar.figure][rival] if rival else [1] * len(ours)
    ratios = by_round(ours, theirs)
    if FIGURES[bar.figure].more:
        reached, nearly = median(ratios) >= bar.factor, max(ratios) >= bar.factor
    else:
        reached, nearly = median(ratios) <= bar.factor, min(ratios) <= bar.factor
    return row | {"theirs": median(theirs), "ratio": median(ratios), "low": min(ratios), "high": max(ratios),
                  "verdict": "yes" if reached else "within spread" if nearly else "no"}
