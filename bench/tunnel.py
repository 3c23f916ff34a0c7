"""One tunnel between two hosts: meshwg-wg next to other userspace WireGuards.

Every round measures each program once, in turn, so that what else the machine does is
shared by all; medians of the rounds count, and only their ratios mean something.

After a pause most of a ping's time goes into waking processors whose caches have
forgotten the programs, so there the larger program pays more, however little it does.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from bench import traffic
from bench.idle import MEGABYTE
from bench.programs import BORINGTUN, TODAY, Program, others, ours
from bench.ratios import Ratio, table
from bench.twohosts import MTU, TunnelEnds, tunnel

ROUNDS = int(os.environ.get("BENCH_PAIRS", "5"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
"""For each transfer."""
BUSY = int(os.environ.get("BENCH_BUSY", "0"))
"""Busy loops beside all that is measured."""
UNDER_LOAD = 0.02
"""Seconds between pings while a stream runs."""
STREAMS = 8
GIGABYTE = 1e9

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    key: str
    title: str
    form: str
    """How its figures are printed."""


ONE, EIGHT, BOTH = "tcp_one", "tcp_eight", "tcp_both_ways"
CPU, LARGE, SMALL = "cpu_per_gigabyte", "udp_large", "udp_small"
LOADED, RESIDENT = "ping_under_load", "resident"
PINGS = {
    "ping_200_ms": ["-c", "20", "-i", "0.2"],
    "ping_10_ms": ["-c", "200", "-i", "0.01"],
    "ping_back_to_back": ["-c", "500", "-A"],
}
"""How the idle tunnel is pinged; ``-A`` sends when the answer to the one before is
there."""

ROWS = (
    Row(ONE, "TCP, one stream, Mbit/s", "{:,.0f}"),
    Row(EIGHT, "TCP, eight streams", "{:,.0f}"),
    Row(BOTH, "one each way, sum", "{:,.0f}"),
    Row(CPU, "CPU s per GB, both ends", "{:.1f}"),
    Row("ping_200_ms", "ping every 200 ms, ms", "{:.2f}"),
    Row("ping_10_ms", "ping every 10 ms", "{:.2f}"),
    Row("ping_back_to_back", "ping back to back", "{:.3f}"),
    Row(LOADED, "ping beside one stream", "{:.1f}"),
    Row(LARGE, "UDP 1,372 bytes, Mbit/s", "{:,.0f}"),
    Row(SMALL, "UDP 64 bytes, kpacket/s", "{:,.0f}"),
    Row(RESIDENT, "resident MB", "{:.0f}"),
)
TITLE_WIDTH = max(len(row.title) for row in ROWS)


def run() -> dict[str, Any]:
    """Measure all rounds, print the tables, and return the figures."""
    programs = [*ours(), *others()]
    runs: dict[str, list[Figures]] = {program.name: [] for program in programs}
    for number in range(1, ROUNDS + 1):
        for program in programs:
            figures = measure(program)
            runs[program.name].append(figures)
            print(
                f"  {number}/{ROUNDS} {program.name:20} {_summary(figures)}", flush=True
            )
    medians = {name: _medians(measured) for name, measured in runs.items()}
    print(_table(medians))
    ratios = {
        program.name: _ratios(medians[program.name], medians) for program in ours()
    }
    for name, each in ratios.items():
        if each:
            print(f"\n{name}\n{table(each)}")
    return {
        "mtu": MTU,
        "rounds": ROUNDS,
        "seconds": SECONDS,
        "busy_loops": BUSY,
        "median": medians,
        "ratios": {name: [r.to_json() for r in each] for name, each in ratios.items()},
        "runs": runs,
    }


def measure(program: Program) -> Figures:
    """Return all figures of one program."""
    with ExitStack() as stack:
        pair = stack.enter_context(tunnel(program))
        stack.enter_context(traffic.busy_loops(pair.left.host, BUSY))
        left, address = pair.left.host, pair.right.address
        traffic.ping(left, address, "-c", "20", "-i", "0.01")
        figures = {
            name: traffic.ping(left, address, *how) for name, how in PINGS.items()
        }
        figures |= _streams(pair)
        figures |= _datagrams(pair)
        figures[RESIDENT] = pair.resident_bytes() / MEGABYTE
    return figures


def _streams(pair: TunnelEnds) -> Figures:
    left, right, address = pair.left.host, pair.right.host, pair.right.address
    before = pair.cpu_seconds()
    with traffic.pinging(left, address, UNDER_LOAD) as pings:
        one = traffic.streams(left, right, address, seconds=SECONDS)
        cpu = pair.cpu_seconds() - before
    eight = traffic.streams(left, right, address, count=STREAMS, seconds=SECONDS)
    both = traffic.both_ways(left, right, address, seconds=SECONDS)
    # The first second is not among what was received, but its CPU time is.
    carried = one.received * (SECONDS + 1) / SECONDS / GIGABYTE
    return {
        ONE: one.megabits,
        EIGHT: eight.megabits,
        BOTH: both.megabits,
        CPU: cpu / carried,
        LOADED: pings.mean(),
    }


def _datagrams(pair: TunnelEnds) -> Figures:
    left, right, address = pair.left.host, pair.right.host, pair.right.address
    send = partial(traffic.datagrams, left, right, address, seconds=SECONDS)
    return {
        LARGE: send(size=traffic.LARGE).megabits,
        SMALL: send(size=traffic.SMALL).packets / 1000,
    }


def _medians(runs: Sequence[Figures]) -> Figures:
    return {key: median(run[key] for run in runs) for key in runs[0]}


def _ratios(figures: Figures, medians: dict[str, Figures]) -> list[Ratio]:
    """Return what is promised, next to whoever was measured."""
    ratios = []
    if TODAY in medians:
        ratios += [
            Ratio(f"{title} / {TODAY}", figures[key], medians[TODAY][key], limit, floor)
            for key, title, limit, floor in _next_to_today()
        ]
    if BORINGTUN in medians:
        ratios += [
            Ratio(f"{_title(key)} / {BORINGTUN}", figures[key], them, 1.25)
            for key in PINGS
            if (them := medians[BORINGTUN][key])
        ]
    return ratios


def _next_to_today() -> list[tuple[str, str, float, bool]]:
    """Return key, title, limit of each promise, and whether the limit is a floor."""
    faster = 2.0 if BUSY else 1.4
    promises = [(key, faster, True) for key in (ONE, EIGHT, BOTH)]
    promises += [(LARGE, 2.0, True), (SMALL, 3.0, True), (CPU, 0.6, False)]
    promises += [(key, 0.75, False) for key in PINGS]
    promises += [(LOADED, 1.0, False)]
    return [(key, _title(key), limit, floor) for key, limit, floor in promises]


def _title(key: str) -> str:
    return next(row.title for row in ROWS if row.key == key).partition(", M")[0]


def _table(medians: dict[str, Figures]) -> str:
    """Return the medians, a column for each program, at most 80 characters wide."""
    lines = ["", *_head(list(medians))]
    for row in ROWS:
        cells = "".join(f"{row.form.format(m[row.key]):>10}" for m in medians.values())
        lines.append(f"{row.title:<{TITLE_WIDTH}}{cells}")
    return "\n".join(lines)


def _head(names: Sequence[str]) -> list[str]:
    """Return two lines with the first and second words of the programs' names."""
    words = [name.replace("wireguard-go", "wg-go").partition(" ") for name in names]
    return [
        f"{'':<{TITLE_WIDTH}}" + "".join(f"{each:>10}" for each in line)
        for line in ([w[0] for w in words], [w[2] for w in words])
    ]


def _summary(figures: Figures) -> str:
    return (
        f"TCP {figures[ONE]:5,.0f} {figures[EIGHT]:5,.0f} {figures[BOTH]:5,.0f}"
        f"  UDP {figures[LARGE]:5,.0f}  ping {figures[LOADED]:4.1f} ms"
    )
