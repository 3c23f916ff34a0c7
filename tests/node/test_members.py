"""Members: what a node makes of the netmap, for its device and its interface."""

import sys
from dataclasses import replace
from ipaddress import ip_address
from types import FrameType

import pytest

from meshwg.keys import parse_key
from meshwg.node.events import InterfaceChanged, RouteTaken
from meshwg.peer import MeshPeer
from meshwg.policy.filter import DenyReason
from meshwg.policy.guard import GuardRule
from meshwg.policy.ports import EVERYTHING, TCP
from meshwg.wire import control
from tests.node.stage import BOB, HOME, NETWORKS, NOW, Stage
from tests.wireguard.pair import ipv4

BEHIND_BOB = "192.168.7.0/24"


def test_a_member_gets_a_tunnel_and_its_networks() -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB, routes=[BEHIND_BOB])
    assert stage.node.device.peers[parse_key(bob.entry.public_key)] is bob.tunnel
    owned = stage.node.device.allowed_ips.of(bob.tunnel.lane)
    assert [str(network) for network in owned] == [f"{BOB}/32", BEHIND_BOB]


def test_the_user_is_told_where_packets_go_from_now_on() -> None:
    stage = Stage()
    for routes in ([BEHIND_BOB], [BEHIND_BOB, "10.9.0.0/16"], ["10.9.0.0/16"]):
        stage.add_peer("bob", BOB, routes=routes)
    told = stage.events(RouteTaken)
    assert [each.network for each in told] == [BEHIND_BOB, "10.9.0.0/16"]


def test_a_guard_of_this_machine_is_about_the_members_at_once() -> None:
    stage = Stage()
    stage.add_peer("bob", BOB)
    guard = GuardRule(("node:bob",), ("self",), (EVERYTHING,))

    stage.node.members.set_guard((guard,), NOW)

    assert stage.node.access.rule_for(BOB, HOME, TCP, 22)[1] is None
    assert stage.node.access.rule_for(HOME, BOB, TCP, 22)[1] is DenyReason.GUARD


def test_what_a_change_costs_does_not_follow_from_how_many_members_there_are() -> None:
    few, many = (calls_of_a_change(size) for size in (20, 400))
    assert many <= few + 20, "a few calls more for tables that grow"


def test_a_member_that_has_gone_leaves_nothing_behind() -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB, routes=[BEHIND_BOB])
    stage.events(InterfaceChanged)

    stage.node.members.change([], [bob.entry.public_key, "unknown"], NOW)

    assert stage.node.peers == {}
    assert stage.node.device.peers == {}
    (change,) = stage.events(InterfaceChanged)
    assert change.routes == ()


def test_members_are_found_by_name_address_and_key() -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB)
    find = stage.node.members.find
    assert find("bob") is find(BOB) is find(bob.entry.public_key) is bob
    assert find("rob") is None
    stage.add_peer("bob", "100.64.0.9")
    assert find(BOB) is None
    assert find("100.64.0.9") is bob


def test_before_the_netmap_names_this_node_the_coordinators_welcome_does() -> None:
    stage = Stage()
    members = stage.node.members
    assert members.itself is None
    assert members.own_addresses() == (HOME, "fd00::1")


def test_the_networks_of_the_mesh_are_known_in_both_families() -> None:
    members = Stage().node.members
    assert members.reaches("100.64.200.1")
    assert members.reaches("fd00::99")
    assert not members.reaches("192.0.2.1")
    assert not members.reaches("2001:db8::1")


def test_where_the_underlay_is_apart_only_the_mesh_itself_is_reached_through_it() -> (
    None
):
    stage = Stage()
    stage.add_peer("bob", BOB, routes=[BEHIND_BOB])
    members = stage.node.members
    assert members.reaches("192.168.7.9")
    members.set_apart(True)
    assert not members.reaches("192.168.7.9")
    assert members.reaches(BOB)


def test_the_interface_gets_this_nodes_addresses_and_the_routes_of_all() -> None:
    stage = Stage()
    stage.add_peer("bob", BOB, routes=[BEHIND_BOB, "10.9.0.0/16"])
    change = stage.events(InterfaceChanged)[-1]
    assert change.addresses == (f"{HOME}/10", "fd00::1/48")
    assert change.routes == ("10.9.0.0/16", BEHIND_BOB)
    assert change.networks == NETWORKS
    assert change.hidden == change.collisions == change.hosts == change.announced == ()


