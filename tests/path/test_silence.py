"""Silence: data without an answer is looked into soon, and at little cost."""

import pytest

from meshwg.path.silence import (
    CHECKS,
    MAX_GAP,
    MIN_GAP,
    ONE_WAY_PATIENCE,
    PATIENCE,
    Silence,
    Step,
)

NOW = 100.0
RTT = 0.02


def test_without_data_there_is_nothing_to_look_into() -> None:
    silence = Silence()
    silence.heard()
    silence.proven()
    assert silence.get_timer() is None
    assert silence.next_step(RTT, NOW + 60) is None


def test_data_that_is_answered_costs_no_check() -> None:
    silence = Silence()
    for number in range(100):
        now = NOW + number * PATIENCE / 2
        silence.sent(now)
        assert silence.next_step(RTT, now + PATIENCE / 4) is None
        silence.heard()
    assert silence.get_timer() is None


def test_data_without_an_answer_leads_to_a_few_checks_and_then_to_suspicion() -> None:
    silence = Silence()
    silence.sent(NOW)
    assert steps(silence, RTT) == [
        Step.CHECK,
        *[Step.DOUBT] * (CHECKS - 1),
        Step.SUSPECT,
    ]
    assert silence.get_timer() is None


def test_that_takes_less_than_a_second_where_round_trips_are_short() -> None:
    silence = Silence()
    silence.sent(NOW)
    assert last_step_at(silence, RTT) - NOW == pytest.approx(
        PATIENCE + CHECKS * MIN_GAP
    )
    assert PATIENCE + CHECKS * MIN_GAP < 1.0


def test_long_round_trips_get_more_time_but_not_any() -> None:
    slow, slower = Silence(), Silence()
    slow.sent(NOW)
    slower.sent(NOW)
    assert last_step_at(slow, 0.3) - NOW == pytest.approx(PATIENCE + CHECKS * 0.6)
    longest = PATIENCE + CHECKS * MAX_GAP
    assert last_step_at(slower, 9.0) - NOW == pytest.approx(longest)


def test_later_data_does_not_put_the_check_off() -> None:
    silence = Silence()
    silence.sent(NOW)
    silence.sent(NOW + PATIENCE / 2)
    assert silence.get_timer() == NOW + PATIENCE


def test_an_answered_check_ends_it_until_more_data_is_sent() -> None:
    silence = Silence()
    silence.sent(NOW)
    assert silence.next_step(RTT, NOW + PATIENCE) is Step.CHECK
    silence.proven()
    assert silence.get_timer() is None
    silence.sent(NOW + 5)
    assert silence.get_timer() == NOW + 5 + ONE_WAY_PATIENCE


def test_an_answer_of_the_peer_ends_it() -> None:
    silence = Silence()
    silence.sent(NOW)
    silence.next_step(RTT, NOW + PATIENCE)
    silence.heard()
    assert silence.get_timer() is None


def steps(silence: Silence, round_trip: float) -> list[Step | None]:
    found: list[Step | None] = []
    while (at := silence.get_timer()) is not None:
        found.append(silence.next_step(round_trip, at))
    return found


def last_step_at(silence: Silence, round_trip: float) -> float:
    last = NOW
    while (at := silence.get_timer()) is not None:
        last = at
        silence.next_step(round_trip, at)
    return last
