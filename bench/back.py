# SPDX-License-Identifier: MIT
"""The way back: from a pod to services of the host. scripts/bench --back runs this in namespaces of their own.

The client is in the pod's netns and the server on the host's 127.0.0.1:7000. Each peer has a netns of its own, with nothing
but lo; pasta and slirp4netns put their tap device into it.
"""
import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import peers
from figures import FIGURES, best, by_round, median
from peers import TARGET, Peer
from report import cell, rows
from rounds import Bench
from system import RUN, SERVER_PORT, add_pod, make_pod, run

ALIAS = "192.168.127.254"
UPLINK, GATEWAY = "10.9.0.2", "10.9.0.1"  # the host's network card, which pasta copies, and which leads nowhere
TABLES = [
    ("Throughput, GB/s", ["up1", "down1", "both1", "up8", "down8"]),
    ("CPU of the relay's processes, seconds per GB", ["up1-cpu", "down1-cpu", "both1-cpu", "up8-cpu", "down8-cpu"]),
    ("Round trip and connections",
     ["ping-p50", "ping-p99", "connect1", "connect50", "connect1-cpu", "connect50-cpu"]),
]
STEPS = "up1,down1,both1,up8,down8,ping,connect1,connect50"
RATED = ["up1", "down1", "both1", "up8", "down8", "ping-p50", "connect1", "connect50", "up1-cpu", "connect50-cpu"]
# Who is held against whom.
PAIRS = [
    ("vzfwd-expose", ["ssh", "pasta", "slirp4netns"]),
    ("vzfwd-expose", ["pasta-splice"]),
    ("vzfwd-expose-local", ["pasta-splice"]),
    ("vzfwd-expose-local", ["ssh", "pasta", "slirp4netns"]),
    ("vzfwd-egress", ["pasta", "slirp4netns"]),
]


class Builder(peers.Builder):
    def __init__(self, options):
        super().__init__(options.bin, options.vzfwd, options.vzfwd_guest)
        self.options = options

    def all(self):
        yield Peer("direct", "loopback of the host, no relay", SERVER_PORT, limit=True, hops=0)
        yield self.expose("vzfwd-expose", self.vzfwd, self.vzfwd_guest)
        for other in filter(None, self.options.others.split(",")):
            name, folder = other.split("=")
            yield self.expose(f"vzfwd-expose-{name}", f"{folder}/vzfwd", f"{folder}/vzfwd-guest")
        yield self.expose_local()
        yield self.egress()
        yield self.ssh()
        yield self.pasta("pasta", "its tap device, defaults; the gateway's address is the host's loopback", GATEWAY,
                         "none")
        yield self.pasta("pasta-splice", "-T: listens on the pod's loopback and splices; one hop, no tap", "127.0.0.1",
                         str(SERVER_PORT))
        yield self.slirp4netns()

    def peer(self, name, what, address, host, **others):
        """The client connects to `address`, on the server's port."""
        peer = Peer(name, what, SERVER_PORT, host=host, client_in_pod=True, address=address, pod=self.pod(name), **others)
        probe = ["nsenter", f"--net={peer.pod}", f"{self.bin}/load", "--at", address, "connect", str(SERVER_PORT), "1",
                 "5000", "1"]
        peer.listens = lambda: not subprocess.run(probe, capture_output=True).returncode
        return peer

    def pod(self, name):
        return f"/run/netns/{name}"

    def guest(self, name, program, *options):
        socket = f"{RUN}/{name}.sock"
        return {"guest": [program, "--listen", f"unix://{socket}", "--pod-netns", self.pod(name), *options],
                "guest_in_pod": False, "socket": socket}

    def expose(self, name, program, guest_program):
        return self.peer(
            name, "expose and vzfwd-guest, defaults, records", ALIAS,
            [program, "expose", f"unix://{RUN}/{name}.sock", f"{SERVER_PORT}:{TARGET}"],
            needs=[program, guest_program], version=[program, "--version"],
            **self.guest(name, guest_program, "--allow-expose"))

    def expose_local(self):
        name = "vzfwd-expose-local"
        return self.peer(name, "expose alone, endpoint netns:; one hop, raw", ALIAS,
                         [self.vzfwd, "expose", f"netns:{self.pod(name)}", f"{SERVER_PORT}:{TARGET}"],
                         needs=[self.vzfwd], hops=1)

    def egress(self):
        name = "vzfwd-egress"
        return self.peer(
            name, "egress and vzfwd-guest, defaults, one rule; to the address of the host's network card", UPLINK,
            [self.vzfwd, "egress", f"unix://{RUN}/{name}.sock", "--allow", UPLINK],
            needs=[self.vzfwd, self.vzfwd_guest], **self.guest(name, self.vzfwd_guest, "--allow-egress", "--allow-expose"))

    def ssh(self):
        made = self.ssh_peer({"name": "ssh", "port": SERVER_PORT, "socket": f"{RUN}/ssh.sock"},
                             "-R", f"127.0.0.1:{SERVER_PORT}:{TARGET}")
        return self.peer("ssh", made.what, "127.0.0.1", made.host, guest=made.guest, socket=made.socket,
                         prepare=made.prepare, needs=made.needs, version=made.version)

    def pasta(self, name, what, address, spliced):
        # As root, which is whose netns it is.
        return self.peer(name, what, address,
                         ["pasta", "-f", "-q", "--runas", "0", "--netns", self.pod(name), "--config-net", "-t", "none",
                          "-u", "none", "-U", "none", "-T", spliced],
                         needs=["pasta"], version=["dpkg-query", "-W", "-f", "passt ${Version}\n", "passt"], hops=1)

    def slirp4netns(self):
        name = "slirp4netns"
        return self.peer(name, "its tap device, MTU 65520 as podman sets it; 10.0.2.2 is the host's loopback", "10.0.2.2",
                         ["slirp4netns", "--netns-type=path", "--configure", "--mtu=65520", "--disable-dns",
                          self.pod(name), "tap0"],
                         needs=["slirp4netns"], version=["slirp4netns", "--version"], hops=1)


