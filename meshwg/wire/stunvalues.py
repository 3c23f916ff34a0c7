"""The values of STUN's attributes as bytes (RFC 8489 section 14), and its two sums.

What does not have the form that its attribute wants raises :class:`ValueError`, or
:class:`struct.error`, whatever the bytes are.
"""

import binascii
import hmac
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple

from meshwg.transmit import Endpoint

COOKIE = bytes.fromhex("2112a442")
HEADER_LENGTH = 20

_FINGERPRINT_LENGTH = 8
_FINGERPRINT_MASK = 0x5354554E
"""``STUN``, so that the sum differs from a CRC-32 of another protocol."""
_INTEGRITY_LENGTH = 24

_FAMILIES: dict[tuple[int, int], type[IPv4Address] | type[IPv6Address]] = {
    (1, 8): IPv4Address,
    (2, 20): IPv6Address,
}
"""By the number of an address family, and the length of a value."""
_LONGEST = 20
_ADDRESS_HEADER = struct.Struct("!xBH")


class Codec(NamedTuple):
    """How the value of one kind of attribute is packed and unpacked."""

    pack: Callable[..., bytes]
    unpack: Callable[..., Any]
    xored: bool = False
    """Whether both need the transaction id."""


class StunErrorCode(NamedTuple):
    """The value of ERROR-CODE."""

    code: int
    reason: str


# Sums over a message.


def with_length(data: bytes, length: int) -> bytes:
    """Return a message whose header says that so many bytes follow it."""
    return data[:2] + length.to_bytes(2, "big") + data[4:]


def integrity_of(data: bytes, key: bytes) -> bytes:
    """Return the value of MESSAGE-INTEGRITY after these bytes (section 14.5)."""
    covered = with_length(data, len(data) - HEADER_LENGTH + _INTEGRITY_LENGTH)
    return hmac.digest(key, covered, "sha1")


def fingerprint_of(data: bytes) -> int:
    """Return the value of FINGERPRINT after these bytes (section 14.7)."""
    covered = with_length(data, len(data) - HEADER_LENGTH + _FINGERPRINT_LENGTH)
    return binascii.crc32(covered) ^ _FINGERPRINT_MASK


# Values.


def _pack_address(value: tuple[Any, ...]) -> bytes:
    """Return the value for an endpoint, of which host and port count."""
    host, port = value[:2]
    address = ip_address(host)
    family = 1 if address.version == 4 else 2
    return _ADDRESS_HEADER.pack(family, port) + address.packed


def _unpack_address(data: bytes) -> Endpoint:
    if len(data) < _ADDRESS_HEADER.size:
        raise ValueError("an address is cut short")
    family, port = _ADDRESS_HEADER.unpack_from(data)
    address = _FAMILIES.get((family, len(data)))
    if address is None:
        raise ValueError("an address is of no known family, or has the wrong length")
    return Endpoint(str(address(data[_ADDRESS_HEADER.size :])), port)


def _xor(data: bytes, transaction_id: bytes) -> bytes:
    """Hide a port and an address from gateways that rewrite what looks like theirs."""
    mask = (b"\0\0" + COOKIE[:2] + COOKIE + transaction_id)[: len(data)]
    hidden = int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")
    return hidden.to_bytes(len(data), "big")


def _pack_xor_address(value: tuple[Any, ...], transaction_id: bytes) -> bytes:
    return _xor(_pack_address(value), transaction_id)


def _unpack_xor_address(data: bytes, transaction_id: bytes) -> Endpoint:
    if len(data) > _LONGEST:
        raise ValueError("an address is too long")
    return _unpack_address(_xor(data, transaction_id))


def _pack_error(value: tuple[int, str]) -> bytes:
    code, reason = value
    return struct.pack("!xxBB", *divmod(code, 100)) + reason.encode()


def _unpack_error(data: bytes) -> StunErrorCode:
    # The class has three bits; the rest is reserved. coturn pads the reason with NUL.
    code = (data[2] & 7) * 100 + data[3] if len(data) >= 4 else 0
    if not 300 <= code < 700:
        raise ValueError("its ERROR-CODE is out of range")
    return StunErrorCode(code, _printable(_unpack_text(data[4:])).rstrip("\0"))


def _printable(text: str) -> str:
    """Return a reason without what could move the cursor of a user's terminal."""
    return "".join(letter for letter in text if letter.isprintable())


def _unpack_text(data: bytes) -> str:
    # Text for people is not worth refusing a message over.
    return data.decode("utf-8", "replace")


def _pack_numbers(numbers: tuple[int, ...]) -> bytes:
    return struct.pack(f"!{len(numbers)}H", *numbers)


def _unpack_numbers(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"!{len(data) // 2}H", data)


def _same(data: bytes) -> bytes:
    return data


def exactly(length: int) -> Codec:
    """Return the codec of bytes of one length."""

    def unpack(data: bytes) -> bytes:
        if len(data) != length:
            raise ValueError("an attribute has the wrong length")
        return data

    return Codec(_same, unpack)


def integer(form: str) -> Codec:
    """Return the codec of an integer of a fixed form, as :mod:`struct` writes it."""
    layout = struct.Struct(form)
    return Codec(layout.pack, lambda data: layout.unpack(data)[0])


def _unpack_reserve(data: bytes) -> bool:
    (octet,) = data
    return bool(octet & 0x80)


def _unpack_flag(data: bytes) -> None:
    if data:
        raise ValueError("an attribute has the wrong length")


NUMBER = integer("!I")
ADDRESS = Codec(_pack_address, _unpack_address)
XOR_ADDRESS = Codec(_pack_xor_address, _unpack_xor_address, xored=True)
ERROR = Codec(_pack_error, _unpack_error)
OCTETS = Codec(_same, _same)
NAME = Codec(str.encode, bytes.decode)
"""Text that means something, so that it has to be UTF-8."""
TEXT = Codec(str.encode, _unpack_text)
"""Text for people."""
NUMBERS = Codec(_pack_numbers, _unpack_numbers)
RESERVE = Codec(lambda reserve: b"\x80" if reserve else b"\0", _unpack_reserve)
FLAG = Codec(lambda _: b"", _unpack_flag)