def test_a_network_that_the_machine_is_in_gets_no_route() -> None:
    stage = Stage()
    stage.add_peer("bob", BOB, routes=[BEHIND_BOB])
    stage.node.members.set_own_networks([BEHIND_BOB])
    change = stage.events(InterfaceChanged)[-1]
    assert (change.routes, change.hidden) == ((), (BEHIND_BOB,))


def test_in_a_network_that_the_machine_is_in_too_each_peer_gets_a_route() -> None:
    stage = Stage()
    stage.add_peer("bob", BOB, "fd00::2")
    stage.node.members.set_own_networks(["100.64.0.0/16", "192.168.1.0/24"])
    change = stage.events(InterfaceChanged)[-1]
    assert change.collisions == (NETWORKS[0],)
    assert change.hosts == (f"{BOB}/32",)
    stage.node.members.set_own_networks(["192.168.1.0/24", "100.64.0.7/32"])
    change = stage.events(InterfaceChanged)[-1]
    assert change.collisions == change.hosts == ()


def test_peers_accept_packets_from_what_this_node_announces() -> None:
    stage = Stage(routes=("10.8.0.0/16",))
    # What it does not offer is not behind it, whatever the coordinator says.
    itself = stage.entry("home", HOME, routes=["10.8.0.0/16", "192.168.1.0/24"])
    itself = replace(itself, public_key=stage.node.public_key)
    stage.node.control.peers.update(
        control.Delta(base=1, version=2, digest="", changed=(itself,))
    )
    stage.node.members.update_interface()
    assert stage.events(InterfaceChanged)[-1].announced == ("10.8.0.0/16",)


def test_an_address_that_a_peer_cannot_have_is_nobodys() -> None:
    stage = Stage()
    stage.add_peer("bob", BOB, "fd00::2", nat={"lacks_ipv6": True})
    bob = stage.node.members.find("bob")
    assert bob is not None
    assert bob.entry.addresses == (BOB,)
    assert stage.node.members.find("fd00::2") is None
    assert stage.events(InterfaceChanged)[-1].unreachable == ("fd00::2",)
    owned = stage.node.device.allowed_ips.of(bob.tunnel.lane)
    assert [str(network) for network in owned] == [f"{BOB}/32"]

    stage.add_peer("bob", BOB, "fd00::2")
    assert stage.node.members.find("fd00::2") is bob
    assert stage.events(InterfaceChanged)[-1].unreachable == ()

    stage.add_peer("bob", BOB, "fd00::2", nat={"lacks_ipv6": True})
    stage.node.members.change([], [bob.entry.public_key], NOW)
    assert stage.events(InterfaceChanged)[-1].unreachable == ()


def test_an_address_that_this_node_cannot_have_is_asked_for_but_not_shown() -> None:
    stage = Stage()
    stage.node.members.has_ipv6 = False
    assert stage.node.members.own_addresses() == (HOME,)
    stage.node.members.update_interface()
    assert stage.events(InterfaceChanged)[-1].addresses == (f"{HOME}/10", "fd00::1/48")


def test_a_change_superseded_before_it_was_taken_is_never_reported() -> None:
    stage = Stage()
    stage.events(InterfaceChanged)
    stage.add_peer("bob", BOB, routes=[BEHIND_BOB])
    stage.node.members.set_own_networks([BEHIND_BOB])
    (change,) = stage.events(InterfaceChanged)
    assert change.routes == ()


def test_what_changes_nothing_is_not_reported_again() -> None:
    stage = Stage()
    stage.add_peer("bob", BOB, routes=[BEHIND_BOB])
    stage.events(InterfaceChanged)
    stage.add_peer("bob", BOB, routes=[BEHIND_BOB], role="hub")
    registered = control.Registered(
        epoch="e", name="home", addresses=(HOME,), networks=NETWORKS
    )
    stage.node.members.set_mesh(registered)
    assert stage.events(InterfaceChanged) == []


def test_the_first_peer_that_announces_a_network_keeps_it() -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB, routes=[BEHIND_BOB])
    eve = stage.add_peer("eve", "100.64.0.66", routes=[BEHIND_BOB, "10.6.0.0/16"])

    assert owner(stage, "192.168.7.9") is bob
    assert owner(stage, "10.6.0.1") is eve
    stage.add_peer("bob", BOB, routes=[BEHIND_BOB, "10.5.0.0/16"])
    assert owner(stage, "192.168.7.9") is bob
    assert stage.events(InterfaceChanged)[-1].routes == (
        "10.5.0.0/16",
        "10.6.0.0/16",
        BEHIND_BOB,
    )


