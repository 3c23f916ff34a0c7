"""STUN messages (RFC 8489), with TURN's (RFC 8656) and NAT discovery's (RFC 5780).

:mod:`aioice.stun` packs and unpacks the values of attributes and computes HMAC and
CRC. The walk over the message is this module's own, because aioice's takes what RFC
8489 forbids: messages without the magic cookie, values that are cut short, later
duplicates of an attribute. So :func:`parse` returns a well-formed message or raises
:class:`~meshwg.errors.InvalidMessage`, whatever the bytes are.

A plain Binding request, the bulk of a server's work, has a path of its own:
:func:`binding_request`, :func:`quick_binding` and :func:`binding_response` copy
constants and look at fixed offsets.
"""

import hmac
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any, NamedTuple

from aioice import stun as aioice

from meshwg.errors import InvalidMessage
from meshwg.transmit import Endpoint

COOKIE = bytes.fromhex("2112a442")
HEADER_LENGTH = 20
TRANSACTION_ID_LENGTH = 12

CLASSIC_TRANSACTION_ID_LENGTH = 16
"""RFC 3489 has no cookie: its transaction id begins where the cookie is today."""

UNKNOWN_LIMIT = 16
"""How many unknown attributes are remembered, and so named in a 420 answer."""

ATTRIBUTE_LIMIT = 128
"""Attributes of a message that is looked at; a datagram has room for 16,000."""

Buffer = bytes | bytearray | memoryview


class Method(IntEnum):
    """What a message is about."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009


class Class(IntEnum):
    """The role of a message in its transaction."""

    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


class Attribute(IntEnum):
    """Attributes that are understood; below 0x8000 a receiver must understand them."""

    MAPPED_ADDRESS = 0x0001
    CHANGE_REQUEST = 0x0003
    SOURCE_ADDRESS = 0x0004
    CHANGED_ADDRESS = 0x0005
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    EVEN_PORT = 0x0018
    REQUESTED_TRANSPORT = 0x0019
    DONT_FRAGMENT = 0x001A
    XOR_MAPPED_ADDRESS = 0x0020
    RESERVATION_TOKEN = 0x0022
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    PADDING = 0x0026
    RESPONSE_PORT = 0x0027
    SOFTWARE = 0x8022
    ALTERNATE_SERVER = 0x8023
    CACHE_TIMEOUT = 0x8027
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A
    RESPONSE_ORIGIN = 0x802B
    OTHER_ADDRESS = 0x802C


class Change(IntFlag):
    """The flags of CHANGE-REQUEST: what the answer's source shall differ in."""

    PORT = 2
    ADDRESS = 4


class StunErrorCode(NamedTuple):
    """The value of ERROR-CODE."""

    code: int
    reason: str


@dataclass(slots=True)
class Message:
    """One STUN message.

    The values of ``attributes`` have the type of their attribute: addresses are
    :class:`Endpoint`, ERROR-CODE is :class:`StunErrorCode`, USERNAME, REALM and
    SOFTWARE are text, NONCE, DATA, PADDING and RESERVATION-TOKEN are bytes, EVEN-PORT
    is whether the next port is reserved too, flags are ``None``, the rest are integers.
    """

    method: Method
    cls: Class
    transaction_id: bytes
    """12 bytes, or 16 in a message of RFC 3489."""
    attributes: dict[Attribute, Any] = field(default_factory=dict)
    """In the order of the wire; of duplicates only the first (RFC 8489 section 14)."""
    peers: tuple[Endpoint, ...] = ()
    """Every XOR-PEER-ADDRESS, which CreatePermission repeats (RFC 8656 section 9.1)."""
    unknown_required: tuple[int, ...] = ()
    """Attributes that had to be understood and are not: 420 for a request, while any
    other message with one is to be ignored."""
    _signed: bytes | None = field(default=None, repr=False, compare=False)
    """The received bytes before MESSAGE-INTEGRITY, which it covers."""

    def address(self, attribute: Attribute) -> Endpoint | None:
        """Return the value of an address attribute, if it is there."""
        value: Endpoint | None = self.attributes.get(attribute)
        return value

    @property
    def mapped(self) -> Endpoint | None:
        """Where the server saw the request come from."""
        return self.address(Attribute.XOR_MAPPED_ADDRESS) or self.address(
            Attribute.MAPPED_ADDRESS
        )

    @property
    def error(self) -> StunErrorCode | None:
        """The ERROR-CODE, if there is one."""
        value: StunErrorCode | None = self.attributes.get(Attribute.ERROR_CODE)
        return value


