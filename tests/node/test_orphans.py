"""Data of unknown sessions: how often it is looked at, and of how many senders."""

from meshwg.node.orphans import INTERVAL, MEMORY, MOST, Orphans
from meshwg.transmit import Endpoint, Source

NOW = 1000.0
SOURCE = Endpoint("192.0.2.1", 1)


def test_an_address_is_looked_at_a_few_times_a_second() -> None:
    orphans = Orphans()

    looks = [orphans.note(SOURCE, NOW + n / 1000) for n in range(1000)]

    assert looks.count(True) == 1 / INTERVAL


def test_one_address_does_not_hold_up_another() -> None:
    orphans = Orphans()
    orphans.note(SOURCE, NOW)

    assert orphans.note(SOURCE._replace(port=2), NOW)


def test_of_a_flood_from_many_addresses_a_few_are_looked_at() -> None:
    orphans = Orphans()

    looks = [orphans.note(Endpoint("192.0.2.1", port), NOW) for port in range(10_000)]

    assert looks.count(True) == MOST
    assert orphans.note(SOURCE._replace(port=20_000), NOW + MEMORY)


def test_it_is_told_once_whether_data_came_from_an_address() -> None:
    orphans = Orphans()
    orphans.note(SOURCE._replace(source=Source("192.0.2.9", 3)), NOW)

    assert not orphans.take(SOURCE._replace(port=2), NOW)
    assert orphans.take(SOURCE, NOW + 1)
    assert not orphans.take(SOURCE, NOW + 1)


def test_what_came_long_ago_is_forgotten() -> None:
    orphans = Orphans()
    orphans.note(SOURCE, NOW)

    assert not orphans.take(SOURCE, NOW + MEMORY + 0.1)
