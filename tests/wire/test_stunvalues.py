"""The values of STUN's attributes are as aioice writes and reads them."""

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from aioice import stun as aioice
from hypothesis import given
from hypothesis import strategies as st

from meshwg.transmit import Endpoint
from meshwg.wire import stunvalues as values

TRANSACTION = bytes(range(12))
Address = IPv4Address | IPv6Address


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(min_size=12, max_size=12))
def test_addresses_are_those_of_aioice(
    address: Address, port: int, transaction_id: bytes
) -> None:
    endpoint = Endpoint(str(address), port)

    plain = values.ADDRESS.pack(endpoint)
    hidden = values.XOR_ADDRESS.pack(endpoint, transaction_id)

    assert plain == aioice.pack_address(endpoint[:2])
    assert hidden == aioice.pack_xor_address(endpoint[:2], transaction_id)
    assert values.ADDRESS.unpack(plain) == endpoint
    assert values.XOR_ADDRESS.unpack(hidden, transaction_id) == endpoint


@given(st.binary(max_size=64))
def test_bytes_are_an_address_to_both_or_to_neither(data: bytes) -> None:
    try:
        expected: tuple[str, int] | None = aioice.unpack_xor_address(data, TRANSACTION)
    except (ValueError, IndexError, struct.error):
        expected = None

    try:
        found = values.XOR_ADDRESS.unpack(data, TRANSACTION)[:2]
    except ValueError:
        found = None

    assert found == expected


@given(st.binary(min_size=20, max_size=200), st.binary(max_size=80))
def test_sums_are_those_of_aioice(data: bytes, key: bytes) -> None:
    assert values.integrity_of(data, key) == aioice.message_integrity(data, key)
    assert values.fingerprint_of(data) == aioice.message_fingerprint(data)


@given(st.integers(300, 699), st.text(max_size=40))
def test_errors_are_written_as_aioice_does(code: int, reason: str) -> None:
    assert values.ERROR.pack((code, reason)) == aioice.pack_error_code((code, reason))


@pytest.mark.parametrize("data", [b"", b"\0\0\4", b"\0\0\2\0", b"\0\0\7\0"])
def test_an_error_outside_of_its_range_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="out of range"):
        values.ERROR.unpack(data)


def test_a_reason_loses_what_could_move_a_cursor() -> None:
    error = values.ERROR.unpack(b"\0\0\4\1No\x1b[2J\xff\0\0")

    assert error == (401, "No[2J\ufffd")


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        (values.exactly(8), bytes(7)),
        (values.FLAG, b"\0"),
        (values.RESERVE, b""),
        (values.RESERVE, bytes(2)),
        (values.NUMBER, bytes(3)),
        (values.NUMBER, bytes(5)),
        (values.NUMBERS, bytes(3)),
        (values.NAME, b"\xff"),
        (values.integer("!H2x"), bytes(2)),
    ],
)
def test_a_value_of_the_wrong_form_is_refused(codec: values.Codec, data: bytes) -> None:
    with pytest.raises((ValueError, struct.error)):
        codec.unpack(data)


def test_the_reservation_bit_alone_counts() -> None:
    assert values.RESERVE.unpack(values.RESERVE.pack(True))
    assert not values.RESERVE.unpack(values.RESERVE.pack(False))
    assert not values.RESERVE.unpack(b"\x7f")
