# SPDX-License-Identifier: MIT
"""Into a VM over AF_VSOCK: vzfwd beside socat on the same link. bench/vm.sh runs this.

	vm.py loopback OPTION...   in a VM: everything is in there, the link is vsock_loopback
	vm.py guest OPTION...      in a VM: the server and the guest hops; until it is ended
	vm.py device OPTION...     outside of it: the load and the host hops; the link is a Unix socket of the VM's
	                           device, in --sockets, for each port
	vm.py report JSON...       what these have written, as a section of a page
"""
import argparse
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from figures import FIGURES, Bar, by_round, judge
from peers import TARGET, Peer
from report import cell, number, rows
from rounds import Bench, start_server
from system import IN_POD, POD, RUN, SERVER_PORT, make_pod, wait_until

FIRST_PORT = 1100  # AF_VSOCK's
SIZES = {"socat-8k": 8192, "socat-64k": 65536, "socat-256k": 262144}
SHOWN = ["up1", "down1", "both1", "up8", "down8", "both8", "ping-p50", "ping-p99", "connect1", "connect50"]


class Builder:
    """The peers, in an order that both sides of the device know."""

    def __init__(self, options):
        self.options = options
        self.count = 0

    def all(self):
        yield self.vzfwd("vzfwd", self.options.vzfwd, self.options.vzfwd_guest)
        for other in filter(None, (self.options.others or "").split(",")):
            name, folder = other.split("=")
            yield self.vzfwd(f"vzfwd-{name}", f"{folder}/vzfwd", f"{folder}/vzfwd-guest")
        for name, size in SIZES.items():
            yield self.socat(name, size)

    def vzfwd(self, name, program, guest_program):
        port, vsock = self.next()
        endpoint = self.link(vsock, "vsock://1:{}", "unix://{}")
        return self.peer(
            name, "listen and vzfwd-guest, defaults, records", port,
            [program, "listen", "-p", endpoint, f"127.0.0.1:{port}:{TARGET}"],
            [guest_program, "--listen", f"vsock://any:{vsock}", "--pod-netns", POD, "--allow-cid", "1",
             "--allow-cid", "2"], guest_in_pod=False)

    def socat(self, name, size):
        port, vsock = self.next()
        command = ["socat", f"-b{size}", "-t30"]
        return self.peer(
            name, f"forks for each connection, -b{size}, nodelay", port,
            [*command, f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=4096,nodelay",
             self.link(vsock, "VSOCK-CONNECT:1:{}", "UNIX-CONNECT:{}")],
            [*command, f"VSOCK-LISTEN:{vsock},fork,backlog=4096", f"TCP:{TARGET},nodelay"])

    def next(self):
        self.count += 1
        return SERVER_PORT + self.count, FIRST_PORT + self.count

    def link(self, vsock, loopback, device):
        return loopback.format(vsock) if self.options.way == "loopback" else device.format(
            f"{self.options.sockets}/{vsock}")

    def peer(self, name, what, port, host, guest, guest_in_pod=True):
        return Peer(
            name, what, port, needs=[host[0]],
            host=host if self.options.way != "guest" else None,
            guest=guest if self.options.way != "device" else None,
            guest_in_pod=guest_in_pod, connect=self.wait_for(port) if self.options.way != "guest" else None)

    def wait_for(self, port):
        """There is no list of who listens on AF_VSOCK: until a connection gets through."""
        probe = [f"{self.options.bin}/load", "connect", str(port), "1", "5000", "1"]

        def connects():
            return not subprocess.run(probe, capture_output=True).returncode
        return lambda: wait_until(connects, 30, "the guest hop listens")


def guest(options):
    server = start_server(f"{options.bin}/load", IN_POD)
    peers = list(Builder(options).all())
    for peer in peers:
        peer.start()
    print("serving", flush=True)
    signal.pause()
    return server


def measure(options):
    bench = Bench(options, list(Builder(options).all()), IN_POD if options.way == "loopback" else None)
    bench.run()
    data = bench.data() | {"title": options.title, "what": {peer.name: peer.what for peer in bench.peers}}
    options.out.write_text(json.dumps(data, indent=1) + "\n")
    for log in RUN.glob("*.log"):
        if log.stat().st_size:
            shutil.copy(log, options.out.with_suffix(f".{log.name}"))
    sys.exit(bool(bench.missing))


def ratio(samples, name, figure):
    """To the best socat of this figure, round by round."""
    bar = judge(samples | {figure: samples[figure] | {"vzfwd": samples[figure][name]}}, RIVALS, Bar(figure, "socat", 1.0))
    if "ratio" not in bar:
        return "–"
    return f"{bar['ratio']:.2f} ({bar['low']:.2f}–{bar['high']:.2f}) {bar['against'].removeprefix('socat-')}"


RIVALS = [Peer(name, "", 0) for name in SIZES]


def markdown(data):
    samples = data["samples"]
    figures = [figure for figure in SHOWN if figure in samples]
    names = list(data["what"])
    yield f"### {data['title']}"
    yield ""
    yield from rows(["", *(f"{FIGURES[figure].title}, {FIGURES[figure].unit}" for figure in figures)],
                    ([name, *(cell(samples[figure].get(name), figure) for figure in figures)] for name in names))
    yield from rows(["to the best socat", *(FIGURES[figure].title for figure in figures)],
                    ([name, *(ratio(samples, name, figure) for figure in figures)]
                     for name in names if name.startswith("vzfwd")))
    for failure in data["failures"]:
        yield f"- Failed: {failure['peer']}, {failure['step']}, round {failure['round']}: {failure['message']}"


def main():
    if sys.argv[1] == "report":
        for path in sys.argv[2:]:
            print("\n".join(markdown(json.loads(Path(path).read_text()))))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=["loopback", "guest", "device"])
    for option, kind in ("rounds", int), ("seconds", float), ("peers", str), ("figures", str), ("out", Path), \
            ("bin", Path), ("vzfwd", str), ("vzfwd-guest", str), ("others", str), ("sockets", str), ("title", str):
        parser.add_argument(f"--{option}", type=kind)
    options = parser.parse_args()
    options.idle = 0
    if options.figures == "all":
        options.figures = ",".join(dict.fromkeys(figure.split("-")[0] for figure in SHOWN))
    make_pod()
    if options.way == "guest":
        guest(options)
    else:
        measure(options)


main()
