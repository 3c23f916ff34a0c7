"""What bystanders, peers and a lying coordinator send: nothing raises or spins."""

import random
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshwg.node.machine import Node
from meshwg.status import all_drops
from meshwg.transmit import FIRST_LINK, UDP, Endpoint, Source, Transmit
from meshwg.wire import control
from tests.path.test_candidate import json_values
from tests.sim.kinds import PUBLIC, SYMMETRIC_RANDOM
from tests.world.internet import NODE_PORT, RELAY_HOSTS, STUN_HOSTS
from tests.world.world import pair, strangers

STRANGER = Endpoint("192.0.2.66", 666)
SOURCES = (
    STRANGER,
    Endpoint("203.0.1.2", NODE_PORT),
    Endpoint("203.0.2.2", NODE_PORT),
    Endpoint("fe80::1%eth0", 1, UDP, Source("fe80::2", 3)),
    Endpoint(RELAY_HOSTS[0], 3478),
    Endpoint(STUN_HOSTS[0], 3478),
    Endpoint(RELAY_HOSTS[0], 50000, FIRST_LINK),
)


@given(
    batch=st.lists(st.binary(max_size=200), max_size=5),
    source=st.sampled_from(SOURCES),
)
def test_no_datagram_raises(batch: list[bytes], source: Endpoint) -> None:
    alice = talking().alice

    alice.node.receive_datagrams(batch, source, alice.now)

    drain(alice.node)


@given(data=st.data(), source=st.sampled_from(SOURCES))
def test_no_forgery_of_real_traffic_is_too_strange(
    data: st.DataObject, source: Endpoint
) -> None:
    overheard = talking()
    datagram = bytearray(data.draw(st.sampled_from(overheard.datagrams)))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(datagram) - 1))
        datagram[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(datagram)))

    node = overheard.alice.node
    node.receive_datagrams([bytes(datagram[:cut])], source, overheard.alice.now)

    drain(node)


@given(packets=st.lists(st.binary(max_size=80), max_size=5))
def test_no_packet_from_the_system_raises(packets: list[bytes]) -> None:
    alice = talking().alice

    alice.node.receive_packets(packets, alice.now)

    drain(alice.node)


@given(chunks=st.lists(st.binary(max_size=100), max_size=5), link=st.integers(0, 3))
def test_no_stream_raises(chunks: list[bytes], link: int) -> None:
    alice = talking().alice
    for chunk in chunks:
        alice.node.receive_stream(FIRST_LINK + link, chunk, alice.now)

    drain(alice.node)


@given(extension=st.dictionaries(st.text(max_size=8), json_values, max_size=4))
def test_no_offer_raises(extension: dict[str, Any]) -> None:
    overheard = talking()
    alice, bob = overheard.alice, overheard.bob

    offer = control.OfferMessage(
        to=alice.node.public_key,
        sequence=1,
        candidates=(control.ReportedCandidate(kind="strange", host="0.0.0.0", port=1),),
        extension=extension,
    )
    bob.client.offer(offer, bob.now)
    bob.host.drain()
    bob.network.advance(0.25)

    assert alice.path(bob) != "none"


def test_an_offer_from_a_stranger_is_counted() -> None:
    world, alice, bob = pair()
    del alice.node.peers[bob.node.public_key]

    offer = control.OfferMessage(to=alice.node.public_key, sequence=1)
    bob.client.offer(offer, world.now)
    bob.host.drain()
    world.advance(1)

    assert all_drops(alice.node)["offer-of-stranger"] > 0


def test_unknown_datagrams_and_checks_are_counted() -> None:
    world, alice, _ = strangers()
    now, before = world.now, all_drops(alice.node)
    binding_request = b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)

    alice.node.receive_datagrams([b"what is this?"], STRANGER, now)
    alice.node.receive_datagrams([b"\x40\0\0\4abcd"], STRANGER, now)
    alice.node.receive_datagrams([binding_request], STRANGER, now)
    alice.node.receive_datagrams([binding_request[:-1]], STRANGER, now)

    counted = all_drops(alice.node) - before
    assert counted == {"unknown-datagram": 3, "unknown-check": 1}
    assert alice.node.datagrams_to_send() == []


def test_a_flood_of_garbage_does_not_disturb_a_conversation() -> None:
    world, alice, bob = pair()
    noise = random.Random(1)
    for _ in range(500):
        kind = noise.choice((b"\1\0\0\0", b"\2\0\0\0", b"\4\0\0\0", b"\0\1", b"\x40"))
        garbage = kind + noise.randbytes(144)
        alice.node.receive_datagrams([garbage] * 5, STRANGER, world.now)
        alice.host.drain()

    assert alice.keep_pinging(bob, 2) == 0


def test_replayed_and_reordered_traffic_is_delivered_once() -> None:
    world, alice, bob = pair()
    lost, held = world.network.lose, []

    def hold(packet: Any) -> bool:
        held.append(packet)
        return lost(packet)

    world.network.lose = hold
    assert alice.keep_pinging(bob, 2) == 0
    world.network.lose = lost
    answered = len(alice.answers())
    random.Random(2).shuffle(held)
    for packet in held:
        source = Endpoint(*packet.source)
        for node in (alice, bob):
            node.receive(packet.payload, source, world.now)
            node.host.drain()
    world.advance(1)

    assert len(alice.answers()) == answered
    assert alice.keep_pinging(bob, 2) == 0


class Overheard:
    """A conversation between two nodes, and every datagram of it."""

    def __init__(self) -> None:
        world, self.alice, self.bob = strangers(SYMMETRIC_RANDOM, PUBLIC)
        self.datagrams: list[bytes] = []
        world.network.lose = self._listen
        assert self.alice.reaches(self.bob)
        world.advance(30)
        self.datagrams = sorted(set(self.datagrams), key=len)

    def _listen(self, packet: Any) -> bool:
        self.datagrams.append(packet.payload)
        return False


def once(make: Callable[[], Overheard]) -> Callable[[], Overheard]:
    """Return a function that makes one thing, and returns it ever after."""
    made: list[Overheard] = []

    def get() -> Overheard:
        if not made:
            made.append(make())
        return made[0]

    return get


talking = once(Overheard)


def drain(node: Node) -> list[Transmit]:
    """Take everything out of a node, as its parent would."""
    transmits = node.datagrams_to_send()
    node.packets_to_write()
    while node.next_event() is not None:
        pass
    node.get_timer()
    return transmits
