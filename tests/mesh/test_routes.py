"""Networks behind nodes: whose packets go where, in meshes of old and new nodes."""

from ipaddress import ip_address

from coordinator.mesh.operations import Remove
from tests.world.node import SimNode
from tests.world.world import World

SITE = "10.42.0.0/16"
IN_SITE = "10.42.7.1"


def test_a_network_stays_with_the_first_that_announces_it_and_is_inherited() -> None:
    world = World()
    alice, owner = world.add("alice"), world.add("owner", routes=(SITE,))
    world.settle()
    thief = world.add("thief", routes=(SITE, "10.42.0.0/17", "10.42.128.0/17"))
    world.settle()
    assert way(alice, IN_SITE) == owner.key

    world.coordinators[0].perform(Remove("owner"))
    world.advance(5)
    assert way(alice, IN_SITE) == thief.key


def test_the_order_outlives_the_coordinator_and_the_nodes() -> None:
    world = World()
    alice, owner = world.add("alice"), world.add("owner", routes=(SITE,))
    world.settle()
    world.add("thief", routes=(SITE,))
    world.settle()

    world.coordinators[0].start()
    alice.restart()
    world.settle(60)

    assert way(alice, IN_SITE) == owner.key


def test_a_node_is_told_of_what_others_are_not_told_of() -> None:
    world = World()
    owner = world.add("owner", routes=(SITE,))
    world.settle()
    thief = world.add("thief", routes=(SITE,))
    far = world.add("far", routes=("172.16.0.0/12", "10.43.0.0/16"))
    world.settle()

    assert list(owner.node.health) == []
    (theft,), (refusal,) = thief.node.health, far.node.health
    assert theft.code == refusal.code == "route-waiting"
    assert f"{SITE}, which this node offers: owner has it already" in theft.text
    assert "172.16.0.0/12" in refusal.text
    assert "10.43" not in refusal.text
    assert far.client.registered is not None
    assert "has not approved it" in far.client.registered.notice

    world.coordinators[0].perform(Remove("owner"))
    world.advance(5)
    assert list(thief.node.health) == []


def way(node: SimNode, address: str) -> str | None:
    """Return the key of the peer to which a node sends what is for an address."""
    lane = node.node.device.allowed_ips.lookup(ip_address(address).packed)
    peers = node.node.peers.values()
    return next((peer.key for peer in peers if peer.tunnel.lane is lane), None)