def make_nets(known):
    make_pod()
    # pasta wants a network card with a default route to copy.
    run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
    for words in "addr add 10.9.0.2/24 dev up0", "link set up1 up", "link set up0 up", f"route add default via {GATEWAY}":
        run("ip", *words.split())
    for peer in known:
        if peer.client_in_pod:
            add_pod(peer.pod)


def ratio(samples, figure, name, rivals):
    """To the best of them in this figure, round by round."""
    rival = best(samples, figure, rivals)
    if not rival or not samples[figure].get(name):
        return "–"
    ratios = by_round(samples[figure][name], samples[figure][rival])
    return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})" + (f" {rival}" if len(rivals) > 1 else "")


def markdown(data):
    samples, machine, what = data["samples"], data["machine"], data["what"]
    yield (f"Each figure is the median of {data['rounds']} interleaved rounds of {data['seconds']:g} s (lowest–highest). "
           f"{machine['cpu']}, {machine['cores']} cores; {machine['kernel']}, {machine['system']}; {data['date']}.")
    yield ""
    for title, figures in TABLES:
        figures = [figure for figure in figures if figure in samples]
        if figures:
            yield f"### {title}"
            yield ""
            yield from rows(["", *(FIGURES[figure].column for figure in figures)],
                            ([name, *(cell(samples[figure].get(name), figure) for figure in figures)]
                             for name in what if any(samples[figure].get(name) for figure in figures)))
    rated = [figure for figure in RATED if figure in samples]
    yield "### Ratios to the best of those named, round by round"
    yield ""
    yield from rows(["", *(FIGURES[figure].title for figure in rated)],
                    ([f"{name} to {', '.join(rivals)}", *(ratio(samples, figure, name, rivals) for figure in rated)]
                     for name, rivals in pairs(what)))
    yield from rows(["", "configuration", "version"],
                    ([name, words, data["versions"].get(name, "–")] for name, words in what.items()), "---")
    for name, reason in data["missing"].items():
        yield f"- Missing: {name}, {reason}"
    for failure in data["failures"]:
        yield f"- Failed: {failure['peer']}, {failure['step']}, round {failure['round']}: {failure['message']}"


def pairs(what):
    """With builds of --others each beside the newest."""
    others = [("vzfwd-expose", [name]) for name in what
              if name.startswith("vzfwd-expose-") and name != "vzfwd-expose-local"]
    return [pair for pair in PAIRS + others if pair[0] in what]


def main():
    parser = argparse.ArgumentParser()
    for option, kind in ("rounds", int), ("seconds", float), ("peers", str), ("figures", str), ("out", Path), \
            ("bin", Path), ("vzfwd", str), ("vzfwd-guest", str), ("others", str):
        parser.add_argument(f"--{option}", type=kind, required=True)
    options = parser.parse_args()
    options.idle = 0
    if options.figures == "all":
        options.figures = STEPS
    known = list(Builder(options).all())
    make_nets(known)
    bench = Bench(options, known, server_in=[])
    bench.run()
    data = bench.data() | {"what": {peer.name: peer.what for peer in bench.peers}}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "back.json").write_text(json.dumps(data, indent=1) + "\n")
    table = "\n".join(markdown(data)) + "\n"
    (options.out / "back.md").write_text(table)
    print(table)
    for log in RUN.glob("*.log"):
        if log.stat().st_size:
            shutil.copy(log, options.out)
    sys.exit(any(name.startswith("vzfwd") for name in [*bench.missing, *(f["peer"] for f in bench.failures)]))


main()
