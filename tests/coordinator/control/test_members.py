"""The connected members: how they arrive, what they are told, and how they leave."""

import itertools
from dataclasses import replace

import pytest

from coordinator.control.settings import Settings
from coordinator.credentials import LIFETIME
from coordinator.mesh.homes import GRACE, Homes
from coordinator.mesh.operations import (
    AddRecord,
    Expire,
    MarkOffline,
    Remove,
    RemoveRecord,
    Rename,
)
from meshwg.control.client import ControlState
from meshwg.control.events import (
    Accepted,
    CoordinatorsChanged,
    Disconnected,
    MembershipRevoked,
    OfferReceived,
    PeersChanged,
    RelaysChanged,
    SelfChanged,
)
from meshwg.wire import control
from meshwg.wire.dnsrecords import DnsRecord
from tests.coordinator.control.visitor import CANDIDATE, mesh
from tests.world.control import ControlWorld
from tests.world.member import SimMember

API = DnsRecord(name="api", kind="A", value="10.0.0.5")
WWW = DnsRecord(name="www", kind="CNAME", value="api")


def test_nodes_join_and_see_each_other() -> None:
    world, a, b = mesh()
    assert [p.public_key for p in a.client.peers.peers] == [b.key]
    assert [p.public_key for p in b.client.peers.peers] == [a.key]
    assert a.client.peers.peers[0].online
    registry = world.coordinators[0].registry
    assert [node.online for node in registry.nodes.values()] == [True, True]


def test_a_name_clash_is_reported_to_the_later_node() -> None:
    world = ControlWorld()
    world.add_coordinator()
    first = world.add_member("web")
    world.advance(1.0)
    second = world.add_member("web")
    world.advance(1.0)
    assert first.client.registered is not None
    assert second.client.registered is not None
    assert first.client.registered.notice == ""
    assert second.client.registered.name == "web-2"
    assert "web-2" in second.client.registered.notice


def test_a_clean_stop_is_noticed_at_once() -> None:
    world, a, b = mesh()
    b.client.stop(world.now)
    assert world.took(lambda: not online(a, b)) < 0.5


def test_a_broken_connection_is_noticed_at_once() -> None:
    world, a, b = mesh()
    b.cut()
    assert world.took(lambda: not online(a, b)) < 0.5


@pytest.mark.parametrize("phase", [0.0, 0.7, 1.4, 2.1, 2.8])
def test_a_silent_death_is_detected_within_ten_seconds(phase: float) -> None:
    world, a, b = mesh()
    world.advance(30.0 + phase)
    b.silent = True
    assert world.took(lambda: not online(a, b)) < 10.0


def test_a_coordinator_that_falls_silent_is_detected_within_thirty_seconds() -> None:
    world, a, _ = mesh()
    world.advance(30.0)
    world.coordinators[0].is_up = False
    assert world.took(lambda: not a.connected) < 30.0


def test_an_idle_mesh_says_only_heartbeats() -> None:
    world, a, b = mesh()
    messages = world.coordinators[0].server.counters["messages"]
    world.advance(600.0)
    assert world.coordinators[0].server.counters["messages"] == messages
    assert a.connected
    assert b.connected


def test_the_nodes_of_a_coordinator_that_died_go_offline_if_they_do_not_return() -> (
    None
):
    world, a, b = mesh()
    coordinator = world.coordinators[0]
    b.silent = True
    coordinator.stop()
    coordinator.home = "reborn"
    coordinator.start()
    homes = Homes("reborn")
    homes.overdue(coordinator.registry.nodes.values(), (), world.now)
    world.advance(GRACE)
    nodes = coordinator.registry.nodes.values()
    coordinator.perform(MarkOffline(homes.overdue(nodes, (), world.now)))
    world.advance(1.0)
    assert a.connected
    assert not online(a, b)


def test_two_machines_with_one_key_do_not_fight() -> None:
    world, a, b = mesh()
    twin = world.add_member("twin")
    twin.private_key, twin.key = a.private_key, a.key
    twin.client = twin.make_client()
    joins = world.coordinators[0].server.counters["joins"]
    world.advance(60.0)
    assert world.coordinators[0].server.counters["joins"] - joins < 10
    reasons = {e.reason for e in a.found(Disconnected) if isinstance(e, Disconnected)}
    assert reasons == {
        "Another connection uses this node's key; use each key on one machine"
    }
    assert b.connected


