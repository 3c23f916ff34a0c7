"""Addresses and clocks of gateways."""

import pytest

from meshwg.nat.gateway import EpochClock, is_public, is_usable
from meshwg.transmit import Endpoint


@pytest.mark.parametrize("host", ["80.94.1.2", "8.8.8.8", "2600::1"])
def test_addresses_of_the_internet_are_public(host: str) -> None:
    assert is_public(host)


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.254",
        "169.254.1.1",
        "192.0.0.4",
        "240.0.0.1",
        "224.0.0.1",
        "fe80::1",
        "fd00::1",
        "ff0e::1",
    ],
)
def test_addresses_behind_another_nat_are_not(host: str) -> None:
    assert not is_public(host)


@pytest.mark.parametrize(
    "external",
    [
        Endpoint("", 1),
        Endpoint("gateway.example", 1),
        Endpoint("0.0.0.0", 1),
        Endpoint("::", 1),
        Endpoint("127.0.0.1", 1),
        Endpoint("224.0.0.1", 1),
        Endpoint("80.94.1.2", 0),
        Endpoint("80.94.1.2", 65_536),
    ],
)
def test_nothing_can_be_sent_to_an_invalid_endpoint(external: Endpoint) -> None:
    assert not is_usable(external)


def test_a_private_endpoint_can_be_sent_to() -> None:
    assert is_usable(Endpoint("10.0.0.1", 1))


def test_the_first_epoch_time_says_nothing_and_later_ones_are_compared() -> None:
    clock = EpochClock()
    assert not clock.lost(went_back, 5, now=0.0)
    assert not clock.observe(went_back, 500, now=0.0)
    assert clock.lost(went_back, 499, now=1.0)
    assert not clock.lost(went_back, 500, now=1.0), "asking changes nothing"
    assert clock.observe(went_back, 499, now=1.0)
    assert not clock.observe(went_back, 499, now=2.0)


def test_a_clock_that_runs_backwards_here_is_not_held_against_the_gateway() -> None:
    seen: list[float] = []

    def rule(previous: int, epoch: int, elapsed: float) -> bool:
        seen.append(elapsed)
        return False

    clock = EpochClock()
    clock.observe(rule, 1, now=10.0)
    clock.observe(rule, 2, now=9.0)
    assert seen == [0.0]


def went_back(previous: int, epoch: int, elapsed: float) -> bool:
    return epoch < previous
