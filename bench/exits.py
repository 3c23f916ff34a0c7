"""A laptop that uses an exit, disturbed again and again: does anything leave beside it?

The scenario ``exit`` of the lab, with as many rounds as wanted: in each, the node is
killed or stopped, loses its rules, routes or firewall, or its machine has another
network, while programs talk without end. Every packet of theirs on the cable is one too
many.
"""

import os
from itertools import islice
from typing import Any

from bench.targets import Target, table
from netlab.errors import ScenarioFailed
from netlab.lab import Lab
from scenarios import exit as scenario

ROUNDS = int(os.environ.get("BENCH_PAIRS", "100"))
NAME = "packets of programs in the clear"


def run() -> dict[str, Any]:
    """Disturb, print and return what came of it."""
    with Lab(title="bench exits") as lab:
        travel = scenario.build(lab)
        scenario.begin(travel)
        leaks = list(_leaks(travel))
    target = Target(NAME, 0, "", leaks)
    print(f"\n{table([target])}")
    return {"rounds": ROUNDS, "targets": [target.to_json()]}


def _leaks(travel: scenario.Travel) -> list[float]:
    """Return how many packets were in the clear, by round; the first ends it."""
    leaks: list[float] = []
    rounds = scenario.rounds(travel)
    try:
        for number, what in enumerate(islice(rounds, ROUNDS), 1):
            print(f"  {number}/{ROUNDS}: {what}", flush=True)
            leaks.append(0.0)
    except ScenarioFailed as error:
        print(f"  {error}", flush=True)
        leaks.append(float(scenario.leaked(travel)))
    return leaks
