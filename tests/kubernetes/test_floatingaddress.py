"""When a floating address is on a machine, and for how long."""

import pytest

from meshwg.errors import ConfigError
from meshwg.kubernetes.election import LossReason
from meshwg.kubernetes.floatingaddress import AddressWanted, parse_addresses, routes_of
from tests.kubernetes.electorate import Electorate


def test_it_goes_to_no_machine_on_which_the_service_fails() -> None:
    world = Electorate()
    broken = world.add("a", is_checked=True)
    broken.problem = "connection refused"
    world.run(10)
    assert world.holder() is None

    world.add("b", is_checked=True)
    world.run(2)

    assert world.holder() == "b"


def test_it_leaves_a_machine_on_which_the_service_fails_for_two_checks() -> None:
    world = Electorate()
    first = world.add("a", is_checked=True)
    world.run(10)
    world.add("b", is_checked=True)
    world.run(10)

    first.problem = "connection refused"
    world.run(3)

    assert world.holder() == "b"
    assert first.losses == [LossReason.UNFIT]
    assert world.overlap() == 0


def test_a_single_failure_of_the_service_moves_nothing() -> None:
    world = Electorate()
    first = world.add("a", is_checked=True)
    world.add("b", is_checked=True)
    world.run(10.1)
    holder = world.holder()
    first.problem = "connection refused"
    world.run(0.95)
    first.problem = None
    world.run(10)
    assert world.holder() == holder
    assert len(world.tenures) == 1


def test_who_stops_checks_no_more() -> None:
    world = Electorate()
    first = world.add("a", is_checked=True)
    world.run(10)
    first.stop()
    world.run(5)
    assert not first.address.wants_check(first.clock)
    assert first.address.get_timer() is None
    assert not first.address.is_here


def test_the_kernel_keeps_it_for_whole_seconds_and_one_more_at_most() -> None:
    assert AddressWanted(10.0, True).seconds(7.5) == 3
    assert AddressWanted(10.0, True).seconds(8.0) == 3
    assert AddressWanted(10.0, True).seconds(9.99) == 1
    assert AddressWanted(10.0, True).seconds(12.0) == 1


def test_addresses_of_both_families_may_float() -> None:
    found = parse_addresses(("10.60.0.10", "fd00::10"))
    assert list(map(str, found)) == ["10.60.0.10", "fd00::10"]
    assert routes_of(found) == ("10.60.0.10/32,snat=no", "fd00::10/128,snat=no")


@pytest.mark.parametrize(
    ("texts", "what"),
    [
        ((), "Name 1 to"),
        (("10.60.0.0/24",), "no address"),
        (("vip",), "no address"),
        (("127.0.0.2",), "cannot float"),
        (("fe80::1",), "cannot float"),
        (("224.0.0.1",), "cannot float"),
        (("::",), "cannot float"),
        (("fd00::1%eth0",), "cannot float"),
        (("10.60.0.10", "10.60.0.10"), "twice"),
    ],
)
def test_what_cannot_float_is_refused(texts: tuple[str, ...], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        parse_addresses(texts)
