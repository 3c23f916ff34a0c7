"""Bounded queues that drop the oldest."""

import pytest

from coordinator.turn.backlog import Backlog


def test_batches_come_out_in_order() -> None:
    backlog = Backlog[str](100)
    backlog.push("first", 1, 10)
    backlog.push("second", 1, 10)

    assert [backlog.pop(), backlog.pop()] == ["first", "second"]
    assert len(backlog) == 0
    with pytest.raises(IndexError):
        backlog.pop()


def test_the_oldest_is_dropped_and_its_packets_are_counted() -> None:
    backlog = Backlog[str](100)
    for name in "abcd":
        backlog.push(name, 3, 40)

    assert [backlog.pop() for _ in range(len(backlog))] == ["c", "d"]
    assert backlog.dropped == 6


def test_one_batch_alone_may_be_too_long() -> None:
    backlog = Backlog[str](100)
    backlog.push("a", 1, 10)
    backlog.push("long", 1, 1000)

    assert backlog.pop() == "long"
    assert backlog.dropped == 1


def test_room_that_was_freed_is_used_again() -> None:
    backlog = Backlog[int](100)
    for number in range(1000):
        backlog.push(number, 1, 50)
        assert backlog.pop() == number

    assert backlog.dropped == 0


def test_cleared_packets_do_not_count_as_dropped() -> None:
    backlog = Backlog[str](100)
    backlog.push("a", 1, 10)
    backlog.clear()

    assert not backlog
    assert backlog.dropped == 0
