"""Hosts with many addresses, as those that run containers have."""

import pytest

from meshwg.path.candidate import CANDIDATE_LIMIT, CandidateKind
from tests.sim import kinds
from tests.sim.realm import Realm
from tests.world.node import SimNode
from tests.world.world import World


@pytest.mark.parametrize("bridges", [16, 20, 300])
@pytest.mark.parametrize(
    ("kind", "other"),
    [
        (kinds.PORT_RESTRICTED, kinds.PORT_RESTRICTED),
        (kinds.LINUX, kinds.FULL_CONE),
        (kinds.PORT_RESTRICTED, kinds.SYMMETRIC_SEQUENTIAL),
    ],
    ids=lambda kind: kind.name,
)
def test_nodes_behind_nats_are_direct_whatever_bridges_they_have(
    kind: kinds.Kind, other: kinds.Kind, bridges: int
) -> None:
    world = World(seed=4)
    a, b = crowded(world, "a", kind, bridges), crowded(world, "b", other, bridges)
    world.settle()
    a.talk_to(b, 0.2)
    b.talk_to(a, 0.2)

    assert world.run(lambda: all_direct(a, b), 30.0)
    assert a.contact(b).kind is not CandidateKind.HOST


def test_what_the_mesh_is_told_of_a_crowded_host_is_bounded() -> None:
    world = World(seed=4)
    a, b = crowded(world, "a", kinds.LINUX, 300), world.add("b", kinds.LINUX)
    world.settle()

    (entry,) = (peer.entry for peer in b.node.peers.values())
    told = {candidate.kind for candidate in entry.candidates}
    assert len(a.node.whereabouts.candidates) > 300
    assert len(entry.candidates) == CANDIDATE_LIMIT
    assert told == {"host", "reflexive", "relay"}


def test_a_public_address_among_hundreds_is_found() -> None:
    world = World(seed=4)
    host = world.network.add_host("server", *(f"198.18.{n}.1" for n in range(200)))
    host.interfaces.reverse()
    server, other = world.add_on(host), world.add("other", kinds.PORT_RESTRICTED)
    world.settle()
    public = server.node.whereabouts.nat[4]
    assert public is not None
    assert public.public is not None

    first = server.node.whereabouts.candidates[0]

    assert first.host == public.public.host
    other.talk_to(server, 0.2)
    server.talk_to(other, 0.2)
    assert world.run(lambda: all_direct(other, server), 30.0)


def crowded(world: World, name: str, kind: kinds.Kind, bridges: int) -> SimNode:
    """Run a node on a host that has bridges, the addresses of which come first."""
    host = kind.add_to(world.network, name, len(world.nodes) + 1)
    for n in range(bridges):
        host.add_interface(f"10.{n // 200}.{n % 200}.1", realm=Realm())
    return world.add_on(host)


def all_direct(a: SimNode, b: SimNode) -> bool:
    return a.contact(b).is_direct and b.contact(a).is_direct
