"""What a router says of the networks behind it, and to whom."""

from meshwg.health import Health
from meshwg.node.ownroutes import DEAD, OwnRoutes
from meshwg.path.routereport import RouteReport
from tests.node.path_stage import NOW, Stage

SITE, OTHER = "10.1.0.0/16", "10.2.0.0/16"


def test_a_dead_network_is_a_complaint_until_it_lives_again() -> None:
    routes, health, _ = own_routes()
    routes.set_dead([SITE], NOW)
    (complaint,) = health
    assert complaint.code == DEAD
    assert SITE in complaint.text
    assert "reach it by other routers" in complaint.text
    routes.set_dead([SITE, OTHER], NOW)
    assert "reach them" in next(iter(health)).text
    routes.set_dead([SITE], NOW, is_probed=False)
    assert routes.dead == (SITE,)
    assert list(health) == []
    routes.set_dead([SITE, OTHER], NOW)
    routes.set_dead([], NOW)
    assert list(health) == []


def test_whoever_is_checked_later_hears_it_too() -> None:
    routes, _, stage = own_routes()
    routes.set_dead([SITE], NOW)
    peer = stage.add_peer()
    agent = stage.paths.begin(peer, NOW)
    assert agent is not None
    assert agent.checks.routes == RouteReport.of(NOW, [SITE], leaves=False)


def test_without_peers_to_be_told_all_have_heard_it() -> None:
    routes, _, stage = own_routes()
    peer = stage.add_peer()
    assert stage.paths.begin(peer, NOW) is not None
    routes.leave(NOW)
    assert routes.has_told()


def own_routes() -> tuple[OwnRoutes, Health, Stage]:
    stage, health = Stage(), Health()
    return OwnRoutes(stage.paths, health, lambda now: now), health, stage
