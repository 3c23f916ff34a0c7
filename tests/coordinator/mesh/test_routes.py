"""Of what nodes offer, what others are told."""

import pytest

from coordinator.mesh.approvals import MAX_DECISIONS, Announcement, ItemState
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import (
    Accepted,
    Administered,
    ApplyPolicy,
    Approve,
    Assign,
    Disconnect,
    Expire,
    Refuse,
    Remove,
    Update,
)
from meshwg.wire.control import ErrorCode
from meshwg.wire.routes import RouteTraits
from tests.coordinator.mesh.drafting import Mesh, join

SITE = "10.42.0.0/16"
APPROVED = ("10.0.0.0/8", "100.64.0.0/10", "0.0.0.0/0", "::/0")
WIDE = ["0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/0", "::/0", "::/1", "fd00::/8"]
IN_MESH = ["100.64.0.0/10", "100.64.0.1/32", "fd00::/16", "fd00::1/128"]


def test_nothing_is_told_that_nobody_has_approved() -> None:
    mesh = Mesh()

    offer(mesh, "router", SITE, exit_=True, hub=True)

    node = mesh.registry.nodes["router"]
    assert (node.routes, node.exit, node.role) == ((), False, "node")
    assert {each.item: each.state for each in node.withheld} == {
        SITE: "advertised",
        "exit": "advertised",
        "hub": "advertised",
    }


@pytest.mark.parametrize("item", [SITE, "exit", "hub"])
def test_an_administrator_approves_each_thing_by_itself(item: str) -> None:
    mesh = Mesh()
    offer(mesh, "router", SITE, exit_=True, hub=True)

    node = mesh.node(Approve("router", item))

    assert (node.routes == (SITE,)) is (item == SITE)
    assert node.exit is (item == "exit")
    assert (node.role == "hub") is (item == "hub")
    assert item not in [each.item for each in node.withheld]
    assert node.version == mesh.registry.version


@pytest.mark.parametrize("item", [SITE, "exit", "hub"])
def test_what_was_approved_may_be_refused_later(item: str) -> None:
    mesh = Mesh()
    offer(mesh, "router", SITE, exit_=True, hub=True)
    mesh.do(Approve("router", item))

    (result,) = mesh.do(Administered(Refuse("router", item), "alice"))

    assert isinstance(result, Accepted)
    node = mesh.registry.nodes["router"]
    assert (node.routes, node.exit, node.role) == ((), False, "node")
    state = node.state_of(item)
    assert state == ItemState(item, "refused", "alice has refused it")


@pytest.mark.parametrize("item", [SITE, "exit", "hub"])
def test_an_approval_waits_for_a_node_that_withdraws_and_comes_back(item: str) -> None:
    mesh = Mesh()
    offer(mesh, "router", SITE, exit_=True, hub=True)
    mesh.do(Approve("router", item))

    offer(mesh, "router")
    away = mesh.registry.nodes["router"]
    offer(mesh, "router", SITE, exit_=True, hub=True)

    assert (away.routes, away.exit, away.role) == ((), False, "node")
    known = away.state_of(item)
    assert known is not None
    assert known.state == "withdrawn"
    assert told(mesh, "router", item)


def test_an_approval_may_come_before_the_offer_and_goes_with_the_membership() -> None:
    mesh = Mesh()
    offer(mesh, "router")
    assert mesh.node(Approve("router", SITE)).routes == ()
    offer(mesh, "router", SITE)
    assert told(mesh, "router", SITE)

    mesh.do(Remove("router"))
    offer(mesh, "router", SITE)

    assert not told(mesh, "router", SITE)


def test_an_approval_is_of_one_node_and_one_network() -> None:
    mesh = Mesh()
    offer(mesh, "router", SITE, "10.43.0.0/16")
    offer(mesh, "thief", SITE)

    mesh.do(Approve("router", SITE))

    assert routes(mesh) == {"router": (SITE,), "thief": ()}


def test_all_are_told_of_that_were_approved_for_one_network() -> None:
    mesh = Mesh(approved=APPROVED)
    offer(mesh, "first", SITE)
    offer(mesh, "second", SITE)

    mesh.do(Approve("second", SITE))

    assert routes(mesh) == {"first": (SITE,), "second": (SITE,)}
    offer(mesh, "first", SITE)
    assert routes(mesh) == {"first": (SITE,), "second": (SITE,)}


