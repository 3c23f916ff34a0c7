"""Background: what the coordinator, relays and whereabouts tell is passed on."""

from meshwg.control.events import PeersChanged
from meshwg.node.events import (
    NetmapChanged,
    ServersChanged,
    SocketsClosed,
    SocketsWanted,
)
from meshwg.transmit import Endpoint
from tests.node.stage import NOW, Stage

STUN = Endpoint("198.51.100.1", 3478)
HOST = "192.0.2.1"


def test_a_node_that_starts_from_its_cache_looks_for_its_servers() -> None:
    stage = Stage()
    (change,) = stage.events(ServersChanged)
    assert change.stun == ("stun.test:3478",)


def test_servers_that_were_found_are_asked_in_the_same_turn() -> None:
    stage = Stage()
    stage.node.set_hosts([HOST], NOW)
    stage.node.background.set_servers([STUN], [], NOW)
    stage.node.background.look_again(NOW)
    (wanted,) = stage.events(SocketsWanted)
    stage.node.sockets_opened(wanted.request, {1: 5000, 2: 5001}, NOW)
    sent = stage.node.datagrams_to_send()
    assert {transmit.destination[:2] for transmit in sent} == {STUN[:2]}


def test_sockets_of_an_abandoned_probe_are_closed_in_the_same_turn() -> None:
    stage = Stage()
    stage.node.set_hosts([HOST], NOW)
    stage.node.background.set_servers([STUN], [], NOW)
    stage.node.background.look_again(NOW)
    (wanted,) = stage.events(SocketsWanted)
    stage.node.sockets_opened(wanted.request, {1: 5000}, NOW)
    stage.node.background.look_again(NOW)
    assert SocketsClosed((1,)) in stage.events(SocketsClosed)


def test_a_port_that_the_router_forwards_is_offered() -> None:
    stage = Stage()
    stage.node.background.set_mapped(Endpoint("203.0.113.5", 4000), NOW)
    hosts = [candidate.host for candidate in stage.node.whereabouts.candidates]
    assert hosts == ["203.0.113.5"]
    stage.node.background.set_mapped(None, NOW)
    assert stage.node.whereabouts.candidates == ()


def test_a_node_that_has_just_started_wants_to_be_woken_at_once() -> None:
    stage = Stage()
    assert stage.node.background.get_timer() == NOW
    stage.node.handle_timer(NOW)
    assert stage.node.control.connections


def test_what_the_coordinator_says_is_passed_on_when_it_arrives() -> None:
    stage = Stage()
    bob = stage.entry("bob", "100.64.0.2")
    stage.events(NetmapChanged)
    stage.node.control._events.append(PeersChanged((bob,), ()))
    stage.node.control_changed(NOW)
    assert [peer.entry for peer in stage.node.peers.values()] == [bob]
    assert stage.events(NetmapChanged) == [NetmapChanged()]


def test_streams_that_were_never_opened_change_nothing() -> None:
    stage = Stage()
    stage.node.handle_timer(NOW)
    before = stage.node.get_timer()
    stage.node.background.stream_opened(1 << 20, NOW)
    stage.node.background.stream_closed(1 << 20, "refused", NOW)
    assert stage.node.get_timer() == before
