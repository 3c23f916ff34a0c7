"""A direct path is cut for a while: what is shown, and when it is used again."""

import pytest

from meshwg.path.candidate import CandidateKind
from tests.sim import kinds
from tests.world.internet import address_outside
from tests.world.node import SimNode
from tests.world.world import World

PAIRS = [
    (kinds.LINUX, kinds.PUBLIC),
    (kinds.LINUX, kinds.PORT_RESTRICTED),
    (kinds.FULL_CONE, kinds.SYMMETRIC_RANDOM),
    (kinds.PUBLIC, kinds.PUBLIC),
]
AGREEMENT = 3.0
"""Seconds after the end of an outage in which both sides are direct again."""

FOLLOWING = 2.0
"""Seconds after the cut in which both sides say that data goes through the relay."""


@pytest.mark.parametrize("loss", [0.0, 0.05])
@pytest.mark.parametrize("outage", [2.0, 8.0, 20.0, 28.0, 60.0])
@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda kind: kind.name)
def test_both_sides_are_direct_again_when_an_outage_is_over(
    one: kinds.Kind, other: kinds.Kind, outage: float, loss: float
) -> None:
    world, a, b = direct_pair(one, other, loss)
    cut(world, a, b)
    world.advance(outage)
    assert (shown(a, b), shown(b, a)) == ("relay", "relay")
    mend(world)
    assert world.run(lambda: is_direct(a, b) and is_direct(b, a), AGREEMENT)
    over = world.now
    world.advance(60.0)
    for node, peer in ((a, b), (b, a)):
        assert is_direct(node, peer)
        assert node.status(peer).loss < 0.3
        kinds_since = {one.kind for at, one in node.contact(peer).changes if at > over}
        if not loss:
            assert CandidateKind.RELAYED not in kinds_since, "the outage does not count"


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda kind: kind.name)
def test_what_is_shown_follows_the_traffic(one: kinds.Kind, other: kinds.Kind) -> None:
    world, a, b = direct_pair(one, other)
    cut(world, a, b)
    world.advance(FOLLOWING)
    for node, peer in ((a, b), (b, a)):
        status = node.status(peer)
        assert status.kind == "relay"
        assert status.remote is not None
        assert status.remote.host == world.relays[0].address
        assert "does not answer" in status.reason


def direct_pair(
    one: kinds.Kind, other: kinds.Kind, loss: float = 0.0
) -> tuple[World, SimNode, SimNode]:
    world = World(seed=4, loss=loss)
    a, b = world.add("a", one), world.add("b", other)
    world.settle()
    a.talk_to(b, 0.1)
    b.talk_to(a, 0.1)
    assert world.run(lambda: is_direct(a, b) and is_direct(b, a))
    world.advance(20.0)
    return world, a, b


def cut(world: World, a: SimNode, b: SimNode) -> None:
    """Lose everything that does not go through a relay."""
    ends = {address_outside(a.host), address_outside(b.host)}
    world.network.lose = lambda packet: (
        packet.source[0] in ends and packet.destination[0] in ends
    )


def mend(world: World) -> None:
    world.network.lose = lambda packet: False


def shown(node: SimNode, peer: SimNode) -> str:
    return node.status(peer).kind


def is_direct(node: SimNode, peer: SimNode) -> bool:
    return shown(node, peer) == "direct"