def test_by_the_settings_only_the_first_has_a_network() -> None:
    mesh = Mesh(approved=APPROVED)
    offer(mesh, "owner", SITE)

    offer(mesh, "thief", SITE)
    offer(mesh, "owner", SITE)

    assert routes(mesh) == {"owner": (SITE,), "thief": ()}
    assert mesh.registry.nodes["thief"].withheld == (
        ItemState(SITE, "advertised", "owner has it already"),
    )


def test_who_does_not_get_a_network_is_told_why() -> None:
    mesh = Mesh(approved=("10.0.0.0/8",))
    offer(mesh, "owner", SITE)

    assert offer(mesh, "thief", SITE).endswith(f"{SITE}: owner has it already")
    assert "part of" in offer(mesh, "thief", "10.42.7.0/24")
    assert "approved" in offer(mesh, "far", "192.168.1.0/24")
    assert "nor of 2 more" in offer(mesh, "far", "1.0.0.0/8", "2.0.0.0/8", "::/0")
    assert offer(mesh, "owner", SITE) == ""


def test_a_part_of_anothers_network_takes_nothing_from_it() -> None:
    mesh = Mesh(approved=("10.0.0.0/8", "10.42.9.0/24"))
    offer(mesh, "owner", SITE)
    offer(mesh, "thief", "10.42.0.0/17", "10.42.128.0/17", "10.43.0.0/16")
    offer(mesh, "branch", "10.42.9.0/24")
    offer(mesh, "office", "10.42.10.0/24")

    mesh.do(Approve("office", "10.42.10.0/24"))

    # An administrator named the networks of branch and office.
    assert routes(mesh) == {
        "owner": (SITE,),
        "thief": ("10.43.0.0/16",),
        "branch": ("10.42.9.0/24",),
        "office": ("10.42.10.0/24",),
    }


@pytest.mark.parametrize("end", ["removed", "expired", "withdrawn", "reported"])
def test_a_network_that_nobody_has_any_more_goes_to_the_next(end: str) -> None:
    mesh = Mesh(approved=APPROVED)
    for name in ("owner", "second", "third"):
        offer(mesh, name, SITE)
        mesh.unix_time += 1

    if end == "removed":
        mesh.do(Remove("owner"))
    elif end == "expired":
        mesh.do(Expire("owner"))
    elif end == "withdrawn":
        offer(mesh, "owner")
    else:
        mesh.do(Update("owner", "[]", "null", Announcement(routes=())))

    had = routes(mesh)
    assert (had.get("owner", ()), had["second"], had["third"]) == ((), (SITE,), ())
    assert mesh.registry.nodes["second"].version == mesh.registry.version


def test_the_approved_one_goes_on_when_the_other_one_leaves() -> None:
    mesh = Mesh()
    for name in ("one", "other", "thief"):
        offer(mesh, name, SITE)
    mesh.do(Approve("one", SITE), Approve("other", SITE))

    mesh.do(Remove("one"))

    assert routes(mesh) == {"other": (SITE,), "thief": ()}


def test_a_network_stays_with_its_owner_while_that_is_away() -> None:
    mesh = Mesh(approved=APPROVED)
    offer(mesh, "owner", SITE)
    mesh.do(Disconnect("owner", "s1", left=False))
    offer(mesh, "thief", SITE)

    assert routes(mesh) == {"owner": (SITE,), "thief": ()}


def test_who_came_back_from_an_expiry_is_the_last_in_line() -> None:
    mesh = Mesh(approved=APPROVED)
    offer(mesh, "owner", SITE)
    offer(mesh, "second", SITE)
    mesh.do(Expire("owner"))

    offer(mesh, "owner", SITE)

    assert routes(mesh) == {"owner": (), "second": (SITE,)}


@pytest.mark.parametrize("wide", [*WIDE, *IN_MESH])
def test_nobody_has_the_mesh_or_everything_behind_a_node(wide: str) -> None:
    mesh = Mesh(approved=APPROVED)
    offer(mesh, "thief", wide, SITE)

    assert routes(mesh) == {"thief": (SITE,)}
    (refused,) = mesh.registry.nodes["thief"].withheld
    assert (refused.item, refused.state) == (wide, "refused")
    # Not even if somebody were told to.
    assert mesh.refusal(Approve("thief", wide)) is ErrorCode.MALFORMED


