"""Routers that take packets from outside for their own, and spoil a port by that.

Whatever came first, and from whichever side, the nodes end up with a direct path: the
first checks are sent so that nothing is spoiled, and what is spoiled all the same is
left for fresh sockets.
"""

from functools import partial

import pytest

from tests.sim import kinds
from tests.sim.kinds import Kind
from tests.world.node import SimNode
from tests.world.world import World, strangers

SLOPPY = kinds.SLOPPY_LINUX
PAIRS = [
    (SLOPPY, SLOPPY),
    (SLOPPY, kinds.PORT_RESTRICTED),
    (kinds.PORT_RESTRICTED, SLOPPY),
    (SLOPPY, kinds.FIREWALLED_PUBLIC),
    (SLOPPY, kinds.DOUBLE_NAT_CONE),
]
GAPS = (0.0, 0.5, 5.0, 40.0)
LOSSES = (0.0, 0.05)
LIMIT = 12.0
"""Seconds within which a pair is direct once both are there."""

AWAY_LIMIT = 600.0
"""The same without a coordinator, where nothing but waiting mends a spoiled port."""


def kind_of(kind: Kind) -> str:
    return kind.name


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("latency", [0.005, 0.2], ids=["near", "far"])
@pytest.mark.parametrize(("a", "b"), PAIRS, ids=kind_of)
def test_whoever_speaks_first(
    a: Kind, b: Kind, latency: float, gap: float, loss: float
) -> None:
    world, alice, bob = met(a, b, loss)
    alice.carrier.latency = bob.carrier.latency = latency
    alice.talk_to(bob, 0.2)
    world.advance(gap)
    bob.talk_to(alice, 0.2)
    assert world.run(lambda: is_direct(alice, bob), LIMIT), alice.status(bob)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize(("a", "b"), PAIRS, ids=kind_of)
def test_a_node_that_was_called_before_it_started(
    a: Kind, b: Kind, gap: float, loss: float
) -> None:
    world, alice, bob = met(a, b, loss)
    saved = bob.die()
    alice.talk_to(bob, 0.2)
    world.advance(gap)
    bob.start(saved)
    bob.talk_to(alice, 0.2)
    assert world.run(lambda: is_direct(alice, bob), 2 * LIMIT), alice.status(bob)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize(("a", "b"), PAIRS, ids=kind_of)
def test_nodes_that_restart_without_their_coordinator(
    a: Kind, b: Kind, gap: float, loss: float
) -> None:
    world, alice, bob = met(a, b, loss)
    world.coordinator.stop()
    world.stun.stop()
    saved = {node: node.die() for node in (alice, bob)}
    world.advance(35.0)
    for node in (alice, bob):
        node.start(saved[node])
        world.advance(gap)
    world.advance(3.0)
    alice.talk_to(bob, 0.2)
    assert world.run(lambda: is_direct(alice, bob), AWAY_LIMIT), alice.status(bob)


@pytest.mark.parametrize("gap", [0.5, 5.0, 40.0])
def test_a_call_to_a_node_that_is_not_there_spoils_nothing_for_ever(gap: float) -> None:
    world, alice, bob = met(SLOPPY, kinds.PORT_RESTRICTED)
    world.coordinator.stop()
    world.stun.stop()
    saved = alice.die()
    world.advance(35.0)
    bob.talk_to(alice, 0.2)
    world.advance(gap)
    alice.start(saved)
    assert world.run(lambda: is_direct(alice, bob), AWAY_LIMIT), bob.status(alice)


@pytest.mark.parametrize("kind", [SLOPPY, kinds.PORT_RESTRICTED], ids=kind_of)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_router_that_reboots_while_the_peer_talks(kind: Kind, loss: float) -> None:
    world, alice, bob = met(SLOPPY, kind, loss)
    alice.talk_to(bob, 0.2)
    bob.talk_to(alice, 0.2)
    assert world.run(lambda: is_direct(alice, bob), LIMIT)
    world.advance(5.0)
    alice.router.reboot()
    heard = alice.contact(bob).received
    assert world.run(lambda: alice.contact(bob).received > heard + 20, 3 * LIMIT)
    assert world.run(lambda: is_direct(alice, bob), 3 * LIMIT), alice.status(bob)


@pytest.mark.parametrize("seed", range(6))
def test_symmetric_peers_are_met_one_after_the_other(seed: int) -> None:
    world = World(seed)
    alice = world.add("alice", SLOPPY)
    peers = [world.add(f"peer-{n}", kinds.SYMMETRIC_ALSO_TCP) for n in range(4)]
    world.settle()
    for peer in peers:
        alice.talk_to(peer, 0.5)
        peer.talk_to(alice, 0.5)
        assert world.run(partial(is_direct, alice, peer), LIMIT), alice.status(peer)


def test_a_spoiled_port_is_left_for_a_fresh_socket() -> None:
    world, alice, bob = met(SLOPPY, SLOPPY)
    spoil(alice, bob)
    spoil(bob, alice)
    alice.talk_to(bob, 0.2)
    bob.talk_to(alice, 0.2)
    assert world.run(lambda: is_direct(alice, bob), LIMIT), alice.status(bob)
    for node in (alice, bob):
        assert len(node.host.sockets) == 2, "the socket of the path is kept"
    methods = [attempt.method for attempt in alice.status(bob).attempts]
    assert "fresh-socket" in methods
    world.advance(120.0)
    assert is_direct(alice, bob)


def met(a: Kind, b: Kind, loss: float = 0.0) -> tuple[World, SimNode, SimNode]:
    """Return two nodes that know each other and never talked."""
    world, alice, bob = strangers(a, b)
    world.loss = loss
    return world, alice, bob


def spoil(node: SimNode, peer: SimNode) -> None:
    """Let a packet of a peer's public endpoint come before the node sent one there."""
    ours, theirs = public(node), public(peer)
    translation = node.router.translation
    assert translation is not None
    assert translation.inbound(ours, theirs, node.now) is None


def public(node: SimNode) -> tuple[str, int]:
    (candidate,) = (
        one for one in node.node.whereabouts.candidates if one.kind == "reflexive"
    )
    return candidate.host, candidate.port


def is_direct(one: SimNode, other: SimNode) -> bool:
    return one.path(other) == other.path(one) == "direct"
