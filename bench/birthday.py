"""First meetings of nodes that only the birthday method brings together.

Two hundred in virtual time, where nothing but chance decides, and forty of the real
programs in namespaces.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from pathlib import Path

from bench.targets import NEVER, Target
from netlab import matrix, presets
from netlab.encounter import Outcome
from netlab.lab import Lab
from netlab.matrix import Cell
from netlab.truth import Method

ROOT = Path(__file__).parent.parent
MEETINGS = 200
PROCESSES = 2

PAIRS = 40
OFFICES, HOMES = 8, 5
"""Nodes whose pairs these are."""

MISSED_TARGET = 3.0
"""Percent of first attempts."""
MEDIAN_TARGET, SLOWEST_TARGET = 2.5, 5.0
"""Seconds; the second one is for 95 % of the meetings."""


def virtual_targets(say: Callable[[str], None]) -> list[Target]:
    """Let nodes meet in virtual time; return the targets."""
    say(f"{MEETINGS} first meetings by birthday in virtual time")
    bounds = [MEETINGS * part // PROCESSES for part in range(PROCESSES + 1)]
    with ThreadPoolExecutor(PROCESSES) as pool:
        parts = list(pool.map(_simulated, bounds, bounds[1:]))
    return _targets("virtual birthday", [each for part in parts for each in part])


def targets(lab: Lab, say: Callable[[str], None]) -> list[Target]:
    """Let nodes in namespaces meet; return the targets."""
    say(f"{OFFICES + HOMES} nodes join for {PAIRS} first meetings by birthday")
    mesh = matrix.build(
        lab,
        [presets.OFFICE, presets.PORT_RESTRICTED],
        numbers=range(1, max(OFFICES, HOMES) + 1),
    )
    cells = [
        Cell(presets.OFFICE, presets.PORT_RESTRICTED, (office, home))
        for office in range(1, OFFICES + 1)
        for home in range(1, HOMES + 1)
    ]
    outcomes = matrix.run(mesh, cells[:PAIRS], lambda progress: None).values()
    return _targets("birthday", [_first_attempt(each) for each in outcomes])


def _simulated(first: int, last: int) -> list[float]:
    """Return after how many seconds the meetings of these seeds were direct."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.mesh.birthdays", str(first), str(last)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    return [float(line) for line in done.stdout.split()]


def _first_attempt(outcome: Outcome) -> float:
    """Return after how many seconds the first attempt succeeded, if it did."""
    missed = any(told.startswith("birthday failed") for told in outcome.attempts)
    is_met = outcome.method is Method.BIRTHDAY and not missed
    return NEVER if not is_met or outcome.direct is None else outcome.direct


def _targets(name: str, seconds: Sequence[float]) -> list[Target]:
    missed = 100 * seconds.count(NEVER) / len(seconds)
    slowest = sorted(seconds)[ceil(0.95 * len(seconds)) - 1]
    return [
        Target(f"{name}: first attempts missed", MISSED_TARGET, "%", [missed]),
        Target(f"{name}: direct", MEDIAN_TARGET, "s", seconds),
        Target(f"{name}: direct, 95 of 100", SLOWEST_TARGET, "s", [slowest]),
    ]
