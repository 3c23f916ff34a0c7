"""Nodes that restart, alone or while coordinator, STUN server and relay are away.

All that they have is what they saved: who was in the mesh, and where.
"""

from collections.abc import Callable

import pytest

from tests.sim import kinds
from tests.sim.nat import Nat
from tests.world.node import SimNode
from tests.world.world import World

LIMIT = 3.0
"""Seconds from the first packet within which a direct path has to carry."""


def public() -> World:
    return two_networks(kinds.PUBLIC)


def port_restricted() -> World:
    return two_networks(kinds.PORT_RESTRICTED)


def one_lan() -> World:
    world = World(relays=0)
    router = world.network.add_router("home", "203.0.113.1", nat=Nat())
    for name, address in (("alice", "192.168.1.31"), ("bob", "192.168.1.32")):
        world.add_on(world.network.add_host(name, address, behind=router))
    return world


SOON = 0.3
"""Seconds from the start of a node until the data of a peer that goes on with the old
session is received: some round trips, not the interval of a timer."""


@pytest.mark.parametrize("gap", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("offset", [0.0, 0.017, 0.11])
@pytest.mark.parametrize("is_away", [False, True], ids=["mesh", "alone"])
@pytest.mark.parametrize(
    "kind", [kinds.PUBLIC, kinds.PORT_RESTRICTED], ids=lambda kind: kind.name
)
def test_a_node_that_restarts_while_a_peer_talks_hears_it_at_once(
    kind: kinds.Kind, is_away: bool, offset: float, gap: float
) -> None:
    world = two_networks(kind)
    alice, bob = world.nodes["alice"], world.nodes["bob"]
    world.settle()
    alice.talk_to(bob, 0.05)
    world.advance(5.0 + offset)
    if is_away:
        world.coordinator.stop()
    cache, heard = bob.die(), bob.contact(alice)
    world.advance(gap)
    before = heard.received

    bob.start(cache)

    assert world.run(lambda: heard.received > before, SOON), bob.status(alice)


PLACES = [public, port_restricted, one_lan]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("first", ["alice", "bob"])
@pytest.mark.parametrize("gap", [0.0, 2.0, 40.0])
def test_two_nodes_that_restart_find_each_other_by_what_they_saved(
    place: Callable[[], World], first: str, gap: float
) -> None:
    world, alice, bob = away(place(), talked=True)
    for node in (alice, bob) if first == "alice" else (bob, alice):
        node.restart()
        world.advance(gap)
    assert_direct(world, alice, bob)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("talked", [True, False], ids=["known", "strangers"])
def test_a_packet_long_after_the_restart_is_delivered_too(
    place: Callable[[], World], talked: bool
) -> None:
    world, alice, bob = away(place(), talked=talked)
    alice.restart()
    bob.restart()
    world.advance(300.0)
    assert_direct(world, bob, alice)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_nodes_that_never_talked_meet_while_the_coordinator_is_away(
    place: Callable[[], World],
) -> None:
    world, alice, bob = away(place(), talked=False)
    world.advance(60.0)
    assert_direct(world, alice, bob)


@pytest.mark.parametrize("seed", range(5))
def test_five_percent_loss_does_not_keep_them_apart(seed: int) -> None:
    world, alice, bob = away(two_networks(kinds.PORT_RESTRICTED, seed), talked=True)
    world.loss = 0.05
    alice.restart()
    bob.restart()
    world.advance(30.0)
    alice.talk_to(bob, 0.2)
    assert world.run(lambda: is_direct(alice, bob), 10.0)


def test_once_the_coordinator_is_back_no_openers_are_sent() -> None:
    world, alice, bob = away(port_restricted(), talked=False)
    alice.restart()
    bob.restart()
    world.advance(30.0)
    world.coordinator.start()
    world.advance(60.0)
    since = world.now
    world.advance(120.0)
    sent = alice.log.by_host(since)
    assert bob.host.interfaces[0].address not in sent
    assert not any(host.startswith("203.0.") for host in sent)


def test_an_idle_node_sends_little_while_the_coordinator_is_away() -> None:
    world = World(relays=0)
    nodes = [world.add(f"n{number}", kinds.PUBLIC) for number in range(12)]
    world.settle()
    world.coordinator.stop()
    world.advance(30.0)
    since = world.now
    world.advance(60.0)
    sent = nodes[0].log.by_kind(since)
    assert 0 < sent.total() <= 12 * 10


def two_networks(kind: kinds.Kind, seed: int = 1) -> World:
    """Return a world of two nodes, each in a network of a kind."""
    world = World(seed, relays=0)
    world.add("alice", kind)
    world.add("bob", kind)
    return world


def away(world: World, *, talked: bool) -> tuple[World, SimNode, SimNode]:
    """Return two nodes whose coordinator and STUN server went away."""
    alice, bob = world.nodes["alice"], world.nodes["bob"]
    world.settle()
    if talked:
        assert alice.reaches(bob)
    world.coordinator.stop()
    world.stun.stop()
    world.advance(1.0)
    return world, alice, bob


def assert_direct(world: World, source: SimNode, target: SimNode) -> None:
    """Assert that packets soon go directly, both ways."""
    source.talk_to(target, 0.2)
    heard = target.contact(source).received
    assert world.run(lambda: is_direct(source, target), LIMIT), source.status(target)
    assert world.run(lambda: target.contact(source).received > heard, LIMIT)


def is_direct(one: SimNode, other: SimNode) -> bool:
    return one.path(other) == other.path(one) == "direct"