def test_a_network_goes_to_the_next_peer_when_its_owner_has_gone() -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB, routes=[BEHIND_BOB])
    eve = stage.add_peer("eve", "100.64.0.66", routes=[BEHIND_BOB])
    dan = stage.add_peer("dan", "100.64.0.67", routes=[BEHIND_BOB])

    stage.node.members.change([], [bob.entry.public_key], NOW)
    assert owner(stage, "192.168.7.9") is eve
    stage.add_peer("eve", "100.64.0.66")
    assert owner(stage, "192.168.7.9") is dan
    assert stage.events(InterfaceChanged)[-1].routes == (BEHIND_BOB,)


@pytest.mark.parametrize(
    "wide",
    ["0.0.0.0/1", "128.0.0.0/1", "100.64.0.0/12", "100.64.0.2/32", "fd00::2/128"],
)
def test_no_peer_takes_everything_or_what_is_anothers_in_the_mesh(wide: str) -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB, "fd00::2")
    eve = stage.add_peer("eve", "100.64.0.66", routes=[wide, BEHIND_BOB])

    for address in (BOB, "fd00::2"):
        assert owner(stage, address) is bob
    assert owner(stage, "8.8.8.8") is None
    assert owner(stage, "192.168.7.9") is eve
    assert [each.code for each in stage.node.health] == ["peer-route-refused"]
    stage.add_peer("eve", "100.64.0.66", routes=[BEHIND_BOB])
    assert list(stage.node.health) == []


def test_no_coordinator_makes_a_hub_of_a_node_that_was_not_started_as_one() -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB)
    stage.add_peer("carol", "100.64.0.9")
    stage.connect(bob)
    itself = stage.entry("home", HOME, role="hub", routes=[BEHIND_BOB])
    itself = replace(itself, public_key=stage.node.public_key)
    stage.node.control.peers.update(
        control.Delta(base=1, version=2, digest="", changed=(itself,))
    )
    stage.node.members.update_interface()

    mine = ipv4(BOB, HOME, b"for this node")
    others = [ipv4(BOB, to, b"for others") for to in ("100.64.0.9", "192.168.7.1")]
    stage.hear(bob, *others, mine)
    assert stage.node.packets_to_write() == [mine]


def test_what_is_behind_this_node_itself_is_behind_no_peer() -> None:
    stage = Stage(routes=(BEHIND_BOB,))
    itself = stage.entry("home", HOME, routes=[BEHIND_BOB])
    itself = replace(itself, public_key=stage.node.public_key)
    stage.node.control.peers.update(
        control.Delta(base=1, version=2, digest="", changed=(itself,))
    )
    stage.add_peer("eve", "100.64.0.66", routes=[BEHIND_BOB])
    assert owner(stage, "192.168.7.9") is None


def owner(stage: Stage, address: str) -> MeshPeer | None:
    """Return the peer to which packets to an address go."""
    lane = stage.node.device.allowed_ips.lookup(ip_address(address).packed)
    peers = stage.node.peers.values()
    return next((peer for peer in peers if peer.tunnel.lane is lane), None)


def test_who_poses_as_this_node_is_no_member_and_takes_no_address() -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB)
    liar = stage.entry("eve", HOME, BOB, "100.64.0.9", "8.8.8.8")
    stage.node.members.change([liar], [], NOW)

    assert stage.node.members.find("eve") is None
    assert owner(stage, BOB) is bob
    change = stage.events(InterfaceChanged)[-1]
    assert change.unreachable == ("100.64.0.9",)
    assert change.addresses == (f"{HOME}/10", "fd00::1/48")


def test_what_is_outside_of_the_mesh_is_nobodys_address_in_it() -> None:
    stage = Stage(addresses=(HOME, "8.8.8.8"))
    bob = stage.add_peer("bob", BOB, "8.8.4.4")
    assert bob.entry.addresses == (BOB,)
    assert owner(stage, "8.8.4.4") is None
    assert stage.node.members.own_addresses() == (HOME,)


def calls_of_a_change(size: int) -> int:
    """Return how many functions are called for one new peer in a mesh of a size."""
    stage = Stage()
    for number in range(size):
        stage.add_peer(f"n{number}", f"100.64.{1 + number // 250}.{number % 250}")
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        stage.add_peer("last", "100.64.9.1")
    finally:
        sys.setprofile(None)
    return calls
