"""What a policy looks at in a packet.

A packet that hides what it is, by fragments too short for its ports (RFC 1858), or
where it goes, by a routing header (RFC 5095) or a source route (RFC 7126), is none that
a policy can judge.
"""

import struct
from enum import Enum, auto
from typing import NamedTuple

from meshwg.policy.ports import ICMP, ICMPV6, TCP, UDP

_ECHO = {ICMP: {8: True, 0: False}, ICMPV6: {128: True, 129: False}}
"""Types of echo messages, and whether they are requests."""
_ERRORS = {ICMP: (3, 4, 5, 11, 12), ICMPV6: (1, 2, 3, 4)}
_OPTIONS = (0, 60)
"""IPv6 headers between which and the payload nothing else is said: hop-by-hop and
destination options."""
_ROUTING, _FRAGMENT = 43, 44
_END_OF_OPTIONS, _NO_OPERATION = 0, 1
_SOURCE_ROUTES = (131, 137)
"""Options of IPv4 that name the hops of a packet, loosely and strictly."""
_MOST_HEADERS = 8
_MIN_LENGTH = {TCP: 14, UDP: 8, ICMP: 8, ICMPV6: 8}
"""Bytes of a transport header that are looked at."""
_QUOTED_LENGTH = 8
"""Bytes of a transport header that an ICMP error has at least (RFC 792)."""
_PORTS = struct.Struct("!HH")


class Kind(Enum):
    """What is looked at."""

    TCP = auto()
    UDP = auto()
    REQUEST = auto()
    """An echo request."""
    REPLY = auto()
    ERROR = auto()
    """An ICMP message about another packet."""
    ICMP = auto()
    """Any other ICMP message."""
    OTHER = auto()
    """Another protocol."""
    REST = auto()
    """A fragment that is not the first."""


class Headers(NamedTuple):
    """What is known of a packet from its headers."""

    kind: Kind
    protocol: int
    source: bytes
    destination: bytes
    start: int
    """Of the transport header."""
    source_port: int = 0
    """Of an echo message, its identifier."""
    destination_port: int = 0
    flags: int = 0
    """Of TCP."""
    fragment: bytes | None = None
    """What all fragments of one packet have in common, if this is one."""
    edge: int = 0
    """Of a fragment, bytes of the packet up to where the first one ends, or up to where
    another one begins."""
    quoted: "Headers | None" = None
    """The packet that an error is about."""


def parse_headers(packet: bytes, *, is_quoted: bool = False) -> Headers | None:
    """Return what a policy looks at, ``None`` if it cannot be judged.

    :param is_quoted: whether it stands in an ICMP error, which has its beginning alone.
    """
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        return _parse4(packet, is_quoted)
    if version == 6 and len(packet) >= 40:
        return _parse6(packet, is_quoted)
    return None


def _parse4(packet: bytes, is_quoted: bool) -> Headers | None:
    start = 4 * (packet[0] & 15)
    if not 20 <= start <= len(packet) or _leads_elsewhere(packet[20:start]):
        return None
    ends = packet[12:16], packet[16:20]
    where = (packet[6] & 0x3F) << 8 | packet[7]
    fragment = None
    if where:
        fragment = packet[12:20] + packet[4:6] + packet[9:10]
        if offset := 8 * (where & 0x1FFF):
            return _rest(packet[9], ends, start, fragment, offset)
    headers = _transport(packet, packet[9], start, ends, fragment, is_quoted)
    return _ending(headers, len(packet) - start)


def _leads_elsewhere(options: bytes) -> bool:
    """Tell whether options of IPv4 name other hops, or cannot be read."""
    place = 0
    while place < len(options) and options[place] != _END_OF_OPTIONS:
        kind, length = options[place], 1
        if kind != _NO_OPERATION:
            length = int.from_bytes(options[place + 1 : place + 2])
            if kind in _SOURCE_ROUTES or not 2 <= length <= len(options) - place:
                return True
        place += length
    return False


def _rest(
    protocol: int, ends: tuple[bytes, bytes], start: int, fragment: bytes, offset: int
) -> Headers:
    """Return what is known of a fragment that is not the first."""
    return Headers(Kind.REST, protocol, *ends, start, fragment=fragment, edge=offset)


def _ending(headers: Headers | None, length: int) -> Headers | None:
    """Note, of a first fragment, how many bytes of its packet it has."""
    if headers is None or headers.fragment is None:
        return headers
    return headers._replace(edge=length)


def _parse6(packet: bytes, is_quoted: bool) -> Headers | None:
    protocol, start = packet[6], 40
    begin = start
    ends = packet[8:24], packet[24:40]
    fragment = None
    for _ in range(_MOST_HEADERS):
        header = packet[start : start + 8]
        if protocol not in (*_OPTIONS, _ROUTING, _FRAGMENT):
            headers = _transport(packet, protocol, start, ends, fragment, is_quoted)
            return _ending(headers, len(packet) - begin)
        if len(header) < 8 or (protocol == _ROUTING and header[3]):
            return None
        if protocol == _FRAGMENT:
            where = header[2] << 8 | header[3]
            if where & 0xFFF9:
                fragment = packet[8:40] + header[4:8] + header[:1]
            if where & 0xFFF8 and fragment is not None:
                return _rest(header[0], ends, start, fragment, where & 0xFFF8)
            start += 8
            begin = start
        else:
            start += 8 + 8 * header[1]
        protocol = header[0]
    return None


def _transport(
    packet: bytes,
    protocol: int,
    start: int,
    ends: tuple[bytes, bytes],
    fragment: bytes | None,
    is_quoted: bool,
) -> Headers | None:
    needed = _MIN_LENGTH.get(protocol, 0)
    if len(packet) < start + (min(needed, _QUOTED_LENGTH) if is_quoted else needed):
        return None
    if protocol in (TCP, UDP):
        one, other = _PORTS.unpack_from(packet, start)
        kind, flags = Kind.UDP, 0
        if protocol == TCP:
            kind = Kind.TCP
            flags = 0 if is_quoted else packet[start + 13]
        return Headers(kind, protocol, *ends, start, one, other, flags, fragment)
    if protocol in (ICMP, ICMPV6):
        return _icmp(packet, protocol, start, ends, fragment, is_quoted)
    return Headers(Kind.OTHER, protocol, *ends, start, fragment=fragment)


def _icmp(
    packet: bytes,
    protocol: int,
    start: int,
    ends: tuple[bytes, bytes],
    fragment: bytes | None,
    is_quoted: bool,
) -> Headers | None:
    is_request = _ECHO[protocol].get(packet[start])
    if is_request is not None:
        kind = Kind.REQUEST if is_request else Kind.REPLY
        (identifier,) = struct.unpack_from("!H", packet, start + 4)
        return Headers(kind, protocol, *ends, start, identifier, fragment=fragment)
    if packet[start] not in _ERRORS[protocol]:
        return Headers(Kind.ICMP, protocol, *ends, start, fragment=fragment)
    quoted = None if is_quoted else parse_headers(packet[start + 8 :], is_quoted=True)
    if quoted is None or len(quoted.source) != len(ends[0]):
        # Errors about nothing, or about errors, have no flow.
        return None
    return Headers(Kind.ERROR, protocol, *ends, start, fragment=fragment, quoted=quoted)
