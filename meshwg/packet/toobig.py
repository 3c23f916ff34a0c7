"""What becomes of a packet that is too long for the way ahead, as at any router.

IPv4 packets that permit it are fragmented (RFC 791 section 3.2). The senders of all
others are told by ICMP how long packets may be (RFC 1191 section 4, RFC 4443 section
3.2). The answer comes from where the packet went: that address is surely no spoof to
the sender's own filters, since it is reached through the same interface.
"""

import struct

from meshwg.packet.ip import (
    IPV4_HEADER_LENGTH,
    IPV6_HEADER_LENGTH,
    checksum,
    word_sum,
)

ICMP, ICMPV6 = 1, 58
UNREACHABLE, FRAGMENTATION_NEEDED = 3, 4
PACKET_TOO_BIG = 2
HOP_LIMIT = 64
IPV4_QUOTE = 548
"""Bytes of the packet in an answer: it has 576 in all at most (RFC 1812, 4.3.2.3)."""
IPV6_MINIMUM = 1280
"""No answer says less, nor is longer itself."""
IPV6_QUOTE = IPV6_MINIMUM - IPV6_HEADER_LENGTH - 8

_DONT_FRAGMENT, _MORE_FRAGMENTS = 0x4000, 0x2000
_HEADER4 = struct.Struct("!BBHHHBBH4s4s")
_HEADER6 = struct.Struct("!IHBB16s16s")


def fragment(packet: bytes, longest: int) -> list[bytes] | None:
    """Return the packet in fragments, ``None`` if it may have none.

    Packets with options are not fragmented either; there are hardly any.
    """
    if packet[0] != 0x45:
        return None
    _, tos, size, number, offset, ttl, protocol, _, source, destination = (
        _HEADER4.unpack_from(packet)
    )
    if offset & _DONT_FRAGMENT or size > len(packet):
        return None
    step = (longest - IPV4_HEADER_LENGTH) // 8 * 8
    fragments = []
    for start in range(IPV4_HEADER_LENGTH, size, step):
        end = min(start + step, size)
        where = offset + (start - IPV4_HEADER_LENGTH) // 8
        if end < size:
            where |= _MORE_FRAGMENTS
        header = _header4(
            (tos, IPV4_HEADER_LENGTH + end - start, number, where, ttl, protocol),
            source + destination,
        )
        fragments.append(header + packet[start:end])
    return fragments


def too_big(packet: bytes, longest: int) -> list[bytes]:
    """Return what tells the sender of a packet how long packets may be, or nothing.

    There is no answer to ICMP errors, fragments but the first, and multicast.
    """
    if packet[0] >> 4 == 6:
        return _too_big6(packet, max(longest, IPV6_MINIMUM))
    return _too_big4(packet, longest)


def _too_big4(packet: bytes, longest: int) -> list[bytes]:
    length = 4 * (packet[0] & 15)
    offset = int.from_bytes(packet[6:8], "big") & 0x1FFF
    is_error = packet[9] == ICMP and packet[length] not in (0, 8)
    if offset or is_error or packet[16] >= 224:
        return []
    head = struct.pack("!BBHHH", UNREACHABLE, FRAGMENTATION_NEEDED, 0, 0, longest)
    body = head + packet[:IPV4_QUOTE]
    body = body[:2] + checksum(word_sum(body)).to_bytes(2, "big") + body[4:]
    fields = (0, IPV4_HEADER_LENGTH + len(body), 0, 0, HOP_LIMIT, ICMP)
    return [_header4(fields, packet[16:20] + packet[12:16]) + body]


def _too_big6(packet: bytes, longest: int) -> list[bytes]:
    if len(packet) <= longest or packet[24] == 0xFF:
        return []
    if packet[6] == ICMPV6 and packet[IPV6_HEADER_LENGTH] < 128:
        return []
    source, destination = packet[24:40], packet[8:24]
    body = struct.pack("!BBHI", PACKET_TOO_BIG, 0, 0, longest) + packet[:IPV6_QUOTE]
    total = word_sum(source + destination) + ICMPV6 + len(body) + word_sum(body)
    body = body[:2] + checksum(total).to_bytes(2, "big") + body[4:]
    fields = (6 << 28, len(body), ICMPV6, HOP_LIMIT)
    return [_HEADER6.pack(*fields, source, destination) + body]


def _header4(fields: tuple[int, int, int, int, int, int], ends: bytes) -> bytes:
    """Return an IPv4 header without options.

    :param fields: type of service, total length, identification, flags and offset,
        hops, protocol.
    """
    source, destination = ends[:4], ends[4:]
    header = _HEADER4.pack(0x45, *fields, 0, source, destination)
    return _HEADER4.pack(0x45, *fields, checksum(word_sum(header)), source, destination)
