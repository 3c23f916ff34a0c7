"""The first packet in the second of joining: the handshake does not wait for 5 s.

Both nodes start at the same moment, and one sends from then on what has to be answered.
It is answered as soon as a way has appeared, though the handshake may have left before.
"""

import pytest

from tests.mesh.test_nat_pairs import PAIRS, add
from tests.sim import kinds
from tests.world.node import SimNode
from tests.world.world import World

PATIENCE = 0.3
"""Seconds from the first way to the first answer, beside the relay's round trip."""

LOSSY_PATIENCE = 3.0
"""The same where one packet in ten is lost each way."""


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda kind: kind.name)
def test_it_is_answered_as_soon_as_there_is_a_way(
    one: kinds.Kind, other: kinds.Kind
) -> None:
    assert waits(one, other, loss=0.0) < PATIENCE


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (kinds.LINUX, kinds.LINUX),
        (kinds.SYMMETRIC_RANDOM, kinds.SYMMETRIC_RANDOM),
        (kinds.UDP_BLOCKED, kinds.LINUX),
    ],
    ids=lambda kind: kind.name,
)
def test_a_lossy_wire_does_not_make_it_wait_for_wireguards_own_repetition(
    one: kinds.Kind, other: kinds.Kind, seed: int
) -> None:
    assert waits(one, other, loss=0.05, seed=seed) < LOSSY_PATIENCE


@pytest.mark.parametrize("delay", [0.04, 0.07, 0.08, 0.09, 0.1, 0.12])
def test_two_that_begin_together_do_not_undo_each_others_handshakes(
    delay: float,
) -> None:
    world = World()
    world.relays[0].host.interfaces[0].uplink.delay = delay
    a, b = add(world, kinds.LINUX), add(world, kinds.PORT_RESTRICTED)
    world.settle()
    begun = world.now
    a.talk_to(b, 0.02)
    b.talk_to(a, 0.02)
    contacts = a.contact(b), b.contact(a)
    assert world.run(lambda: all(contact.heard for contact in contacts), 10.0)
    assert world.now - begun < 4 * delay + PATIENCE


def waits(one: kinds.Kind, other: kinds.Kind, loss: float, seed: int = 7) -> float:
    """Return the seconds from the first way to the first answer, less a round trip."""
    world = World(seed=seed, loss=loss, transports=("udp", "tcp"))
    a, b = add(world, one), add(world, other)
    assert world.run(lambda: knows(a, b), 10.0)
    sequence = 0
    first_way: float | None = None
    while not a.answers() and world.now < 1060.0:
        sequence += 1
        a.ping(b, sequence)
        world.advance(0.05)
        if first_way is None and has_way(a, b) and has_way(b, a):
            first_way = world.now
    assert first_way is not None
    assert a.answers()
    rtt = max(node.status(peer).rtt or 0.1 for node, peer in ((a, b), (b, a)))
    return world.now - first_way - rtt


def knows(node: SimNode, peer: SimNode) -> bool:
    return node.node.members.find(peer.key) is not None


def has_way(node: SimNode, peer: SimNode) -> bool:
    """Tell whether a check was answered, so that a message would get through."""
    return (
        knows(node, peer)
        and node.peer(peer).agent is not None
        and node.status(peer).rtt is not None
    )
