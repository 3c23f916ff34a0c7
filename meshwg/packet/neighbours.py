"""Frames that tell all machines on a link which of them has an address now.

For IPv4 they are ARP announcements (RFC 5227 section 3), as request and as reply, since
some machines heed only the one or the other. For IPv6, unsolicited neighbour
advertisements (RFC 4861 section 7.2.6).
"""

import struct
from ipaddress import IPv4Address, IPv6Address

from meshwg.packet.ip import checksum, word_sum

MAC_LENGTH = 6
BROADCAST = b"\xff" * MAC_LENGTH
ALL_NODES = IPv6Address("ff02::1")
ALL_NODES_MAC = bytes.fromhex("333300000001")
"""Of :data:`ALL_NODES` (RFC 2464 section 7)."""

_ETHERTYPE_ARP, _ETHERTYPE_IPV6 = 0x0806, 0x86DD
_ARP = struct.Struct("!HHBBH6s4s6s4s")
"""RFC 826: kinds and lengths of addresses, operation, sender, target."""
_ETHERNET, _IPV4 = 1, 0x0800
_REQUEST, _REPLY = 1, 2

_ICMPV6 = 58
_NEIGHBOUR_ADVERTISEMENT = 136
_OVERRIDE = 0x20000000
_TARGET_LINK_LAYER = 2
_FARTHEST = 255
"""Hop limit of what no router has passed on."""


def announcements(address: IPv4Address | IPv6Address, mac: bytes) -> list[bytes]:
    """Return the Ethernet frames that say that an address is at a machine's own.

    :param mac: of its interface.
    """
    if isinstance(address, IPv4Address):
        return [_arp(address, mac, operation) for operation in (_REQUEST, _REPLY)]
    return [_advertisement(address, mac)]


def _arp(address: IPv4Address, mac: bytes, operation: int) -> bytes:
    target = BROADCAST if operation == _REPLY else bytes(MAC_LENGTH)
    body = _ARP.pack(
        *(_ETHERNET, _IPV4, MAC_LENGTH, 4, operation),
        *(mac, address.packed, target, address.packed),
    )
    return _frame(BROADCAST, mac, _ETHERTYPE_ARP, body)


def _advertisement(address: IPv6Address, mac: bytes) -> bytes:
    option = bytes([_TARGET_LINK_LAYER, 1]) + mac
    tail = struct.pack("!I", _OVERRIDE) + address.packed + option
    head = bytes([_NEIGHBOUR_ADVERTISEMENT, 0])
    length = len(head) + 2 + len(tail)
    ends = address.packed + ALL_NODES.packed
    total = word_sum(ends) + length + _ICMPV6 + word_sum(head) + word_sum(tail)
    message = head + checksum(total).to_bytes(2) + tail
    header = struct.pack("!IHBB", 6 << 28, length, _ICMPV6, _FARTHEST) + ends
    return _frame(ALL_NODES_MAC, mac, _ETHERTYPE_IPV6, header + message)


def _frame(destination: bytes, source: bytes, kind: int, body: bytes) -> bytes:
    return destination + source + kind.to_bytes(2) + body
