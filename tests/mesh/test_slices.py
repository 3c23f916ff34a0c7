"""A large mesh is told in slices, whatever happens to the connection meanwhile."""

from dataclasses import replace
from functools import partial

import pytest

from coordinator.mesh.operations import ApplyPolicy, Assign, Join, Remove, Rename
from coordinator.mesh.slices import MAX_ENTRIES
from meshwg.control.client import ControlClient
from meshwg.control.connection import Connection
from meshwg.control.events import PeersChanged, PolicyChanged
from meshwg.keys import format_key
from meshwg.wire import control
from meshwg.wire.control import Delta, NetMap, PeerEntry
from tests.world.control import ControlWorld
from tests.world.member import SimMember

SIZE = 20 * MAX_ENTRIES
POLICY = """
[tag-owners]
web = []
[[allow]]
from = ["any"]
to = ["any"]
[[allow]]
from = ["tag:web"]
to = ["tag:web"]
"""


def test_a_newcomer_is_told_of_a_large_mesh_in_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = filled()
    node = world.add_member("newcomer")
    heard = listen(node, monkeypatch)
    world.took(lambda: knows_all(world, node))
    told = [each for each in heard if isinstance(each, NetMap | Delta)]
    assert len(told) >= SIZE // MAX_ENTRIES
    assert isinstance(told[0], NetMap)
    assert max(map(length, told)) <= MAX_ENTRIES
    assert resyncs(world) == 0


def test_a_node_that_does_not_know_slices_is_sent_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = filled()
    node = world.add_member("old")
    node.client = make_old(node, monkeypatch)
    heard = listen(node, monkeypatch)
    world.took(lambda: knows_all(world, node))
    told = [each for each in heard if isinstance(each, NetMap)]
    assert [length(each) for each in told] == [SIZE + 1], "it itself, too"
    assert all(each.through is None for each in heard if isinstance(each, Delta))


