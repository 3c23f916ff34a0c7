"""Streams between nodes when the network changes, and when what is on it is inspected.

Boxes that drop the tunnel's datagrams need not look into streams; those that do hold a
stream up for good, since what they drop there comes again.
"""

from itertools import pairwise

import pytest

from meshwg.node.lookout import DialWanted
from meshwg.path.candidate import CandidateKind
from meshwg.transmit import Endpoint
from meshwg.wire.stun import Buffer
from tests.mesh.test_nat_pairs import IPV6_FIREWALL, add
from tests.sim.kinds import PUBLIC, SYMMETRIC_RANDOM, UDP_BLOCKED, Kind
from tests.sim.nat import Nat
from tests.world.boxes import Box
from tests.world.contact import Contact
from tests.world.node import SimNode
from tests.world.sendlog import Sent
from tests.world.world import World

INTERVAL = 0.1
KINDS = [
    (UDP_BLOCKED, PUBLIC),
    (UDP_BLOCKED, UDP_BLOCKED),
    (SYMMETRIC_RANDOM, SYMMETRIC_RANDOM),
]
FEW = KINDS[::2]
DATA = b"\4\0\0\0"


def test_a_stream_beside_a_path_that_carries_no_data_takes_over_and_stays() -> None:
    world, a, b = talking(IPV6_FIREWALL, IPV6_FIREWALL)
    assert a.status(b).method == "host"
    Box(world, [Sent.DATA])
    at = world.now
    world.advance(60.0)
    for node, peer in ((a, b), (b, a)):
        assert silence(node.contact(peer), at) < 4.0
        assert node.status(peer).method == "tcp"
    assert [each.method for each in a.status(b).attempts if each.at > at] == ["host"]


@pytest.mark.parametrize(("one", "other"), FEW, ids=lambda kind: kind.name)
def test_a_box_that_holds_up_every_stream_meets_ever_fewer(
    one: Kind, other: Kind
) -> None:
    world, a, b = talking(one, other, interval=0.5)
    Box(world, [Sent.DATA], streams=True)
    at = world.now
    world.advance(900.0)
    for node, peer in ((a, b), (b, a)):
        assert silence(node.contact(peer), at) < 6.0
        assert node.status(peer).kind == "relay"
        assert "carry nothing soon after" in node.status(peer).reason
    tried = {
        change.endpoint
        for when, change in a.contact(b).changes
        if when > at and change.kind is CandidateKind.TCP
    }
    assert 3 <= len(tried) <= 12, "two at a time, and then nothing for minutes"


@pytest.mark.parametrize(("one", "other"), FEW, ids=lambda kind: kind.name)
def test_a_peer_that_answers_checks_on_a_stream_and_drops_data_is_reached_otherwise(
    one: Kind, other: Kind
) -> None:
    world, a, b = talking(one, other, interval=0.5)
    drop_data_of_streams(b)
    at, dials = world.now, dials_of(a, b)
    world.advance(900.0)
    assert a.status(b).kind == b.status(a).kind == "relay"
    assert silence(b.contact(a), at) < 10.0
    assert silence(a.contact(b), at) < 1.0
    assert "answers checks but does not carry" in a.status(b).reason
    assert len([1 for when, _ in a.contact(b).changes if when > at]) == 1
    assert dials_of(a, b) == dials


@pytest.mark.parametrize("loss", [0.0, 0.05])
@pytest.mark.parametrize(("one", "other"), KINDS, ids=lambda kind: kind.name)
def test_in_another_network_there_is_soon_another_stream(
    one: Kind, other: Kind, loss: float
) -> None:
    world, a, b = talking(one, other, loss)
    at = world.now
    nat = one.routers[0]
    assert isinstance(nat, Nat)
    cafe = world.network.add_router(
        "cafe", "203.0.77.1", nat=nat, block_udp=one.block_udp
    )
    a.move("192.168.9.2", behind=cafe)
    assert world.run(lambda: is_settled(a, b, at) and is_settled(b, a, at), 6.0)
    world.advance(5.0)
    for node, peer in ((a, b), (b, a)):
        assert silence(node.contact(peer), at) < 1.5
        assert node.status(peer).method == "tcp"


def test_a_peer_that_restarts_is_soon_on_a_stream_again() -> None:
    world, a, b = talking(UDP_BLOCKED, UDP_BLOCKED)
    at = world.now
    b.restart()
    b.talk_to(a, INTERVAL)
    assert world.run(lambda: is_settled(a, b, at) and is_settled(b, a, at), 10.0)
    world.advance(5.0)
    assert a.status(b).method == b.status(a).method == "tcp"


def talking(
    one: Kind, other: Kind, loss: float = 0.0, interval: float = INTERVAL
) -> tuple[World, SimNode, SimNode]:
    """Return two nodes that talk on a direct path."""
    world = World(seed=7, loss=loss, transports=("udp", "tcp"))
    a, b = add(world, one), add(world, other)
    world.settle()
    a.talk_to(b, interval)
    b.talk_to(a, interval)
    assert world.run(lambda: a.path(b) == b.path(a) == "direct", 60.0)
    world.advance(5.0)
    return world, a, b


def is_settled(node: SimNode, peer: SimNode, since: float) -> bool:
    """Tell whether a node has found a direct path since a moment."""
    at, change = node.contact(peer).changes[-1]
    return at > since and node.contact(peer).is_direct and not change.doubted


def silence(contact: Contact, since: float) -> float:
    """Return the longest time without a packet since a moment."""
    times = [since, *(time for time in contact.heard if time > since)]
    return max(after - before for before, after in pairwise(times))


def dials_of(*nodes: SimNode) -> int:
    """Return how many connections nodes have begun."""
    return sum(isinstance(each, DialWanted) for node in nodes for each in node.events)


def drop_data_of_streams(node: SimNode) -> None:
    """Let a node take only checks and handshakes from streams."""
    streaming = node.node.streaming
    receive = streaming.receive

    def receive_less(
        link: int, data: Buffer, now: float
    ) -> list[tuple[Endpoint, list[Buffer]]]:
        received = receive(link, data, now)
        return [
            (source, kept)
            for source, run in received
            if (kept := [each for each in run if bytes(each[:4]) != DATA])
        ]

    streaming.receive = receive_less  # type: ignore[method-assign]