def test_a_member_that_moves_replaces_its_connection_and_is_never_offline() -> None:
    world, a, b = mesh()
    b.move()
    assert world.took(lambda: b.found(Accepted)[1:] != []) < 1.0
    world.advance(30.0)
    assert [change for change in changes_of(a, b) if not change.online] == []
    assert b.connected
    assert b.found(Disconnected) == []
    assert world.coordinator.server.connections == 2


def test_a_member_that_moves_again_and_again_keeps_one_connection() -> None:
    world, a, b = mesh()
    for pause in (0.1, 0.3, 0.3, 1.0, 0.05, 5.0, 5.0):
        b.move()
        world.advance(pause)
    world.advance(30.0)
    assert b.connected
    assert [change for change in changes_of(a, b) if not change.online] == []
    assert world.coordinator.server.connections == 2


def test_an_offer_that_a_dead_connection_got_is_sent_to_its_successor() -> None:
    world, a, b = mesh()
    b.move()
    a.client.offer(control.OfferMessage(to=b.key, sequence=1), world.now)
    assert world.took(lambda: b.found(OfferReceived) != []) < 1.0


def test_a_change_of_network_that_spares_the_connection_costs_two_messages() -> None:
    world, _, b = mesh()
    counters = world.coordinator.server.counters
    joins, messages = counters["joins"], counters["messages"]
    b.client.network_changed(world.now)
    world.advance(10.0)
    assert b.dialled == 1
    assert (counters["joins"], counters["messages"]) == (joins, messages + 1)


def test_a_report_reaches_all_others_and_a_repeated_one_none() -> None:
    world, a, b = mesh()
    a.client.report([CANDIDATE], None, world.now)
    world.advance(2.0)
    assert b.client.peers.peers[0].candidates == (CANDIDATE,)
    told = len(b.found(PeersChanged))
    version = world.ledger.version
    visitor_report = control.Report(candidates=(CANDIDATE,))
    a.client.report(visitor_report.candidates, None, world.now)
    world.advance(2.0)
    assert len(b.found(PeersChanged)) == told
    assert world.ledger.version == version


def test_a_node_that_does_not_read_catches_up_later() -> None:
    world, a, b = mesh()
    coordinator = world.coordinators[0]
    number = coordinator.number_of(b)
    coordinator.server.set_writable(number, False, world.now)
    for port in range(1, 6):
        a.client.report([replace(CANDIDATE, port=port)], None, world.now)
        world.advance(2.0)
    assert not b.client.peers.peers[0].candidates
    told = len(b.found(PeersChanged))
    coordinator.server.set_writable(number, True, world.now)
    world.advance(1.0)
    (candidate,) = b.client.peers.peers[0].candidates
    assert candidate.port == 5
    assert len(b.found(PeersChanged)) == told + 1


def test_a_node_that_leaves_during_a_round_is_skipped_without_harm_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, a, b = mesh()
    monkeypatch.setattr("coordinator.control.rounds.SLICE", 1)
    world.advance(5.0)
    coordinator = world.coordinators[0]
    coordinator.perform(Rename(a.key, "boss"))
    b.cut()
    world.advance(60.0)
    assert online(a, b)
    assert a.connected
    assert b.client.peers.peers[0].name == "boss"


def test_a_node_whose_netmap_does_not_add_up_gets_all_of_it() -> None:
    world, a, b = mesh()
    b.client.peers.version = 999
    a.client.report([CANDIDATE], None, world.now)
    world.advance(2.0)
    assert world.coordinators[0].server.counters["resyncs"] == 1
    assert b.client.peers.peers[0].candidates == (CANDIDATE,)


def test_records_of_the_zone_are_told_to_all_and_to_who_comes_later() -> None:
    world, a, b = mesh()
    coordinator = world.coordinators[0]
    coordinator.perform(AddRecord(API))
    world.advance(1.0)
    assert a.client.records.records == b.client.records.records == (API,)

    b.cut()
    coordinator.perform(RemoveRecord("api"))
    coordinator.perform(AddRecord(WWW))
    world.advance(60.0)
    assert b.client.records.records == (WWW,)
    late = world.add_member("late")
    world.advance(1.0)
    assert late.client.records.records == (WWW,)
    assert late.client.registered is not None
    assert late.client.registered.domain == "mesh.internal"


def test_a_node_whose_records_do_not_add_up_gets_all_of_them() -> None:
    world, a, _ = mesh()
    world.coordinators[0].perform(AddRecord(API))
    world.advance(1.0)
    a.client.records.clear()
    world.coordinators[0].perform(AddRecord(WWW))
    world.advance(2.0)
    assert world.coordinators[0].server.counters["resyncs"] == 1
    assert a.client.records.records == (API, WWW)


