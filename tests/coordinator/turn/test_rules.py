"""Whom a relay may talk to."""

import pytest

from coordinator.turn.rules import PeerRules


@pytest.mark.parametrize(
    "host", ["192.0.2.9", "8.8.8.8", "2001:db8::9", "2600::1", "172.32.0.1"]
)
def test_public_addresses_are_fine(host: str) -> None:
    assert PeerRules().permits(host)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "224.0.0.251",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "2002:7f00:1::1",
        "64:ff9b::7f00:1",
        "localhost",
        "",
    ],
)
def test_private_and_special_addresses_are_refused(host: str) -> None:
    assert not PeerRules().permits(host)


def test_a_prefix_that_is_allowed_wins() -> None:
    rules = PeerRules(allowed=["10.0.0.0/8", "192.0.2.9/32"], denied=["192.0.2.0/24"])

    assert rules.permits("10.1.2.3")
    assert rules.permits("192.0.2.9")
    assert not rules.permits("192.0.2.10")
    assert not rules.permits("192.168.0.1")


def test_an_invalid_network_is_reported_at_once() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        PeerRules(allowed=["the office"])
