"""The first obstacle is named, with its mend."""

from typing import Any

from meshwg.node.why import why
from meshwg.policy.guard import GuardRule
from meshwg.policy.ports import EVERYTHING, TCP
from tests.mesh.test_policy import POLICY, apply, made
from tests.world.node import SimNode

SITE = "10.42.0.0/16"


def test_what_is_allowed_is_explained_layer_by_layer() -> None:
    world = made()
    apply(world, POLICY)
    alice, db = world.nodes["alice"], world.nodes["db"]
    assert alice.reaches(db)

    found = asked(alice, "db", 22)

    assert found["verdict"] == "allowed"
    assert found["address"] == db.address
    assert [step["layer"] for step in found["steps"]] == [
        "name",
        "policy",
        "route",
        "path",
        "session",
    ]
    assert found["steps"][1]["text"] == "line 2 of policy version 1 allows tcp/22"
    assert found["steps"][3]["text"].startswith("direct by")


def test_a_denial_names_the_rules_that_are_nearest() -> None:
    world = made()
    apply(world, POLICY)

    found = asked(world.nodes["alice"], "db", 23)

    assert found["verdict"] == "denied"
    policy = found["steps"][1]
    assert not policy["ok"]
    assert policy["text"] == (
        "No rule of policy version 1 allows tcp/23 from here to there: line 2 is only "
        "for tcp/22, icmp"
    )
    assert policy["mend"] == "Ask the administrator of the mesh for a rule."


def test_who_is_not_seen_may_be_kept_away_by_the_policy() -> None:
    world = made()
    apply(world, POLICY)

    found = asked(world.nodes["bob"], "db", 22)

    assert found["verdict"] == "unreachable"
    assert (
        "the policy allows nothing between it and this node"
        in (found["steps"][0]["text"])
    )


def test_without_a_policy_that_is_said() -> None:
    found = asked(made().nodes["bob"], "db", 22)

    assert found["steps"][1]["text"] == (
        "There is no policy: all nodes reach each other"
    )


def test_this_machines_own_guard_is_named() -> None:
    world = made()
    alice = world.nodes["alice"]
    alice.node.access.set_guard(
        (GuardRule(("self",), ("node:phone",), (EVERYTHING,)),), alice.now
    )
    alice.node.members.update_interface()

    assert asked(alice, "phone", 22)["verdict"] == "allowed"
    found = asked(alice, "db", 22)
    assert "guard does not allow tcp/22" in found["steps"][1]["text"]


def test_addresses_behind_a_peer_are_found_by_its_route() -> None:
    world = made()
    world.add("router", routes=(SITE,))
    world.settle()

    found = asked(world.nodes["alice"], "10.42.7.1", 22)

    assert found["steps"][0]["text"] == "10.42.7.1 is 10.42.7.1, behind router"
    assert found["steps"][2]["text"] == f"{SITE} is behind router"


def test_a_peer_that_is_away_is_the_obstacle() -> None:
    world = made()
    world.nodes["db"].leave()
    world.advance(5)

    found = asked(world.nodes["alice"], "db", 22)

    assert found["verdict"] == "unreachable"
    assert found["steps"][-1]["mend"] == "Start meshwg on that machine."


def test_a_node_that_asks_for_itself_or_for_nobody_is_told() -> None:
    alice = made().nodes["alice"]

    assert asked(alice, "alice", 22)["steps"][0]["text"] == "alice is this node itself"
    assert asked(alice, "x", 22)["steps"][0]["text"] == "There is no peer x"
    assert asked(alice, "9.9.9.9", 22)["verdict"] == "unreachable"


def test_it_works_while_the_coordinator_is_away() -> None:
    world = made()
    apply(world, POLICY)
    world.coordinators[0].stop()
    world.advance(1)

    assert asked(world.nodes["alice"], "db", 22)["verdict"] == "allowed"


def asked(node: SimNode, target: str, port: int) -> dict[str, Any]:
    return why(node.node, target, TCP, port, node.now, node.now)
