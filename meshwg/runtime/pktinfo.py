"""Addresses and control messages of UDP sockets: where a datagram was sent to.

IP_PKTINFO and IPV6_PKTINFO tell of each datagram which local address and interface it
arrived at, and have others leave from there (ip(7), RFC 3542 section 6).
"""

import socket
import struct
import sys

from meshwg.transmit import Endpoint, Source

IP_PKTINFO = 8

Ancillary = tuple[int, int, bytes]
"""A control message: level, type, data."""
Address = tuple[str, int] | tuple[str, int, int, int]
"""As the socket module has it, of IPv4 or IPv6."""

_PKTINFO4 = struct.Struct("=I4s4s")
_PKTINFO6 = struct.Struct("=16sI")


def ask_for_pktinfo(sock: socket.socket) -> None:
    """Have the kernel say which local address a datagram was sent to."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


def parse_pktinfo(data: bytes) -> Source | None:
    """Return the local address in an in_pktinfo or in6_pktinfo."""
    if len(data) == _PKTINFO4.size:
        interface, host, _ = _PKTINFO4.unpack(data)
        return Source(socket.inet_ntop(socket.AF_INET, host), interface)
    if len(data) == _PKTINFO6.size:
        host, interface = _PKTINFO6.unpack(data)
        return Source(socket.inet_ntop(socket.AF_INET6, host), interface)
    return None


def pktinfo(source: Source | None) -> list[Ancillary]:
    """Return the control message that pins a source, none for ``None``."""
    if source is None:
        return []
    if ":" in source.host:
        host = socket.inet_pton(socket.AF_INET6, source.host)
        data = _PKTINFO6.pack(host, source.interface)
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, data)]
    host = socket.inet_pton(socket.AF_INET, source.host)
    data = _PKTINFO4.pack(source.interface, host, bytes(4))
    return [(socket.IPPROTO_IP, IP_PKTINFO, data)]


def hop_limit(ttl: int, *, is_ipv4: bool) -> Ancillary:
    """Return the control message that limits the hops of one call."""
    value = ttl.to_bytes(4, sys.byteorder)
    if is_ipv4:
        return socket.IPPROTO_IP, socket.IP_TTL, value
    return socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, value


def host_of(address: Address) -> str:
    """Return the host of an address, with the zone of an IPv6 link-local one."""
    if len(address) == 4 and address[3]:
        return f"{address[0]}%{address[3]}"
    return address[0]


def address_of(endpoint: Endpoint, *, is_ipv4: bool) -> Address:
    """Return the address of an endpoint."""
    host, _, zone = endpoint.host.partition("%")
    if is_ipv4:
        return host, endpoint.port
    return host, endpoint.port, 0, _interface_index(zone)


def _interface_index(zone: str) -> int:
    """Return the number of an interface given by name or number, 0 if there is none."""
    if not zone or zone.isdecimal():
        return int(zone or 0)
    try:
        return socket.if_nametoindex(zone)
    except OSError:
        return 0
