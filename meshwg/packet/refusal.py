"""What tells the ends of a connection that its packets do not pass.

A sender is told by ICMP that a packet is prohibited (RFC 1812 section 5.2.7.1, RFC 4443
section 3.1), upon which connecting fails at once. An established TCP connection takes
no notice of that, and is ended by resets that either end accepts, since they have the
very numbers that it expects next (RFC 9293 section 3.10.7.4, RFC 5961).
"""

import struct

from meshwg.packet.ip import (
    IPV4_HEADER_LENGTH,
    TCP,
    TCP_ACK,
    checksum,
    pseudo_sum,
    word_sum,
)

ICMP, ICMPV6 = 1, 58
UNREACHABLE4, PROHIBITED4 = 3, 13
UNREACHABLE6, PROHIBITED6 = 1, 1
HOP_LIMIT = 64
QUOTE4, QUOTE6 = 548, 1232
"""Bytes of the packet in an answer (RFC 1812 section 4.3.2.3, RFC 4443 section 3.1)."""
TCP_SYN, TCP_RST, TCP_FIN = 0x02, 0x04, 0x01

_HEADER4 = struct.Struct("!BBHHHBBH4s4s")
_HEADER6 = struct.Struct("!IHBB16s16s")
_SEGMENT = struct.Struct("!HHIIBBHHH")


def prohibited(packet: bytes) -> list[bytes]:
    """Return what tells the sender of a packet that it may not pass.

    :param packet: a whole one that begins no flow of ICMP errors, and is not for many.
    """
    source, destination = _ends(packet)
    if len(source) == 4:
        body = struct.pack("!BBHI", UNREACHABLE4, PROHIBITED4, 0, 0) + packet[:QUOTE4]
        total = word_sum(body)
        protocol = ICMP
    else:
        body = struct.pack("!BBHI", UNREACHABLE6, PROHIBITED6, 0, 0) + packet[:QUOTE6]
        total = word_sum(source + destination) + ICMPV6 + len(body) + word_sum(body)
        protocol = ICMPV6
    body = body[:2] + checksum(total).to_bytes(2, "big") + body[4:]
    return [_packet(destination, source, protocol, body)]


def resets(packet: bytes, start: int) -> tuple[bytes, bytes]:
    """Return the resets that end the connection of a TCP packet.

    :param start: where its TCP header begins.
    :return: one for the sender of the packet, and one for its receiver.
    """
    source, destination = _ends(packet)
    from_port, to_port, sequence, acknowledged, offset, flags = struct.unpack_from(
        "!HHIIBB", packet, start
    )
    data = len(packet) - start - 4 * (offset >> 4)
    data += bool(flags & TCP_SYN) + bool(flags & TCP_FIN)
    if flags & TCP_ACK:
        back = (acknowledged, 0, TCP_RST)
    else:
        back = (0, (sequence + max(data, 0)) & 0xFFFFFFFF, TCP_RST | TCP_ACK)
    on = (sequence, acknowledged, TCP_RST | flags & TCP_ACK)
    return (
        _reset(destination, source, (to_port, from_port), back),
        _reset(source, destination, (from_port, to_port), on),
    )


def _ends(packet: bytes) -> tuple[bytes, bytes]:
    """Return the source and the destination address of a packet."""
    if packet[0] >> 4 == 4:
        return packet[12:16], packet[16:20]
    return packet[8:24], packet[24:40]


def _reset(
    source: bytes,
    destination: bytes,
    ports: tuple[int, int],
    said: tuple[int, int, int],
) -> bytes:
    """Return a TCP packet without data.

    :param said: sequence number, number acknowledged, and flags.
    """
    segment = _SEGMENT.pack(*ports, *said[:2], 5 << 4, said[2], 0, 0, 0)
    packet = _packet(source, destination, TCP, segment)
    start = len(packet) - len(segment)
    total = pseudo_sum(packet, TCP, len(segment)) + word_sum(segment)
    field = checksum(total).to_bytes(2, "big")
    return packet[: start + 16] + field + packet[start + 18 :]


def _packet(source: bytes, destination: bytes, protocol: int, body: bytes) -> bytes:
    if len(source) == 16:
        fields6 = (6 << 28, len(body), protocol, HOP_LIMIT)
        return _HEADER6.pack(*fields6, source, destination) + body
    size = IPV4_HEADER_LENGTH + len(body)
    fields = (0x45, 0, size, 0, 0, HOP_LIMIT, protocol)
    header = _HEADER4.pack(*fields, 0, source, destination)
    field = checksum(word_sum(header))
    return _HEADER4.pack(*fields, field, source, destination) + body
