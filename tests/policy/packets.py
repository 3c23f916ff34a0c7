"""Whole IP packets for tests of the filter, with checksums that are right."""

import struct
from ipaddress import ip_address

from meshwg.packet.ip import checksum, word_sum
from meshwg.policy.ports import ICMP, ICMPV6, TCP, UDP

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10


def ip(
    source: str,
    destination: str,
    protocol: int,
    payload: bytes,
    *,
    number: int = 0,
    where: int = 0,
) -> bytes:
    """Return a packet; of IPv4, perhaps a fragment.

    :param where: flags and offset.
    """
    one, other = ip_address(source).packed, ip_address(destination).packed
    if len(one) == 16:
        head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
        return head + one + other + payload
    size = 20 + len(payload)
    head = struct.pack("!BBHHHBBH", 0x45, 0, size, number, where, 64, protocol, 0)
    field = checksum(word_sum(head + one + other)).to_bytes(2)
    return head[:10] + field + one + other + payload


def tcp(
    source: str,
    destination: str,
    ports: tuple[int, int],
    flags: int = SYN,
    data: bytes = b"",
    *,
    sequence: int = 1000,
    acknowledged: int = 0,
) -> bytes:
    """Return a TCP segment."""
    segment = struct.pack(
        "!HHIIBBHHH", *ports, sequence, acknowledged, 5 << 4, flags, 65535, 0, 0
    )
    return summed(source, destination, TCP, segment + data, 16)


def udp(
    source: str, destination: str, ports: tuple[int, int], data: bytes = b"data"
) -> bytes:
    """Return a datagram."""
    datagram = struct.pack("!HHHH", *ports, 8 + len(data), 0) + data
    return summed(source, destination, UDP, datagram, 6)


def echo(
    source: str, destination: str, identifier: int, *, reply: bool = False
) -> bytes:
    """Return an echo request, or a reply."""
    if ":" in source:
        kind, protocol = 129 if reply else 128, ICMPV6
    else:
        kind, protocol = 0 if reply else 8, ICMP
    message = struct.pack("!BBHHH", kind, 0, 0, identifier, 1) + b"ping"
    return icmp(source, destination, protocol, message)


def error(
    source: str, destination: str, quoted: bytes, kind: int | None = None
) -> bytes:
    """Return an ICMP error about a packet: its port is closed."""
    protocol, code = (ICMPV6, 4) if ":" in source else (ICMP, 3)
    default = 1 if protocol == ICMPV6 else 3
    chosen = default if kind is None else kind
    message = struct.pack("!BBHI", chosen, code, 0, 0) + quoted
    return icmp(source, destination, protocol, message)


def icmp(source: str, destination: str, protocol: int, message: bytes) -> bytes:
    """Return an ICMP message of either version."""
    if protocol == ICMPV6:
        return summed(source, destination, protocol, message, 2)
    field = checksum(word_sum(message)).to_bytes(2)
    return ip(source, destination, protocol, message[:2] + field + message[4:])


def summed(
    source: str, destination: str, protocol: int, payload: bytes, at: int
) -> bytes:
    """Return a packet whose payload has a checksum over the pseudo-header."""
    ends = ip_address(source).packed + ip_address(destination).packed
    total = word_sum(ends) + protocol + len(payload) + word_sum(payload)
    field = (checksum(total) or 0xFFFF).to_bytes(2)
    return ip(source, destination, protocol, payload[:at] + field + payload[at + 2 :])
