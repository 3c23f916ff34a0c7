"""The search for the longest datagram that a path carries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.path.mtu import (
    AGAIN,
    AGAIN_IF_UNKNOWN,
    ROUNDS,
    SHORTEST,
    STEP,
    TRIES,
    WAIT,
    LongestDatagram,
)

FULL = 1452


class Road:
    """A path that carries datagrams up to a length, and loses some by bad luck."""

    def __init__(self, carries: int, rtt: float = 0.05) -> None:
        self.search = LongestDatagram()
        self.carries = carries
        self.rtt = rtt
        self.unlucky = 0
        self.sent: list[int] = []
        self.now = 0.0
        self._answers: list[tuple[float, int]] = []

    def look(self) -> None:
        self.search.look(FULL, self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            times = [at for at, _ in self._answers]
            timer = self.search.get_timer()
            due = min([*times, *([] if timer is None else [timer])], default=end)
            if due > end:
                break
            self.now = max(self.now, due)
            self._step()
            if not self._answers and self.search.get_timer() is None:
                break
        self.now = end

    def _step(self) -> None:
        for at, size in list(self._answers):
            if at <= self.now:
                self._answers.remove((at, size))
                self.search.passed(size, self.now)
        for size in self.search.take_due(self.now):
            self.sent.append(size)
            if self.unlucky:
                self.unlucky -= 1
            elif size <= self.carries:
                self._answers.append((self.now + self.rtt, size))


def test_a_path_that_carries_everything_costs_one_check() -> None:
    road = Road(FULL)
    road.look()
    road.run(AGAIN - 1)
    assert road.sent == [FULL]
    assert road.search.limit is None


def test_nothing_is_sent_before_it_is_asked_for() -> None:
    road = Road(FULL)
    road.run(AGAIN)
    assert road.sent == []
    assert road.search.get_timer() is None


@pytest.mark.parametrize("lost", range(1, TRIES))
def test_bad_luck_with_some_of_the_first_checks_means_nothing(lost: int) -> None:
    road = Road(FULL)
    road.unlucky = lost
    road.look()
    road.run(10)
    assert road.sent == [FULL] * (lost + 1)
    assert road.search.limit is None


def test_bad_luck_with_all_of_them_costs_a_look_at_all_lengths_and_no_more() -> None:
    road = Road(FULL)
    road.unlucky = TRIES
    road.look()
    road.run(10)
    assert road.search.limit is None


@given(carries=st.integers(SHORTEST, FULL - 1))
def test_the_longest_length_that_passes_is_found(carries: int) -> None:
    road = Road(carries)
    road.look()
    road.run(AGAIN - 1)
    assert road.search.limit is not None
    assert road.search.limit <= carries < road.search.limit + STEP
    assert len(road.sent) <= TRIES + ROUNDS * (2 + (FULL - SHORTEST) // STEP)


def test_it_is_found_within_three_seconds() -> None:
    road = Road(1400)
    road.look()
    road.run((TRIES + ROUNDS) * WAIT)
    assert road.search.limit == 1392


def test_lengths_that_were_lost_by_bad_luck_are_tried_once_more() -> None:
    road = Road(1400)
    road.look()
    road.run(TRIES * WAIT - 0.1)
    road.unlucky = 14
    road.run(10)
    assert road.search.limit == 1392


@pytest.mark.parametrize("before", [None, 1392])
def test_a_path_that_carries_nothing_at_all_teaches_nothing(before: int | None) -> None:
    road = Road(0)
    road.search.limit = before
    road.look()
    road.run(AGAIN_IF_UNKNOWN - 1)
    sent = len(road.sent)
    assert road.search.limit == before
    road.look()
    assert len(road.sent) == sent
    road.run(10)
    road.look()
    road.run(1)
    assert len(road.sent) > sent


def test_a_path_is_looked_at_again_and_may_have_changed_either_way() -> None:
    road = Road(1300)
    for carries, limit in (1300, 1296), (FULL, None), (1400, 1392):
        road.carries = carries
        road.look()
        road.run(AGAIN + 10)
        assert road.search.limit == limit


def test_another_look_can_be_asked_for_at_once() -> None:
    road = Road(1300)
    road.look()
    road.run(10)
    road.carries = FULL
    road.look()
    road.run(10)
    assert road.search.limit == 1296
    road.search.look_again()
    road.look()
    road.run(10)
    assert road.search.limit is None


def test_a_late_answer_of_the_full_length_is_believed() -> None:
    road = Road(FULL, rtt=30.0)
    road.look()
    road.run(29)
    assert road.search.limit is None
    road.run(10)
    assert road.search.limit is None


def test_messages_that_are_short_anyway_are_not_tried() -> None:
    search = LongestDatagram()
    search.look(SHORTEST, 0.0)
    assert search.get_timer() is None