def test_what_is_told_to_the_node_at_once_is_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = filled()
    old, node = world.add_member("old"), world.add_member("node")
    old.client = make_old(old, monkeypatch)
    for member in (old, node):
        world.took(partial(knows_all, world, member))
        changes = [e for e in member.events if isinstance(e, PeersChanged)]
        assert max(len(e.changed) + len(e.removed) for e in changes) <= 64


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_connection_that_ends_midway_is_followed_by_one_that_goes_on(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = filled()
    node = world.add_member("newcomer")
    world.run(lambda: len(node.client.peers.nodes) >= share * SIZE)
    known = len(node.client.peers.nodes)
    assert known < SIZE
    node.cut()
    heard = listen(node, monkeypatch)
    world.took(lambda: knows_all(world, node))
    told = [each for each in heard if isinstance(each, NetMap | Delta)]
    assert not any(isinstance(each, NetMap) for each in told)
    assert sum(map(length, told)) <= SIZE - known + MAX_ENTRIES + 2
    assert resyncs(world) == 0


def test_a_connection_that_ends_again_and_again_leads_on_all_the_same() -> None:
    world = filled()
    node = world.add_member("newcomer")
    for step in range(1, 8):
        world.run(partial(knows, node, step * 2 * MAX_ENTRIES))
        node.cut()
    world.took(lambda: knows_all(world, node))
    assert resyncs(world) == 0


def test_what_changes_while_slices_come_is_told_after_them() -> None:
    world = filled()
    node = world.add_member("newcomer")
    world.run(lambda: node.client.peers.through != 0)
    world.coordinator.perform(Rename("n3", "other"))
    world.coordinator.perform(Remove("n4"))
    world.took(lambda: knows_all(world, node))
    assert find(node, "other") is not None
    assert find(node, "n4") is None
    assert resyncs(world) == 0


def test_who_went_while_slices_came_is_gone_also_after_the_connection_ended() -> None:
    world = filled()
    node = world.add_member("newcomer")
    world.run(lambda: find(node, "n3") is not None)
    node.cut()
    world.coordinator.perform(Remove("n3"))
    world.took(lambda: knows_all(world, node))
    assert resyncs(world) == 0


def test_a_netmap_in_place_of_another_removes_only_at_its_end() -> None:
    world = filled()
    node = world.add_member("node")
    world.took(lambda: knows_all(world, node))
    world.coordinator.perform(Remove("n5"))
    world.took(lambda: knows_all(world, node))
    node.events.clear()
    ask_for_all(world, node)
    world.run(lambda: node.client.peers.through != 0)
    assert len(node.client.peers.nodes) >= SIZE - 1
    world.took(lambda: knows_all(world, node))
    gone = [key for event in node.events for key in removed_by(event)]
    assert gone == [key_of(5)], "what is told first may be a little older"


def test_a_slice_that_is_missing_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = filled()
    node = world.add_member("newcomer")
    drop = iter([False, False, False, True])
    take = node.client.briefing.receive

    def receive(message: control.FromCoordinator) -> bool:
        is_slice = isinstance(message, Delta)
        return True if is_slice and next(drop, False) else take(message)

    monkeypatch.setattr(node.client.briefing, "receive", receive)
    world.took(lambda: knows_all(world, node))
    assert resyncs(world) == 1


def test_a_slice_that_cannot_be_read_costs_neither_side_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = filled()
    node = world.add_member("newcomer")
    monkeypatch.setattr(node.client.briefing, "receive", refuse_all)
    world.advance(300.0)
    assert node.connected
    assert 2 <= resyncs(world) <= 12


def test_a_policy_is_in_force_with_the_last_slice_also_over_a_broken_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = filled()
    applied = world.coordinator.perform(ApplyPolicy(POLICY, "me"))
    assert getattr(applied, "policy", None) is not None, applied
    node = world.add_member("newcomer")
    world.run(lambda: node.client.peers.through != 0)
    assert not has_policy(node)
    node.cut()
    heard = listen(node, monkeypatch)
    world.took(lambda: knows_all(world, node))
    assert has_policy(node)
    assert not any(isinstance(each, NetMap) for each in heard), "it went on"
    last = [e for e in node.events if isinstance(e, PeersChanged | PolicyChanged)]
    at = next(n for n, e in enumerate(last) if isinstance(e, PolicyChanged))
    assert all(e.is_ahead for e in last[:at] if isinstance(e, PeersChanged))


def test_a_policy_that_changes_many_classes_reaches_all_members() -> None:
    world = filled()
    node = world.add_member("node")
    world.took(lambda: knows_all(world, node))
    world.coordinator.perform(ApplyPolicy(POLICY, "me"))
    world.took(lambda: node.client.policy is not None)
    world.took(lambda: knows_all(world, node))
    world.coordinator.perform(Assign("n7", "", ("web",)))
    world.took(lambda: knows_all(world, node))
    assert resyncs(world) == 0


def filled(size: int = SIZE) -> ControlWorld:
    """Return a mesh with many members, of whom nobody is there."""
    world = ControlWorld()
    world.add_coordinator()
    for number in range(size):
        join = Join(
            key=key_of(number),
            session=f"s{number}",
            home="elsewhere",
            name=f"n{number}",
            auth_key=world.auth_key,
        )
        world.coordinator.perform(join)
    return world


def key_of(number: int) -> str:
    return format_key((number + 1).to_bytes(32))


def make_old(node: SimMember, monkeypatch: pytest.MonkeyPatch) -> ControlClient:
    """Return a client that has not heard of slices."""
    client = node.make_client()
    register = client._register

    def old(now: float) -> control.Register:
        return replace(register(now), slices=False, through=0)

    monkeypatch.setattr(client, "_register", old)
    return client


def listen(
    node: SimMember, monkeypatch: pytest.MonkeyPatch
) -> list[control.FromCoordinator]:
    """Return what a node is told from now on, as it is told."""
    heard: list[control.FromCoordinator] = []
    receive = node.client._receive_message

    def note(
        connection: Connection, message: control.FromCoordinator | None, now: float
    ) -> None:
        if message is not None:
            heard.append(message)
        receive(connection, message, now)

    monkeypatch.setattr(node.client, "_receive_message", note)
    return heard


def refuse_all(message: control.FromCoordinator) -> bool:
    return not isinstance(message, NetMap | Delta)


def ask_for_all(world: ControlWorld, node: SimMember) -> None:
    connection = world.coordinator.server._members.get(node.key)
    assert connection is not None
    world.coordinator.server._members.begin_anew(connection, world.now)
    world.coordinator.drain()


def length(message: NetMap | Delta) -> int:
    if isinstance(message, NetMap):
        return len(message.peers)
    return len(message.changed) + len(message.removed)


def removed_by(event: object) -> tuple[str, ...]:
    return event.removed if isinstance(event, PeersChanged) else ()


def knows_all(world: ControlWorld, node: SimMember) -> bool:
    """Tell whether a node knows what there is, and nothing else."""
    registry = world.coordinator.registry
    known = {each.public_key: each for each in node.client.peers.nodes}
    return (
        node.connected
        and node.client.peers.through == 0
        and known.keys() == registry.nodes.keys()
        and all(known[key].name == each.name for key, each in registry.nodes.items())
    )


def knows(node: SimMember, size: int) -> bool:
    return len(node.client.peers.nodes) >= size


def has_policy(node: SimMember) -> bool:
    return node.client.policy is not None


def find(node: SimMember, name: str) -> PeerEntry | None:
    peers = node.client.peers.peers
    return next((each for each in peers if each.name == name), None)


def resyncs(world: ControlWorld) -> int:
    return world.coordinator.server.counters["resyncs"]
