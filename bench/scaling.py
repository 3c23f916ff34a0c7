"""Throughput with more and more active peers, in both directions.

All peers get the same number of packets, superpacket by superpacket in turn, so with
many of them each burst is another peer's: nothing that was found for the one before is
of use for the next. :mod:`bench.generator` makes the packets, so the same program with
one peer is what the others are held against. Where the generator is the slower one, it
is the CPU of a packet that tells what the program would carry at most.
"""

import os
from statistics import median
from typing import Any

from bench.generator import Rate, crowd
from bench.programs import Program, ours
from bench.ratios import Ratio, table

ROUNDS = int(os.environ.get("BENCH_PAIRS", "5"))
PACKETS = int(os.environ.get("BENCH_PACKETS", "60000"))
"""In each direction."""
COUNTS = (1, 10, 100, 1000)
FLOOR = 0.8
"""The part of the throughput with one peer that is left with the most."""

IN, OUT = "in", "out"
Runs = dict[tuple[int, str], list[Rate]]


def run() -> dict[str, Any]:
    """Measure all rounds, print the tables, and return the figures."""
    figures: dict[str, Any] = {"rounds": ROUNDS, "packets": PACKETS, "programs": {}}
    for program in ours():
        runs: Runs = {(n, way): [] for n in COUNTS for way in (IN, OUT)}
        for number in range(1, ROUNDS + 1):
            _measure_all(program, runs)
            print(f"  {number}/{ROUNDS} {program}", flush=True)
        print(_rows(program, runs))
        ratios = _ratios(runs)
        print(table(ratios))
        figures["programs"][program.name] = {
            "median": _figures(runs),
            "ratios": [ratio.to_json() for ratio in ratios],
        }
    return figures


def _measure_all(program: Program, runs: Runs) -> None:
    for count in COUNTS:
        with crowd(program, count) as peers:
            runs[count, IN].append(peers.inward(PACKETS))
            runs[count, OUT].append(peers.outward(PACKETS))


def _median(rates: list[Rate]) -> Rate:
    return Rate(
        median(rate.packets for rate in rates), median(rate.cpu for rate in rates)
    )


def _rows(program: Program, runs: Runs) -> str:
    lines = [f"{program.name:<18}" + "".join(f"{n:>14,}" for n in COUNTS) + "  peers"]
    for way in (IN, OUT):
        rates = [_median(runs[count, way]) for count in COUNTS]
        cells = "".join(f"{rate.packets / 1000:>14.1f}" for rate in rates)
        lines.append(f"{way + ', kpacket/s':<18}{cells}")
        cells = "".join(f"{rate.cpu:>14.1f}" for rate in rates)
        lines.append(f"{way + ', CPU us':<18}{cells}")
    return "\n".join(lines)


def _ratios(runs: Runs) -> list[Ratio]:
    few, many = COUNTS[0], COUNTS[-1]
    ratios = []
    for way in (IN, OUT):
        name = f"{way}: {many:,} peers / {few}"
        most, least = _median(runs[many, way]), _median(runs[few, way])
        ratios += [
            Ratio(f"{name}, packets", most.packets, least.packets, FLOOR, True),
            Ratio(f"{name}, CPU", most.cpu, least.cpu, 1 / FLOOR),
        ]
    return ratios


def _figures(runs: Runs) -> dict[str, Any]:
    medians = {key: _median(rates) for key, rates in runs.items()}
    return {
        f"{count} {way}": {"packets_per_second": rate.packets, "cpu_us": rate.cpu}
        for (count, way), rate in medians.items()
    }
