"""Entity tags."""

from dataclasses import replace

from coordinator.mesh.approvals import Decision
from coordinator.mesh.etags import LENGTH, etag_of, node_etag
from coordinator.mesh.nodes import Node

NODE = Node("key", "web", "web", 1)


def test_other_states_have_other_tags() -> None:
    assert etag_of("a") == etag_of("a") != etag_of("b")
    assert etag_of("a", "b") != etag_of("b", "a") != etag_of("ab")
    assert len(etag_of("\ud800")) == LENGTH


def test_what_administrators_change_of_a_node_changes_its_tag() -> None:
    decision = Decision("exit", True, "carol", 1.0)
    tags = {
        node_etag(each)
        for each in (
            NODE,
            replace(NODE, name="shop"),
            replace(NODE, owner="alice"),
            replace(NODE, tags=("db",)),
            replace(NODE, expired=True),
            replace(NODE, decisions=(decision,)),
            replace(NODE, decisions=(replace(decision, approved=False),)),
        )
    }
    assert len(tags) == 7


def test_that_a_node_comes_and_goes_does_not() -> None:
    away = replace(NODE, online=True, seen=5.0, candidates="[1]", nat="{}", version=9)
    assert node_etag(away) == node_etag(NODE)
