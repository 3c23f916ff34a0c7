"""Names of nodes, and nodes as peers see them."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import MAX_NAME_LENGTH, Node, free_name, to_label
from meshwg.keys import format_key
from meshwg.schema import read
from meshwg.wire.control import MAX_TAGS, PeerEntry

NETWORKS = Networks.parse("100.64.0.0/16", "fd00::/48")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("alice", "alice"),
        ("Bob's iPhone", "bob-s-iphone"),
        ("web-1.example.org", "web-1"),
        ("---", "node"),
        ("", "node"),
        ("Ünïcödé", "n-c-d"),
        ("x" * 100, "x" * 63),
        ("\x1b[31mred\x00", "31mred"),
    ],
)
def test_names_become_labels(name: str, label: str) -> None:
    assert to_label(name) == label


@given(st.text())
def test_any_name_becomes_a_valid_label(name: str) -> None:
    label = to_label(name)
    assert label.isascii()
    assert 0 < len(label) <= MAX_NAME_LENGTH
    assert label.strip("-") == label
    assert label.replace("-", "a").isalnum()


def test_a_taken_name_gets_the_first_free_number() -> None:
    assert free_name("a", ()) == "a"
    assert free_name("a", {"a"}) == "a-2"
    assert free_name("a", {"a", "a-2", "a-3"}) == "a-4"


def test_a_number_still_fits_behind_a_long_name() -> None:
    name = free_name("x" * 63, {"x" * 63})
    assert name == "x" * 61 + "-2"


def test_a_node_is_a_peer_of_the_protocol() -> None:
    node = Node(
        key=format_key(bytes(32)),
        name="a",
        requested_name="a",
        number=7,
        role="hub",
        routes=("10.0.0.0/8",),
        candidates='[{"kind":"host","host":"192.0.2.1","port":7}]',
        nat='{"ipv4":{"mapping":"none"}}',
        online=True,
        version=3,
    )
    peer = read(PeerEntry, json.loads(node.peer_json(NETWORKS)))
    assert peer.addresses == ("100.64.0.7", "fd00::7")
    assert peer.candidates[0].host == "192.0.2.1"
    assert (peer.role, peer.routes, peer.online) == ("hub", ("10.0.0.0/8",), True)
    assert peer.nat is not None
    assert not peer.ephemeral


def test_peers_are_told_who_is_ephemeral() -> None:
    node = Node(key=format_key(bytes(32)), name="a", requested_name="a", number=1)
    fleeting = replace(node, ephemeral=True)
    assert read(PeerEntry, json.loads(fleeting.peer_json(NETWORKS))).ephemeral
    assert node.seen_by_peers() != fleeting.seen_by_peers()


def test_peers_are_told_to_whom_a_node_belongs_and_what_it_is() -> None:
    node = Node(key=format_key(bytes(32)), name="a", requested_name="a", number=1)
    tags = tuple(f"tag-{number}" for number in range(MAX_TAGS + 5))
    owned = replace(node, owner="alice@example.org", tags=tags)

    peer = read(PeerEntry, json.loads(owned.peer_json(NETWORKS)))

    assert peer.owner == "alice@example.org"
    assert peer.tags == tags[:MAX_TAGS]
    assert owned.seen_by_peers() != node.seen_by_peers()


def test_the_usual_is_not_mentioned() -> None:
    node = Node(key=format_key(bytes(32)), name="a", requested_name="a", number=1)
    assert set(json.loads(node.peer_json(NETWORKS))) == {
        "public_key",
        "name",
        "addresses",
        "version",
    }
