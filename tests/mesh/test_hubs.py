"""Hubs in whole meshes: they are believed by what comes back through them."""

from meshwg.peer import HUB
from tests.sim.kinds import PUBLIC, SYMMETRIC_RANDOM
from tests.world.node import SimNode
from tests.world.world import World


def test_a_hub_that_forwards_is_said_to_do_so() -> None:
    _, alice, bob, _ = made("hub")

    assert alice.reaches(bob)
    alice.network.advance(1)

    assert alice.path(bob) == "via hub"
    assert reason(alice, bob).startswith("The hub hub forwards: ")


def test_a_hub_that_does_not_forward_is_not_said_to_do_so() -> None:
    _, alice, bob, hubs = made("hub")
    stop_forwarding(hubs[0])

    assert not alice.reaches(bob, limit=10)

    assert alice.path(bob) == "none"
    assert reason(alice, bob).startswith("The hub hub does not forward to there")


def test_a_hub_that_forwards_again_is_noticed() -> None:
    _, alice, bob, hubs = made("hub")
    stop_forwarding(hubs[0])
    assert not alice.reaches(bob, limit=10)

    hubs[0].role = HUB

    assert alice.reaches(bob)
    alice.network.advance(15)
    assert reason(alice, bob).startswith("The hub hub forwards: ")


def test_where_the_first_hub_does_not_forward_both_ends_take_the_next() -> None:
    _, alice, bob, hubs = made("first", "second")
    stop_forwarding(hubs[0])

    assert alice.reaches(bob, limit=40)

    alice.network.advance(2)
    assert alice.path(bob) == "via second"
    assert bob.path(alice) == "via second"


def test_a_hub_that_stops_forwarding_is_left_for_the_next() -> None:
    _, alice, bob, hubs = made("first", "second")
    assert alice.reaches(bob)
    alice.talk_to(bob, 0.5)
    bob.talk_to(alice, 0.5)
    alice.network.advance(2)
    assert alice.path(bob) == "via first"

    stop_forwarding(hubs[0])
    alice.network.advance(60)

    assert alice.reaches(bob, limit=5)


def test_without_a_way_to_the_hub_nobody_says_that_it_forwards() -> None:
    world, alice, bob, hubs = made("hub")
    hubs[0].die()

    assert not alice.reaches(bob, limit=8)

    assert world.now > 0
    assert "forwards" not in reason(alice, bob)


def made(*hubs: str) -> tuple[World, SimNode, SimNode, list[SimNode]]:
    """Return a mesh of two nodes that nothing but hubs can bring together."""
    world = World(relays=0, tcp=False)
    served = []
    for name in hubs:
        served.append(world.add(name, PUBLIC, role=HUB))
        # The next one is approved later.
        world.advance(2)
    alice, bob = (world.add(name, SYMMETRIC_RANDOM) for name in ("alice", "bob"))
    world.settle()
    return world, alice, bob, served


def stop_forwarding(hub: SimNode) -> None:
    """Let a hub's system pass on nothing, which the hub itself does not know."""
    hub.role = "node"


def reason(node: SimNode, other: SimNode) -> str:
    return node.peer(other).reason(node.now)
