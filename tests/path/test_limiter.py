"""Expensive attempts are rare, and one at a time."""

from meshwg.path.limiter import (
    ALLOWANCES,
    BUSY,
    HOST_VOLLEYS,
    LEASE,
    NODE_VOLLEYS,
    OFF,
    PERIOD,
    TOO_MANY,
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


def test_an_address_gets_no_more_volleys_because_more_peers_say_they_are_there() -> (
    None
):
    limiter, now = PunchLimiter(), 0.0
    made = 0
    for key in range(40):
        if limiter.acquire(key, BIRTHDAY, now, ["192.0.2.1"]) is None:
            limiter.record(key, BIRTHDAY, now)
            limiter.record_volley(["192.0.2.1"], now)
            limiter.release(key)
            made += 1
        now += 5.0
    assert made == HOST_VOLLEYS
    assert limiter.acquire("last", BIRTHDAY, now, ["192.0.2.1"]) == TOO_MANY
    assert limiter.acquire("other", BIRTHDAY, now, ["192.0.2.2"]) is None
    limiter.release("other")
    assert limiter.acquire("last", BIRTHDAY, PERIOD + 11, ["192.0.2.1"]) is None


def test_volleys_that_met_a_peer_do_not_count() -> None:
    limiter = PunchLimiter()
    for number in range(2 * NODE_VOLLEYS):
        assert limiter.volleys_left(["192.0.2.1"], float(number)) == HOST_VOLLEYS
        limiter.record_volley(["192.0.2.1"], float(number))
        limiter.forgive_volleys("192.0.2.1", 1)
    limiter.record_volley(["192.0.2.1"], 100.0)
    limiter.forgive_volleys("192.0.2.2", 0)
    assert limiter.volleys_left(["192.0.2.1"], 100.0) == HOST_VOLLEYS - 1


def test_who_is_met_at_one_address_clears_no_other() -> None:
    limiter = PunchLimiter()
    for number in range(HOST_VOLLEYS):
        limiter.record_volley(["192.0.2.1", "203.0.113.9"], float(number))
        limiter.forgive_volleys("192.0.2.1", 1)
    assert limiter.volleys_left(["192.0.2.1"], 10.0) == HOST_VOLLEYS
    assert limiter.volleys_left(["203.0.113.9"], 10.0) == 0


def test_a_node_has_an_end_whatever_the_addresses() -> None:
    limiter = PunchLimiter()
    for number in range(100):
        host = f"192.0.2.{number}"
        if limiter.volleys_left([host], float(number)):
            limiter.record_volley([host], float(number))
    assert limiter.volleys_left(["192.0.2.200"], 100.0) == 0
    assert sum(map(len, limiter._volleys.values())) == 2 * NODE_VOLLEYS
    limiter.record_volley(["192.0.2.1"], 1000.0)
    assert len(limiter._volleys) == 2, "what is old is forgotten"
