"""How soon there is a path, and how well it is kept: the targets, in one table.

Real programs in the lab's namespaces. One mesh with several nodes of each kind of
network serves most runs, so that every run is the first meeting of two nodes; relays
die in a second mesh, which has two of them, laptops roam in a third, in a fourth no
datagram gets through, in a fifth boxes inspect packets, and birthdays are counted in a
sixth and in virtual time.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from typing import Any, TypeVar

from bench import birthday, inspection, relay_death, roaming, tcp_paths
from bench.pinging import is_direct, lost_of, recovery
from bench.targets import NEVER, Target, table
from meshwg.nattypes import PortAllocation
from netlab import matrix, presets
from netlab.encounter import Outcome
from netlab.lab import Lab
from netlab.matrix import Cell, Progress
from netlab.mesh import Mesh, MeshNode
from netlab.nat import Behaviour
from netlab.presets import Preset
from netlab.truth import Method

RUNS = max(5, int(os.environ.get("BENCH_RUNS", "5")))
"""Runs of each cell, and nodes of each kind; fewer would not make enough pairs."""

KINDS = matrix.QUICK
FORGETFUL = Preset(
    "forgetful",
    Behaviour(ports=PortAllocation.RANDOM),
    seen="routers that give a socket another port after a restart",
    punching="works",
)
"""Without this a rebooted router maps as before, and nothing has to be recovered."""

PINGS = 1000
PING_INTERVAL = 0.01
UPGRADES_AT_ONCE = 2

T = TypeVar("T")
S = TypeVar("S")


def run() -> dict[str, Any]:
    """Measure, print the table, and return the figures."""
    began = time.monotonic()
    with Lab(title="bench paths") as lab:
        say(f"{len(KINDS) + 1} kinds of networks with {RUNS} nodes each are joining")
        mesh = matrix.build(lab, [*KINDS, FORGETFUL], numbers=range(1, RUNS + 1))
        outcomes = _meetings(mesh)
        targets = [*_meeting_targets(outcomes), *_upgrades(mesh), *_reboots(lab, mesh)]
    with Lab(title="bench relay death") as lab:
        outages = relay_death.outages(lab, RUNS, say)
        targets.append(Target("another relay after one died", 5.0, "s", outages))
    with Lab(title="bench roaming") as lab:
        targets += roaming.targets(lab, RUNS, say)
    with Lab(title="bench TCP paths") as lab:
        targets += tcp_paths.targets(lab, RUNS, say)
    with Lab(title="bench inspection") as lab:
        targets += inspection.targets(lab, RUNS, say)
    with Lab(title="bench birthday") as lab:
        targets += birthday.targets(lab, say)
    targets += birthday.virtual_targets(say)
    print(table(targets), flush=True)
    seconds = time.monotonic() - began
    print(f"{seconds:.0f} s in all")
    return {
        "targets": [target.to_json() for target in targets],
        "cells": [_cell_json(cell, runs) for cell, runs in outcomes.items()],
        "seconds": round(seconds),
    }


# First meetings.


def _meetings(mesh: Mesh) -> dict[str, list[tuple[Cell, Outcome]]]:
    """Let nodes of every pair of kinds meet; return what came of it by the pair."""
    cells = [_meeting(cell, run) for cell in matrix.cells(KINDS) for run in range(RUNS)]
    done = 0

    def tell(progress: Progress) -> None:
        nonlocal done
        if progress.outcome is None:
            return
        done += 1
        if progress.outcome.problem:
            say(f"{' and '.join(progress.cell.nodes)}: {progress.outcome.problem}")
        if done % 20 == 0:
            say(f"{done} of {len(cells)} first meetings")

    found: dict[str, list[tuple[Cell, Outcome]]] = {}
    for cell, outcome in matrix.run(mesh, cells, tell).items():
        found.setdefault(str(cell), []).append((cell, outcome))
    return found


def _meeting(cell: Cell, run: int) -> Cell:
    """Return the cell for a run; no two runs have the same pair of nodes."""
    same = cell.row is cell.column
    return Cell(cell.row, cell.column, _numbers(run, 1 if same else 0))


def _numbers(run: int, distance: int) -> tuple[int, int]:
    """Return two nodes' numbers, so far apart; they count from 1, and in a circle."""
    return run % RUNS + 1, (run + distance) % RUNS + 1


