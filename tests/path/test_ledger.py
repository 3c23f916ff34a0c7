"""Unconfirmed addresses get little traffic, no matter who names them."""

from meshwg.path.ledger import (
    CONFIRMED_LIMIT,
    HOST_LIMIT,
    HOSTS_SHARE,
    LEARN_LIMIT,
    TOTAL_LIMIT,
    WINDOW,
    Ledger,
)


def test_an_unconfirmed_host_gets_a_few_packets_a_minute() -> None:
    ledger = Ledger()
    assert granted(ledger, "198.18.0.1", 1000, now=0.0) == HOST_LIMIT
    assert granted(ledger, "198.18.0.1", 1000, now=WINDOW - 0.1) == 0
    assert granted(ledger, "198.18.0.1", 1000, now=WINDOW) == HOST_LIMIT


def test_all_unconfirmed_hosts_together_have_a_limit() -> None:
    ledger = Ledger()
    total = sum(granted(ledger, f"198.18.0.{n}", 20, now=0.0) for n in range(200))
    assert total == TOTAL_LIMIT


def test_a_peers_many_own_addresses_leave_something_for_that_of_its_nat() -> None:
    ledger = Ledger()
    own = sum(granted(ledger, f"10.0.{n}.1", 20, 0.0, is_own=True) for n in range(50))
    assert own == HOSTS_SHARE
    assert granted(ledger, "203.0.113.1", 1000, now=0.0) == HOST_LIMIT


def test_a_confirmed_host_has_no_limit_and_uses_up_none() -> None:
    ledger = Ledger()
    ledger.confirm(["203.0.113.1"])
    assert granted(ledger, "203.0.113.1", 1000, now=0.0) == 1000
    assert granted(ledger, "198.18.0.1", 1000, now=0.0) == HOST_LIMIT


def test_the_oldest_confirmations_are_forgotten() -> None:
    ledger = Ledger()
    ledger.confirm(f"203.0.113.{n}" for n in range(CONFIRMED_LIMIT + 1))
    assert not ledger.is_confirmed("203.0.113.0")
    assert ledger.is_confirmed("203.0.113.1")


def test_the_number_of_addresses_learnt_a_minute_is_limited() -> None:
    ledger = Ledger()
    assert sum(ledger.may_learn(0.0) for _ in range(1000)) == LEARN_LIMIT
    assert ledger.may_learn(WINDOW)


def granted(
    ledger: Ledger, host: str, asked: int, now: float, *, is_own: bool = False
) -> int:
    return sum(ledger.charge(host, now, is_own=is_own) for _ in range(asked))
