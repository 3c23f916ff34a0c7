"""Limits per address."""

import random

from coordinator.control.limits import AddressLimits, FairSlots


def test_an_address_may_have_a_limited_number_of_connections() -> None:
    limits = AddressLimits(most=3, most_new=3)
    assert [limits.opened("192.0.2.1") for _ in range(4)] == [True] * 3 + [False]
    assert limits.opened("192.0.2.2")
    limits.closed("192.0.2.1", registered=False)
    assert limits.opened("192.0.2.1")


def test_connections_that_do_not_register_are_bounded_more_tightly() -> None:
    limits = AddressLimits(most=10, most_new=2)
    assert [limits.opened("192.0.2.1") for _ in range(3)] == [True, True, False]
    limits.registered("192.0.2.1")
    assert limits.opened("192.0.2.1")


def test_a_host_cannot_hide_in_its_ipv6_network() -> None:
    limits = AddressLimits(most=2, most_new=2)
    assert limits.opened("2001:db8::1")
    assert limits.opened("2001:db8::2")
    assert not limits.opened("2001:db8::3")
    assert limits.opened("2001:db8:0:1::3")


def test_a_mapped_address_counts_as_the_ipv4_address_it_is() -> None:
    limits = AddressLimits(most=1, most_new=1)
    assert limits.opened("::ffff:192.0.2.1")
    assert limits.opened("::ffff:192.0.2.2")


def test_addresses_without_connections_cost_nothing() -> None:
    limits = AddressLimits(most=2, most_new=2)
    for number in range(100):
        limits.opened(f"192.0.2.{number}")
        limits.registered(f"192.0.2.{number}")
        limits.closed(f"192.0.2.{number}", registered=True)
    assert len(limits) == 0


def test_a_connection_without_an_address_counts_too() -> None:
    limits = AddressLimits(most=1, most_new=1)
    assert limits.opened("")
    assert not limits.opened("")


def test_a_site_and_a_network_may_have_so_many_places() -> None:
    slots = FairSlots[int](100, per_site=2, per_network=3)
    assert [slots.enter(n, "192.0.2.1") for n in range(3)] == [True, True, False]
    hosts = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"]
    assert [slots.enter(10 + n, host) for n, host in enumerate(hosts)] == [
        True,
        True,
        False,
        True,
    ]
    assert not slots.enter(20, "2001:db8:0:2::1")
    assert slots.enter(21, "2001:db8:1::1")
    slots.leave(10)
    assert slots.enter(22, "2001:db8:0:2::1")
    assert slots.evicted() == []


def test_where_others_come_from_that_are_not_known_yet_only_all_places_count() -> None:
    slots = FairSlots[int](4, per_site=1, per_network=1)
    for number in range(4):
        assert slots.enter(number, "192.0.2.1", is_shared=True)
    assert not slots.enter(4, "192.0.2.1")
    assert slots.enter(5, "192.0.2.1", is_shared=True)
    assert slots.evicted() == [0]
    assert len(slots) == 4


def test_when_all_places_are_taken_the_fullest_network_gives_one() -> None:
    slots = FairSlots[str](5, per_site=4, per_network=4)
    for number in range(3):
        assert slots.enter(f"many-{number}", "192.0.2.1")
    assert slots.enter("few", "192.0.2.2")
    assert slots.enter("one", "2001:db8::1")
    slots.heard("many-0")
    assert slots.enter("new", "192.0.2.3")
    assert slots.evicted() == ["many-1"]
    assert slots.evicted() == []
    assert slots.enter("newer", "192.0.2.4")
    assert slots.evicted() == ["many-2"]
    assert len(slots) == 5


def test_a_flood_from_many_networks_displaces_itself() -> None:
    slots = FairSlots[object](64, per_site=8, per_network=8)
    assert slots.enter("node", "198.51.100.1")
    for number in range(10_000):
        slots.enter(number, f"192.0.{number % 200}.1")
        assert "node" not in slots.evicted()
        slots.heard("node")
    assert len(slots) == 64


def test_places_that_are_given_back_cost_nothing() -> None:
    slots = FairSlots[int](50, per_site=5, per_network=9)
    chance = random.Random(3)
    inside: set[int] = set()
    for number in range(5000):
        host = chance.choice(
            [
                f"192.0.2.{chance.randrange(20)}",
                f"2001:db8:{chance.randrange(20):x}::1",
            ]
        )
        if slots.enter(number, host):
            inside.add(number)
        inside.difference_update(slots.evicted())
        if inside and chance.random() < 0.5:
            gone = chance.choice(sorted(inside))
            inside.discard(gone)
            slots.leave(gone)
        slots.heard(chance.randrange(number + 1))
        assert len(slots) == len(inside) <= 50
    for number in inside:
        slots.leave(number)
    slots.leave(0)
    assert len(slots) == 0
    assert not slots._sites
    assert not slots._networks
    assert not slots._by_size
