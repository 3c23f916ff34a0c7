"""Runs: packets of one flow that follow each other and can be written as one.

Checksums are never laundered. A TCP run gets a full checksum, which the kernel
verifies, and it is made of the checksums of the packets, not of their payloads: the
words of a valid packet add up to zero, so the sum of its payload is known from its
headers alone, and an error in any packet, even in its IPv4 header, becomes an
error of the whole. So this does not look at any payload. For UDP the kernel insists on
computing the checksum itself, so there the packets are verified first.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

from meshwg.packet import vnet
from meshwg.packet.ip import (
    IPV4_HEADER_LENGTH,
    IPV6_HEADER_LENGTH,
    MAX_PACKET,
    TCP,
    TCP_PSH,
    UDP,
    UDP_HEADER_LENGTH,
    checksum,
    pseudo_sum,
    word_sum,
)

MAX_UDP_SEGMENTS = 64
"""UDP_MAX_SEGMENTS of the oldest kernels that know UDP superpackets."""


class Layout(NamedTuple):
    """Where things are in the headers of a run; masks are over them as one number."""

    start: int
    """Of the transport header, in bytes."""
    end: int
    """Of the headers, in bytes."""
    same: int
    """The bits that are predicted for every packet but the last."""
    same_in_last: int
    """The bits that are predicted for the last packet."""
    sequence_unit: int
    """One in the TCP sequence number, 0 for UDP."""


@functools.cache
def tcp_layout(start: int, length: int) -> Layout:
    """Return the layout for IP and TCP headers of these lengths in bytes."""
    end = start + length
    same = _mask(end, *_ignored_in_ip(start), start + 16)
    push = TCP_PSH << (length - 14) * 8
    same_in_last = same & _mask(end, _length_field(start)) & ~push
    return Layout(start, end, same, same_in_last, 1 << (length - 8) * 8)


@functools.cache
def udp_layout(start: int) -> Layout:
    """Return the layout for an IP header of this length in bytes and a UDP header."""
    end = start + UDP_HEADER_LENGTH
    same = _mask(end, *_ignored_in_ip(start), start + 6)
    same_in_last = same & _mask(end, _length_field(start), start + 4)
    return Layout(start, end, same, same_in_last, 0)


def _mask(length: int, *fields: int) -> int:
    """Return all bits of ``length`` bytes but those of the given 16-bit fields."""
    mask = (1 << length * 8) - 1
    for field in fields:
        mask ^= 0xFFFF << (length - field - 2) * 8
    return mask


def _ignored_in_ip(start: int) -> tuple[int, ...]:
    """Return where IPv4 has its identification and its checksum."""
    return (4, 10) if start == IPV4_HEADER_LENGTH else ()


def _length_field(start: int) -> int:
    """Return where the IP header has its length."""
    return 2 if start == IPV4_HEADER_LENGTH else 4


class Run:
    """A packet that nothing can be joined to; subclasses join what follows."""

    def __init__(self, packet: bytes) -> None:
        self._packets = [packet]

    def extend(self, packets: Sequence[bytes], index: int) -> int:
        """Add the packets from ``index`` on, as long as one follows another.

        :returns: the index of the first packet that was not added.
        """
        return index

    def writes(self) -> list[list[bytes]]:
        """Return the parts of each write, a virtio-net header first."""
        return [[vnet.PLAIN, packet] for packet in self._packets]


class JoinedRun(Run):
    """A run of packets with a layout: the first must have it, and be whole."""

    def __init__(self, packet: bytes, layout: Layout, max_packets: int) -> None:
        super().__init__(packet)
        self._layout = layout
        self._end = layout.end
        self._same = layout.same
        self._size = len(packet)
        payload_length = self._size - layout.end
        self._step = payload_length * layout.sequence_unit
        self._room = min(max_packets, (MAX_PACKET - layout.end) // payload_length) - 1
        self._expected = int.from_bytes(packet[: layout.end], "big")
        self._headers = [self._expected]

    def extend(self, packets: Sequence[bytes], index: int) -> int:
        """Add the packets from ``index`` on, as long as one follows another.

        :returns: the index of the first packet that was not added.
        """
        first = index
        end, size, same, step = self._end, self._size, self._same, self._step
        expected = self._expected
        from_bytes, remember = int.from_bytes, self._headers.append
        for packet in packets[first : first + self._room]:
            header = from_bytes(packet[:end], "big")
            expected += step
            if (header ^ expected) & same or len(packet) != size:
                if self._may_be_last(packet, header ^ expected):
                    remember(header)
                    index += 1
                    self._room = index - first
                break
            remember(header)
            index += 1
        self._expected += step * (index - first)
        self._packets += packets[first:index]
        self._room -= index - first
        return index

    def _may_be_last(self, packet: bytes, difference: int) -> bool:
        """Return whether a packet that is shorter, or pushes, follows the others."""
        return not difference & self._layout.same_in_last and self._fits(packet)

    def _fits(self, packet: bytes) -> bool:
        """Return whether a packet is no longer than the others, and whole."""
        length = int.from_bytes(packet[2:4], "big")
        if self._layout.start == IPV6_HEADER_LENGTH:
            length = IPV6_HEADER_LENGTH + int.from_bytes(packet[4:6], "big")
        return self._end < len(packet) == length <= self._size

    def _length(self) -> int:
        """Return the length of the superpacket."""
        payload_length = self._size - self._end
        equal = len(self._packets) - 1
        return equal * payload_length + len(self._packets[-1])

    def _merged_header(self) -> bytearray:
        """Return the headers of the first packet with the IP header of the whole."""
        header = bytearray(self._packets[0][: self._end])
        length = self._length()
        if self._layout.start == IPV6_HEADER_LENGTH:
            header[4:6] = (length - IPV6_HEADER_LENGTH).to_bytes(2, "big")
        else:
            header[2:4] = length.to_bytes(2, "big")
            header[10:12] = bytes(2)
            total = word_sum(header[:IPV4_HEADER_LENGTH])
            header[10:12] = checksum(total).to_bytes(2, "big")
        return header

    def _pseudo_sum(self, protocol: int, length: int) -> int:
        """Return the sum of a packet's pseudo-header less the sum of its IP header.

        The words of an IPv4 header add up to zero. Those of an IPv6 header have
        the addresses and the length in common with the pseudo-header.
        """
        packet = self._packets[0]
        if self._layout.start == IPV4_HEADER_LENGTH:
            return pseudo_sum(packet, protocol, length - IPV4_HEADER_LENGTH)
        return protocol - word_sum(packet[:4] + packet[6:8])

    def _payloads(self) -> list[bytes]:
        end = self._end
        return [packet[end:] for packet in self._packets]


class TcpRun(JoinedRun):
    """Segments with data and no flag but ACK; the last may have PSH."""

    def __init__(self, packet: bytes, layout: Layout) -> None:
        super().__init__(packet, layout, MAX_PACKET)

    def writes(self) -> list[list[bytes]]:
        """Return one write: a superpacket with a full checksum."""
        if len(self._packets) == 1:
            return super().writes()
        start, end = self._layout.start, self._end
        header = self._merged_header()
        header[start + 13] = self._packets[-1][start + 13]
        header[start + 16 : start + 18] = bytes(2)
        total = word_sum(header) + self._pseudo_sum(TCP, self._length())
        total -= self._packets_sum()
        header[start + 16 : start + 18] = checksum(total).to_bytes(2, "big")
        gso_type = vnet.GSO_TCPV6 if start == IPV6_HEADER_LENGTH else vnet.GSO_TCPV4
        prefix = vnet.HEADER.pack(0, gso_type, end, self._size - end, 0, 0)
        return [[prefix + header, *self._payloads()]]

    def _packets_sum(self) -> int:
        """Return the sum of the headers and pseudo-headers of all packets.

        It is the negative sum of the payloads, if all packets are valid. A payload
        that starts at an odd offset of the whole has its bytes swapped there, which
        multiplies its sum by 256 (RFC 1071 section 2).
        """
        pairs, single = divmod(len(self._headers), 2)
        common = self._pseudo_sum(TCP, self._size)
        even = sum(self._headers[::2]) + common * (pairs + single)
        odd = sum(self._headers[1::2]) + common * pairs
        shorter = self._pseudo_sum(TCP, len(self._packets[-1])) - common
        if single:
            even += shorter
        else:
            odd += shorter
        return even + odd * (256 if (self._size - self._end) & 1 else 1)


class UdpRun(JoinedRun):
    """Datagrams with checksums; the last may be shorter."""

    def __init__(self, packet: bytes, layout: Layout) -> None:
        super().__init__(packet, layout, MAX_UDP_SEGMENTS)

    def writes(self) -> list[list[bytes]]:
        """Return one write, or one for each packet if one of them is invalid."""
        if len(self._packets) == 1 or not self._is_valid():
            return super().writes()
        start, end = self._layout.start, self._end
        header = self._merged_header()
        length = self._length() - start
        header[start + 4 : start + 6] = length.to_bytes(2, "big")
        partial = pseudo_sum(header, UDP, length) % 65535
        header[start + 6 : start + 8] = partial.to_bytes(2, "big")
        prefix = vnet.HEADER.pack(
            vnet.NEEDS_CSUM, vnet.GSO_UDP_L4, end, self._size - end, start, 6
        )
        return [[prefix + header, *self._payloads()]]

    def _is_valid(self) -> bool:
        """Return whether the words of all packets add up to zero.

        One division of the sum is much cheaper than one for each packet.
        """
        *equal, last = self._packets
        total = sum([int.from_bytes(packet, "big") for packet in equal])
        total *= 256 if self._size & 1 else 1
        total += word_sum(last) + self._pseudo_sum(UDP, len(last))
        total += self._pseudo_sum(UDP, self._size) * len(equal)
        return total % 65535 == 0
