"""One node's connection, and what it may send."""

from coordinator.control.connection import (
    MESSAGE_BURST,
    MESSAGE_RATE,
    OFFER_BURST,
    OFFER_RATE,
    Connection,
    State,
)
from meshwg.limits import TokenBucket


def test_a_new_connection_has_neither_proved_nor_received_anything() -> None:
    connection = Connection(7, "192.0.2.1", "session", 0.0)
    assert connection.state is State.HANDSHAKE
    assert (connection.key, connection.channel) == ("", None)
    assert (connection.version, connection.refused) == (0, 0)
    assert not connection.registered
    assert connection.writable


def test_a_connection_may_send_a_burst_and_then_its_rate() -> None:
    connection = Connection(7, "192.0.2.1", "session", 0.0)
    assert taken(connection.messages, 0.0) == MESSAGE_BURST
    assert taken(connection.messages, 2.0) == 2 * MESSAGE_RATE


def test_offers_have_a_limit_of_their_own() -> None:
    connection = Connection(7, "192.0.2.1", "session", 0.0)
    assert taken(connection.messages, 0.0) > 0
    assert taken(connection.offers, 0.0) == OFFER_BURST
    assert taken(connection.offers, 2.0) == 2 * OFFER_RATE


def test_connections_do_not_share_their_limits() -> None:
    first = Connection(1, "192.0.2.1", "one", 0.0)
    second = Connection(2, "192.0.2.1", "two", 0.0)
    taken(first.messages, 0.0)
    assert not first.messages.take(0.0)
    assert second.messages.take(0.0)


def taken(bucket: TokenBucket, now: float) -> int:
    """Empty a bucket; return how many tokens were in it."""
    count = 0
    while bucket.take(now):
        count += 1
    return count
