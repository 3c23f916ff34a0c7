"""The control server: who is admitted, who is told what, and how abuse ends."""

import pytest

from coordinator.control.connection import MAX_REFUSED, MESSAGE_BURST
from meshwg.control.client import ControlState
from meshwg.control.events import Refused
from meshwg.wire import channel, control
from meshwg.wire.control import CloseCode, Error, ErrorCode, ReportedCandidate
from tests.coordinator.control.visitor import CANDIDATE, Visitor, mesh
from tests.world.control import ControlWorld


@pytest.mark.parametrize("kind", ["heartbeat", "ping"])
def test_heartbeats_and_pings_are_not_free(kind: str) -> None:
    world, a, b = mesh()
    visitor = Visitor(world, world.coordinators[0]).join()
    server = world.coordinators[0].server
    for _ in range(60):
        for _ in range(2):
            say(visitor, kind)
        world.advance(0.1)
        assert visitor.code is None
    for _ in range(int(MESSAGE_BURST) + MAX_REFUSED + 1):
        say(visitor, kind)
    assert visitor.code == CloseCode.REFUSED
    assert not server.receive_ping(visitor._number, world.now)
    assert a.connected
    assert b.connected


def test_flows_are_noted_and_a_node_tells_of_them_only_so_often() -> None:
    world, a, _ = mesh()
    visitor = Visitor(world, world.coordinators[0]).join()
    own = world.ledger.load()[0].networks.addresses(
        world.ledger.nodes[visitor.key].number
    )[0]
    for port in range(1, 50):
        flow = control.SeenFlow(source=own, destination=own, port=f"tcp/{port}")
        visitor.say(control.SeenFlows(flows=(flow,)))
        world.advance(0.05)

    assert 0 < len(world.ledger.flows) < 10
    assert world.coordinators[0].server.counters["flows_ignored"] > 40
    assert visitor.key in [each.public_key for each in a.client.peers.peers]


def test_reports_of_one_node_are_told_to_others_only_so_often() -> None:
    world, a, _ = mesh()
    visitor = Visitor(world, world.coordinators[0]).join()
    before = world.coordinators[0].registry.version
    for number in range(300):
        candidate = ReportedCandidate(kind="host", host="192.0.2.1", port=1 + number)
        visitor.say(control.Report(candidates=(candidate,)))
        world.advance(0.05)
    world.advance(3.0)
    assert world.coordinators[0].registry.version - before < 25
    peer = a.client.peers.get(visitor.key)
    assert peer is not None
    assert peer.candidates == (candidate,)


def test_a_node_that_registers_all_the_time_is_told_to_wait() -> None:
    world, a, b = mesh()
    visitor = Visitor(world, world.coordinators[0])
    refused = 0
    for _ in range(60):
        visitor = Visitor(world, world.coordinators[0]).greet()
        visitor.say(control.Register(name="visitor", auth_key=world.auth_key))
        world.advance(0.01)
        refused += any(
            isinstance(heard, control.Error) and heard.code == ErrorCode.TRY_AGAIN
            for heard in visitor.hear()
        )
    assert 20 <= refused <= 35
    assert a.connected
    assert b.connected


def test_no_node_is_answered_before_the_database_has_committed() -> None:
    world = ControlWorld()
    coordinator = world.add_coordinator()
    world.ledger.latency = 5.0
    node = world.add_member()
    world.advance(4.0)
    assert not coordinator.registry.nodes
    assert node.client.state is ControlState.CONNECTING
    world.advance(2.0)
    assert node.connected
    assert node.key in world.ledger.nodes


@pytest.mark.parametrize("auth_key", ["nonsense", "0" * 12 + "." + "0" * 32])
def test_a_bad_token_is_refused_for_good(auth_key: str) -> None:
    world = ControlWorld()
    world.add_coordinator()
    node = world.add_member()
    node.client = node.make_client(auth_key=auth_key)
    world.advance(5.0)
    (refused,) = node.found(Refused)
    assert isinstance(refused, Refused)
    assert refused.error.code == ErrorCode.TOKEN_UNKNOWN
    assert auth_key not in refused.error.message


@pytest.mark.parametrize("for_good", [False, True])
def test_who_leaves_for_good_is_removed(for_good: bool) -> None:
    world, a, b = mesh()
    assert a.key in world.ledger.nodes

    a.client.stop(world.now, for_good=for_good)
    world.advance(5.0)

    assert (a.key in world.ledger.nodes) is not for_good
    assert b.connected


