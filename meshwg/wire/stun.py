"""STUN messages (RFC 8489), with TURN's (RFC 8656) and NAT discovery's (RFC 5780).

:func:`parse` returns a well-formed message or raises
:class:`~meshwg.errors.InvalidMessage`, whatever the bytes are. It refuses what RFC 8489
forbids, and other codecs take: messages without the magic cookie, values that are cut
short, later duplicates of an attribute.

A plain Binding request, the bulk of a server's work, has a path of its own:
:func:`binding_request`, :func:`quick_binding` and :func:`binding_response` copy
constants and look at fixed offsets.
"""

import hmac
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any

from meshwg.errors import InvalidMessage
from meshwg.transmit import Endpoint
from meshwg.wire import stunvalues as values

COOKIE = values.COOKIE
HEADER_LENGTH = values.HEADER_LENGTH
StunErrorCode = values.StunErrorCode
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
    DELIVERY_REPORT = 0xC0D7
    """This project's own: see :mod:`meshwg.path.report`."""
    ROUTE_REPORT = 0xC0D8
    """This project's own: see :mod:`meshwg.path.routereport`."""


class Change(IntFlag):
    """The flags of CHANGE-REQUEST: what the answer's source shall differ in."""

    PORT = 2
    ADDRESS = 4


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
        digest = values.integrity_of(data, integrity_key)
        data = _append(data, Attribute.MESSAGE_INTEGRITY, digest)
    if fingerprint:
        crc = values.fingerprint_of(data)
        data = _append(data, Attribute.FINGERPRINT, crc)
    return data


def check_integrity(message: Message, key: bytes) -> bool:
    """Tell whether a parsed message was signed with the key; unsigned ones were not."""
    if message._signed is None:
        return False
    digest = values.integrity_of(message._signed, key)
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
_CHANGES = Change.PORT | Change.ADDRESS
_COMPUTED = (Attribute.MESSAGE_INTEGRITY, Attribute.FINGERPRINT)


def _parse(data: bytes, id_length: int, codecs: Mapping[int, values.Codec]) -> Message:
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
    message: Message, data: bytes, codecs: Mapping[int, values.Codec]
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
        known = Attribute(kind) in message.attributes
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
            message.attributes[Attribute(kind)] = decoded
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
    if claimed != values.fingerprint_of(data[:position]):
        raise ValueError("its FINGERPRINT does not match")


def _header(message: Message, length: int) -> bytes:
    cookie = COOKIE if len(message.transaction_id) == TRANSACTION_ID_LENGTH else b""
    kind = message.method | message.cls
    return struct.pack("!HH", kind, length) + cookie + message.transaction_id


def _append(data: bytes, attribute: Attribute, value: Any) -> bytes:
    """Return a message with one more attribute and its length corrected."""
    longer = data + pack_attribute(attribute, value, b"")
    return values.with_length(longer, len(longer) - HEADER_LENGTH)


_CODECS: dict[int, values.Codec] = {
    Attribute.MAPPED_ADDRESS: values.ADDRESS,
    Attribute.CHANGE_REQUEST: values.Codec(
        values.NUMBER.pack,
        lambda data: Change(values.NUMBER.unpack(data) & _CHANGES),
    ),
    Attribute.SOURCE_ADDRESS: values.ADDRESS,
    Attribute.CHANGED_ADDRESS: values.ADDRESS,
    Attribute.USERNAME: values.NAME,
    Attribute.MESSAGE_INTEGRITY: values.exactly(20),
    Attribute.ERROR_CODE: values.ERROR,
    Attribute.UNKNOWN_ATTRIBUTES: values.NUMBERS,
    Attribute.CHANNEL_NUMBER: values.integer("!H2x"),
    Attribute.LIFETIME: values.NUMBER,
    Attribute.XOR_PEER_ADDRESS: values.XOR_ADDRESS,
    Attribute.DATA: values.OCTETS,
    Attribute.REALM: values.NAME,
    Attribute.NONCE: values.OCTETS,
    Attribute.XOR_RELAYED_ADDRESS: values.XOR_ADDRESS,
    Attribute.REQUESTED_ADDRESS_FAMILY: values.integer("!B3x"),
    Attribute.EVEN_PORT: values.RESERVE,
    Attribute.REQUESTED_TRANSPORT: values.integer("!B3x"),
    Attribute.DONT_FRAGMENT: values.FLAG,
    Attribute.XOR_MAPPED_ADDRESS: values.XOR_ADDRESS,
    Attribute.RESERVATION_TOKEN: values.exactly(8),
    Attribute.PRIORITY: values.NUMBER,
    Attribute.USE_CANDIDATE: values.FLAG,
    Attribute.PADDING: values.OCTETS,
    Attribute.RESPONSE_PORT: values.integer("!H2x"),
    Attribute.SOFTWARE: values.TEXT,
    Attribute.ALTERNATE_SERVER: values.ADDRESS,
    Attribute.CACHE_TIMEOUT: values.NUMBER,
    Attribute.FINGERPRINT: values.NUMBER,
    Attribute.ICE_CONTROLLED: values.integer("!Q"),
    Attribute.ICE_CONTROLLING: values.integer("!Q"),
    Attribute.RESPONSE_ORIGIN: values.ADDRESS,
    Attribute.OTHER_ADDRESS: values.ADDRESS,
    Attribute.DELIVERY_REPORT: values.OCTETS,
    Attribute.ROUTE_REPORT: values.OCTETS,
}
_CLASSIC_CODECS: dict[int, values.Codec] = {
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