def _meeting_targets(found: dict[str, list[tuple[Cell, Outcome]]]) -> list[Target]:
    direct = {
        Method.DIRECT: ("direct by plain punching", 3.0),
        Method.PREDICTION: ("direct by prediction", 20.0),
        Method.BIRTHDAY: ("direct by birthday", 20.0),
    }
    everything = found.values()
    firsts = [[_seconds(outcome.first) for _, outcome in runs] for runs in everything]
    targets = [_target("first packet, worst cell", 1.0, firsts)]
    for method, (name, limit) in direct.items():
        groups = [
            [_seconds(outcome.direct) for _, outcome in runs]
            for runs in everything
            if runs[0][0].expected is method
        ]
        targets.append(_target(f"{name}, worst cell", limit, groups))
    return targets


def _target(name: str, limit: float, groups: Sequence[Sequence[float]]) -> Target:
    return Target(
        name, limit, "s", [each for group in groups for each in group], groups
    )


def _seconds(measured: float | None) -> float:
    return NEVER if measured is None else measured


def _cell_json(cell: str, runs: list[tuple[Cell, Outcome]]) -> dict[str, Any]:
    outcomes = [outcome for _, outcome in runs]
    directs = [one.direct for one in outcomes if one.direct is not None]
    return {
        "cell": cell,
        "expected": runs[0][0].expected.value,
        "first": [one.first for one in outcomes],
        "direct": [one.direct for one in outcomes],
        "median_direct": median(directs) if directs else None,
        "lost": sum(one.lost for one in outcomes),
        "problems": [one.problem for one in outcomes if one.problem],
    }


# From the relay to a direct path.


def _upgrades(mesh: Mesh) -> list[Target]:
    targets = []
    for name, kind in (
        ("punching", presets.PORT_RESTRICTED),
        ("birthday", presets.OFFICE),
    ):
        distance = 2 if kind is presets.PORT_RESTRICTED else 1
        pairs = [
            matrix.nodes_of(
                Cell(kind, presets.PORT_RESTRICTED, _numbers(run, distance)), mesh
            )
            for run in range(RUNS)
        ]
        say(f"{RUNS} upgrades by {name} under {PINGS} pings")
        lost = [each for each in _each(_upgrade, pairs, UPGRADES_AT_ONCE) if each >= 0]
        title = f"pings lost of {PINGS} when {name} replaces the relay"
        targets.append(Target(title, 0, "", lost))
    return targets


def _upgrade(pair: tuple[MeshNode, MeshNode]) -> float:
    """Return the pings lost on the way to a direct path, -1 if it did not come."""
    one, other = pair
    if is_direct(one, other):
        return -1
    lost = lost_of(one, other, PINGS, PING_INTERVAL)
    return lost if is_direct(one, other) and is_direct(other, one) else -1


# Routers that reboot.


def _reboots(lab: Lab, mesh: Mesh) -> list[Target]:
    pairs = [
        matrix.nodes_of(
            Cell(FORGETFUL, presets.PORT_RESTRICTED, _numbers(run, 0)), mesh
        )
        for run in range(RUNS)
    ]
    for one, other in pairs:
        one.ping(other)
    for one, other in pairs:
        one.host.wait_until(
            partial(is_direct, one, other), f"its path to {other.name} is direct"
        )
    say(f"{RUNS} routers reboot")

    def reboot(pair: tuple[MeshNode, MeshNode]) -> tuple[float, float]:
        return recovery(*pair, lab.router(f"{pair[0].name}-nat").reboot_nat)

    recoveries = _each(reboot, pairs, RUNS)
    return [
        Target(
            "traffic after a NAT reboot", 8.0, "s", [flow for flow, _ in recoveries]
        ),
        Target("direct after a NAT reboot", 15.0, "s", [one for _, one in recoveries]),
    ]


# Everywhere.


def _each(function: Callable[[S], T], arguments: Sequence[S], at_once: int) -> list[T]:
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(function, arguments))


def say(sentence: str) -> None:
    print(f"  {sentence}", flush=True)
