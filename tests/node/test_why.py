"""The first obstacle is named, with its mend."""

from typing import Any

import pytest

from meshwg.health import Complaint, Severity
from meshwg.node.exits import KILL_SWITCH_OFF, ChosenExit
from meshwg.node.why import why
from meshwg.policy.guard import GuardRule
from meshwg.policy.ports import EVERYTHING, TCP
from meshwg.wire import control
from tests.mesh.test_policy import POLICY, apply, made
from tests.node.stage import BOB, NOW, Stage
from tests.world.node import SimNode

SITE = "10.42.0.0/16"
INTERNET, INTERNET6 = "203.0.113.9", "2001:db8::9"
LATER = NOW + 60.0


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


@pytest.mark.parametrize("address", [INTERNET, INTERNET6])
def test_what_is_in_the_internet_is_reached_through_the_exit(address: str) -> None:
    stage = using()

    found = asked_of(stage, address)

    assert (found["verdict"], found["address"]) == ("allowed", address)
    layers = ["name", "policy", "route", "path", "session"]
    assert [step["layer"] for step in found["steps"]] == layers
    assert found["steps"][0]["text"] == f"{address} is {address}, in the internet"
    assert found["steps"][2]["text"] == (
        "through the exit bob, which is approved and online; the kill switch lets "
        "nothing out beside it"
    )


def test_an_exit_without_a_kill_switch_is_said_to_have_none() -> None:
    stage = using()
    stage.node.health.set(Complaint(KILL_SWITCH_OFF, Severity.FAILURE, "Open.", ""))

    found = asked_of(stage, INTERNET)

    assert found["verdict"] == "allowed"
    assert "there is no kill switch" in found["steps"][2]["text"]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"exit": True, "online": False}, "bob is offline, and was not heard for 10 s"),
        ({"exit": False, "online": True}, "bob is not an approved exit any more"),
    ],
)
def test_an_exit_that_is_away_is_the_obstacle(
    state: dict[str, bool], reason: str
) -> None:
    stage = using()
    stage.add_peer("bob", BOB, **state)
    stage.node.handle_timer(LATER)

    found = asked_of(stage, INTERNET, LATER)

    assert found["verdict"] == "unreachable"
    obstacle = next(step for step in found["steps"] if not step["ok"])
    assert obstacle["layer"] == "route"
    assert obstacle["text"] == f"Nothing gets to the internet: {reason}"
    assert "meshwg exit off" in obstacle["mend"]


def test_while_the_exit_is_away_names_may_be_unknown_for_that() -> None:
    stage = using()
    stage.add_peer("bob", BOB, exit=False)

    unknown, away = asked_of(stage, "www.example.org")["steps"]

    assert unknown["text"] == "There is no peer www.example.org"
    assert away["text"].startswith("Nothing gets to the internet: bob is not")


def test_a_policy_that_does_not_allow_the_internet_is_the_obstacle() -> None:
    stage = using()
    allow = control.PolicyRule(sources=(1,), internet=True, ports=("tcp/443",))
    policy = control.PolicyMessage(version=3, sha256="0" * 64, own=1, rules=(allow,))
    stage.node.access.set_policy(stage.node.control.registered, policy, NOW)
    stage.node.members.update_interface()

    assert asked_of(stage, INTERNET)["verdict"] == "denied"
    assert asked_of(stage, INTERNET, port=443)["verdict"] == "allowed"


def test_near_addresses_are_not_reached_beside_the_exit_but_with_lan() -> None:
    found = asked_of(using(), "192.168.1.9")
    assert found["verdict"] == "unreachable"
    (step,) = found["steps"]
    assert "while the exit bob is used others are not reached" in step["text"]
    assert "meshwg exit use bob --lan" in step["mend"]

    (step,) = asked_of(using(lan=True), "192.168.1.9")["steps"]
    assert step["text"] == "There is no peer 192.168.1.9"
    (step,) = asked_of(using(), "100.64.0.99")["steps"]
    assert step["text"] == "There is no peer 100.64.0.99"


def test_without_an_exit_that_is_said_of_the_internet() -> None:
    (step,) = asked_of(Stage(), INTERNET)["steps"]
    assert step["text"].endswith("and no exit is used")


def using(*, lan: bool = False) -> Stage:
    """Return a node that uses an exit."""
    stage = Stage()
    bob = stage.add_peer("bob", BOB, exit=True)
    stage.node.use_exit(ChosenExit(bob.key, "bob", lan), NOW)
    return stage


def asked_of(
    stage: Stage, target: str, now: float = NOW, port: int = 22
) -> dict[str, Any]:
    return why(stage.node, target, TCP, port, now, now)


def asked(node: SimNode, target: str, port: int) -> dict[str, Any]:
    return why(node.node, target, TCP, port, node.now, node.now)
