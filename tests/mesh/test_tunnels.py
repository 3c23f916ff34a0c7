"""Two nodes that another tunnel connects, too: a VPN, or another mesh."""

import pytest

from meshwg.node import PathChanged
from meshwg.path.candidate import CandidateKind
from tests.sim import kinds
from tests.sim.realm import Realm, Wire
from tests.world.node import SimNode
from tests.world.world import World

INSIDE = {"a": "10.9.0.1", "b": "10.9.0.2"}
FAST, USUAL, SLOW = 0.001, 0.02, 0.1
"""Seconds that a datagram takes at each end of the tunnel: less than without it, as
long, or more."""


@pytest.mark.parametrize(
    ("one", "other", "knowing"),
    [
        (kinds.PUBLIC, kinds.PUBLIC, "ab"),
        (kinds.LINUX, kinds.PORT_RESTRICTED, "ab"),
        (kinds.LINUX, kinds.PORT_RESTRICTED, "a"),
        (kinds.LINUX, kinds.PORT_RESTRICTED, "b"),
        (kinds.PORT_RESTRICTED, kinds.SYMMETRIC_SEQUENTIAL, "ab"),
        (kinds.PORT_RESTRICTED, kinds.SYMMETRIC_RANDOM, "ab"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.name,
)
def test_the_direct_path_goes_around_it_from_the_start(
    one: kinds.Kind, other: kinds.Kind, knowing: str
) -> None:
    world, a, b = connected(one, other, knowing=knowing)
    talk(a, b)

    assert world.run(lambda: both_around(a, b), 40.0)
    world.advance(40.0)

    assert both_around(a, b)
    assert used(a, b) == used(b, a) == 0
    assert len(moves(a, b)) <= 3


def test_between_nats_that_cannot_be_opened_it_is_used_where_it_is_faster() -> None:
    world, a, b = connected(
        kinds.SYMMETRIC_RANDOM, kinds.SYMMETRIC_RANDOM, tcp=False, delay=FAST
    )
    talk(a, b)

    assert world.run(lambda: used(a, b) == used(b, a) == 1, 120.0)
    world.advance(30.0)

    assert used(a, b) == used(b, a) == 1
    assert "another tunnel" in a.status(b).reason


def test_a_tunnel_that_takes_as_long_as_the_relay_is_not_used() -> None:
    world, a, b = connected(
        kinds.SYMMETRIC_RANDOM, kinds.SYMMETRIC_RANDOM, tcp=False, delay=SLOW
    )
    talk(a, b)
    world.advance(90.0)

    assert used(a, b) == used(b, a) == 0
    assert a.contact(b).kind is CandidateKind.RELAYED


def test_one_that_is_clearly_faster_than_the_direct_path_is_used_and_kept() -> None:
    world, a, b = connected(kinds.LINUX, kinds.PORT_RESTRICTED, delay=FAST)
    talk(a, b)

    assert world.run(lambda: used(a, b) == used(b, a) == 1, 120.0)
    world.advance(30.0)

    assert len(moves(a, b)) == len(moves(b, a)) == 3


def test_without_relay_and_direct_path_it_is_the_only_way() -> None:
    world, a, b = connected(
        kinds.SYMMETRIC_RANDOM, kinds.SYMMETRIC_RANDOM, tcp=False, relays=0
    )
    talk(a, b)

    assert world.run(lambda: used(a, b) == used(b, a) == 1, 10.0)


def test_a_tunnel_that_ends_takes_nothing_with_it() -> None:
    world, a, b = connected(kinds.LINUX, kinds.PORT_RESTRICTED)
    talk(a, b)
    assert world.run(lambda: both_around(a, b), 40.0)
    world.advance(10.0)
    before = len(moves(a, b))

    for node in (a, b):
        inside = node.host.interfaces.pop()
        inside.realm.detach(inside.address)
        node.tunnels.clear()
        node.node.set_hosts(node.host.addresses, world.now)
    world.advance(30.0)

    assert both_around(a, b)
    assert len(moves(a, b)) == before


def connected(
    *two: kinds.Kind,
    knowing: str = "ab",
    tcp: bool = True,
    relays: int = 1,
    delay: float = USUAL,
) -> tuple[World, SimNode, SimNode]:
    """Return two nodes with a tunnel between their hosts.

    :param knowing: which of them know that it is one.
    :param delay: of the tunnel.
    """
    world = World(seed=6, tcp=tcp, relays=relays)
    tunnel = Realm()
    for number, (name, kind) in enumerate(zip(INSIDE, two, strict=True), start=1):
        host = kind.add_to(world.network, name, number)
        wire = host.interfaces[0].uplink
        node = world.add_on(host)
        wire.delay = 0.01
        host.add_interface(INSIDE[name], realm=tunnel, wire=Wire(delay))
        if name in knowing:
            node.tunnels[host.interfaces[-1].index] = (INSIDE[name],)
        node.node.set_hosts(host.addresses, world.now, (), node.tunnels)
    world.settle()
    return world, world.nodes["a"], world.nodes["b"]


def talk(a: SimNode, b: SimNode) -> None:
    a.talk_to(b, 0.1)
    b.talk_to(a, 0.1)


def both_around(a: SimNode, b: SimNode) -> bool:
    """Tell whether both have a direct path, and not through the tunnel."""
    kinds_in_use = {a.contact(b).kind, b.contact(a).kind}
    remotes = {a.status(b).remote, b.status(a).remote}
    return not kinds_in_use & {CandidateKind.RELAYED, None} and not any(
        remote is not None and remote.host in INSIDE.values() for remote in remotes
    )


def moves(node: SimNode, other: SimNode) -> list[str]:
    """Return where a node's data for another one went, in order."""
    return [
        each.event.endpoint.host
        for each in node.found(PathChanged)
        if each.peer.key == other.key and each.event.endpoint is not None
    ]


def used(node: SimNode, other: SimNode) -> int:
    """Return how often a node moved its data into the tunnel."""
    return sum(host in INSIDE.values() for host in moves(node, other))
