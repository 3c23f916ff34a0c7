"""Openers and checks take turns while the coordinator is away."""

from itertools import pairwise

from meshwg.path.openings import CYCLE, MEMORY, Openings, Turn

INTERVAL = 20.0
FORGOTTEN = 30.0
"""Seconds after which Linux forgets a flow that was never answered."""


def turns(count: int, openings: Openings | None = None) -> list[Turn]:
    openings = openings or Openings()
    return [openings.take_turn(INTERVAL * turn) for turn in range(count)]


def test_the_first_turn_reaches_nobody() -> None:
    assert turns(1) == [Turn.OPEN]


def test_the_second_turn_is_a_check_and_then_one_in_a_cycle() -> None:
    checks = [n for n, turn in enumerate(turns(3 * CYCLE)) if turn is Turn.CHECK]
    assert checks == [1, 1 + CYCLE, 1 + 2 * CYCLE]


def test_what_is_spoiled_has_time_to_be_forgotten() -> None:
    sent = [
        n * INTERVAL for n, turn in enumerate(turns(CYCLE)) if turn is not Turn.REST
    ]
    gaps = [after - before for before, after in pairwise(sent)]
    assert max(gaps) > FORGOTTEN
    assert min(gaps) < FORGOTTEN


def test_after_a_pause_it_begins_anew() -> None:
    openings = Openings()
    turns(4, openings)
    assert openings.take_turn(3 * INTERVAL + MEMORY + 0.1) is Turn.OPEN
    assert openings.take_turn(4 * INTERVAL + MEMORY + 0.1) is Turn.CHECK
