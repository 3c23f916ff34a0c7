"""Offers between members."""

from coordinator.control.connection import OFFER_BURST
from meshwg.control.events import OfferReceived, OfferRefused
from meshwg.keys import PrivateKey, format_key
from meshwg.wire import control
from meshwg.wire.control import ErrorCode, OfferMessage
from tests.coordinator.control.visitor import CANDIDATE, Visitor, mesh


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


def test_no_node_can_send_offers_in_the_name_of_another() -> None:
    world, a, b = mesh()
    member = Visitor(world, world.coordinators[0]).join()
    member.say(OfferMessage(to=b.key, sender=a.key, sequence=1))
    world.advance(1.0)
    (event,) = b.found(OfferReceived)
    assert isinstance(event, OfferReceived)
    assert event.offer.sender == member.key


def test_an_offer_to_an_unknown_node_is_refused() -> None:
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


def test_an_oversized_offer_is_refused_and_the_sender_stays() -> None:
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
    number = world.coordinators[0].number_of(b)
    server.set_writable(number, False, world.now)
    a.client.offer(OfferMessage(to=b.key, sequence=1), world.now)
    world.advance(1.0)
    server.set_writable(number, True, world.now)
    world.advance(1.0)
    assert not b.found(OfferReceived)
    assert server.counters["offers_lost"] == 1