def is_stun(data: Buffer) -> bool:
    """Tell by header alone whether a whole datagram is a STUN message."""
    return (
        len(data) >= HEADER_LENGTH
        and data[0] < 0x40
        and data[4:8] == COOKIE
        and len(data) == HEADER_LENGTH + (data[2] << 8 | data[3])
    )


def parse(data: Buffer) -> Message:
    """Return the message in a datagram, or in one frame of a stream.

    :raises InvalidMessage: if it is no well-formed STUN message, has a method that is
        not known, or a FINGERPRINT that does not match.
    """
    if not is_stun(data):
        raise InvalidMessage("This is not a STUN message")
    return _parse(bytes(data), TRANSACTION_ID_LENGTH, _CODECS)


def parse_classic(data: Buffer) -> Message:
    """Return the message that a client of RFC 3489 sent.

    Such messages carry no cookie, so a server tries this last and on its STUN ports
    only. The answer's transaction id of 16 bytes makes :func:`encode` write the old
    form too.

    :raises InvalidMessage: if it is not, or is a message of RFC 8489.
    """
    data = bytes(data)
    if len(data) < HEADER_LENGTH or data[0] >= 0x40 or data[4:8] == COOKIE:
        raise InvalidMessage("This is not a message of RFC 3489")
    if len(data) != HEADER_LENGTH + (data[2] << 8 | data[3]):
        raise InvalidMessage("The length of a STUN message does not match")
    return _parse(data, CLASSIC_TRANSACTION_ID_LENGTH, _CLASSIC_CODECS)


def encode(
    message: Message, integrity_key: bytes | None = None, fingerprint: bool = False
) -> bytes:
    """Return the bytes of a message; integrity and fingerprint are always made anew."""
    body = b"".join(
        pack_attribute(attribute, value, message.transaction_id)
        for attribute, value in message.attributes.items()
        if attribute not in _COMPUTED
    )
    data = _header(message, len(body)) + body
    if integrity_key is not None:
        digest = aioice.message_integrity(data, integrity_key)
        data = _append(data, Attribute.MESSAGE_INTEGRITY, digest)
    if fingerprint:
        crc = aioice.message_fingerprint(data)
        data = _append(data, Attribute.FINGERPRINT, crc)
    return data


def check_integrity(message: Message, key: bytes) -> bool:
    """Tell whether a parsed message was signed with the key; unsigned ones were not."""
    if message._signed is None:
        return False
    digest = aioice.message_integrity(message._signed, key)
    claimed: bytes = message.attributes[Attribute.MESSAGE_INTEGRITY]
    return hmac.compare_digest(claimed, digest)


def pack_attribute(attribute: Attribute, value: Any, transaction_id: bytes) -> bytes:
    """Return one attribute with its header and padding."""
    codec = _CODECS[attribute]
    data = codec.pack(value, transaction_id) if codec.xored else codec.pack(value)
    return struct.pack("!HH", attribute, len(data)) + data + bytes(-len(data) % 4)


def binding_request(transaction_id: bytes) -> bytes:
    """Return a Binding request without attributes."""
    return _PLAIN_REQUEST + transaction_id


def quick_binding(data: Buffer) -> bytes | None:
    """Return the transaction id if this is a Binding request without attributes."""
    if len(data) == HEADER_LENGTH and data[:8] == _PLAIN_REQUEST:
        return bytes(data[8:])
    return None


def binding_response(
    transaction_id: bytes, mapped: Endpoint, tail: bytes = b""
) -> bytes:
    """Return a Binding success response.

    :param mapped: where the request came from, told as XOR-MAPPED-ADDRESS and, for
        comparison with what a gateway may have rewritten, as MAPPED-ADDRESS.
    :param tail: more attributes, packed by :func:`pack_attribute`.
    """
    host, port = mapped[:2]
    if ":" in host:
        addresses = b"".join(
            pack_attribute(attribute, mapped, transaction_id)
            for attribute in (Attribute.XOR_MAPPED_ADDRESS, Attribute.MAPPED_ADDRESS)
        )
    else:
        a, b, c, d = host.split(".")
        address = int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)
        addresses = _MAPPED_IPV4.pack(
            *(Attribute.XOR_MAPPED_ADDRESS, 8, 1, port ^ 0x2112, address ^ 0x2112A442),
            *(Attribute.MAPPED_ADDRESS, 8, 1, port, address),
        )
    length = (len(addresses) + len(tail)).to_bytes(2, "big")
    return b"".join((b"\x01\x01", length, COOKIE, transaction_id, addresses, tail))


