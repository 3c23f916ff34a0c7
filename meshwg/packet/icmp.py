"""Echo requests (RFC 792), to ask through a tunnel whether a peer's system is there."""

import struct
from ipaddress import IPv4Address

from meshwg.packet.ip import IPV4_HEADER_LENGTH, checksum, word_sum

ICMP = 1
ECHO_REPLY, ECHO_REQUEST = 0, 8
TTL = 64

_HEADER = struct.Struct("!BBHHHBBH4s4s")
_ECHO = struct.Struct("!BBHHH")


def echo_request(
    source: str, destination: str, identifier: int, sequence: int, payload: bytes
) -> bytes:
    """Return an IPv4 packet that asks for an echo."""
    return _packet(ECHO_REQUEST, source, destination, identifier, sequence, payload)


def parse_echo_reply(packet: bytes) -> tuple[str, int, int] | None:
    """Return the source, identifier and sequence of an echo reply, or ``None``."""
    if len(packet) < IPV4_HEADER_LENGTH + _ECHO.size or packet[0] != 0x45:
        return None
    if packet[9] != ICMP or packet[20] != ECHO_REPLY or word_sum(packet[20:]):
        return None
    _, _, _, identifier, sequence = _ECHO.unpack_from(packet, IPV4_HEADER_LENGTH)
    return str(IPv4Address(packet[12:16])), identifier, sequence


def _packet(
    kind: int,
    source: str,
    destination: str,
    identifier: int,
    sequence: int,
    payload: bytes,
) -> bytes:
    echo = _ECHO.pack(kind, 0, 0, identifier, sequence) + payload
    echo = echo[:2] + checksum(word_sum(echo)).to_bytes(2, "big") + echo[4:]
    ends = IPv4Address(source).packed, IPv4Address(destination).packed
    fields = (0x45, 0, IPV4_HEADER_LENGTH + len(echo), 0, 0, TTL, ICMP)
    header = _HEADER.pack(*fields, 0, *ends)
    return _HEADER.pack(*fields, checksum(word_sum(header)), *ends) + echo
