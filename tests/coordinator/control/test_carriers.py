"""Connections: who may have one, and what ends it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.control.settings import Settings
from meshwg.control.events import Disconnected, OfferReceived
from meshwg.keys import PrivateKey
from meshwg.wire import channel
from meshwg.wire.control import CloseCode, OfferMessage, to_json
from tests.coordinator.control.visitor import Visitor, mesh
from tests.world.control import ControlWorld


def test_a_connection_that_does_not_register_is_closed() -> None:
    world = ControlWorld()
    visitor = Visitor(world)
    world.advance(world.settings.register_timeout + 1.0)
    assert visitor.code == CloseCode.SILENT


def test_an_initiation_for_another_coordinator_is_told_so() -> None:
    world = ControlWorld()
    visitor = Visitor(world)
    stranger = PrivateKey.generate(world.random.randbytes)
    visitor.shake_hands_with(stranger.public_bytes)
    assert visitor.code == CloseCode.WRONG_KEY


def test_two_keys_are_answered_while_one_replaces_the_other() -> None:
    world = ControlWorld()
    new, stranger = (PrivateKey.generate(world.random.randbytes) for _ in range(2))
    coordinator = world.add_coordinator()
    visitors = [Visitor(world, coordinator) for _ in range(3)]
    coordinator.use_keys(new, world.key)
    for visitor, key in zip(visitors, (new, world.key, stranger), strict=True):
        visitor.shake_hands_with(key.public_bytes)
    assert [each.code for each in visitors] == [None, None, CloseCode.WRONG_KEY]

    coordinator.use_keys(new, None)
    late = Visitor(world, coordinator)
    late.shake_hands_with(world.key.public_bytes)
    assert late.code == CloseCode.WRONG_KEY


def test_another_coordinator_passes_offers_on_over_a_connection_of_its_own() -> None:
    world, a, b = mesh()
    coordinator = world.coordinators[0]
    sibling = Visitor(world, coordinator)
    sibling.private_key = world.key
    sibling.greet()
    sibling.say_payload(coordinator.home.encode())
    offer = OfferMessage(to=a.key, sender=b.key, sequence=7, candidates=())
    sibling.say_payload(to_json(offer))
    world.advance(0.5)
    (received,) = a.found(OfferReceived)
    assert isinstance(received, OfferReceived)
    assert received.offer.sequence == 7
    assert coordinator.server.counters["siblings"] == 1

    for _ in range(10):
        world.advance(5.0)
        sibling.say_payload(channel.HEARTBEAT)
    assert sibling.code is None
    world.advance(30.0)
    assert sibling.code == CloseCode.SILENT


def test_a_coordinator_that_looks_for_another_process_is_sent_away() -> None:
    world, a, b = mesh()
    sibling = Visitor(world, world.coordinators[0])
    sibling.private_key = world.key
    sibling.greet()
    sibling.say_payload(b"elsewhere")
    assert sibling.code == CloseCode.REFUSED
    assert a.connected
    assert b.connected


def test_a_node_cannot_speak_as_a_coordinator() -> None:
    world, a, b = mesh()
    visitor = Visitor(world, world.coordinators[0]).greet()
    visitor.say_payload(world.coordinators[0].home.encode())
    offer = OfferMessage(to=a.key, sender=b.key, sequence=7, candidates=())
    visitor.say_payload(to_json(offer))
    world.advance(0.5)
    assert not a.found(OfferReceived)
    assert visitor.code == CloseCode.REFUSED


def test_garbage_of_a_coordinator_is_no_offer() -> None:
    world, a, b = mesh()
    sibling = Visitor(world, world.coordinators[0])
    sibling.private_key = world.key
    sibling.greet()
    sibling.say_payload(world.coordinators[0].home.encode())
    for payload in (
        b"{",
        b"\xff" * 900,
        b'{"type":"offer"}',
        b'{"type":"ping","id":1}',
    ):
        sibling.say_payload(payload)
    world.advance(1.0)
    assert not a.found(OfferReceived)
    assert not b.found(OfferReceived)
    assert a.connected


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
