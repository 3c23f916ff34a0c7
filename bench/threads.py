"""What threads of the compiled core are worth, and what queues of the device would be.

One thread for all, and what is usual: a second one under load. The core reads its TUN
device by one queue. What more queues could bring at most is what two devices bring,
each with its own queue, lock and threads, when they share the streams: they have
nothing to wait for in each other but the processors. Where those two carry no more than
one, no queue does.
"""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median
from typing import Any

from bench import traffic
from bench.programs import Program
from bench.twohosts import TunnelEnds, beside, tunnel
from meshwg.runtime.core import CORE, VARIABLE

ROUNDS = int(os.environ.get("BENCH_PAIRS", "5"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
"""For each transfer."""
STREAMS = 8

_WITH_THREADS = """
from meshwg.cli.wg import main
from meshwg.runtime import core_dataplane
core_dataplane.THREADS = {}
main()
"""

Figures = dict[str, float]


def program(threads: int) -> Program:
    """Return ``meshwg-wg`` over the core with so many threads at most."""
    code = _WITH_THREADS.format(threads)
    command = (sys.executable, "-c", code, "-f")
    return Program(f"{threads} threads", command, {VARIABLE: CORE})


@contextmanager
def one_thread() -> Iterator[list[TunnelEnds]]:
    with tunnel(program(1)) as pair:
        yield [pair]


@contextmanager
def usual() -> Iterator[list[TunnelEnds]]:
    with tunnel(program(2)) as pair:
        yield [pair]


@contextmanager
def two_devices() -> Iterator[list[TunnelEnds]]:
    with tunnel(program(2)) as pair:
        yield [pair, beside(program(2), pair)]


VARIANTS = {"one thread": one_thread, "as usual": usual, "two devices": two_devices}


def run() -> dict[str, Any]:
    """Measure all rounds, print the table, and return the figures."""
    runs: dict[str, list[Figures]] = {name: [] for name in VARIANTS}
    for number in range(1, ROUNDS + 1):
        for name, variant in VARIANTS.items():
            with variant() as pairs:
                runs[name].append(_measure(pairs))
            shown = ", ".join(f"{key} {v:,.2f}" for key, v in runs[name][-1].items())
            print(f"  {number}/{ROUNDS} {name:<12} {shown}", flush=True)
    medians = {
        name: {key: median(run[key] for run in each) for key in each[0]}
        for name, each in runs.items()
    }
    print(_table(medians))
    return {"rounds": ROUNDS, "seconds": SECONDS, "median": medians, "runs": runs}


def _measure(pairs: list[TunnelEnds]) -> Figures:
    """Return what tunnels carry together, and how long a ping takes in the first."""
    first = pairs[0]
    ping = ("-c", "200", "-i", "0.01")
    traffic.ping(first.left.host, first.right.address, *ping)
    round_trip = traffic.ping(first.left.host, first.right.address, *ping)
    before = sum(pair.cpu_seconds() for pair in pairs)
    count = STREAMS // len(pairs)
    out = _together(pairs, lambda pair, port: _streams(pair, port, count))
    cpu = sum(pair.cpu_seconds() for pair in pairs) - before
    # The first second is not among what was received, but its CPU time is.
    gigabytes = out * (SECONDS + 1) / 8 / 1000
    return {
        "Mbit/s": out,
        "CPU s/GB": cpu / gigabytes,
        "both ways": _together(pairs, _both_ways),
        "ping, ms": round_trip,
    }


def _streams(pair: TunnelEnds, port: int, count: int) -> float:
    left, right = pair.left.host, pair.right
    load = traffic.streams(
        left, right.host, right.address, count=count, seconds=SECONDS, port=port
    )
    return load.megabits


def _both_ways(pair: TunnelEnds, port: int) -> float:
    left, right = pair.left.host, pair.right
    options = ("--bidir", "-O", "1")
    load = traffic.iperf3(
        left, right.host, right.address, *options, seconds=SECONDS, port=port
    )
    return load.megabits


def _together(
    pairs: list[TunnelEnds], carry: Callable[[TunnelEnds, int], float]
) -> float:
    """Return the sum of what is carried at the same time."""
    with ThreadPoolExecutor() as threads:
        ports = range(traffic.IPERF3_PORT, traffic.IPERF3_PORT + len(pairs))
        return sum(threads.map(carry, pairs, ports))


def _table(medians: dict[str, Figures]) -> str:
    """Return the medians, a line for each variant."""
    keys = list(next(iter(medians.values())))
    lines = [f"{'':<14}" + "".join(f"{key:>12}" for key in keys)]
    for name, figures in medians.items():
        cells = "".join(f"{figures[key]:>12,.2f}" for key in keys)
        lines.append(f"{name:<14}{cells}")
    return "\n".join(lines)
