"""WireGuard, STUN and a relay's channels are told apart by their first bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.wire import stun
from meshwg.wire.demux import DatagramKind, kind_of, runs

INITIATION = b"\1\0\0\0" + bytes(144)
RESPONSE = b"\2\0\0\0" + bytes(88)
COOKIE_REPLY = b"\3\0\0\0" + bytes(60)
TRANSPORT = b"\4\0\0\0" + bytes(28)
BINDING = stun.binding_request(bytes(12))
CHANNEL_DATA = b"\x40\x01\0\4data"


@pytest.mark.parametrize(
    ("datagram", "kind"),
    [
        (INITIATION, DatagramKind.WIREGUARD),
        (RESPONSE, DatagramKind.WIREGUARD),
        (COOKIE_REPLY, DatagramKind.WIREGUARD),
        (TRANSPORT, DatagramKind.WIREGUARD),
        (BINDING, DatagramKind.STUN),
        (CHANNEL_DATA, DatagramKind.CHANNEL_DATA),
        (b"\x4f\xff\0\0", DatagramKind.CHANNEL_DATA),
        (b"", DatagramKind.UNKNOWN),
        (b"\1\0\0", DatagramKind.UNKNOWN),
        (TRANSPORT[:-1], DatagramKind.UNKNOWN),
        (b"\5\0\0\0" + bytes(60), DatagramKind.UNKNOWN),
        (b"\0\0\0\0" + bytes(60), DatagramKind.UNKNOWN),
        (b"\4\0\0\1" + bytes(60), DatagramKind.UNKNOWN),
        (BINDING[:-1], DatagramKind.UNKNOWN),
        (BINDING + b"x", DatagramKind.UNKNOWN),
        (b"\x80\1\0\0" + BINDING[4:], DatagramKind.UNKNOWN),
        (b"\x40\1\0", DatagramKind.UNKNOWN),
        (b"\x50\0\0\4data", DatagramKind.UNKNOWN),
    ],
)
def test_the_first_bytes_tell_the_kind(datagram: bytes, kind: DatagramKind) -> None:
    assert kind_of(datagram) is kind
    assert kind_of(memoryview(datagram)) is kind


@pytest.mark.parametrize("method", list(stun.Method))
@pytest.mark.parametrize("cls", list(stun.Class))
def test_no_stun_message_looks_like_wireguard(
    method: stun.Method, cls: stun.Class
) -> None:
    for length in (0, 4, 256, 1024):
        header = struct.pack("!HH", method | cls, length)
        assert kind_of(header + BINDING[4:] + bytes(length)) is DatagramKind.STUN


def test_a_batch_of_wireguard_alone_is_returned_as_it_is() -> None:
    batch = [memoryview(TRANSPORT)] * 64

    ((kind, datagrams),) = runs(batch)

    assert kind is DatagramKind.WIREGUARD
    assert datagrams is batch


def test_a_mixed_batch_is_split_into_runs_in_order() -> None:
    batch = [TRANSPORT, INITIATION, BINDING, TRANSPORT, b"?", CHANNEL_DATA]

    assert runs(batch) == [
        (DatagramKind.WIREGUARD, [TRANSPORT, INITIATION]),
        (DatagramKind.STUN, [BINDING]),
        (DatagramKind.WIREGUARD, [TRANSPORT]),
        (DatagramKind.UNKNOWN, [b"?"]),
        (DatagramKind.CHANNEL_DATA, [CHANNEL_DATA]),
    ]


def test_an_empty_batch_has_no_runs() -> None:
    assert runs([]) == []


@given(st.lists(st.binary(max_size=64)))
def test_runs_lose_nothing_and_agree_with_the_kind_of_each(batch: list[bytes]) -> None:
    flat = [(kind, item) for kind, items in runs(batch) for item in items]

    assert flat == [(kind_of(item), item) for item in batch]