_PLAIN_REQUEST = b"\x00\x01\x00\x00" + COOKIE
_MAPPED_IPV4 = struct.Struct("!HHHHI HHHHI")
_COMPUTED = (Attribute.MESSAGE_INTEGRITY, Attribute.FINGERPRINT)


class _Codec(NamedTuple):
    """How the value of one attribute is packed and unpacked."""

    attribute: Attribute
    pack: Callable[..., bytes]
    unpack: Callable[..., Any]
    xored: bool = False
    """Whether both need the transaction id."""


def _parse(data: bytes, id_length: int, codecs: Mapping[int, _Codec]) -> Message:
    """Parse a message whose header is known to be well-formed."""
    kind = data[0] << 8 | data[1]
    transaction_id = data[HEADER_LENGTH - id_length : HEADER_LENGTH]
    try:
        message = Message(Method(kind & 0x3EEF), Class(kind & 0x0110), transaction_id)
        _parse_attributes(message, data, codecs)
    except (ValueError, struct.error) as error:
        raise InvalidMessage(f"A STUN message is malformed: {error}") from error
    return message


def _parse_attributes(
    message: Message, data: bytes, codecs: Mapping[int, _Codec]
) -> None:
    peers: list[Endpoint] = []
    unknown: list[int] = []
    for position, kind, value in _walk(data):
        # What follows MESSAGE-INTEGRITY is not authentic, and so is not there.
        if message._signed is not None and kind != Attribute.FINGERPRINT:
            continue
        codec = codecs.get(kind)
        if codec is None:
            if kind < 0x8000 and len(unknown) < UNKNOWN_LIMIT:
                unknown.append(kind)
            continue
        known = codec.attribute in message.attributes
        if known and kind != Attribute.XOR_PEER_ADDRESS:
            continue
        decoded = (
            codec.unpack(value, message.transaction_id)
            if codec.xored
            else codec.unpack(value)
        )
        if kind == Attribute.XOR_PEER_ADDRESS:
            peers.append(decoded)
        elif kind == Attribute.MESSAGE_INTEGRITY:
            message._signed = data[:position]
        elif kind == Attribute.FINGERPRINT:
            _check_fingerprint(data, position, decoded)
        if not known:
            message.attributes[codec.attribute] = decoded
    message.peers = tuple(peers)
    message.unknown_required = tuple(unknown)


