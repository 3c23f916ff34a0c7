"""Netmaps and deltas: built once, correct from every version."""

import dataclasses
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.mesh import netmap
from coordinator.mesh.ipam import Networks
from coordinator.mesh.netmap import MAX_TOMBSTONES, NetMapHistory
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes
from meshwg.control.netmap import PeerTable
from meshwg.keys import format_key
from meshwg.wire.control import Delta, NetMap, decode_from_coordinator

NETWORKS = Networks.parse("100.64.0.0/16", "fd00::/48")

STEPS = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(["set", "remove", "expire", "quiet"])),
    max_size=30,
)


@settings(max_examples=60)
@given(STEPS)
def test_every_old_version_leads_to_the_present_one(
    steps: list[tuple[int, str]],
) -> None:
    history = NetMapHistory(NETWORKS)
    tables = [PeerTable("")]
    nodes: dict[str, Node] = {}
    for version, (number, what) in enumerate(steps, 1):
        history.apply(change(nodes, number, what, version))
        fresh = follow(PeerTable(""), history, -1)
        for table in tables:
            follow(table, history, table.version)
            assert table.nodes == sorted_like(table, fresh)
        tables.append(fresh)


def test_a_restart_knows_the_same_changes() -> None:
    history = NetMapHistory(NETWORKS)
    nodes: dict[str, Node] = {}
    tombstones: dict[str, int] = {}
    old = PeerTable("")
    for version in range(1, 40):
        number = random.Random(version).randrange(8)
        what = ("set", "set", "remove")[version % 3]
        changes = change(nodes, number, what, version)
        history.apply(changes)
        tombstones |= dict.fromkeys(changes.removed, version)
        for node in changes.nodes:
            tombstones.pop(node.key, None)
        if version == 20:
            follow(old, history, -1)
    again = NetMapHistory(NETWORKS)
    again.load(nodes.values(), tombstones, 0)
    assert again.since(old.version) == history.since(old.version)
    assert again.version == history.version


def test_members_of_one_version_get_one_payload() -> None:
    history = filled(20)
    version = history.version
    history.apply(Changes(version + 1, (node(3, version + 1),)))
    built = history.built
    payloads = {id(history.since(version)[0]) for _ in range(1000)}
    assert len(payloads) == 1
    assert history.built == built + 1


def test_newcomers_share_a_netmap_and_get_what_changed_since() -> None:
    history = filled(400)
    first = history.full()
    built = history.built
    for step in range(20):
        version = history.version + 1
        history.apply(Changes(version, (node(step, version),)))
        whole, delta = history.full()
        assert whole is first[0]
        assert isinstance(decode_from_coordinator(delta), Delta)
    assert history.built == built + 20
    follow(PeerTable(""), history, -1)


def test_a_netmap_is_rebuilt_when_much_has_changed() -> None:
    history = filled(100)
    first = history.full()
    for step in range(netmap.SNAPSHOT_SLACK + 1):
        version = history.version + 1
        history.apply(Changes(version, (node(step, version),)))
    (whole,) = history.full()
    assert whole is not first[0]


def test_an_unknown_version_gets_everything() -> None:
    history = filled(3)
    for version in (-1, history.version + 1, 1 << 62):
        (payload,) = history.since(version)
        assert isinstance(decode_from_coordinator(payload), NetMap)
    assert history.since(history.version) == []


def test_removals_are_remembered_within_bounds() -> None:
    history = filled(1)
    version = history.version
    for number in range(2, MAX_TOMBSTONES + 10):
        history.apply(Changes(2 * number, (node(number, 2 * number),)))
        removed = (key(number),)
        history.apply(Changes(2 * number + 1, (), removed))
    (payload,) = history.since(version)
    netmap = decode_from_coordinator(payload)
    assert isinstance(netmap, NetMap)
    assert len(netmap.peers) == 1
    recent = history.since(history.version - 10)
    assert isinstance(decode_from_coordinator(recent[0]), Delta)


def test_changes_that_peers_do_not_see_create_no_version() -> None:
    history = filled(3)
    version = history.version
    quiet = dataclasses.replace(node(1, 1), session="new", revision=version + 1)
    assert not history.apply(Changes(version + 1, (quiet,)))
    assert history.since(version) == []
    assert history.version == version


def test_removing_an_unknown_node_creates_no_version() -> None:
    history = filled(3)
    assert not history.apply(Changes(99, (), (key(77),)))


def change(nodes: dict[str, Node], number: int, what: str, version: int) -> Changes:
    """Change one node among those there are."""
    known = nodes.get(key(number))
    if what == "remove":
        if known is None:
            return Changes(version)
        del nodes[known.key]
        return Changes(version, (), (known.key,))
    changed = node(number, version)
    if what == "expire":
        changed = dataclasses.replace(changed, expired=True)
    elif what == "quiet":
        if known is None:
            return Changes(version)
        changed = dataclasses.replace(known, revision=version)
    nodes[changed.key] = changed
    return Changes(version, (changed,))


def follow(table: PeerTable, history: NetMapHistory, version: int) -> PeerTable:
    """Give a table what a node at a version is sent; it must add up."""
    for payload in history.since(version):
        message = decode_from_coordinator(payload)
        if isinstance(message, NetMap):
            assert table.replace(message).consistent
        else:
            assert isinstance(message, Delta)
            result = table.update(message)
            assert result is not None
            assert result.consistent
    return table


def sorted_like(table: PeerTable, other: PeerTable) -> list[object]:
    assert len(table.nodes) == len(other.nodes)
    return [other.get(each.public_key) for each in table.nodes]


def filled(size: int) -> NetMapHistory:
    history = NetMapHistory(NETWORKS)
    nodes = tuple(node(number, number) for number in range(1, size + 1))
    history.apply(Changes(size, nodes))
    return history


def node(number: int, version: int) -> Node:
    return Node(
        key=key(number),
        name=f"n{number}",
        requested_name=f"n{number}",
        number=number + 1,
        candidates=f'[{{"kind":"host","host":"192.0.2.1","port":{version % 9 + 1}}}]',
        version=version,
        revision=version,
    )


def key(number: int) -> str:
    return format_key(number.to_bytes(32))
