"""What a node is told of what became of its offers."""

from coordinator.control.approvals import NOTHING, approvals_of
from coordinator.mesh.approvals import Decision, ItemState
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Approve, Refuse, Remove
from meshwg.control.events import ApprovalsChanged
from meshwg.wire.routes import RouteState, WishState
from tests.coordinator.control.visitor import mesh
from tests.world.member import SimMember

SITE = "10.1.0.0/16"


def test_a_node_that_offers_nothing_is_told_nothing() -> None:
    decided = Node("key", "a", "a", 7, decisions=(Decision(SITE, True, "x", 1.0),))

    assert approvals_of(decided) == NOTHING


def test_each_offer_has_its_state() -> None:
    node = Node(
        "key",
        "a",
        "a",
        7,
        routes=(SITE,),
        announced=(SITE, "10.2.0.0/16"),
        wants_exit=True,
        wants_hub=True,
        role="hub",
        withheld=(
            ItemState("10.2.0.0/16", "refused", "x" * 600),
            ItemState("exit", "advertised", "why"),
        ),
    )

    approvals = approvals_of(node)

    assert approvals.routes == (
        RouteState(prefix=SITE, state="approved"),
        RouteState(prefix="10.2.0.0/16", state="refused", reason="x" * 512),
    )
    assert approvals.exit == WishState(state="advertised", reason="why")
    assert approvals.hub == WishState(state="approved")


def test_a_member_hears_of_its_offers_at_once_and_of_each_change() -> None:
    world, a, b = mesh()
    coordinator = world.coordinator

    a.client.offer_routes([SITE], [], world.now)
    world.advance(2.0)
    assert states(a.client.approvals) == {SITE: "advertised"}
    coordinator.perform(Approve("a", SITE))
    world.advance(1.0)
    assert states(a.client.approvals) == {SITE: "approved"}
    assert told(b) == [SITE]
    coordinator.perform(Refuse("a", SITE))
    world.advance(1.0)
    assert states(a.client.approvals) == {SITE: "refused"}
    assert told(b) == []

    heard = len(a.found(ApprovalsChanged))
    coordinator.perform(Remove("b"))
    world.advance(5.0)
    assert len(a.found(ApprovalsChanged)) == heard == 3
    assert b.client.approvals is None


def test_a_member_that_reconnects_hears_of_it_again() -> None:
    world, a, _ = mesh()
    a.client.offer_routes([SITE], [], world.now)
    world.advance(2.0)

    a.cut()
    world.coordinator.perform(Approve("a", SITE))
    world.advance(60.0)

    assert a.connected
    assert states(a.client.approvals) == {SITE: "approved"}


def test_a_report_from_before_a_registration_changes_nothing_after_it() -> None:
    world, a, _ = mesh()
    for number in range(30):
        a.client.offer_routes([f"10.{number}.0.0/16"], [], world.now)
        world.advance(1.0)
    a.cut()
    a.client.offer_routes([], [], world.now)

    world.advance(60.0)

    assert world.coordinator.registry.nodes[a.key].announced == ()


def states(approvals: object) -> dict[str, str]:
    routes: tuple[RouteState, ...] = getattr(approvals, "routes", ())
    return {each.prefix: each.state for each in routes}


def told(member: SimMember) -> list[str]:
    """Return what a member hears of the networks behind the other one."""
    (peer,) = member.client.peers.peers
    return list(peer.routes)
