"""Limits per address."""

from coordinator.control.limits import AddressLimits


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