def test_the_policy_approves_for_those_it_names_and_takes_it_back() -> None:
    mesh = Mesh()
    mesh.join("router")
    mesh.do(Assign("router", "", ("router",)))
    offer(mesh, "router", SITE, exit_=True)
    offer(mesh, "stranger", SITE, exit_=True)
    rule = f'[[approve]]\nroutes = ["{SITE}"]\nexits = true\nby = ["tag:router"]\n'

    mesh.do(ApplyPolicy(rule, "alice"))
    assert routes(mesh) == {"router": (SITE,), "stranger": ()}
    assert told(mesh, "router", "exit")
    assert not told(mesh, "stranger", "exit")

    mesh.do(ApplyPolicy("# Nothing.", "alice"))
    assert routes(mesh) == {"router": (), "stranger": ()}
    assert not told(mesh, "router", "exit")


def test_several_routers_that_a_policy_names_have_one_network() -> None:
    mesh = Mesh()
    mesh.do(*mesh.joining("a", "a"), *mesh.joining("b", "b"))
    mesh.do(Assign("a", "", ("router",)), Assign("b", "", ("router",)))
    rule = f'[[approve]]\nroutes = ["{SITE}"]\nby = ["tag:router"]\n'
    mesh.do(ApplyPolicy(rule, "alice"))

    offer(mesh, "a", SITE)
    offer(mesh, "b", SITE)

    assert routes(mesh) == {"a": (SITE,), "b": (SITE,)}
    mesh.do(Assign("a", "", ()))
    assert routes(mesh) == {"a": (), "b": (SITE,)}


def test_who_does_not_know_the_settings_takes_nothing_away() -> None:
    mesh = Mesh(approved=APPROVED)
    offer(mesh, "owner", SITE)
    offer(mesh, "second", SITE)
    mesh.approved = None

    mesh.do(Approve("second", "10.9.0.0/16"), Refuse("owner", "10.9.0.0/16"))

    assert routes(mesh) == {"owner": (SITE,), "second": ()}
    (waiting,) = mesh.registry.nodes["second"].withheld
    assert waiting.reason == "owner has it already"
    mesh.do(Refuse("owner", SITE))
    assert routes(mesh) == {"owner": (), "second": ()}
    mesh.approved = APPROVED
    mesh.settle()
    assert routes(mesh) == {"owner": (), "second": (SITE,)}


def test_settings_that_approve_of_less_take_it_away() -> None:
    mesh = Mesh(approved=APPROVED)
    offer(mesh, "owner", SITE)
    mesh.approved = ()

    mesh.settle()

    assert routes(mesh) == {"owner": ()}


def test_peers_hear_of_traits_of_what_is_approved() -> None:
    mesh = Mesh()
    offer(mesh, "router", SITE, "10.43.0.0/16")
    traits = tuple(
        RouteTraits(prefix=each, priority=5)
        for each in (SITE, "10.43.0.0/16", "10.44.0.0/16")
    )
    announcement = Announcement(routes=(SITE, "10.43.0.0/16"), traits=traits)
    mesh.do(Update("router", "[]", "null", announcement))

    node = mesh.node(Approve("router", SITE))

    assert [each.prefix for each in node.traits] == [SITE, "10.43.0.0/16"]
    text = node.peer_json(mesh.registry.networks).decode()
    assert f'"traits":[{{"prefix":"{SITE}","priority":5}}]' in text


def test_decisions_on_one_node_are_bounded() -> None:
    mesh = Mesh()
    offer(mesh, "router")
    for number in range(MAX_DECISIONS + 1):
        mesh.do(Refuse("router", f"10.{number % 250}.{number // 250}.0/24"))
    mesh.do(Refuse("router", "10.7.0.0/24"))

    decisions = mesh.registry.nodes["router"].decisions

    assert len(decisions) == MAX_DECISIONS
    assert decisions[-1].item == "10.7.0.0/24"


def offer(
    mesh: Mesh, name: str, *announced: str, exit_: bool = False, hub: bool = False
) -> str:
    """Let a node come with what it offers; return its notice."""
    role = "hub" if hub else "node"
    (result,) = mesh.do(
        join(
            name,
            name=name,
            auth_key=str(mesh.text),
            routes=announced,
            role=role,
            exit_=exit_,
        )
    )
    assert isinstance(result, Accepted), result
    return result.notice


def routes(mesh: Mesh) -> dict[str, tuple[str, ...]]:
    """Return what each node has."""
    return {node.name: node.routes for node in mesh.registry.nodes.values()}


def told(mesh: Mesh, name: str, item: str) -> bool:
    """Tell whether others are told of something."""
    node: Node = mesh.registry.nodes[name]
    state = node.state_of(item)
    has = {**dict.fromkeys(node.routes, True), "exit": node.exit}
    has["hub"] = node.role == "hub"
    is_approved = state is not None and state.state == "approved"
    assert has.get(item, False) is is_approved
    return is_approved
