"""What a machine reaches through the mesh, and what it is in itself."""

from ipaddress import ip_address, ip_network

import pytest

from meshwg.path.overlay import Overlay

LAN, PODS = ip_network("192.168.1.0/24"), "10.244.2.0/24"


@pytest.fixture
def overlay() -> Overlay:
    overlay = Overlay([ip_network("100.99.0.0/16"), ip_network("fd12::/48")])
    overlay.set_own([str(LAN)])
    return overlay


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("100.99.3.4", True),
        ("fd12::7", True),
        ("10.244.2.1", True),
        ("10.244.3.1", False),
        ("192.168.1.7", False),
        ("2001:db8::7", False),
    ],
)
def test_the_mesh_and_what_peers_announce_are_inside(
    overlay: Overlay, address: str, expected: bool
) -> None:
    overlay.announce([PODS])
    assert (ip_address(address) in overlay) is expected


def test_what_is_no_longer_announced_is_outside(overlay: Overlay) -> None:
    overlay.announce([PODS])
    overlay.announce([])
    assert ip_address("10.244.2.1") not in overlay


def test_the_very_network_that_the_machine_is_in_is_not_routed_elsewhere(
    overlay: Overlay,
) -> None:
    overlay.announce([PODS, str(LAN)])
    assert overlay.routes == (ip_network(PODS),)
    assert overlay.hidden == (LAN,)
    assert ip_address("192.168.1.7") not in overlay


def test_the_longest_prefix_decides(overlay: Overlay) -> None:
    overlay.announce(["192.168.0.0/16", "192.168.1.64/26"])
    assert ip_address("192.168.1.7") not in overlay
    assert ip_address("192.168.1.70") in overlay
    assert ip_address("192.168.2.7") in overlay


def test_a_network_that_the_machine_leaves_is_reached_through_the_mesh(
    overlay: Overlay,
) -> None:
    overlay.announce([str(LAN)])
    overlay.set_own([])
    assert ip_address("192.168.1.7") in overlay
    assert overlay.routes == (LAN,)


def test_where_the_underlay_is_apart_what_peers_announce_is_outside(
    overlay: Overlay,
) -> None:
    overlay.announce([PODS])
    overlay.set_apart(True)
    assert ip_address("10.244.2.1") not in overlay
    assert ip_address("100.99.3.4") in overlay
    assert overlay.routes == (ip_network(PODS),)
    overlay.set_apart(False)
    assert ip_address("10.244.2.1") in overlay


@pytest.mark.parametrize(
    ("own", "collides"),
    [
        ("100.99.0.0/16", True),
        ("100.99.7.0/24", True),
        ("100.64.0.0/10", True),
        ("100.99.7.7/32", False),
        ("100.98.0.0/16", False),
        ("fd13::/64", False),
    ],
)
def test_networks_that_the_machine_is_in_too_are_known(
    overlay: Overlay, own: str, collides: bool
) -> None:
    overlay.set_own([str(LAN), own])
    assert overlay.collisions == ((overlay.mesh[0],) if collides else ())
