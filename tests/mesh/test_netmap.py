"""A mesh of fifty nodes around its coordinator, in virtual time."""

import pytest

from coordinator.mesh.operations import Remove, Rename
from meshwg.control.client import ControlState
from meshwg.control.events import Accepted, Disconnected, OfferReceived
from meshwg.control.netmap import PeerTable
from meshwg.wire.control import (
    Delta,
    NetMap,
    OfferMessage,
    PeerEntry,
    ReportedCandidate,
    decode_from_coordinator,
    load_cache,
)
from tests.world.control import ControlWorld
from tests.world.member import SimMember

SIZE = 50
CANDIDATES = [ReportedCandidate(kind="host", host="10.0.0.7", port=51820)]


def test_fifty_nodes_join_and_all_know_the_same() -> None:
    world = mesh()
    assert_all_agree(world)
    assert len({peer.addresses for peer in snapshot(world).values()}) == SIZE


def test_deltas_lead_to_what_a_whole_netmap_says_at_every_version() -> None:
    world = mesh(size=12)
    coordinator = world.coordinators[0]
    versions = set()
    for step in range(60):
        change_something(world, step)
        world.advance(1.0)
        whole = snapshot(world)
        for node in world.members:
            if node.connected:
                assert known(node.client.peers) == whole, f"step {step}"
        versions.add(coordinator.history.version)
    assert len(versions) > 40


@pytest.mark.parametrize("seed", range(2))
def test_a_mesh_whose_connections_break_agrees_once_they_hold(seed: int) -> None:
    world = mesh(seed=seed)
    for step in range(20):
        for node in world.random.sample(world.members, 8):
            node.cut()
        change_something(world, step)
        world.advance(world.random.uniform(0.1, 3.0))
    world.advance(60.0)
    assert all(node.connected or has_ended(node) for node in world.members)
    assert_all_agree(world)


def test_a_reconnecting_node_is_sent_only_what_it_missed() -> None:
    world = mesh()
    node = world.members[0]
    built = world.coordinators[0].history.built
    node.cut()
    world.members[1].client.report(CANDIDATES, None, world.now)
    world.took(lambda: node.connected)
    world.advance(2.0)
    # For the others: it went, and it came. For the node itself: one delta.
    assert world.coordinators[0].history.built - built <= 4
    assert_all_agree(world)


def test_a_coordinator_restart_is_invisible_to_peers() -> None:
    world = mesh()
    world.advance(60.0)
    for node in world.members:
        node.events.clear()
    coordinator = world.coordinators[0]
    coordinator.stop()
    world.advance(5.0)
    coordinator.start()
    world.took(lambda: all(node.connected for node in world.members))
    world.advance(60.0)
    assert_all_agree(world)
    for node in world.members:
        assert {type(event) for event in node.events} == {Disconnected, Accepted}


def test_a_coordinator_killed_during_joins_keeps_every_node_it_acknowledged() -> None:
    world = ControlWorld()
    coordinator = world.add_coordinator()
    acknowledged: set[str] = set()
    for number in range(SIZE):
        world.add_member(f"n{number}")
        world.advance(world.random.uniform(0.0, 0.05))
        acknowledged |= {n.key for n in world.members if n.client.registered}
        if number % 10 == 9:
            coordinator.stop()
            coordinator.start()
            assert acknowledged <= set(coordinator.registry.nodes)
    world.advance(60.0)
    assert len(coordinator.registry) == SIZE
    assert_all_agree(world)


def test_a_node_starts_from_its_cache_without_the_coordinator() -> None:
    world = mesh(size=5)
    node = world.members[0]
    before = known(node.client.peers)
    text = node.client.cache()
    assert text is not None
    world.coordinators[0].stop()
    node.restart(load_cache(text))
    world.advance(10.0)
    assert not node.connected
    assert known(node.client.peers) == before
    world.coordinators[0].start()
    world.took(lambda: node.connected)
    world.advance(40.0)
    assert_all_agree(world)


def test_two_coordinators_on_one_database_are_one_mesh() -> None:
    world = ControlWorld()
    first, second = world.add_coordinator("first"), world.add_coordinator("second")
    for number in range(SIZE):
        world.add_member(f"n{number}", (first, second)[number % 2])
    world.advance(10.0)
    assert_all_agree(world)
    one, other = world.members[0], world.members[1]
    plan, candidates = {"plan": [1, 2]}, tuple(CANDIDATES)
    offer = OfferMessage(
        to=other.key, sequence=1, candidates=candidates, extension=plan
    )
    one.client.offer(offer, world.now)
    world.advance(1.0)
    assert len(other.found(OfferReceived)) == 1


def test_a_delta_costs_what_changed_and_not_what_there_is() -> None:
    sizes = []
    for size in (10, 40):
        world = mesh(size=size)
        history = world.coordinators[0].history
        version = history.version
        world.members[0].client.report(CANDIDATES, None, world.now)
        world.advance(2.0)
        (payload,) = history.since(version)
        sizes.append(len(payload))
    assert abs(sizes[0] - sizes[1]) < 40


def mesh(size: int = SIZE, seed: int = 1) -> ControlWorld:
    """A mesh that has come to rest."""
    world = ControlWorld(seed)
    world.add_coordinator()
    for number in range(size):
        world.add_member(f"n{number}")
    world.advance(5.0)
    assert all(node.connected for node in world.members)
    return world


def change_something(world: ControlWorld, step: int) -> None:
    """Do one of the things that happen to a mesh."""
    coordinator = world.coordinators[0]
    members = [node for node in world.members if not has_ended(node)]
    node = world.random.choice(members)
    match step % 6:
        case 0 | 1:
            candidate = ReportedCandidate(
                kind="host", host=f"10.0.0.{step + 1}", port=1 + step
            )
            node.client.report([candidate], None, world.now)
        case 2:
            coordinator.perform(Rename(node.key, f"renamed-{step}"))
        case 3 if len(members) > 8:
            coordinator.perform(Remove(node.key))
        case 4:
            world.add_member(f"late-{step}")
        case _:
            node.client.stop(world.now)
            world.advance(0.5)
            node.restart()


def has_ended(node: SimMember) -> bool:
    return node.client.state is ControlState.ENDED


def known(table: PeerTable) -> dict[str, PeerEntry]:
    return {peer.public_key: peer for peer in table.nodes}


def snapshot(world: ControlWorld) -> dict[str, PeerEntry]:
    """Return what a node without any netmap would be told."""
    table = PeerTable("")
    for payload in world.coordinators[0].history.full():
        message = decode_from_coordinator(payload)
        assert isinstance(message, NetMap | Delta)
        if isinstance(message, NetMap):
            change = table.replace(message)
        else:
            applied = table.update(message)
            assert applied is not None
            change = applied
        assert change.consistent
    return known(table)


def assert_all_agree(world: ControlWorld) -> None:
    whole = snapshot(world)
    for node in world.members:
        if not has_ended(node):
            assert known(node.client.peers) == whole, node.name
