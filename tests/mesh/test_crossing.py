"""What members get through others: nothing but what those are there for."""

from meshwg.peer import HUB
from meshwg.wireguard.drop import Drop
from tests.sim.kinds import PUBLIC
from tests.wireguard.pair import ipv4
from tests.world.node import SimNode
from tests.world.world import World

SITE = "10.42.0.0/16"


def test_a_node_passes_on_only_what_is_for_itself_or_behind_it() -> None:
    world = World()
    alice = world.add("alice", PUBLIC)
    bob = world.add("bob", PUBLIC, routes=(SITE, "172.16.0.0/12"))
    world.settle()
    assert alice.reaches(bob)

    for destination in ("192.168.1.1", "172.16.0.1", "10.42.0.7"):
        smuggle(alice, bob, ipv4(alice.address, destination))
    world.advance(1)

    # The second network is not approved.
    assert bob.node.device.drops[Drop.FORBIDDEN_DESTINATION] == 2


def test_a_hub_cannot_speak_for_those_who_have_a_way_of_their_own() -> None:
    world = World()
    alice, bob = world.add("alice"), world.add("bob")
    hub = world.add("hub", role=HUB)
    world.settle()
    assert alice.reaches(bob)
    assert hub.reaches(bob)
    forged = ipv4(alice.address, bob.address)
    before = len(bob.packets)

    smuggle(hub, bob, forged)
    world.advance(1)

    assert bob.packets[before:] == []
    assert bob.node.device.drops[Drop.FORBIDDEN_SOURCE] == 1


def test_a_hub_cannot_speak_for_those_who_are_not_looking_for_a_way() -> None:
    world = World()
    alice, bob = world.add("alice"), world.add("bob")
    hub = world.add("hub", role=HUB)
    world.settle()
    assert hub.reaches(bob)

    smuggle(hub, bob, ipv4(alice.address, bob.address))
    world.advance(1)

    assert bob.packets == []
    assert bob.node.device.drops[Drop.FORBIDDEN_SOURCE] == 1


def test_a_hub_passes_nothing_into_other_networks_of_its_machine() -> None:
    world = World()
    alice, hub = world.add("alice"), world.add("hub", role=HUB)
    world.settle()
    assert alice.reaches(hub)

    smuggle(alice, hub, ipv4(alice.address, "192.168.1.1"))
    world.advance(1)

    assert hub.node.device.drops[Drop.FORBIDDEN_DESTINATION] == 1


def smuggle(sender: SimNode, receiver: SimNode, packet: bytes) -> None:
    """Seal a packet for a peer, whatever its addresses say."""
    lane = sender.peer(receiver).tunnel.lane
    sent, _ = sender.node.device.datapath.seal(lane, [packet], sender.now)
    assert sent == 1
    sender.host.drain()
