"""The control server: who gets in, what is told to whom, and how abuse ends."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.connection import MAX_REFUSED, MESSAGE_BURST, OFFER_BURST
from coordinator.credentials import LIFETIME
from coordinator.homes import GRACE, Homes
from coordinator.operations import Bury, Expire, Remove, Rename
from coordinator.settings import Settings
from meshwg.control.client import ControlState
from meshwg.control.events import (
    Accepted,
    Disconnected,
    MembershipRevoked,
    OfferReceived,
    OfferRefused,
    PeersChanged,
    Refused,
    RelaysChanged,
    SelfChanged,
)
from meshwg.keys import PrivateKey, format_key
from meshwg.wire import channel, control
from meshwg.wire.control import (
    CloseCode,
    Error,
    ErrorCode,
    OfferMessage,
    ReportedCandidate,
)
from tests.world.control import ControlWorld
from tests.world.coordinator import SimCoordinator
from tests.world.member import SimMember

CANDIDATE = ReportedCandidate(kind="host", host="192.0.2.1", port=7)


# Joining.


def test_nodes_join_and_see_each_other() -> None:
    world, a, b = mesh()
    assert [p.public_key for p in a.client.peers.peers] == [b.key]
    assert [p.public_key for p in b.client.peers.peers] == [a.key]
    assert a.client.peers.peers[0].online
    assert world.coordinators[0].server.members == 2


def test_nobody_is_answered_before_the_database_has_it() -> None:
    world = ControlWorld()
    coordinator = world.add_coordinator()
    world.ledger.latency = 5.0
    node = world.add_member()
    world.advance(4.0)
    assert coordinator.server.members == 0
    assert node.client.state is ControlState.CONNECTING
    world.advance(2.0)
    assert node.connected
    assert node.key in world.ledger.nodes


def test_a_name_clash_is_told_to_the_later_one() -> None:
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


def test_a_failing_database_refuses_joins_and_keeps_everybody() -> None:
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


def test_a_connection_that_does_not_register_is_closed() -> None:
    world = ControlWorld()
    visitor = Visitor(world)
    world.advance(world.settings.register_timeout + 1.0)
    assert visitor.code == CloseCode.SILENT


def test_another_protocol_is_refused_with_a_sentence() -> None:
    world = ControlWorld()
    visitor = Visitor(world).greet()
    visitor.say(control.Register(name="a", protocol=2))
    (error,) = visitor.hear()
    assert isinstance(error, Error)
    assert (error.code, error.fatal) == (ErrorCode.PROTOCOL, True)
    assert visitor.code == CloseCode.REFUSED


def test_an_initiation_for_another_coordinator_is_told_so() -> None:
    world = ControlWorld()
    visitor = Visitor(world)
    stranger = PrivateKey.generate(world.random.randbytes)
    visitor.shake_hands_with(stranger.public_bytes)
    assert visitor.code == CloseCode.WRONG_KEY


def test_whoever_says_anything_before_registering_is_sent_away() -> None:
    world = ControlWorld()
    visitor = Visitor(world).greet()
    visitor.say(control.Report())
    (error,) = visitor.hear()
    assert isinstance(error, Error)
    assert error.fatal
    assert visitor.code == CloseCode.REFUSED


def test_a_recorded_initiation_does_not_disturb_the_node_it_is_from() -> None:
    world = ControlWorld()
    coordinator = world.add_coordinator()
    node = world.add_member()
    recorded: list[bytes] = []
    receive = coordinator.receive

    def tap(number: int, frame: bytes) -> None:
        recorded.append(frame)
        receive(number, frame)

    coordinator.receive = tap  # type: ignore[method-assign]
    world.advance(1.0)
    replayer = Visitor(world, coordinator)
    for frame in recorded[:2]:
        replayer.send(frame)
    world.advance(1.0)
    assert replayer.code == CloseCode.MALFORMED
    assert node.connected
    assert not node.found(Disconnected)


# Limits.


def test_one_address_gets_only_so_many_connections_that_do_not_register() -> None:
    world = ControlWorld(settings=Settings(new_connections_per_address=3))
    coordinator = world.add_coordinator()
    visitors = [coordinator.server.connect("192.0.2.9", world.now) for _ in range(4)]
    assert [number is None for number in visitors] == [False] * 3 + [True]
    assert coordinator.server.counters["connections_refused"] == 1
    node = world.add_member()
    world.advance(1.0)
    assert node.connected


def test_the_process_gets_only_so_many_connections() -> None:
    world = ControlWorld(settings=Settings(max_connections=2))
    world.add_coordinator()
    for _ in range(3):
        world.add_member()
    world.advance(5.0)
    assert sum(node.connected for node in world.members) == 2


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=6), st.booleans())
def test_garbage_ends_its_own_connection_only(
    frames: list[bytes], greeted: bool
) -> None:
    world, a, b = mesh()
    visitor = Visitor(world, world.coordinators[0])
    if greeted:
        visitor.greet()
    for frame in frames:
        visitor.send(frame)
    world.advance(20.0)
    assert visitor.code is not None
    assert a.connected
    assert b.connected


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


def test_a_message_too_large_is_refused() -> None:
    world, _, _ = mesh()
    member = Visitor(world, world.coordinators[0]).join()
    member.say_payload(bytes(control.MAX_NODE_PAYLOAD + 1))
    (error,) = member.hear()
    assert isinstance(error, Error)
    assert error.code == ErrorCode.TOO_LARGE


def test_messages_of_the_future_are_ignored() -> None:
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


# Offers.


def test_an_offer_reaches_its_peer_with_the_true_sender() -> None:
    world, a, b = mesh()
    extension = {"predicted": [1, 2, 3], "plan": {"seed": "x"}}
    offer = OfferMessage(
        to=b.key, sequence=1, candidates=(CANDIDATE,), extension=extension
    )
    a.client.offer(offer, world.now)
    world.advance(1.0)
    (event,) = b.found(OfferReceived)
    assert isinstance(event, OfferReceived)
    assert event.offer.sender == a.key
    assert event.offer.candidates == (CANDIDATE,)
    assert event.offer.extension == extension


def test_nobody_can_send_offers_in_anothers_name() -> None:
    world, a, b = mesh()
    member = Visitor(world, world.coordinators[0]).join()
    member.say(OfferMessage(to=b.key, sender=a.key, sequence=1))
    world.advance(1.0)
    (event,) = b.found(OfferReceived)
    assert isinstance(event, OfferReceived)
    assert event.offer.sender == member.key


def test_an_offer_to_nobody_is_refused() -> None:
    world, a, b = mesh()
    a.client.offer(OfferMessage(to=a.key, sequence=1), world.now)
    stranger = PrivateKey.generate(world.random.randbytes)
    nobody = format_key(stranger.public_bytes)
    a.client.offer(OfferMessage(to=nobody, sequence=1), world.now)
    b.client.stop(world.now)
    world.advance(1.0)
    a.client.offer(OfferMessage(to=b.key, sequence=1), world.now)
    world.advance(1.0)
    codes = [e.error.code for e in a.found(OfferRefused) if isinstance(e, OfferRefused)]
    assert codes == [
        ErrorCode.UNKNOWN_PEER,
        ErrorCode.UNKNOWN_PEER,
        ErrorCode.PEER_OFFLINE,
    ]


def test_an_offer_too_large_is_refused_and_the_sender_stays() -> None:
    world, a, b = mesh()
    filler = "x" * control.MAX_OFFER
    offer = OfferMessage(to=b.key, sequence=1, extension={"filler": filler})
    a.client.offer(offer, world.now)
    world.advance(1.0)
    (event,) = a.found(OfferRefused)
    assert isinstance(event, OfferRefused)
    assert event.error.code == ErrorCode.TOO_LARGE
    assert a.connected
    assert not b.found(OfferReceived)


def test_too_many_offers_are_refused_and_others_are_not_disturbed() -> None:
    world, a, b = mesh()
    for _ in range(int(OFFER_BURST) + 20):
        a.client.offer(OfferMessage(to=b.key, sequence=1), world.now)
    world.advance(1.0)
    assert len(b.found(OfferReceived)) == OFFER_BURST
    assert len(a.found(OfferRefused)) == 20
    b.client.offer(OfferMessage(to=a.key, sequence=1), world.now)
    world.advance(1.0)
    assert len(a.found(OfferReceived)) == 1


def test_an_offer_is_never_kept_for_a_node_that_does_not_read() -> None:
    world, a, b = mesh()
    server = world.coordinators[0].server
    number = next(n for n, c in world.coordinators[0].carriers.items() if c is b)
    server.set_writable(number, False, world.now)
    a.client.offer(OfferMessage(to=b.key, sequence=1), world.now)
    world.advance(1.0)
    server.set_writable(number, True, world.now)
    world.advance(1.0)
    assert not b.found(OfferReceived)
    assert server.counters["offers_lost"] == 1


# Presence.


def test_a_clean_stop_is_known_at_once() -> None:
    world, a, b = mesh()
    b.client.stop(world.now)
    assert world.took(lambda: not online(a, b)) < 0.5


def test_a_broken_connection_is_known_at_once() -> None:
    world, a, b = mesh()
    b.cut()
    assert world.took(lambda: not online(a, b)) < 0.5


@pytest.mark.parametrize("phase", [0.0, 0.7, 1.4, 2.1, 2.8])
def test_a_silent_death_is_known_within_ten_seconds(phase: float) -> None:
    world, a, b = mesh()
    world.advance(30.0 + phase)
    b.silent = True
    assert world.took(lambda: not online(a, b)) < 10.0


def test_a_coordinator_that_falls_silent_is_known_within_thirty_seconds() -> None:
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
    coordinator.perform(Bury(homes.overdue(nodes, (), world.now)))
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
        "Another connection uses this node's key; a key is for one machine"
    }
    assert b.connected


# Netmaps.


def test_a_report_reaches_all_others_and_an_equal_one_nobody() -> None:
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


def test_a_node_that_does_not_read_gets_later_what_it_missed() -> None:
    world, a, b = mesh()
    coordinator = world.coordinators[0]
    number = next(n for n, c in coordinator.carriers.items() if c is b)
    coordinator.server.set_writable(number, False, world.now)
    for port in range(1, 6):
        a.client.report([CANDIDATE.model_copy(update={"port": port})], None, world.now)
        world.advance(2.0)
    assert not b.client.peers.peers[0].candidates
    told = len(b.found(PeersChanged))
    coordinator.server.set_writable(number, True, world.now)
    world.advance(1.0)
    (candidate,) = b.client.peers.peers[0].candidates
    assert candidate.port == 5
    assert len(b.found(PeersChanged)) == told + 1


def test_a_node_whose_netmap_does_not_add_up_gets_all_of_it() -> None:
    world, a, b = mesh()
    b.client.peers.version = 999
    a.client.report([CANDIDATE], None, world.now)
    world.advance(2.0)
    assert world.coordinators[0].server.counters["resyncs"] == 1
    assert b.client.peers.peers[0].candidates == (CANDIDATE,)


def test_renaming_a_node_is_told_to_all_and_to_itself() -> None:
    world, a, b = mesh()
    world.coordinators[0].perform(Rename(a.key, "boss"))
    world.advance(1.0)
    assert b.client.peers.peers[0].name == "boss"
    assert len(a.found(SelfChanged)) == 1


@pytest.mark.parametrize("operation", [Remove, Expire])
def test_a_node_that_is_no_member_any_more_is_told_and_forgotten(
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


def test_an_ephemeral_node_is_gone_when_it_leaves() -> None:
    world, a, _ = mesh()
    world.auth_key = world.ledger.add_auth_key(ephemeral=True)
    guest = world.add_member("guest")
    world.advance(1.0)
    assert a.client.peers.get(guest.key) is not None
    guest.client.stop(world.now)
    world.advance(1.0)
    assert a.client.peers.get(guest.key) is None


def test_an_ephemeral_node_that_vanishes_is_gone_after_a_while() -> None:
    world, a, _ = mesh()
    world.auth_key = world.ledger.add_auth_key(ephemeral=True)
    guest = world.add_member("guest")
    world.advance(1.0)
    guest.silent = True
    world.advance(200.0)
    assert a.client.peers.get(guest.key) is not None
    world.advance(200.0)
    assert a.client.peers.get(guest.key) is None


# Relays and restarts.


def test_relay_credentials_come_with_joining_and_are_renewed_in_time() -> None:
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
    (joined,) = node.found(Accepted)
    assert isinstance(joined, Accepted)
    first = joined.registered.relays[0]
    assert first.expires == pytest.approx(world.unix_time + LIFETIME, abs=2)
    assert node.key in first.username
    world.advance(LIFETIME / 2 + 1.0)
    (renewed,) = node.found(RelaysChanged)
    assert isinstance(renewed, RelaysChanged)
    assert renewed.relays[0].expires > first.expires


def test_a_clean_stop_of_the_coordinator_is_told_and_nobody_goes_offline() -> None:
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


def mesh() -> tuple[ControlWorld, SimMember, SimMember]:
    """Two nodes that know each other."""
    world = ControlWorld()
    world.add_coordinator()
    a, b = world.add_member("a"), world.add_member("b")
    world.advance(2.0)
    assert a.connected
    assert b.connected
    return world, a, b


def online(observer: SimMember, node: SimMember) -> bool:
    peer = observer.client.peers.get(node.key)
    return peer is not None and peer.online


class Visitor:
    """Someone who speaks to the server by hand, and need not be well-behaved."""

    def __init__(
        self, world: ControlWorld, coordinator: SimCoordinator | None = None
    ) -> None:
        self.world = world
        self.coordinator = coordinator or world.add_coordinator()
        self.private_key = PrivateKey.generate(random.Random(99).randbytes)
        self.key = format_key(self.private_key.public_bytes)
        self.code: int | None = None
        self._frames: list[bytes] = []
        self._channel: channel.Channel | None = None
        number = self.coordinator.connect(self, "192.0.2.200")
        assert number is not None
        self._number = number

    def greet(self) -> "Visitor":
        """Do the handshake."""
        self.shake_hands_with(self.world.key.public_bytes)
        return self

    def shake_hands_with(self, key: bytes) -> None:
        handshake = channel.ClientHandshake(
            self.private_key, key, random=self.world.random.randbytes
        )
        self.send(handshake.initiation)
        self.world.advance(0.1)
        if self._frames:
            self._channel = handshake.read_response(self._frames.pop(0))

    def join(self) -> "Visitor":
        """Become a member; return after the netmap was heard."""
        self.greet()
        self.say(control.Register(name="visitor", auth_key=self.world.auth_key))
        self.world.advance(1.0)
        assert self.hear()
        return self

    def say(self, message: control.FromNode) -> None:
        self.say_payload(control.encode(message))

    def say_payload(self, payload: bytes) -> None:
        assert self._channel is not None
        self.send(self._channel.seal(payload))

    def send(self, frame: bytes) -> None:
        if self.code is None:
            self.coordinator.receive(self._number, frame)
            self.coordinator.drain()

    def hear(self) -> list[control.FromCoordinator | None]:
        """Return the messages received since the last call."""
        self.world.advance(0.1)
        assert self._channel is not None
        payloads = [self._channel.open(frame) for frame in self._frames]
        self._frames.clear()
        return [control.decode_from_coordinator(p) for p in payloads if p]

    # What the coordinator has of a visitor in the place of a carrier.

    def receive_later(self, number: int, frame: bytes) -> None:
        self._frames.append(frame)

    def closed_later(self, number: int, code: int) -> None:
        self.code = code

    def cut(self, reason: str) -> None:
        raise AssertionError(reason)
