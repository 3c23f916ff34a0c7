"""What became of what a node offers, for status and health."""

import pytest

from meshwg.node.approvals import NOT_SAID
from meshwg.wire.control import Approvals
from meshwg.wire.routes import RouteState, WishState
from tests.node.stage import HOME, NOW, Stage

SITE, OTHER = "10.1.0.0/16", "10.2.0.0/16"


class Offering:
    """A node that offers networks, and what its coordinator says."""

    def __init__(self, *routes: str, role: str = "node", exit_: bool = False) -> None:
        self.stage = Stage(routes=routes, role=role, exit_=exit_)
        self.node = self.stage.node

    def told(self, *routes: str, role: str = "node", exit_: bool = False) -> None:
        """Let the netmap say what others are told of."""
        key = self.node.public_key
        entry = self.stage.entry(
            "home", HOME, public_key=key, routes=routes, role=role, exit=exit_
        )
        self.node.control.peers.put_itself(entry)
        self.node.members.update_interface()

    def said(self, approvals: Approvals) -> None:
        """Let the coordinator say what became of all of it."""
        self.node.control.briefing.receive(approvals)
        self.node.background.settle(NOW)

    def complaints(self) -> dict[str, str]:
        return {each.code: f"{each.text} {each.mend}" for each in self.node.health}


def test_a_network_that_waits_is_told_with_what_to_ask_for() -> None:
    offering = Offering(SITE, OTHER)
    offering.told(SITE)

    offering.said(
        Approvals(
            routes=(
                RouteState(prefix=SITE, state="approved"),
                RouteState(prefix=OTHER, state="advertised", reason="nobody looked"),
            )
        )
    )

    (code, text), *more = offering.complaints().items()
    assert (code, more) == ("route-waiting", [])
    assert f"Others are not told of {OTHER}, which this node offers: nobody" in text
    assert f"'meshwg-coordinator route approve home {OTHER}'" in text
    offering.said(Approvals(routes=(RouteState(prefix=OTHER, state="approved"),)))
    assert offering.complaints() == {}


def test_a_network_that_was_refused_is_told_with_how_to_give_it_up() -> None:
    offering = Offering(SITE)
    offering.told()

    offering.said(
        Approvals(routes=(RouteState(prefix=SITE, state="refused", reason="no"),))
    )

    assert list(offering.complaints()) == ["route-refused"]
    assert f"'meshwg route remove {SITE}'" in offering.complaints()["route-refused"]


@pytest.mark.parametrize(
    ("state", "code"), [("advertised", "waiting"), ("refused", "refused")]
)
def test_wishes_that_are_not_fulfilled_are_told(state: str, code: str) -> None:
    offering = Offering(role="hub", exit_=True)
    offering.told()
    wish = WishState(state=state, reason="why")

    offering.said(Approvals(exit=wish, hub=wish))

    complaints = offering.complaints()
    assert sorted(complaints) == [f"exit-{code}", f"hub-{code}"]
    assert (
        "This node is not an exit, as it was told to be: why."
        in complaints[f"exit-{code}"]
    )
    if state == "advertised":
        assert "node approve home --hub" in complaints["hub-waiting"]
        assert "route approve home exit" in complaints["exit-waiting"]


def test_what_is_approved_is_no_complaint() -> None:
    offering = Offering(SITE, role="hub", exit_=True)
    offering.told(SITE, role="hub", exit_=True)
    fine = WishState(state="approved")

    offering.said(
        Approvals(
            routes=(RouteState(prefix=SITE, state="approved"),), exit=fine, hub=fine
        )
    )

    assert offering.complaints() == {}
    offers = offering.node.members.offers
    assert offers.exit() == offers.hub() == fine
    assert [each.state for each in offers.routes()] == ["approved"]


def test_an_older_coordinator_tells_by_the_netmap_alone() -> None:
    offering = Offering(SITE, OTHER, role="hub")
    offering.told(SITE, role="hub")

    offers = offering.node.members.offers
    states = {each.prefix: each.state for each in offers.routes()}

    assert states == {SITE: "approved", OTHER: "advertised"}
    assert offers.hub() == WishState(state="approved")
    assert list(offering.complaints()) == ["route-waiting"]


def test_what_was_offered_just_now_is_no_complaint_yet() -> None:
    offering = Offering(SITE)
    offering.told(SITE)
    offering.said(Approvals(routes=(RouteState(prefix=SITE, state="approved"),)))

    offering.node.background.offer_routes([SITE, OTHER], [], NOW)

    (_, new) = offering.node.members.offers.routes()
    assert (new.prefix, new.state, new.reason) == (OTHER, "advertised", NOT_SAID)
    assert offering.complaints() == {}


def test_what_waits_is_told_also_to_who_is_alone_in_the_mesh() -> None:
    offering = Offering(SITE)

    offering.said(
        Approvals(routes=(RouteState(prefix=SITE, state="advertised", reason="no"),))
    )

    assert list(offering.complaints()) == ["route-waiting"]


def test_a_node_that_has_not_joined_complains_of_nothing() -> None:
    offering = Offering(SITE, role="hub", exit_=True)

    offering.node.members.update_interface()

    assert offering.complaints() == {}


def test_who_offers_nothing_has_no_states() -> None:
    offers = Offering().node.members.offers

    assert (offers.routes(), offers.exit(), offers.hub()) == ((), None, None)


def test_a_network_that_is_given_up_is_left_at_once() -> None:
    offering = Offering(SITE)
    offering.told(SITE)
    assert offering.node.members.own_routes() == (SITE,)

    offering.node.background.offer_routes([], [], NOW)

    assert offering.node.members.own_routes() == ()