def test_records_cost_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    world, a, _ = mesh()
    heard: list[control.Records] = []
    update = a.client.records.update

    def note(records: control.Records) -> bool | None:
        heard.append(records)
        return update(records)

    monkeypatch.setattr(a.client.records, "update", note)
    for number in range(30):
        record = replace(API, name=f"n{number}")
        world.coordinators[0].perform(AddRecord(record))
        world.advance(1.0)
    assert [len(each.added) for each in heard] == [1] * 30


def test_a_new_name_is_sent_to_all_nodes_including_the_renamed_one() -> None:
    world, a, b = mesh()
    world.coordinators[0].perform(Rename(a.key, "boss"))
    world.advance(1.0)
    assert b.client.peers.peers[0].name == "boss"
    assert len(a.found(SelfChanged)) == 1


@pytest.mark.parametrize("operation", [Remove, Expire])
def test_a_former_member_is_told_and_forgotten(
    operation: type[Remove] | type[Expire],
) -> None:
    world, a, b = mesh()
    world.coordinators[0].perform(operation(b.key))
    took = world.took(lambda: a.client.peers.get(b.key) is None)
    world.advance(1.0)
    assert took < 0.5
    assert len(b.found(MembershipRevoked)) == 1
    assert b.client.peers.peers == []
    world.advance(60.0)
    assert b.client.state is ControlState.ENDED


def test_an_ephemeral_node_is_removed_when_it_leaves() -> None:
    world, a, _ = mesh()
    world.auth_key = world.ledger.add_auth_key(ephemeral=True)
    guest = world.add_member("guest")
    world.advance(1.0)
    assert a.client.peers.get(guest.key) is not None
    guest.client.stop(world.now)
    world.advance(1.0)
    assert a.client.peers.get(guest.key) is None


def test_an_ephemeral_node_that_vanishes_is_forgotten_after_a_while() -> None:
    world, a, _ = mesh()
    world.auth_key = world.ledger.add_auth_key(ephemeral=True)
    guest = world.add_member("guest")
    world.advance(1.0)
    guest.silent = True
    world.advance(200.0)
    assert a.client.peers.get(guest.key) is not None
    world.advance(200.0)
    assert a.client.peers.get(guest.key) is None


def test_relay_credentials_come_with_joining_and_are_renewed_in_time() -> None:
    world, node = mesh_with_a_relay()
    (joined,) = node.found(Accepted)
    assert isinstance(joined, Accepted)
    first = joined.registered.relays[0]
    assert first.expires == pytest.approx(world.unix_time + LIFETIME, abs=2)
    assert node.key not in first.username
    world.advance(LIFETIME / 2 + 1.0)
    (renewed,) = node.found(RelaysChanged)
    assert isinstance(renewed, RelaysChanged)
    assert renewed.relays[0].expires > first.expires


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_credentials_are_renewed_at_once_when_the_clock_is_set(step: float) -> None:
    world, node = mesh_with_a_relay()
    world.advance(60.0)
    assert node.found(RelaysChanged) == []
    world.network.clock_error = step
    world.advance(30.0)
    (renewed,) = node.found(RelaysChanged)
    assert isinstance(renewed, RelaysChanged)
    expires = world.unix_time + LIFETIME
    assert renewed.relays[0].expires == pytest.approx(expires, abs=30)
    world.advance(600.0)
    assert len(node.found(RelaysChanged)) == 1


def mesh_with_a_relay() -> tuple[ControlWorld, SimMember]:
    """Return a world with one member, who says little."""
    settings_ = Settings(
        relays=("turn:h:1?transport=udp",),
        relay_secret=b"s",
        heartbeat=60.0,
        silence=150.0,
        own_heartbeat=20.0,
    )
    world = ControlWorld(settings=settings_)
    world.add_coordinator()
    node = world.add_member()
    world.advance(1.0)
    return world, node


def test_a_clean_coordinator_stop_is_announced_and_no_node_goes_offline() -> None:
    world, a, b = mesh()
    coordinator = world.coordinators[0]
    coordinator.server.shut_down(world.now)
    world.advance(0.3)
    assert a.client.error == "The coordinator is being restarted"
    coordinator.stop()
    coordinator.start()
    assert all(node.online for node in world.ledger.nodes.values())
    world.advance(10.0)
    assert a.connected
    assert b.connected
    for event in a.found(PeersChanged):
        assert isinstance(event, PeersChanged)
        assert all(peer.online for peer in event.changed)


def test_a_large_mesh_is_asked_to_spread_its_return() -> None:
    world = ControlWorld()
    world.add_coordinator()
    for _ in range(60):
        world.add_member()
    world.advance(5.0)
    spreads = [n.client.registered.spread for n in world.members if n.client.registered]
    assert max(spreads) > min(spreads) >= 1.0


