"""TAI64N timestamps: their form, their precision, and that they only grow."""

import pytest

from meshwg.wireguard import tai64n


def test_the_epoch_is_that_of_tai() -> None:
    assert tai64n.stamp(0.0).hex() == "400000000000000a00000000"


@pytest.mark.parametrize(
    ("later", "is_newer"),
    # wireguard-go tai64n/tai64n_test.go: whitened to between 10 and 20 ms.
    [(10e-9, False), (10e-6, False), (1e-3, False), (10e-3, False), (20e-3, True)],
)
def test_a_timestamp_does_not_tell_the_fine_time(later: float, is_newer: bool) -> None:
    start = 0.123456789
    assert (tai64n.stamp(start + later) > tai64n.stamp(start)) is is_newer


def test_the_successor_is_newer_and_whitened() -> None:
    timestamp = tai64n.stamp(1_700_000_000.99)
    for _ in range(100):
        following = tai64n.successor(timestamp)
        assert following > timestamp
        nanoseconds = int.from_bytes(following[8:], "big")
        assert nanoseconds % 2**24 == 0
        assert nanoseconds < 1_000_000_000
        timestamp = following


def test_a_clock_before_1970_is_not_an_error() -> None:
    assert tai64n.stamp(-5.0) == tai64n.stamp(0.0)
