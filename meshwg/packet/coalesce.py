"""To the TUN device: IP packets to superpackets with their virtio-net headers.

One write of a superpacket costs the kernel little more than one write of a packet, and
its TCP receives one large segment instead of forty. Packets are joined by the rules of
the kernel's own GRO: headers that differ only in length, identification, checksums
and the expected sequence number; equal sizes but for the last; PSH only on the last.

A kernel that forwards a TCP superpacket recomputes its checksum instead of verifying
it. For this reason only packets to addresses of this host are joined; to forward
single packets also costs less here than cutting a superpacket again.
"""

from collections.abc import Container, Sequence

from meshwg.packet.ip import (
    IPV4_HEADER_LENGTH,
    IPV6_HEADER_LENGTH,
    MIN_TCP_HEADER_LENGTH,
    TCP,
    TCP_ACK,
    UDP,
    UDP_HEADER_LENGTH,
)
from meshwg.packet.runs import Run, TcpRun, UdpRun, tcp_layout, udp_layout

_TCP_FLAGS = 0x1FF
_FRAGMENT = 0x3FFF
"""More fragments, and the fragment offset."""


def coalesce(
    packets: Sequence[bytes], local_addresses: Container[bytes], *, udp: bool = False
) -> list[list[bytes]]:
    """Return what to write to a TUN device with IFF_VNET_HDR, one write each.

    :param packets: IP packets of any kind; those that cannot be joined stay alone.
        Packets of one flow keep their order, those of different flows need not.
    :param local_addresses: the addresses, packed, that this host itself receives for.
    :param udp: whether the kernel knows UDP superpackets (Linux 6.2).
    :returns: the parts of each write, a virtio-net header first.
    """
    runs: list[Run] = []
    last_of_flow: dict[bytes, Run] = {}
    index = 0
    while index < len(packets):
        packet = packets[index]
        flow = _flow(packet)
        run = last_of_flow.get(flow)
        after = run.extend(packets, index) if run is not None else index
        if after == index:
            run = last_of_flow[flow] = _new_run(packet, local_addresses, udp)
            runs.append(run)
            after = run.extend(packets, index + 1)
        index = after
    return [write for run in runs for write in run.writes()]


def _flow(packet: bytes) -> bytes:
    """Return the protocol, addresses and ports, if they are in the usual place.

    Packets are not joined if they are elsewhere, as in fragments.
    """
    if packet[:1] >= b"\x60":
        return packet[6:7] + packet[8:44]
    return packet[9:10] + packet[12:24]


def _new_run(packet: bytes, local_addresses: Container[bytes], udp: bool) -> Run:
    """Return the run that starts with a packet."""
    start, protocol, destination = _plain_ip_header(packet)
    if destination not in local_addresses:
        return Run(packet)
    if protocol == TCP and len(packet) > start + MIN_TCP_HEADER_LENGTH:
        flags = int.from_bytes(packet[start + 12 : start + 14], "big")
        length = (flags >> 12) * 4
        is_data = MIN_TCP_HEADER_LENGTH <= length < len(packet) - start
        if is_data and flags & _TCP_FLAGS == TCP_ACK:
            return TcpRun(packet, tcp_layout(start, length))
    elif protocol == UDP and udp and len(packet) > start + UDP_HEADER_LENGTH:
        length = int.from_bytes(packet[start + 4 : start + 6], "big")
        has_checksum = packet[start + 6 : start + 8] != b"\0\0"
        if has_checksum and length == len(packet) - start:
            return UdpRun(packet, udp_layout(start))
    return Run(packet)


def _plain_ip_header(packet: bytes) -> tuple[int, int, bytes]:
    """Return the length, protocol and destination of an IP header.

    The destination is empty if the packet is not whole, or if other headers,
    options or fragments are in the way.
    """
    if packet[:1] == b"\x45" and len(packet) >= IPV4_HEADER_LENGTH:
        is_whole = int.from_bytes(packet[2:4], "big") == len(packet)
        if is_whole and not int.from_bytes(packet[6:8], "big") & _FRAGMENT:
            return IPV4_HEADER_LENGTH, packet[9], packet[16:20]
    elif packet[:1] >= b"\x60" and len(packet) >= IPV6_HEADER_LENGTH:
        length = int.from_bytes(packet[4:6], "big")
        if length == len(packet) - IPV6_HEADER_LENGTH:
            return IPV6_HEADER_LENGTH, packet[6], packet[24:40]
    return 0, 0, b""
