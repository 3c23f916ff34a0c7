"""Addresses are where the netmap has them."""

from ipaddress import ip_address

from meshwg.policy.places import BEHIND, NO_CLASS, OUTSIDE, Places


def test_addresses_are_nodes_behind_nodes_or_outside() -> None:
    places = Places()
    places.put("a", 7, ["100.64.0.1", "fd00::1"], ["10.0.5.0/24", "2001:db8::/32"])

    assert found(places, "100.64.0.1", "fd00::1") == [7, 7]
    assert found(places, "10.0.5.9", "2001:db8::9") == [BEHIND, BEHIND]
    assert found(places, "10.0.6.9", "100.64.0.2", "::1") == [OUTSIDE] * 3


def test_a_node_without_a_class_is_of_none() -> None:
    places = Places()
    places.put("a", 0, ["100.64.0.1"], [])

    assert found(places, "100.64.0.1") == [NO_CLASS]


def test_only_what_was_known_counts_as_changed() -> None:
    places = Places()

    assert not places.put("a", 7, ["100.64.0.1"], [])
    assert not places.put("a", 7, ["100.64.0.1"], [])
    assert places.put("a", 8, ["100.64.0.1"], [])
    assert places.put("a", 8, ["100.64.0.1"], ["10.0.5.0/24"])


def test_who_is_gone_is_nowhere_and_others_keep_what_they_share() -> None:
    places = Places()
    places.put("a", 7, ["100.64.0.1"], ["10.0.5.0/24"])
    places.put("b", 8, ["100.64.0.2"], ["10.0.5.0/24"])

    places.remove("a")
    places.remove("a")

    assert found(places, "100.64.0.1", "100.64.0.2", "10.0.5.1") == [OUTSIDE, 8, BEHIND]
    places.remove("b")
    assert found(places, "10.0.5.1") == [OUTSIDE]


def found(places: Places, *addresses: str) -> list[int]:
    return [places.find(ip_address(each).packed) for each in addresses]
