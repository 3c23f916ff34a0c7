"""Packets for tests, and checksums computed the slow way: word by word, with carry."""

import struct
from dataclasses import dataclass, replace

from meshwg.packet import vnet

LOCAL4 = bytes([10, 0, 0, 2])
LOCAL6 = bytes.fromhex("fd00000000000000 0000000000000002")
REMOTE4 = bytes([10, 0, 0, 1])
REMOTE6 = bytes.fromhex("fd00000000000000 0000000000000001")
LOCAL = frozenset({LOCAL4, LOCAL6})

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
TIMESTAMP = bytes.fromhex("0101080a 01020304 05060708")


def internet_checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071, as its text describes it."""
    total = 0
    for (word,) in struct.iter_unpack("!H", data + bytes(len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@dataclass(frozen=True)
class Packet:
    """What goes into a packet, in plain sight; ``bytes()`` gives it its checksums."""

    payload: bytes = b""
    version: int = 4
    protocol: int = 6
    source: bytes = b""
    destination: bytes = b""
    source_port: int = 40000
    destination_port: int = 5201
    sequence: int = 1000
    acknowledged: int = 77
    flags: int = ACK
    window: int = 501
    urgent: int = 0
    options: bytes = TIMESTAMP
    identification: int = 0x1234
    fragment: int = 0x4000
    traffic_class: int = 0
    ttl: int = 64
    ip_options: bytes = b""
    """Options of IPv4, or extension headers of IPv6."""

    def __bytes__(self) -> bytes:
        transport = self.transport()
        field = {6: 16, 17: 6}[self.protocol]
        pseudo = self.pseudo_header(len(transport))
        value = internet_checksum(pseudo + transport)
        if self.protocol == 17:
            value = value or 0xFFFF
        transport = _with_word(transport, field, value)
        return self.network(len(transport)) + transport

    def partial(self) -> bytes:
        """Return it as the kernel leaves it to offloads: only the pseudo-header."""
        transport = self.transport()
        field = {6: 16, 17: 6}[self.protocol]
        pseudo = internet_checksum(self.pseudo_header(len(transport))) ^ 0xFFFF
        transport = _with_word(transport, field, pseudo)
        return self.network(len(transport)) + transport

    def superpacket(self, size: int, *, hdr_len: int = 0, ecn: bool = False) -> bytes:
        """Return it as one read of a TUN device with offloads, segments of ``size``."""
        tcp = vnet.GSO_TCPV4 if self.version == 4 else vnet.GSO_TCPV6
        gso_type = tcp if self.protocol == 6 else vnet.GSO_UDP_L4
        start = len(self.network(0))
        field = {6: 16, 17: 6}[self.protocol]
        header = vnet.HEADER.pack(
            vnet.NEEDS_CSUM,
            gso_type | (vnet.GSO_ECN if ecn else 0),
            hdr_len,
            size,
            start,
            field,
        )
        return header + self.partial()

    def transport(self) -> bytes:
        ports = struct.pack("!HH", self.source_port, self.destination_port)
        if self.protocol == 17:
            return ports + struct.pack("!HH", 8 + len(self.payload), 0) + self.payload
        offset = (20 + len(self.options)) // 4 << 12
        return (
            ports
            + struct.pack(
                "!IIHHHH",
                self.sequence,
                self.acknowledged,
                offset | self.flags,
                self.window,
                0,
                self.urgent,
            )
            + self.options
            + self.payload
        )

    def network(self, length: int) -> bytes:
        source, destination = self.addresses()
        length += len(self.ip_options)
        if self.version == 6:
            next_header = 0 if self.ip_options else self.protocol
            first = 6 << 28 | self.traffic_class << 20
            header = struct.pack("!IHBB", first, length, next_header, self.ttl)
            return header + source + destination + self.ip_options
        header = struct.pack(
            "!BBHHHBBH4s4s",
            0x45 + len(self.ip_options) // 4,
            self.traffic_class,
            20 + length,
            self.identification,
            self.fragment,
            self.ttl,
            self.protocol,
            0,
            source,
            destination,
        )
        header += self.ip_options
        return _with_word(header, 10, internet_checksum(header))

    def pseudo_header(self, length: int) -> bytes:
        source, destination = self.addresses()
        if self.version == 6:
            return source + destination + struct.pack("!II", length, self.protocol)
        return source + destination + struct.pack("!HH", self.protocol, length)

    def addresses(self) -> tuple[bytes, bytes]:
        default = (REMOTE4, LOCAL4) if self.version == 4 else (REMOTE6, LOCAL6)
        return self.source or default[0], self.destination or default[1]

    def cut(self, size: int) -> list["Packet"]:
        """Return the packets that a network card would make of it."""
        starts = range(0, len(self.payload), size)
        last = starts[-1]
        return [
            replace(
                self,
                payload=self.payload[start : start + size],
                sequence=(self.sequence + start) % 2**32,
                identification=(self.identification + index) % 2**16,
                flags=self.flags
                & ~(CWR if start else 0)
                & ~(FIN | PSH if start != last else 0),
            )
            for index, start in enumerate(starts)
        ]


def payload(length: int) -> bytes:
    """Return bytes of which no two neighbours are the same."""
    return bytes(index * 7 % 251 for index in range(length))


def is_valid(packet: bytes) -> bool:
    """Return whether lengths and checksums of a packet without extras are right."""
    if packet[0] >> 4 == 4:
        start = (packet[0] & 15) * 4
        length = int.from_bytes(packet[2:4], "big")
        if length != len(packet) or internet_checksum(packet[:start]) != 0:
            return False
        addresses, protocol = packet[12:20], packet[9]
    else:
        start = 40
        if int.from_bytes(packet[4:6], "big") + 40 != len(packet):
            return False
        addresses, protocol = packet[8:40], packet[6]
    transport = packet[start:]
    if protocol == 17 and int.from_bytes(transport[4:6], "big") != len(transport):
        return False
    pseudo = addresses + struct.pack("!II", len(transport), protocol)
    return internet_checksum(pseudo + transport) == 0


def _with_word(data: bytes, field: int, value: int) -> bytes:
    return data[:field] + struct.pack("!H", value) + data[field + 2 :]
