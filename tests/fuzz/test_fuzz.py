"""Half a minute of it for all targets, and that each kind of fault would be found."""

import logging
import time
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.campaign import Campaign, replay
from tests.fuzz.inputs import Case, Input
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

SECONDS = 3.0
"""For each target in virtual time; ``make fuzz`` takes longer."""
LIVE_SECONDS = 5.0
"""The same for listeners, which wait for others now and then."""
SEED = 1


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found(name: str, tmp_path: Path) -> None:
    campaign = Campaign([TARGETS[name]], SEED, tmp_path)

    campaign.run(LIVE_SECONDS if TARGETS[name].is_live else SECONDS)

    assert [each.text for each in campaign.findings] == []


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("raise", "ValueError"),
        ("log", "logs INFO"),
        ("grow", "It grows"),
        ("spin", "costs too much time"),
        ("stop", "does not serve"),
    ],
)
def test_a_fault_is_found_saved_and_shown_again(
    fault: str, text: str, tmp_path: Path
) -> None:
    kind = type("Faulty", (Sick,), {"fault": fault})
    campaign = Campaign([kind], SEED, tmp_path)

    campaign.run(0)

    (finding,) = campaign.findings
    (path,) = tmp_path.iterdir()
    case = Case.load(path)
    assert text in finding.text
    assert text in (replay(kind, case) or "")
    assert len(case.inputs) <= Sick.inputs
    assert list(case.inputs) == list(finding.case.inputs)


def test_a_case_is_as_short_as_shows_it() -> None:
    kind = type("Faulty", (Sick,), {"fault": "raise"})
    campaign = Campaign([kind], SEED)

    campaign.run(0)

    (finding,) = campaign.findings
    assert len(finding.case.inputs) == 1


def test_one_fault_is_one_finding() -> None:
    kind = type("Faulty", (Sick,), {"fault": "raise"})
    campaign = Campaign([kind, kind, kind], SEED)

    campaign.run(0)

    assert campaign.episodes == 3
    assert len(campaign.findings) == 1


def test_a_seed_gives_the_same_inputs_again() -> None:
    for name in ("node", "node-control", "coordinator", "relay"):
        first, second = (drawn(TARGETS[name]) for _ in range(2))

        assert first == second


def drawn(kind: type[Target]) -> list[Input]:
    """Return the first inputs of an episode, after each of them was applied."""
    target, random, steps = kind(SEED), Random(SEED), []
    for _ in range(30):
        steps.append(target.draw(random))
        target.apply(steps[-1])
    return steps


class Sick(Target):
    """A target with a fault that some inputs show."""

    name = "sick"
    inputs = 40
    most_objects = 100
    most_seconds = 0.3
    fault = ""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._held: list[list[bytes]] = []
        self._is_dead = False

    def draw(self, random: Random) -> Input:
        return Input("byte", random.randbytes(1))

    def apply(self, step: Input) -> None:
        match self.fault:
            case "raise" if step.data < b"\x40":
                raise ValueError("a byte that nobody expected")
            case "log" if step.data < b"\x40":
                logging.getLogger("sick").info("a byte came")
            case "grow":
                self._held += [[step.data] for _ in range(100)]
            case "spin" if step.data < b"\x40":
                end = time.process_time() + 1.5 * self.most_seconds
                while time.process_time() < end:
                    pass
            case "stop":
                self._is_dead = True

    def roots(self) -> list[object]:
        return [self._held]

    def failure(self) -> str | None:
        return "It does not serve any more" if self._is_dead else None
