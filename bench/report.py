# SPDX-License-Identifier: MIT
"""The report: a markdown table for people, JSON for programs, a plot for the glance."""
from html import escape

from figures import BARS, FIGURES, best, by_round, judge, median

TABLES = [
    ("Throughput, GB/s", ["up1", "down1", "both1", "up8", "down8", "both8"]),
    ("CPU of both hops, seconds per GB", ["up1-cpu", "down1-cpu", "both1-cpu", "up8-cpu", "down8-cpu", "both8-cpu"]),
    ("CPU of each side, seconds per GB",
     ["up1-host", "up1-guest", "down1-host", "down1-guest", "both1-host", "both1-guest"]),
    ("Round trip of one byte, µs", ["ping-p50", "ping-p99", "loaded-p50", "loaded-p99", "loaded-bulk"]),
    ("Connections per second", ["connect1", "connect50", "connect1-cpu", "connect50-cpu"]),
    ("Start, ms", ["startup-p50"]),
    ("Idle connection, KiB each", ["idle-host", "idle-guest", "idle-memory", "idle-kernel", "idle-count"]),
    ("Instructions of both hops in user space", ["instructions-up", "instructions-down", "instructions-connect"]),
]
HOW = """
- Every peer runs on the same path: client → TCP 127.0.0.1 → host hop → Unix stream socket → guest hop → TCP in a netns
  → server, all on one machine; rootlesskit alone has one hop. `direct` (no relay) and `splice` (the bare yardstick,
  `bench/splice-relay.c`) are lines to compare with and no peers. Peers take turns within each figure, and each round
  begins with another one.
- Throughput is counted when the last byte has arrived at its receiver, which verifies the stream. "both" adds up the two
  directions; ×8 means eight connections.
- CPU is user and system time of the relay's processes, those it has forked included.
- "Under bulk": beside one connection that sends both ways as fast as it can.
- A connection per second is connect, a byte there and back, close; for vzfwd with its handshake.
- Start: from exec of `vzfwd dial`, `ssh -W` or, for the others, `socat - UNIX-CONNECT` to the first byte back.
- Idle: the growth of Pss (what is shared counts once) of hops that were started anew; the kernel's share is what its
  slabs and TCP buffers have grown by on the whole machine.
- Instructions: the difference of a long and a short run under callgrind, so without start and end, and without the
  kernel's. How far writes are taken in part depends on timing, so figures per byte vary a little.
"""
SESSION_FIGURES = ["up1", "down1", "both1", "ping-p50", "ping-p99", "connect1", "connect50", "connect1-cpu",
                   "connect50-cpu"]
SESSION_BASE = "kubectl-plain"
SESSION_HOW = """
What vzfwd costs inside of `kubectl port-forward`: the newest kubectl (WebSocket, TLS) → a stand-in for the API server with
the API server's own handlers (`tests/kubernetes`) → `contrib/cri-shim` → the server, all on one machine. How the shim gets
to the server is what differs (see "The peers"). The second table has the ratios to `kubectl-plain`, round by round.
"""
PLOTTED = ["up1", "down1", "both1", "up8", "up1-cpu", "down1-cpu", "loaded-p50", "loaded-p99", "connect1", "connect50",
           "startup-p50", "idle-memory"]


def number(value, figure):
    return f"{value:.{FIGURES[figure].digits}f}"


def cell(values, figure):
    if not values:
        return "–"
    text = number(median(values), figure)
    low, high = number(min(values), figure), number(max(values), figure)
    return text if low == high else f"{text} ({low}–{high})"


def rows(header, lines, rule="---:"):
    yield "| " + " | ".join(header) + " |"
    yield "| --- |" + f" {rule} |" * (len(header) - 1)
    for line in lines:
        yield "| " + " | ".join(line) + " |"
    yield ""


def relays(peers):
    return [peer for peer in peers if not peer.session]


def sessions(samples, peers):
    """The section on kubectl sessions."""
    peers = [peer for peer in peers if peer.session]
    figures = [figure for figure in SESSION_FIGURES if any(samples.get(figure, {}).get(peer.name) for peer in peers)]
    if not figures:
        return
    yield "## Inside a kubectl session"
    yield SESSION_HOW
    columns = [f"{FIGURES[figure].title}, {FIGURES[figure].unit}" for figure in figures]
    yield from rows(["", *columns], ([peer.name, *(cell(samples[figure].get(peer.name), figure) for figure in figures)]
                                     for peer in peers))
    yield from rows(["", *columns], ([peer.name, *(ratio_cell(samples[figure], peer.name) for figure in figures)]
                                     for peer in peers if peer.name != SESSION_BASE))


def ratio_cell(found, name):
    ratios = by_round(found.get(name, []), found.get(SESSION_BASE, []))
    return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})" if ratios else "–"


def bar_row(result):
    key, figure = result["figure"], FIGURES[result["figure"]]
    against, ratio = result["against"] or "–", "–"
    if "ratio" in result:
        ratio = f"{result['ratio']:.2f} ({result['low']:.2f}–{result['high']:.2f})"
        if result["against"]:
            against += f": {number(result['theirs'], key)}"
    return [figure.title, f"{number(result['ours'], key)} {figure.unit}", against, ratio,
            f"{'≥' if figure.more else '≤'} {result['bar']}", result["verdict"]]


