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


def test_a_class_that_is_told_ahead_counts_when_all_are_there() -> None:
    places = Places()
    places.put("a", 7, ["100.64.0.1"], [])

    assert not places.put("a", 8, ["100.64.0.1"], [], is_ahead=True)
    assert not places.put("b", 8, ["100.64.0.2"], [], is_ahead=True)
    assert found(places, "100.64.0.1", "100.64.0.2") == [7, NO_CLASS]

    assert places.put("a", 8, ["100.64.0.3"], []), "its addresses are others at once"
    assert found(places, "100.64.0.3", "100.64.0.1") == [7, OUTSIDE]

    assert places.settle()
    assert found(places, "100.64.0.3", "100.64.0.2") == [8, 8]
    assert not places.settle()


def test_who_goes_before_its_class_counts_leaves_nothing() -> None:
    places = Places()
    places.put("a", 7, ["100.64.0.1"], [], is_ahead=True)
    places.remove("a")

    assert not places.settle()
    assert found(places, "100.64.0.1") == [OUTSIDE]


def test_who_is_gone_is_nowhere_and_others_keep_what_they_share() -> None:
    places = Places()
    places.put("a", 7, ["100.64.0.1"], ["10.0.5.0/24"])
    places.put("b", 8, ["100.64.0.2"], ["10.0.5.0/24"])

    places.remove("a")
    places.remove("a")

    assert found(places, "100.64.0.1", "100.64.0.2", "10.0.5.1") == [OUTSIDE, 8, BEHIND]
    places.remove("b")
    assert found(places, "10.0.5.1") == [OUTSIDE]


def test_two_addresses_are_one_nodes_if_packets_for_one_come_by_the_other() -> None:
    places = Places()
    places.put("a", 7, ["100.64.0.1", "fd00::1"], ["10.0.0.0/8", "10.0.5.0/24"])
    places.put("b", 8, ["100.64.0.2"], ["10.0.5.0/24", "10.9.0.0/16"])
    places.put("hub", 9, ["100.64.0.3"], [], is_hub=True)

    assert forwards(places, "100.64.0.1", "100.64.0.1")
    assert forwards(places, "fd00::1", "10.7.7.7")
    assert forwards(places, "10.0.5.1", "10.0.5.9")
    assert forwards(places, "100.64.0.2", "10.0.5.9")
    assert not forwards(places, "100.64.0.2", "10.7.7.7")
    assert not forwards(places, "100.64.0.1", "10.9.0.1")
    assert not forwards(places, "100.64.0.1", "100.64.0.2")
    assert not forwards(places, "100.64.0.1", "9.9.9.9")
    assert forwards(places, "8.8.8.8", "9.9.9.9")
    assert forwards(places, "100.64.0.3", "100.64.0.2")


def test_who_takes_an_address_over_keeps_it_when_the_former_one_goes() -> None:
    places = Places()
    places.put("a", 7, ["100.64.0.1"], ["10.0.5.0/24"] * 2)
    places.put("b", 8, ["100.64.0.1"], [])

    places.remove("a")

    assert found(places, "100.64.0.1", "10.0.5.1") == [8, OUTSIDE]


def forwards(places: Places, source: str, destination: str) -> bool:
    ends = (ip_address(each).packed for each in (source, destination))
    return places.forwards_to(*ends)


def found(places: Places, *addresses: str) -> list[int]:
    return [places.find(ip_address(each).packed) for each in addresses]
