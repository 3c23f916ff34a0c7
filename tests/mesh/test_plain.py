"""Plain WireGuard peers in whole meshes: how they are reached, and are cut off."""

from typing import Any

from coordinator.mesh.operations import (
    Accepted,
    AddPeer,
    ApplyPolicy,
    Assign,
    Refused,
    Remove,
)
from meshwg.peer import HUB
from meshwg.wireguard.drop import Drop
from tests.policy.packets import SYN, tcp
from tests.sim.kinds import PORT_RESTRICTED, PUBLIC, SYMMETRIC_RANDOM
from tests.sim.network import UNIX_OFFSET
from tests.wireguard.pair import ipv4
from tests.world.node import SimNode
from tests.world.phone import SimPhone
from tests.world.world import World

ECHO, TCP = 7, 6

POLICY = """
[[allow]]
from = ["tag:mobile"]
to = ["tag:db"]
ports = ["tcp/22", "icmp"]
"""
NOTHING = """
[[allow]]
from = ["tag:db"]
to = ["tag:db"]
"""


def test_a_phone_and_a_node_behind_symmetric_nats_reach_each_other() -> None:
    _, hub, bob, phone = made()

    assert phone.reaches(bob.address)
    assert reaches(bob, phone)
    assert phone.reaches(hub.address)
    assert reaches(hub, phone)


def test_all_say_how_a_phone_is_reached() -> None:
    _, hub, bob, phone = made()
    assert phone.reaches(bob.address)

    at_bob = shown(bob, phone)
    assert at_bob["path"]["via"] == "hub"
    assert at_bob["online"]
    assert at_bob["reason"] == "It is plain WireGuard: packets go by its hub hub."
    at_hub = shown(hub, phone)
    assert at_hub["path"]["kind"] == "direct"
    assert at_hub["reason"] == "It is plain WireGuard, and this node is its hub."


def test_a_phone_that_roams_is_found_where_it_is() -> None:
    _, hub, bob, phone = made()
    assert phone.reaches(bob.address)
    before = hub.node.peers[phone.key].tunnel.endpoint

    router = phone.host.interfaces[0].realm.gateway
    assert router is not None
    router.reboot()

    assert phone.reaches(bob.address)
    assert hub.node.peers[phone.key].tunnel.endpoint != before
    assert reaches(bob, phone)


def test_a_removed_phone_is_cut_off_at_once() -> None:
    world, hub, bob, phone = made()
    assert phone.reaches(bob.address)

    assert isinstance(world.coordinator.perform(Remove("phone")), Accepted)
    world.advance(0.5)

    assert phone.key not in hub.node.peers
    assert phone.key not in bob.node.peers
    assert not phone.reaches(bob.address, limit=3)
    assert not phone.reaches(hub.address, limit=3)


def test_a_phone_says_nothing_in_the_name_of_others() -> None:
    world, hub, bob, phone = made()
    assert phone.reaches(bob.address)
    alice = world.nodes["alice"]
    before = len(bob.packets)

    phone.write(ipv4(alice.address, bob.address), ipv4("192.168.1.1", bob.address))
    world.advance(1)

    assert bob.packets[before:] == []
    assert hub.node.device.drops[Drop.FORBIDDEN_SOURCE] == 2


def test_nobody_but_its_hub_speaks_for_a_phone() -> None:
    world, _, bob, phone = made()
    assert phone.reaches(bob.address)
    alice = world.nodes["alice"]
    assert alice.reaches(bob)
    forged = ipv4(phone.address, bob.address)
    before = bob.node.device.drops[Drop.FORBIDDEN_SOURCE]

    lane = alice.peer(bob).tunnel.lane
    alice.node.device.datapath.seal(lane, [forged], alice.now)
    alice.host.drain()
    world.advance(1)

    assert bob.node.device.drops[Drop.FORBIDDEN_SOURCE] == before + 1


def test_a_phone_does_not_enter_other_networks_of_its_hub() -> None:
    world, hub, bob, phone = made()
    assert phone.reaches(bob.address)

    phone.write(ipv4(phone.address, "192.168.1.1"), ipv4(phone.address, "10.1.2.3"))
    # The configuration does not even lead there, but a phone can have another.
    lane = next(iter(phone.device.peers.values())).lane
    phone.device.datapath.seal(lane, [ipv4(phone.address, "192.168.1.1")], world.now)
    phone.host.drain()
    world.advance(1)

    assert hub.node.device.drops[Drop.FORBIDDEN_DESTINATION] == 1


