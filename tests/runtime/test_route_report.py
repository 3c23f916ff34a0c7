"""What ``meshwg route list --json`` says."""

from meshwg.node.approvals import NOT_SAID
from meshwg.routeoptions import parse_route
from meshwg.runtime.route_report import own_routes, peer_routes
from meshwg.wire.routes import RouteState
from tests.node.stage import BOB, Stage

SITE = "10.1.0.0/16"


def test_own_networks_have_how_they_are_served_and_what_became_of_them() -> None:
    routes = [
        parse_route(each)
        for each in (f"192.168.0.0/16={SITE},probe=192.168.0.1,snat=no", "10.2.0.0/16")
    ]
    state = RouteState(prefix=SITE, state="refused", reason="no")

    mapped, plain = own_routes(routes, [state])

    assert mapped == {
        "prefix": SITE,
        "real": "192.168.0.0/16",
        "probe": "192.168.0.1",
        "priority": 100,
        "snat": False,
        "state": "refused",
        "reason": "no",
    }
    assert (plain["real"], plain["state"], plain["reason"]) == (
        None,
        "advertised",
        NOT_SAID,
    )


def test_networks_of_peers_have_all_routers_the_one_in_use_first() -> None:
    stage = Stage()
    traits = [{"prefix": SITE, "priority": 5, "mapped": "192.168.0.0/16"}]
    stage.add_peer("bob", BOB, routes=[SITE, "10.2.0.0/16"], online=False)
    stage.add_peer("carol", "100.64.0.3", routes=[SITE], traits=traits)

    listed = peer_routes(stage.node.members)

    assert [(each["prefix"], each["peer"], each["used"]) for each in listed] == [
        (SITE, "carol", True),
        (SITE, "bob", False),
        ("10.2.0.0/16", "bob", True),
    ]
    assert (listed[0]["priority"], listed[0]["real"]) == (5, "192.168.0.0/16")
    assert (listed[1]["online"], listed[1]["real"]) == (False, None)