def test_a_single_use_token_lets_one_node_in() -> None:
    world = ControlWorld()
    world.add_coordinator()
    world.auth_key = world.ledger.add_auth_key(reusable=False)
    first, second = world.add_member(), world.add_member()
    world.advance(5.0)
    assert first.connected != second.connected


def test_a_token_expires_by_the_coordinators_clock() -> None:
    world = ControlWorld()
    world.add_coordinator()
    world.auth_key = world.ledger.add_auth_key(lifetime=10.0)
    world.advance(11.0)
    node = world.add_member()
    world.advance(5.0)
    assert node.client.state is ControlState.ENDED


def test_a_failing_database_refuses_joins_and_keeps_every_member() -> None:
    world, a, _ = mesh()
    world.ledger.broken = True
    late = world.add_member("late")
    a.client.report([CANDIDATE], None, world.now)
    world.advance(10.0)
    assert not late.connected
    assert "cannot store" in (late.client.error or "")
    assert a.connected
    world.ledger.broken = False
    world.took(lambda: late.connected)
    known = late.client.peers.get(a.key)
    assert known is not None
    assert known.candidates == (CANDIDATE,)


def test_another_protocol_is_refused_with_a_sentence() -> None:
    world = ControlWorld()
    visitor = Visitor(world).greet()
    visitor.say(control.Register(name="a", protocol=2))
    (error,) = visitor.hear()
    assert isinstance(error, Error)
    assert (error.code, error.fatal) == (ErrorCode.PROTOCOL, True)
    assert visitor.code == CloseCode.REFUSED


def test_a_message_before_registration_ends_the_connection() -> None:
    world = ControlWorld()
    visitor = Visitor(world).greet()
    visitor.say(control.Report())
    (error,) = visitor.hear()
    assert isinstance(error, Error)
    assert error.fatal
    assert visitor.code == CloseCode.REFUSED


def test_malformed_messages_are_refused_and_finally_the_sender() -> None:
    world, _, _ = mesh()
    member = Visitor(world, world.coordinators[0]).join()
    member.say_payload(b"\x00{}")
    (error,) = member.hear()
    assert isinstance(error, Error)
    assert (error.code, error.fatal) == (ErrorCode.MALFORMED, False)
    for _ in range(MAX_REFUSED):
        member.say_payload(b"\x00{}")
        world.advance(0.1)
    assert member.code == CloseCode.REFUSED


def test_an_oversized_message_is_refused() -> None:
    world, _, _ = mesh()
    member = Visitor(world, world.coordinators[0]).join()
    member.say_payload(bytes(control.MAX_NODE_PAYLOAD + 1))
    (error,) = member.hear()
    assert isinstance(error, Error)
    assert error.code == ErrorCode.TOO_LARGE


def test_messages_from_future_versions_are_ignored() -> None:
    world, _, _ = mesh()
    member = Visitor(world, world.coordinators[0]).join()
    member.say_payload(control.pack(b'{"type":"telepathy"}'))
    assert member.hear() == []
    assert member.code is None


def test_too_many_messages_are_refused_once_and_then_ignored() -> None:
    world, _, _ = mesh()
    member = Visitor(world, world.coordinators[0]).join()
    for number in range(int(MESSAGE_BURST) + 50):
        member.say(control.Ping(id=number))
    heard = member.hear()
    errors = [each for each in heard if isinstance(each, Error)]
    assert [error.code for error in errors] == [ErrorCode.TOO_MANY]
    world.advance(5.0)
    member.hear()
    member.say(control.Ping(id=1))
    assert member.hear() == [control.Pong(id=1)]


def test_a_flood_ends_the_connection() -> None:
    world, a, _ = mesh()
    member = Visitor(world, world.coordinators[0]).join()
    for number in range(int(MESSAGE_BURST) + MAX_REFUSED + 10):
        member.say(control.Ping(id=number))
    assert member.code == CloseCode.REFUSED
    assert a.connected


def test_registering_twice_is_refused() -> None:
    world, _, _ = mesh()
    member = Visitor(world, world.coordinators[0]).join()
    member.say(control.Register(name="again"))
    (error,) = member.hear()
    assert isinstance(error, Error)
    assert error.code == ErrorCode.MALFORMED


def say(visitor: Visitor, kind: str) -> None:
    if kind == "heartbeat":
        visitor.say_payload(channel.HEARTBEAT)
    elif visitor.code is None:
        visitor.coordinator.server.receive_ping(visitor._number, visitor.world.now)
        visitor.coordinator.drain()
