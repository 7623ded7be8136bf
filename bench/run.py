# SPDX-License-Identifier: MIT
"""Measures all peers and writes the report. scripts/bench runs this in namespaces of their own."""
import argparse
import json
import shutil
import sys
from pathlib import Path

import report
from peers import Builder
from rounds import Bench
from system import RUN, make_pod


def parse_arguments():
    parser = argparse.ArgumentParser()
    for option, kind in ("rounds", int), ("seconds", float), ("idle", int), ("peers", str), ("figures", str), \
            ("out", Path), ("bin", Path), ("vzfwd", str), ("vzfwd-guest", str):
        parser.add_argument(f"--{option}", type=kind, required=True)
    return parser.parse_args()


def main():
    options = parse_arguments()
    make_pod()
    bench = Bench(options, Builder(options.bin, options.vzfwd, options.vzfwd_guest).all())
    bench.run()
    data = bench.data()
    table = "\n".join(report.markdown(data, bench.peers)) + "\n"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "benchmarks.md").write_text(table)
    (options.out / "benchmarks.json").write_text(json.dumps(data, indent=1) + "\n")
    (options.out / "benchmarks.svg").write_text("\n".join(report.svg(data, report.relays(bench.peers))) + "\n")
    print(table)
    for log in RUN.glob("*.log"):
        if log.stat().st_size:
            shutil.copy(log, options.out)
    sys.exit(any(failure["peer"] == "vzfwd" for failure in bench.failures) or "vzfwd" in bench.missing)


main()
