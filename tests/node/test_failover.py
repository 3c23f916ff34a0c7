"""Packets to a network go to the router that works, in a node by itself."""

from collections.abc import Callable

import pytest

from meshwg.node import RouteTaken
from meshwg.node.routers import MoveReason
from meshwg.path.routereport import RouteReport
from meshwg.peer import MeshPeer
from meshwg.wireguard.allowedips import Network
from meshwg.wireguard.lane import Lane
from tests.node.stage import NOW, Stage

SITE = "10.1.0.0/16"
BEHIND = bytes([10, 1, 2, 3])


def test_all_routers_are_held_and_the_preferred_one_has_the_network() -> None:
    stage, first, second = two_routers()
    assert owner(stage) is second.tunnel.lane
    assert (first.entry.routes, second.entry.routes) == ((), (SITE,))
    standings = stage.node.failover.standings(SITE)
    assert [each.key for each in standings] == [second.key, first.key]


def test_a_router_that_stops_hands_its_network_over_without_a_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, first, second = two_routers()
    stage.events(RouteTaken)
    owners = watch_owners(stage, monkeypatch)
    leave(stage, second)
    assert owner(stage) is first.tunnel.lane
    assert owners == [first.tunnel.lane]
    assert (first.entry.routes, second.entry.routes) == ((SITE,), ())
    assert stage.events(RouteTaken) == [RouteTaken("first", SITE, "second stops")]


def test_what_waits_for_a_router_goes_to_the_next_one() -> None:
    stage, first, second = two_routers()
    packet = bytes([0x45, 0, 0, 20, *bytes(8), 100, 64, 0, 1, *BEHIND])
    stage.node.receive_packets([packet], NOW)
    leave(stage, second)
    assert first.tunnel.take_staged() == [packet]
    assert second.tunnel.take_staged() == []


def test_the_network_goes_to_the_next_one_when_its_router_is_removed() -> None:
    stage, first, second = two_routers()
    stage.node.members.change([], [second.key], NOW)
    assert owner(stage) is first.tunnel.lane
    stage.node.members.change([], [first.key], NOW)
    assert owner(stage) is None


def test_a_new_priority_counts_at_once_for_a_router_that_works() -> None:
    stage, first, _ = two_routers()
    traits = [{"prefix": SITE, "priority": 10}]
    stage.add_peer("first", "100.64.0.2", routes=[SITE], traits=traits)
    assert owner(stage) is first.tunnel.lane


def test_why_a_network_moved_is_said_by_name() -> None:
    stage, _, second = two_routers()
    leave(stage, second, settle=False)
    (move,) = stage.node.failover.take_moves()
    assert move.reason is MoveReason.LEAVES
    assert stage.node.failover.why(move) == "second stops"


def two_routers() -> tuple[Stage, MeshPeer, MeshPeer]:
    """Return a node with two routers of one network, the second one preferred."""
    stage = Stage()
    first = stage.add_peer("first", "100.64.0.2", routes=[SITE])
    traits = [{"prefix": SITE, "priority": 50}]
    second = stage.entry("second", "100.64.0.3", routes=[SITE], traits=traits)
    stage.node.members.change([], [first.key], NOW)
    entry = stage.entry("first", "100.64.0.2", routes=[SITE])
    stage.node.members.change([entry, second], [], NOW)
    peers = stage.node.peers
    return stage, peers[entry.public_key], peers[second.public_key]


def leave(stage: Stage, peer: MeshPeer, *, settle: bool = True) -> None:
    """Have a router say that it stops."""
    report = RouteReport.of(1.7e9, [], leaves=True)
    stage.node.failover.reported(peer, report, NOW)
    if settle:
        stage.node.handle_timer(NOW)


def owner(stage: Stage) -> Lane | None:
    return stage.node.device.allowed_ips.lookup(BEHIND)


def watch_owners(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[Lane | None]:
    """Return a list of whose the network is after each change of the data path."""
    found: list[Lane | None] = []
    allowed_ips = stage.node.device.allowed_ips
    for name in ("insert", "remove"):
        original: Callable[[Network, Lane], None] = getattr(allowed_ips, name)

        def watched(
            network: Network,
            lane: Lane,
            original: Callable[[Network, Lane], None] = original,
        ) -> None:
            original(network, lane)
            found.append(owner(stage))

        monkeypatch.setattr(allowed_ips, name, watched)
    return found
