"""Openers: when a node keeps its NATs open for peers, and for how many."""

from types import SimpleNamespace
from typing import cast

import pytest

from meshwg.control.client import ControlClient, ControlState
from meshwg.node.openers import DELAY, INTERVAL, MAX_PEERS, Openers
from meshwg.node.paths import Paths
from meshwg.path.holepunching import OPENED_ADDRESSES
from tests.node.stage import NOW, Stage

ADDRESS = {"kind": "reflexive", "host": "203.0.113.7", "port": 4000}
LAN_ADDRESS = {"kind": "host", "host": "192.168.1.7", "port": 4000}


def test_openers_are_sent_repeatedly_once_the_coordinator_has_been_away() -> None:
    stage = away()
    stage.add_peer("bob", "100.64.0.2", candidates=[ADDRESS, LAN_ADDRESS])

    assert destinations(stage, NOW + DELAY - 0.1) == []
    assert destinations(stage, NOW + DELAY) == ["203.0.113.7"]
    assert destinations(stage, NOW + DELAY + INTERVAL - 0.1) == []
    assert destinations(stage, NOW + DELAY + INTERVAL) == ["203.0.113.7"]


@pytest.mark.parametrize("state", [ControlState.CONNECTED, ControlState.ENDED])
def test_a_connected_or_former_member_sends_none(
    state: ControlState,
) -> None:
    client = SimpleNamespace(state=ControlState.CONNECTING)
    openers = Openers(cast(ControlClient, client), cast(Paths, None))
    openers.observe(NOW)
    assert openers.get_timer() == NOW + DELAY
    client.state = state
    openers.observe(NOW + 0.5)
    openers.handle_timer(NOW + DELAY)
    assert openers.get_timer() is None
    client.state = ControlState.OFFLINE
    openers.observe(NOW + 5)
    openers.observe(NOW + 5.5)
    assert openers.get_timer() == NOW + 5 + DELAY


def test_in_a_large_mesh_some_get_openers_starting_with_those_online() -> None:
    stage = away()
    for number in range(MAX_PEERS + 20):
        address = {**ADDRESS, "host": f"203.0.113.{number}"}
        stage.add_peer(
            f"n{number}",
            f"100.64.1.{number}",
            candidates=[address],
            online=number >= 20,
        )
    sent = destinations(stage, NOW + DELAY)
    assert sent == [f"203.0.113.{number}" for number in range(20, MAX_PEERS + 20)]


def test_a_peer_that_claims_many_addresses_gets_few_openers() -> None:
    stage = away()
    claimed = [{**ADDRESS, "host": f"203.0.113.{number}"} for number in range(16)]
    stage.add_peer("bob", "100.64.0.2", candidates=claimed)
    assert len(destinations(stage, NOW + DELAY)) == OPENED_ADDRESSES


def test_peers_whose_addresses_are_unknown_cost_nothing() -> None:
    stage = away()
    bob = stage.add_peer("bob", "100.64.0.2")
    assert destinations(stage, NOW + DELAY) == []
    assert bob.agent is None


def away() -> Stage:
    """Return a node that has just noticed that its coordinator is away."""
    stage = Stage()
    stage.node.set_hosts(["192.0.2.1"], NOW)
    stage.node.handle_timer(NOW)
    stage.node.datagrams_to_send()
    return stage


def destinations(stage: Stage, now: float) -> list[str]:
    """Return the hosts to which something goes at a moment."""
    stage.node.background.handle_timer(now)
    return [each.destination.host for each in stage.node.datagrams_to_send()]
