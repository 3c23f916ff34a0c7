"""Streams are nobody's until an authentic check, and then one peer's."""

import random
from ipaddress import ip_network
from typing import cast

import pytest

from meshwg.node.streams import (
    SILENCE,
    STRANGERS,
    STRANGERS_PER_SITE,
    StreamDrop,
    Streams,
    framed,
)
from meshwg.path.overlay import Overlay
from meshwg.peer import MeshPeer
from meshwg.transmit import Endpoint, Transmit
from meshwg.wire.channeldata import PEER_CHANNEL, wrap_stream
from meshwg.wire.stun import binding_request

NOW = 1000.0
SOMEWHERE = Endpoint("203.0.113.1", 5000)
ALICE, BOB = cast(MeshPeer, object()), cast(MeshPeer, object())
CHECK = binding_request(bytes(12))
DATA = b"\4\0\0\0" + bytes(28)


def test_checks_and_data_are_framed_as_turn_over_tcp_is() -> None:
    to = SOMEWHERE._replace(link=-1)

    (sent,) = framed(Transmit(to, [CHECK, DATA, DATA])).datagrams

    assert sent == CHECK + wrap_stream(PEER_CHANNEL, [DATA, DATA])


def test_both_come_out_at_the_other_end_whatever_the_pieces() -> None:
    streams, link = accepted()
    streams.heard(link, ALICE)
    sent = CHECK + wrap_stream(PEER_CHANNEL, [DATA, b"odd" * 11])

    received = []
    for start in range(0, len(sent), 7):
        for _, run in streams.receive(link, sent[start : start + 7]) or []:
            received += [bytes(each) for each in run]

    assert received == [CHECK, DATA, b"odd" * 11]


def test_a_stream_that_stays_silent_is_closed() -> None:
    streams, link = accepted()
    assert streams.get_timer() == NOW + SILENCE

    assert streams.take_late(NOW + SILENCE) == (link,)

    assert streams.drops == {StreamDrop.SILENT: 1}
    assert streams.get_timer() is None


def test_bytes_that_come_slowly_do_not_keep_a_stream_open() -> None:
    streams, link = accepted()
    for index, byte in enumerate(CHECK[:-1]):
        assert streams.receive(link, bytes([byte])) == [], index

    assert streams.take_late(NOW + SILENCE) == (link,)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", StreamDrop.MALFORMED),
        (b"\x16\x03\x01\x02\x00" + bytes(60), StreamDrop.MALFORMED),
        (CHECK[:2] + b"\xff\xfc" + CHECK[4:], StreamDrop.MALFORMED),
        (wrap_stream(PEER_CHANNEL + 1, [DATA]), StreamDrop.MALFORMED),
        (wrap_stream(PEER_CHANNEL, [DATA]), StreamDrop.UNPROVEN),
        (wrap_stream(PEER_CHANNEL, [bytes(1400)]), StreamDrop.MALFORMED),
    ],
    ids=["http", "tls", "too long", "another channel", "data", "long data"],
)
def test_anything_but_a_check_ends_a_new_stream(data: bytes, why: StreamDrop) -> None:
    streams, link = accepted()

    assert streams.receive(link, data) is None

    assert streams.drops == {why: 1}


def test_a_stream_belongs_to_the_first_that_proves_to_be_somebody() -> None:
    streams, link = accepted()
    assert streams.owner(link) is None
    assert streams.may_hear(link, ALICE)

    streams.heard(link, ALICE)

    assert streams.owner(link) is ALICE
    assert not streams.may_hear(link, BOB)
    assert streams.drops == {StreamDrop.FOREIGN: 1}
    assert streams.take_late(NOW + SILENCE) == ()


def test_a_dialled_stream_belongs_to_the_peer_that_it_was_dialled_for() -> None:
    streams, _ = accepted()
    streams.dial(SOMEWHERE._replace(link=-9), ALICE)

    assert not streams.may_hear(-9, BOB)
    assert streams.receive(-9, wrap_stream(PEER_CHANNEL, [DATA])) is None


def test_few_strangers_of_one_address_wait_at_a_time() -> None:
    streams = make()
    links = [streams.accept(SOMEWHERE, NOW) for _ in range(STRANGERS_PER_SITE + 5)]

    assert links.count(None) == 5
    assert streams.drops == {StreamDrop.CROWDED: 5}
    first = links[0]
    assert first is not None
    streams.heard(first, ALICE)
    assert streams.accept(SOMEWHERE, NOW) is not None, "it waits no longer"


def test_few_strangers_wait_at_a_time() -> None:
    streams = make()
    hosts = [f"203.0.{n // 250}.{n % 250 + 1}" for n in range(STRANGERS + 7)]
    links = [streams.accept(Endpoint(host, 1), NOW) for host in hosts]

    assert links.count(None) == 7
    assert len(streams.take_late(NOW + SILENCE)) == STRANGERS
    assert streams.accept(SOMEWHERE, NOW) is not None


def test_a_stream_through_the_tunnel_is_refused() -> None:
    streams = make()

    assert streams.accept(Endpoint("100.64.0.9", 5), NOW) is None
    assert streams.drops == {StreamDrop.INSIDE_MESH: 1}


def test_a_removed_peer_leaves_no_streams() -> None:
    streams, link = accepted()
    streams.heard(link, ALICE)
    streams.dial(SOMEWHERE._replace(link=-9), BOB)

    assert streams.remove_all(ALICE) == (link,)
    assert streams.receive(link, CHECK) == []
    assert streams.remove(-9) is BOB


def make() -> Streams:
    overlay = Overlay([ip_network("100.64.0.0/24")])
    return Streams(41641, overlay, random=random.Random(1).randbytes)


def accepted() -> tuple[Streams, int]:
    streams = make()
    link = streams.accept(SOMEWHERE, NOW)
    assert link is not None
    return streams, link
