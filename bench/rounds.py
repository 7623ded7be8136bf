# SPDX-License-Identifier: MIT
"""Peers that take turns: each figure of each peer, round after round."""
import datetime
import subprocess
import sys

import report
from figures import ONCE, SESSION, STEPS, Meter
from system import IN_POD, SERVER_PORT, Program, machine, tcp_listens, wait_until


def chosen(names, known, what):
    """Of a list "a,b", or "all"."""
    wanted = known if names == "all" else names.split(",")
    unknown = set(wanted) - set(known)
    if unknown:
        sys.exit(f"bench: no such {what}: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [name for name in known if name in wanted]


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def start_server(load, where):
    """What the peers lead to; where: the words that lead to its netns."""
    server = Program("server", [*where, load, "serve", str(SERVER_PORT)])
    wait_until(lambda: tcp_listens(SERVER_PORT, server.pid), 10, "the server listens", [server])
    return server


class Bench:
    def __init__(self, options, known, server_in=IN_POD):
        """known: the peers that options.peers chooses from; server_in: where the server is, None: not started here."""
        self.options = options
        self.server_in = server_in
        self.load = str(options.bin / "load")
        names = chosen(options.peers, [peer.name for peer in known], "peer")
        self.peers = [peer for peer in known if peer.name in names]
        self.steps = chosen(options.figures, STEPS, "figure")
        self.meter = Meter(self.load, options.seconds, options.idle)
        self.samples, self.missing, self.failures = {}, {}, []

    def start(self, peer):
        """False, with the reason noted, if it can't be had."""
        reason = peer.missing()
        if not reason:
            try:
                peer.start()
                self.meter.run(peer, "connect", 1, 30000, 1)
                return True
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                reason = f"does not run here: {error}"
                peer.stop()
        say(f"{peer.name} is missing: {reason}")
        self.missing[peer.name] = reason
        return False

    def measure(self, number, step, peer):
        """A peer that has failed in a step is spared it from then on, so that rounds stay comparable."""
        if any(failure["peer"] == peer.name and failure["step"] == step for failure in self.failures):
            return
        values = {}
        try:
            values = self.meter.measure(step, peer)
        except (RuntimeError, subprocess.SubprocessError) as error:
            say(f"{peer.name} failed in {step}: {error}")
            self.failures.append({"peer": peer.name, "step": step, "round": number, "message": str(error)})
            peer.stop()
        for figure, value in values.items():
            self.samples.setdefault(figure, {}).setdefault(peer.name, []).append(value)
        if not peer.programs:
            peer.start()

    def round(self, number):
        for step in self.steps:
            if step in ONCE and number > 1:
                continue
            say(f"round {number} of {self.options.rounds}: {step}")
            shift = number % len(self.peers)  # nobody is always the first
            for peer in self.peers[shift:] + self.peers[:shift]:
                if not peer.session or step in SESSION:
                    self.measure(number, step, peer)

    def data(self):
        return {
            "date": datetime.date.today().isoformat(), "machine": machine(),
            "rounds": self.options.rounds, "seconds": self.options.seconds,
            "versions": {peer.name: version(peer) for peer in self.peers if peer.version},
            "samples": self.samples, "bars": report.bars(self.samples, report.relays(self.peers)),
            "missing": self.missing, "failures": self.failures,
        }

    def run(self):
        server = start_server(self.load, self.server_in) if self.server_in is not None else None
        try:
            self.peers = [peer for peer in self.peers if self.start(peer)]
            for number in range(1, self.options.rounds + 1):
                self.round(number)
        finally:
            for peer in self.peers:
                peer.stop()
            if server:
                server.stop()


def version(peer):
    done = subprocess.run(peer.version, text=True, capture_output=True)
    return (done.stdout.strip().splitlines() or ["unknown"])[0]