def markdown(data, peers):
    samples, machine = data["samples"], data["machine"]
    yield "# Benchmarks"
    yield ""
    yield (f"`scripts/bench` wrote this. Each figure is the median of {data['rounds']} interleaved rounds of "
           f"{data['seconds']:g} s (lowest–highest).")
    yield ""
    yield (f"{machine['cpu']}, {machine['cores']} cores, {machine['memory']}; {machine['kernel']}, "
           f"{machine['system']}; {data['date']}.")
    yield ""
    yield "![The ratios at a glance](benchmarks.svg)"
    yield ""
    if data["bars"]:
        yield "## What it must reach"
        yield ""
        yield "The ratio is vzfwd's figure by that of the best one it is held against, round by round."
        yield ""
        yield from rows(["figure", "vzfwd", "against", "ratio", "bar", "reached"], map(bar_row, data["bars"]), "---")
    for title, figures in TABLES:
        figures = [figure for figure in figures
                   if any(samples.get(figure, {}).get(peer.name) for peer in relays(peers))]
        if not figures:
            continue
        yield f"## {title}"
        yield ""
        yield from rows(
            ["", *(FIGURES[figure].column for figure in figures)],
            ([peer.name, *(cell(samples[figure].get(peer.name), figure) for figure in figures)]
             for peer in relays(peers) if any(samples[figure].get(peer.name) for figure in figures)))
    yield from sessions(samples, peers)
    yield "## How"
    yield HOW
    yield "## The peers"
    yield ""
    yield from rows(["", "configuration", "version"],
                    ([peer.name, peer.what, data["versions"].get(peer.name, "–")] for peer in peers), "---")
    for name, reason in data["missing"].items():
        yield f"- Missing: {name}, {reason}"
    for failure in data["failures"]:
        yield f"- Failed: {failure['peer']}, {failure['step']}, round {failure['round']}: {failure['message']}"


def bars(samples, peers):
    return [row for row in (judge(samples, peers, bar) for bar in BARS) if row]


# The plot: a panel for each figure, and in it a bar for each peer, longer is better; 1 is the best one of the peers.

PANEL_WIDTH, LABEL_WIDTH, BAR_HEIGHT, COLUMNS, SCALE_END = 380, 105, 14, 3, 2.0
STYLE = """
text { font: 11px sans-serif; fill: #222 } .title { font-size: 13px; font-weight: bold }
.value { fill: #555; paint-order: stroke; stroke: #fff; stroke-width: 3px }
.vzfwd { fill: #1766b5 } .peer { fill: #b9c0c7 } .limit { fill: #e3d3a8 } .one { stroke: #c0392b; stroke-width: 1 }
"""


def panel(figure, samples, peers, left, top):
    values = {name: median(found) for name, found in samples[figure].items() if found}
    others = [peer.name for peer in peers if not peer.limit and peer.name != "vzfwd"]
    reference = values[best(samples, figure, others) or best(samples, figure, values)]
    more = FIGURES[figure].more
    unit = (PANEL_WIDTH - LABEL_WIDTH - 75) / SCALE_END
    yield (f'<text class="title" x="{left}" y="{top}">{escape(FIGURES[figure].title)} '
           f'[{escape(FIGURES[figure].unit)}]</text>')
    shown = [peer for peer in peers if peer.name in values]
    texts = []
    for i, peer in enumerate(shown):
        value, y = values[peer.name], top + 8 + i * BAR_HEIGHT
        # Next to nothing can be measured as a little less than nothing.
        ratio = value / reference if more else reference / max(value, reference / 100, 1e-9)
        width = min(max(ratio, 0), SCALE_END) * unit
        kind = "vzfwd" if peer.name == "vzfwd" else "limit" if peer.limit else "peer"
        beyond = " ▸" if ratio > SCALE_END else ""
        yield (f'<text x="{left + LABEL_WIDTH - 5}" y="{y + 10}" text-anchor="end">{escape(peer.name)}</text>'
               f'<rect class="{kind}" x="{left + LABEL_WIDTH}" y="{y + 1}" width="{width:.1f}" '
               f'height="{BAR_HEIGHT - 3}"/>')
        texts.append(f'<text class="value" x="{left + LABEL_WIDTH + width + 4:.1f}" y="{y + 10}">'
                     f'{ratio:.2f}{beyond} ({number(value, figure)})</text>')
    x = left + LABEL_WIDTH + unit
    yield f'<line class="one" x1="{x}" x2="{x}" y1="{top + 6}" y2="{top + 10 + len(shown) * BAR_HEIGHT}"/>'
    yield from texts


def svg(data, peers):
    samples = data["samples"]
    figures = [figure for figure in PLOTTED if samples.get(figure)]
    panel_height = 45 + len(peers) * BAR_HEIGHT
    height = 70 + -(-len(figures) // COLUMNS) * panel_height
    width = COLUMNS * PANEL_WIDTH + 40
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
           f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>')
    yield ('<text class="title" x="20" y="25">vzfwd and its peers: ratio to the best peer (red line), longer is better'
           '</text><text class="value" x="20" y="42">'
           f'{escape(data["machine"]["cpu"])}, {data["machine"]["cores"]} cores; median of {data["rounds"]} rounds; '
           'direct and splice are limit lines and no peers</text>')
    for i, figure in enumerate(figures):
        yield from panel(figure, samples, peers, 20 + i % COLUMNS * PANEL_WIDTH, 70 + i // COLUMNS * panel_height)
    yield "</svg>"