def _walk(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield position, type and value of each attribute."""
    if len(data) % 4:
        raise ValueError("its length is not a multiple of four")
    position = HEADER_LENGTH
    left = ATTRIBUTE_LIMIT
    while position < len(data):
        if left == 0:
            raise ValueError(f"it has more than {ATTRIBUTE_LIMIT} attributes")
        left -= 1
        kind, length = struct.unpack_from("!HH", data, position)
        start = position + 4
        if start + length > len(data):
            raise ValueError("an attribute is cut short")
        yield position, kind, data[start : start + length]
        position = start + length + -length % 4


def _check_fingerprint(data: bytes, position: int, claimed: int) -> None:
    if position + 8 != len(data):
        raise ValueError("its FINGERPRINT is not the last attribute")
    if claimed != aioice.message_fingerprint(data[:position]):
        raise ValueError("its FINGERPRINT does not match")


def _header(message: Message, length: int) -> bytes:
    cookie = COOKIE if len(message.transaction_id) == TRANSACTION_ID_LENGTH else b""
    kind = message.method | message.cls
    return struct.pack("!HH", kind, length) + cookie + message.transaction_id


def _append(data: bytes, attribute: Attribute, value: Any) -> bytes:
    """Return a message with one more attribute and its length corrected."""
    longer = data + pack_attribute(attribute, value, b"")
    return aioice.set_body_length(longer, len(longer) - HEADER_LENGTH)


def _pack_unknown(kinds: tuple[int, ...]) -> bytes:
    return struct.pack(f"!{len(kinds)}H", *kinds)


def _unpack_unknown(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"!{len(data) // 2}H", data)


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


def _unpack_address(data: bytes) -> Endpoint:
    return Endpoint(*aioice.unpack_address(data))


def _unpack_xor_address(data: bytes, transaction_id: bytes) -> Endpoint:
    return Endpoint(*aioice.unpack_xor_address(data, transaction_id))


def _unpack_change(data: bytes) -> Change:
    return Change(aioice.unpack_unsigned(data) & (Change.PORT | Change.ADDRESS))


def _pack_even_port(reserve: bool) -> bytes:
    return b"\x80" if reserve else b"\0"


def _unpack_even_port(data: bytes) -> bool:
    return bool(_exactly(1)(data)[0] & 0x80)


def _unpack_flag(data: bytes) -> None:
    _exactly(0)(data)


def _exactly(length: int) -> Callable[[bytes], bytes]:
    """Return an unpacker for bytes of one length."""

    def unpack(data: bytes) -> bytes:
        if len(data) != length:
            raise ValueError("an attribute has the wrong length")
        return data

    return unpack


def _integer(attribute: Attribute, form: str) -> _Codec:
    """Return the codec of an integer of a fixed form."""
    layout = struct.Struct(form)
    return _Codec(attribute, layout.pack, lambda data: layout.unpack(data)[0])


_UNPACKERS: dict[Any, Callable[..., Any]] = {
    aioice.unpack_address: _unpack_address,
    aioice.unpack_xor_address: _unpack_xor_address,
    aioice.unpack_error_code: _unpack_error,
    aioice.unpack_none: _unpack_flag,
}
_OWN_CODECS = (
    _Codec(Attribute.CHANGE_REQUEST, aioice.pack_unsigned, _unpack_change),
    _Codec(Attribute.MESSAGE_INTEGRITY, aioice.pack_bytes, _exactly(20)),
    _Codec(Attribute.UNKNOWN_ATTRIBUTES, _pack_unknown, _unpack_unknown),
    _integer(Attribute.CHANNEL_NUMBER, "!H2x"),
    _integer(Attribute.REQUESTED_ADDRESS_FAMILY, "!B3x"),
    _Codec(Attribute.EVEN_PORT, _pack_even_port, _unpack_even_port),
    _integer(Attribute.REQUESTED_TRANSPORT, "!B3x"),
    _Codec(Attribute.DONT_FRAGMENT, aioice.pack_none, _unpack_flag),
    _Codec(Attribute.RESERVATION_TOKEN, aioice.pack_bytes, _exactly(8)),
    _Codec(Attribute.PADDING, aioice.pack_bytes, aioice.unpack_bytes),
    _integer(Attribute.RESPONSE_PORT, "!H2x"),
    _Codec(Attribute.SOFTWARE, aioice.pack_string, _unpack_text),
    _Codec(Attribute.ALTERNATE_SERVER, aioice.pack_address, _unpack_address),
    _integer(Attribute.CACHE_TIMEOUT, "!I"),
)


def _adopted() -> Iterator[_Codec]:
    """Yield what aioice knows, with the holes of its unpackers closed."""
    for kind, _, pack, unpack in aioice.ATTRIBUTES:
        xored = unpack is aioice.unpack_xor_address
        guarded = _UNPACKERS.get(unpack, unpack)
        yield _Codec(Attribute(kind), pack, guarded, xored)


_CODECS: dict[int, _Codec] = {
    codec.attribute: codec for codec in (*_adopted(), *_OWN_CODECS)
}
_CLASSIC_CODECS: dict[int, _Codec] = {
    attribute: _CODECS[attribute]
    for attribute in (
        Attribute.MAPPED_ADDRESS,
        Attribute.CHANGE_REQUEST,
        Attribute.SOURCE_ADDRESS,
        Attribute.CHANGED_ADDRESS,
        Attribute.USERNAME,
        Attribute.MESSAGE_INTEGRITY,
        Attribute.ERROR_CODE,
        Attribute.UNKNOWN_ATTRIBUTES,
    )
}
