"""From the TUN device: one superpacket with its virtio-net header to IP packets.

A TUN device with IFF_VNET_HDR hands over TCP and UDP data in packets of up to
64 KiB whose checksums are not computed yet (TSO and USO). What crosses the tunnel
must be ordinary packets: this cuts them, as the hardware of a network card would.

For each segment only what differs is computed: the sum of everything that the headers
have in common is taken once per superpacket (RFC 1624 gives the idea), and a
segment's checksum adds its length, sequence number, flags and payload to it.
"""

import struct

from meshwg.packet import vnet
from meshwg.packet.ip import (
    IPV4_HEADER_LENGTH,
    IPV6_HEADER_LENGTH,
    MIN_TCP_HEADER_LENGTH,
    TCP,
    TCP_CWR,
    TCP_FIN,
    TCP_PSH,
    UDP,
    UDP_HEADER_LENGTH,
    checksum,
    payload_summer,
    pseudo_sum,
    word_sum,
)

_PROTOCOL = {
    (vnet.GSO_TCPV4, 4): TCP,
    (vnet.GSO_TCPV6, 6): TCP,
    (vnet.GSO_UDP_L4, 4): UDP,
    (vnet.GSO_UDP_L4, 6): UDP,
}


def segment(superpacket: bytes) -> list[bytes]:
    """Return the complete IP packets in what one read of the TUN device returned.

    :param superpacket: a virtio-net header and an IP packet, perhaps a large one.
        The header's ``hdr_len`` is a hint that some kernels get wrong: not used.
    :returns: packets with correct lengths, IPv4 identifications, sequence numbers,
        flags and checksums; none if the header contradicts the packet.
    """
    try:
        flags, gso_type, _, size, start, offset = vnet.HEADER.unpack_from(superpacket)
        packet = superpacket[vnet.HEADER.size :]
        if gso_type == vnet.GSO_NONE:
            if flags & vnet.NEEDS_CSUM:
                return [_with_checksum(packet, start, start + offset)]
            return [packet] if packet else []
        protocol = _PROTOCOL[gso_type & ~vnet.GSO_ECN, packet[0] >> 4]
        if not (size and flags & vnet.NEEDS_CSUM and _starts_at(packet, start)):
            return []
        cut = _segment_tcp if protocol == TCP else _segment_udp
        return cut(packet, start, size)
    except (struct.error, IndexError, KeyError):
        return []


def _with_checksum(packet: bytes, start: int, field: int) -> bytes:
    """Complete the checksum whose field holds the sum of the pseudo-header."""
    if field + 2 > len(packet):
        raise IndexError("The checksum field lies outside the packet")
    value = checksum(word_sum(packet[start:])) or 65535
    return packet[:field] + value.to_bytes(2, "big") + packet[field + 2 :]


def _starts_at(packet: bytes, start: int) -> bool:
    """Return whether the transport header can start there."""
    if packet[0] >> 4 == 4:
        return start == (packet[0] & 15) * 4 >= IPV4_HEADER_LENGTH
    return start >= IPV6_HEADER_LENGTH


def _segment_tcp(packet: bytes, start: int, size: int) -> list[bytes]:
    """Cut a TCP superpacket into segments of ``size`` bytes of payload."""
    header_length = (packet[start + 12] >> 4) * 4
    payloads = _cut(packet, start + header_length, size)
    if header_length < MIN_TCP_HEADER_LENGTH or not payloads:
        return []
    header = struct.Struct(f"!4sI4sH2sH{header_length - 18}s")
    ports, sequence, ack, flags, window, _, rest = header.unpack_from(packet, start)
    common = pseudo_sum(packet, TCP, header_length)
    common += word_sum(ports + ack + window + rest)
    flags_of = [flags & ~(TCP_CWR | TCP_FIN | TCP_PSH)] * len(payloads)
    flags_of[0] |= flags & TCP_CWR
    flags_of[-1] |= flags & (TCP_FIN | TCP_PSH)
    pack = header.pack
    transports = []
    for flags, total in zip(flags_of, _payload_sums(payloads), strict=True):
        total = -(common + sequence + flags + total) % 65535
        transports.append(pack(ports, sequence, ack, flags, window, total, rest))
        sequence = (sequence + size) & 0xFFFFFFFF
    return _assemble(packet[:start], transports, payloads)


def _segment_udp(packet: bytes, start: int, size: int) -> list[bytes]:
    """Cut a UDP superpacket into datagrams of ``size`` bytes of payload."""
    payloads = _cut(packet, start + UDP_HEADER_LENGTH, size)
    if not payloads:
        return []
    header = struct.Struct("!4sHH")
    ports = packet[start : start + 4]
    common = pseudo_sum(packet, UDP, UDP_HEADER_LENGTH)
    common += word_sum(ports) + UDP_HEADER_LENGTH
    transports = [
        header.pack(
            ports,
            UDP_HEADER_LENGTH + len(payload),
            checksum(common + total + len(payload)) or 65535,
        )
        for payload, total in zip(payloads, _payload_sums(payloads), strict=True)
    ]
    return _assemble(packet[:start], transports, payloads)


def _cut(packet: bytes, start: int, size: int) -> list[bytes]:
    """Return the payloads of the segments, none if there is no payload."""
    return [packet[i : i + size] for i in range(start, len(packet), size)]


def _payload_sums(payloads: list[bytes]) -> list[int]:
    """Return what each payload adds to its pseudo-header and data: length and words."""
    size = len(payloads[0])
    payload_sum = payload_summer(size)
    sums = [size + payload_sum(payload) for payload in payloads[:-1]]
    sums.append(len(payloads[-1]) + word_sum(payloads[-1]))
    return sums


def _assemble(
    header: bytes, transports: list[bytes], payloads: list[bytes]
) -> list[bytes]:
    """Return whole packets.

    :param header: that of the superpacket's IP, with options or extension headers.
    """
    equal = len(transports[0]) + len(payloads[0])
    last = len(transports[-1]) + len(payloads[-1])
    lengths = [equal] * (len(payloads) - 1) + [last]
    make_headers = _ipv6_headers if header[0] >> 4 == 6 else _ipv4_headers
    networks = make_headers(header, lengths)
    return [
        network + transport + payload
        for network, transport, payload in zip(
            networks, transports, payloads, strict=True
        )
    ]


def _ipv4_headers(header: bytes, lengths: list[int]) -> list[bytes]:
    """Return an IPv4 header for each length of what follows it."""
    layout = struct.Struct(f"!2sHH4sH{len(header) - 12}s")
    front, _, identification, middle, _, back = layout.unpack(header)
    common = word_sum(front + middle + back)
    pack = layout.pack
    headers = []
    for length in lengths:
        length += len(header)
        total = -(common + length + identification) % 65535
        headers.append(pack(front, length, identification, middle, total, back))
        identification = (identification + 1) & 0xFFFF
    return headers


def _ipv6_headers(header: bytes, lengths: list[int]) -> list[bytes]:
    """Return an IPv6 header for each length of what follows it."""
    extensions = len(header) - IPV6_HEADER_LENGTH
    made = {
        length: header[:4] + struct.pack("!H", extensions + length) + header[6:]
        for length in dict.fromkeys(lengths)
    }
    return [made[length] for length in lengths]
