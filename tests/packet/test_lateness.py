"""A burst is not a queue that stands, and a queue that stands loses one at a time."""

from itertools import pairwise

from meshwg.packet.lateness import INTERVAL, TARGET, Lateness

LATE = TARGET * 2


def test_what_waits_briefly_may_wait_for_ever() -> None:
    lateness = Lateness()

    assert not any(lateness.is_too_much(TARGET, n * INTERVAL) for n in range(99))


def test_a_burst_costs_nothing() -> None:
    lateness = Lateness()

    assert not lateness.is_too_much(LATE, 0.0)
    assert not lateness.is_too_much(LATE, INTERVAL)
    assert not lateness.is_too_much(0.0, INTERVAL * 1.5)
    assert not lateness.is_too_much(LATE, INTERVAL * 2)
    assert not lateness.is_too_much(LATE, INTERVAL * 2.9)


def test_a_queue_that_stands_loses_one_packet_an_interval() -> None:
    lateness = Lateness()
    step = INTERVAL / 10

    lost = [n for n in range(100) if lateness.is_too_much(LATE, n * step)]

    assert 8 <= len(lost) <= 10
    assert all(later - earlier > 9 for earlier, later in pairwise(lost))
