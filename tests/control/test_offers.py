"""Offers that may be lost: remembered for seconds, one for each peer, and not many."""

from meshwg.control.offers import LIFETIME, MOST_PEERS, OfferMemory
from meshwg.keys import format_key
from meshwg.wire.control import OfferMessage

NOW = 100.0


def test_the_last_offer_to_each_peer_is_remembered() -> None:
    memory = OfferMemory()
    first, second, other = offer(1, 1), offer(1, 2), offer(2, 1)
    for each in (first, other, second):
        memory.note(each, NOW)
    assert memory.take(NOW + 1, NOW + 1) == [other, second]
    assert memory.take(NOW + 1, NOW + 1) == []


def test_what_has_arrived_is_forgotten() -> None:
    memory = OfferMemory()
    memory.note(offer(1, 1), NOW)
    memory.note(offer(2, 1), NOW + 2)
    memory.arrived(NOW + 1)
    assert memory.take(NOW + 3, NOW + 3) == [offer(2, 1)]


def test_what_the_new_connection_carried_is_not_repeated() -> None:
    memory = OfferMemory()
    memory.note(offer(1, 1), NOW)
    memory.note(offer(2, 1), NOW + 1)
    assert memory.take(NOW + 1, NOW + 1) == [offer(1, 1)]


def test_old_offers_are_forgotten() -> None:
    memory = OfferMemory()
    memory.note(offer(1, 1), NOW)
    assert memory.take(NOW + LIFETIME, NOW + LIFETIME) == []


def test_there_is_a_bound() -> None:
    memory = OfferMemory()
    for number in range(MOST_PEERS + 5):
        memory.note(offer(number, 1), NOW)
    kept = memory.take(NOW + 1, NOW + 1)
    assert len(kept) == MOST_PEERS
    assert kept[-1] == offer(MOST_PEERS + 4, 1)


def offer(peer: int, sequence: int) -> OfferMessage:
    return OfferMessage(to=format_key(peer.to_bytes(32)), sequence=sequence)
