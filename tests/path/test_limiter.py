"""Expensive attempts are rare, and one at a time."""

from meshwg.path.limiter import (
    ALLOWANCES,
    BUSY,
    LEASE,
    OFF,
    PERIOD,
    TOO_OFTEN,
    PunchLimiter,
)
from meshwg.path.punch import PunchMethod

BIRTHDAY, PREDICTION = PunchMethod.BIRTHDAY, PunchMethod.PREDICTION


def test_one_peer_at_a_time() -> None:
    limiter = PunchLimiter()
    assert limiter.acquire("a", BIRTHDAY, 0.0) is None
    assert limiter.acquire("b", PREDICTION, 0.0) == BUSY
    limiter.release("b")
    assert limiter.acquire("b", PREDICTION, 0.0) == BUSY, "b had nothing to release"
    limiter.release("a")
    assert limiter.acquire("b", PREDICTION, 0.0) is None


def test_an_attempt_that_was_never_ended_does_not_block_forever() -> None:
    limiter = PunchLimiter()
    assert limiter.acquire("a", BIRTHDAY, 0.0) is None
    assert limiter.acquire("b", BIRTHDAY, LEASE) is None


def test_the_birthday_method_can_be_switched_off() -> None:
    limiter = PunchLimiter(birthday=False)
    assert limiter.acquire("a", BIRTHDAY, 0.0) == OFF
    assert limiter.acquire("a", PREDICTION, 0.0) is None


def test_attempts_with_one_peer_are_spaced_out() -> None:
    limiter = PunchLimiter()
    limiter.record("a", BIRTHDAY, 0.0)
    spacing = ALLOWANCES[BIRTHDAY].spacing
    assert limiter.acquire("a", BIRTHDAY, spacing - 1) == TOO_OFTEN
    assert limiter.acquire("b", BIRTHDAY, 1.0) is None
    limiter.release("b")
    assert limiter.acquire("a", BIRTHDAY, spacing) is None


def test_after_a_few_attempts_there_is_a_long_pause() -> None:
    limiter, now = PunchLimiter(), 0.0
    for _ in range(ALLOWANCES[BIRTHDAY].attempts):
        now = limiter.allowed_at("a", BIRTHDAY, now)
        limiter.record("a", BIRTHDAY, now)
    assert limiter.allowed_at("a", BIRTHDAY, now) == PERIOD
    assert limiter.allowed_at("a", BIRTHDAY, PERIOD) <= PERIOD


def test_the_methods_are_counted_apart() -> None:
    limiter = PunchLimiter()
    limiter.record("a", PREDICTION, 0.0)
    assert limiter.allowed_at("a", BIRTHDAY, 0.0) == 0.0


def test_old_attempts_are_forgotten() -> None:
    limiter = PunchLimiter()
    for peer in range(100):
        limiter.record(peer, PREDICTION, float(peer))
    limiter.record("last", PREDICTION, 10 * PERIOD)
    assert len(limiter._attempts) == 1