# Several coordinators.


def test_nodes_of_a_coordinator_that_dies_go_to_the_others() -> None:
    world = several()
    first = world.coordinators[0]
    nodes = [world.add_member(f"n{number}") for number in range(12)]
    world.advance(5.0)
    assert first.server.members == 12
    first.stop()
    assert world.took(lambda: all(node.connected for node in nodes)) < 5.0
    shares = [each.server.members for each in world.coordinators[1:]]
    assert sum(shares) == 12
    assert min(shares) > 0


def test_nodes_are_told_of_the_others_and_remember_them() -> None:
    world = several()
    node = world.add_member()
    world.advance(2.0)
    (event,) = node.found(CoordinatorsChanged)
    assert isinstance(event, CoordinatorsChanged)
    assert set(event.urls) == {"http://two", "http://three"}


def test_a_coordinator_that_stops_has_its_nodes_elsewhere_before() -> None:
    world = several()
    first = world.coordinators[0]
    nodes = [world.add_member(f"n{number}") for number in range(20)]
    world.advance(5.0)
    first.send_elsewhere()
    sequence = 0

    def talk() -> bool:
        nonlocal sequence
        sequence += 1
        for one, other in itertools.pairwise(nodes):
            offer = control.OfferMessage(
                to=other.key, sequence=sequence, candidates=(CANDIDATE,)
            )
            one.client.offer(offer, world.now)
            one.run()
        world.advance(0.1)
        return first.server.members == 0

    while not talk():
        assert all(node.connected for node in nodes)
    world.advance(1.0)
    assert not any(node.found(Disconnected) for node in nodes)
    assert sum(each.server.members for each in world.coordinators[1:]) == 20
    for node in nodes[1:]:
        heard = node.found(OfferReceived)
        numbers = {e.offer.sequence for e in heard if isinstance(e, OfferReceived)}
        # One may be on its way at that moment; whoever sent it repeats it.
        assert len(numbers) >= sequence - 1


def test_nodes_leave_a_coordinator_that_stops_over_a_while() -> None:
    world = several()
    first = world.coordinators[0]
    for number in range(60):
        world.add_member(f"n{number}")
    world.advance(5.0)
    within = first.server.send_elsewhere(["http://two", "http://three"], world.now)
    first.drain()
    left = [first.server.members]
    for _ in range(13):
        world.advance(within / 10)
        left.append(first.server.members)
    assert left[0] == 60
    assert left[-1] == 0
    # Not all at once: each tenth of the time sees a part of them go.
    assert max(before - after for before, after in itertools.pairwise(left)) < 25


def test_a_coordinator_that_stops_takes_nobody_in() -> None:
    world = several()
    first = world.coordinators[0]
    first.send_elsewhere()
    assert first.server.connect("192.0.2.77", world.now) is None
    node = world.add_member()
    # It knows no other, as it was never told.
    world.advance(10.0)
    assert not node.connected


def test_a_node_that_does_not_know_of_it_is_told_at_the_end() -> None:
    world = several()
    first = world.coordinators[0]
    node = world.add_member()
    world.advance(2.0)
    first.server.shut_down(world.now)
    first.drain()
    first.stop()
    assert world.took(lambda: node.connected, 20.0) < 5.0
    assert first.server.members == 0


def test_nodes_that_move_do_not_come_back_to_be_replaced() -> None:
    world = several()
    first = world.coordinators[0]
    node = world.add_member()
    world.advance(2.0)
    for coordinator in world.coordinators:
        coordinator.server.send_elsewhere(["http://two"], world.now)
        coordinator.drain()
        break
    world.advance(10.0)
    assert node.connected
    assert first.server.members == 0
    assert world.coordinators[1].server.members == 1
    assert world.ledger.nodes[node.key].home == "two"


def several() -> ControlWorld:
    """Three coordinators on one database; nodes begin at the first."""
    world = ControlWorld()
    for home in ("one", "two", "three"):
        world.add_coordinator(home)
    return world


def changes_of(observer: SimMember, node: SimMember) -> list[control.PeerEntry]:
    """Return all that an observer was told about a node."""
    events = (e for e in observer.found(PeersChanged) if isinstance(e, PeersChanged))
    entries = (entry for event in events for entry in event.changed)
    return [entry for entry in entries if entry.public_key == node.key]


def online(observer: SimMember, node: SimMember) -> bool:
    peer = observer.client.peers.get(node.key)
    return peer is not None and peer.online
