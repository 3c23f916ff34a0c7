"""A router that does not answer data, nor checks, is silent."""

import pytest

from meshwg.node.liveness import (
    CHECKS,
    FIRST_PATIENCE,
    MIN_GAP,
    ONE_WAY_PATIENCE,
    PATIENCE,
    RECENT,
    Liveness,
    Probing,
)

NOW = 100.0


def test_nothing_is_due_while_nothing_is_sent() -> None:
    liveness = Liveness(lambda: None)
    assert liveness.get_timer() is None
    assert liveness.next_step(NOW) is None


def test_a_router_in_use_is_checked_and_then_silent() -> None:
    liveness = Liveness(lambda: 0.01)
    liveness.heard(NOW, is_data=True)
    assert steps(liveness, NOW) == [
        *[(round(PATIENCE + n * MIN_GAP, 6), Probing.CHECK) for n in range(CHECKS)],
        (round(PATIENCE + CHECKS * MIN_GAP, 6), Probing.SILENT),
    ]
    assert liveness.is_silent
    liveness.sent(NOW + 9)
    assert liveness.get_timer() is None


def test_one_that_was_not_heard_lately_has_more_time() -> None:
    liveness = Liveness(lambda: None)
    liveness.sent(NOW)
    assert liveness.get_timer() == NOW + FIRST_PATIENCE
    liveness.heard(NOW + 1, is_data=True)
    liveness.sent(NOW + 1 + RECENT)
    assert liveness.get_timer() == NOW + 1 + RECENT + FIRST_PATIENCE


def test_an_answered_check_is_a_sign_of_life_and_data_may_go_one_way() -> None:
    liveness = Liveness(lambda: None)
    liveness.heard(NOW, is_data=True)
    liveness.sent(NOW)
    assert liveness.next_step(NOW + PATIENCE) is Probing.CHECK
    assert liveness.heard(NOW + 0.5, is_data=False) is False
    liveness.sent(NOW + 0.6)
    assert liveness.get_timer() == NOW + 0.6 + ONE_WAY_PATIENCE


def test_who_was_silent_and_is_heard_is_so_no_longer() -> None:
    liveness = Liveness(lambda: None)
    liveness.heard(NOW, is_data=True)
    steps(liveness, NOW)
    assert liveness.heard(NOW + 9, is_data=False) is True
    assert not liveness.is_silent


def test_a_long_way_has_more_time_between_checks() -> None:
    liveness = Liveness(lambda: 0.4)
    liveness.heard(NOW, is_data=True)
    times = [at for at, _ in steps(liveness, NOW)]
    assert times[1] - times[0] == pytest.approx(0.8)


def steps(liveness: Liveness, now: float) -> list[tuple[float, Probing]]:
    """Send something that is never answered, and return what is due when."""
    liveness.sent(now)
    found = []
    while (due := liveness.get_timer()) is not None:
        step = liveness.next_step(due)
        assert step is not None
        found.append((round(due - now, 6), step))
    return found
