"""The members as a transaction is about to leave them."""

from dataclasses import replace

from coordinator.mesh.drafted import DraftedMembers
from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes
from coordinator.mesh.registry import Registry


def test_without_changes_the_members_are_those_of_the_registry() -> None:
    web = node("a", "web", 1)
    members = drafted(web)
    assert members.get("a") == members.find("a") == members.find("web") == web
    assert members.all() == [web]
    assert (members.get("b"), members.find("mail")) == (None, None)
    assert (members.nodes, members.removed, members.admitted) == ({}, {}, {})


def test_a_change_is_seen_in_the_draft_and_not_in_the_registry() -> None:
    web = node("a", "web", 1)
    members = drafted(web)
    shop = members.put(replace(web, name="shop"))
    assert members.find("shop") == members.get("a") == shop
    assert members.find("web") is None
    assert members.all() == [shop]
    assert web.name == "web"


def test_only_what_peers_see_raises_a_nodes_version() -> None:
    web = node("a", "web", 1)
    members = drafted(web)
    assert members.put(web) == web
    assert members.nodes == {}
    seen = members.put(replace(web, seen=9.0))
    assert (seen.version, seen.revision) == (web.version, members.version)
    online = members.put(replace(seen, online=True))
    assert online.version == online.revision == members.version


def test_what_a_change_frees_stays_taken_until_the_commit() -> None:
    web = node("a", "web", 1)
    members = drafted(web, node("b", "mail", 2))
    members.put(replace(web, name="shop"))
    others = members.names_taken_by_others("c")
    assert [name in others for name in ("web", "shop", "mail", "x")] == [
        *(True, True, True, False)
    ]
    assert "web" not in members.names_taken_by_others("a")
    assert "shop" not in members.names_taken_by_others("a")
    members.remove(members.all()[0])
    assert [number in members.taken_numbers for number in (1, 2, 3)] == [
        *(True, True, False)
    ]


def test_a_removed_node_is_no_longer_found() -> None:
    web = node("a", "web", 1)
    members = drafted(web)
    members.remove(web)
    assert (members.get("a"), members.find("web"), members.all()) == (None, None, [])
    assert list(members.removed) == ["a"]


def test_a_node_that_is_removed_and_readmitted_is_not_removed() -> None:
    web = node("a", "web", 1)
    members = drafted(web)
    members.remove(web)
    members.admit("a")
    again = members.put(node("a", "web-2", 2))
    assert members.removed == {}
    assert list(members.admitted) == ["a"]
    assert members.get("a") == again


def test_a_node_that_is_admitted_and_removed_leaves_nothing() -> None:
    members = drafted()
    members.admit("a")
    members.remove(members.put(node("a", "web", 1)))
    assert (members.nodes, members.removed, members.admitted) == ({}, {}, {})


def node(key: str, name: str, number: int) -> Node:
    return Node(key, name, name, number)


def drafted(*nodes: Node) -> DraftedMembers:
    registry = Registry(Networks.parse("100.64.0.0/16", "fd00::/48"), "epoch")
    registry.apply(Changes(7, nodes))
    return DraftedMembers(registry)