def test_policies_are_about_phones_as_about_nodes() -> None:
    world, hub, bob, phone = made()
    tag(world, "phone", "mobile")
    tag(world, "bob", "db")
    apply(world, POLICY)

    assert phone.reaches(bob.address)
    assert arrives(phone, bob, 22)
    assert not arrives(phone, bob, 23)
    assert not phone.reaches(hub.address, limit=2)
    assert not phone.reaches(world.nodes["alice"].address, limit=2)
    assert phone.key not in world.nodes["alice"].node.peers


def test_the_hub_judges_what_a_phone_gets_since_nobody_else_does() -> None:
    world, _, bob, phone = made()
    tag(world, "phone", "mobile")
    tag(world, "bob", "db")
    apply(world, POLICY)
    assert phone.reaches(bob.address)
    bob.node.device.datapath.set_filter(None)

    bob.write(tcp(bob.address, phone.address, (40_000, 22), SYN))
    world.advance(1)

    assert TCP not in [packet[9] for packet in phone.packets]


def test_the_hub_judges_what_a_phone_sends() -> None:
    world, _, bob, phone = made()
    tag(world, "phone", "mobile")
    tag(world, "bob", "db")
    apply(world, POLICY)
    assert phone.reaches(bob.address)
    bob.node.device.datapath.set_filter(None)

    assert not arrives(phone, bob, 23)
    assert arrives(phone, bob, 22)


def test_what_is_revoked_is_cut() -> None:
    world, _, bob, phone = made()
    tag(world, "phone", "mobile")
    tag(world, "bob", "db")
    apply(world, POLICY)
    assert phone.reaches(bob.address)

    apply(world, NOTHING)

    assert not phone.reaches(bob.address, limit=3)


def test_a_hub_that_is_one_no_longer_serves_nobody_else() -> None:
    world, hub, bob, phone = made()
    assert phone.reaches(bob.address)

    hub.leave()
    hub.role = "node"
    hub.start(hub.client.cache())
    world.settle()

    assert not phone.reaches(bob.address, limit=5)
    assert shown(bob, phone)["path"]["kind"] == "none"


def test_a_hub_that_starts_again_has_its_phones_at_once() -> None:
    world, hub, bob, phone = made()
    assert phone.reaches(bob.address)

    hub.restart()
    world.advance(5)

    assert phone.reaches(bob.address, limit=30)


def test_a_hub_that_nobody_can_reach_gets_no_phone() -> None:
    world = World()
    world.add("hub", PORT_RESTRICTED, role=HUB)
    world.settle()

    result = world.coordinator.perform(AddPeer("phone", "A" * 43 + "="))

    assert isinstance(result, Refused)
    assert "hub cannot be reached from outside" in result.message


def made() -> tuple[World, SimNode, SimNode, SimPhone]:
    """Return a mesh with a hub, a node behind a NAT, and a phone behind another."""
    world = World()
    hub = world.add("hub", PUBLIC, role=HUB)
    bob = world.add("bob", SYMMETRIC_RANDOM)
    world.add("alice")
    world.settle()
    phone = SimPhone(world, SYMMETRIC_RANDOM)
    world.advance(2)
    return world, hub, bob, phone


def reaches(node: SimNode, phone: SimPhone, limit: float = 10.0) -> bool:
    """Ping a phone from a node until it answers."""
    before, end = len(node.answers()), node.now + limit
    while node.now < end and len(node.answers()) == before:
        node.node.ping(node.node.peers[phone.key], ECHO, 700 + before, node.now)
        node.host.drain()
        node.network.run(lambda: len(node.answers()) > before, 0.5)
    return len(node.answers()) > before


def shown(node: SimNode, phone: SimPhone) -> dict[str, Any]:
    """Return what a node's status says of a phone."""
    peer = node.node.peers[phone.key]
    return peer.status(node.now, node.now + UNIX_OFFSET)


def arrives(phone: SimPhone, node: SimNode, port: int) -> bool:
    """Tell whether the first segment of a connection gets from a phone to a node."""
    before = len(node.packets)
    phone.write(tcp(phone.address, node.address, (50_000 + port, port), SYN))
    phone.network.advance(1)
    return len(node.packets) > before


def tag(world: World, name: str, word: str) -> None:
    assert isinstance(world.coordinator.perform(Assign(name, "", (word,))), Accepted)


def apply(world: World, text: str) -> None:
    result = world.coordinator.perform(ApplyPolicy(text, "root"))
    assert isinstance(result, Accepted), result
    world.advance(1)
