"""How long ephemeral nodes may be away."""

from dataclasses import replace

from coordinator.control.absences import GRACE, INTERVAL, Absences
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Sweep

AWAY = Node("a", "a", "a", 1, ephemeral=True, session="s1")


def looks(absences: Absences, node: Node, start: float, seconds: float) -> list[Sweep]:
    """Look for some time as often as is due; return the removals."""
    found = []
    while (at := absences.get_timer()) <= start + seconds:
        found.append(absences.look([node], at))
    return [each for each in found if each is not None]


def test_who_stays_away_is_removed_after_a_while() -> None:
    absences = Absences(0.0)

    assert looks(absences, AWAY, 0.0, GRACE) == []
    assert looks(absences, AWAY, GRACE, INTERVAL) == [Sweep((("a", "s1"),))]


def test_who_is_there_or_is_to_stay_is_not() -> None:
    for node in (replace(AWAY, online=True), replace(AWAY, ephemeral=False)):
        assert looks(Absences(0.0), node, 0.0, 10 * GRACE) == []


def test_who_was_there_meanwhile_has_all_the_time_again() -> None:
    absences = Absences(0.0)
    looks(absences, AWAY, 0.0, GRACE)

    assert looks(absences, replace(AWAY, session="s2"), GRACE, GRACE) == []


def test_between_two_looks_nothing_is_done() -> None:
    absences = Absences(0.0)

    assert absences.look([AWAY], INTERVAL - 1.0) is None
    assert absences.get_timer() == INTERVAL
