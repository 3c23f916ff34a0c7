"""The pause between attempts: random, growing, and long while a key is contested."""

import random

from meshwg.control.backoff import (
    CONTESTED_RETRY_MIN,
    FORGET_FAILURES,
    NEXT_TRY,
    RETRY_MAX,
    RETRY_MIN,
    BackOff,
)


def test_pauses_grow_with_failures_up_to_their_bound() -> None:
    pauses = [[pause for pause in failures(seed, 12)] for seed in range(30)]
    for number, column in enumerate(zip(*pauses, strict=True)):
        bound = min(RETRY_MIN * 2.0 ** (number + 1), RETRY_MAX)
        assert all(RETRY_MIN <= pause <= bound for pause in column)
    assert max(max(row) for row in pauses) > RETRY_MAX / 2


def test_a_connection_that_lasted_ends_the_count() -> None:
    back_off = failed(12)
    assert back_off.next_pause(FORGET_FAILURES + 1, 0.0) <= 2 * RETRY_MIN


def test_another_network_ends_the_count() -> None:
    back_off = failed(12)
    back_off.forget()
    assert back_off.next_pause(None, 0.0) <= 2 * RETRY_MIN


def test_the_coordinator_spreads_those_that_it_had() -> None:
    spread = max(failed(0, seed).next_pause(1.0, 20.0) for seed in range(30))
    alone = max(failed(0, seed).next_pause(None, 20.0) for seed in range(30))
    assert alone <= 2 * RETRY_MIN < spread <= 20.0


def test_another_coordinator_is_tried_soon_whatever_failed_before() -> None:
    for seed in range(30):
        assert NEXT_TRY / 2 <= failed(12, seed).next_try() <= NEXT_TRY


def test_a_contested_key_is_not_fought_over() -> None:
    back_off = failed(0)
    back_off.is_contested = True
    assert back_off.next_pause(None, 0.0) >= CONTESTED_RETRY_MIN


def failures(seed: int, count: int) -> list[float]:
    back_off = failed(0, seed)
    return [back_off.next_pause(None, 0.0) for _ in range(count)]


def failed(count: int, seed: int = 1) -> BackOff:
    back_off = BackOff(random.Random(seed).randbytes)
    for _ in range(count):
        back_off.next_pause(None, 0.0)
    return back_off
