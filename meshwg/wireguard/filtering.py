"""What a data path asks of a filter, which says what packets may pass.

A data path knows *exact flows*: packets of TCP, of UDP or of one sequence of echoes,
between the same ends, in the same direction. It asks for the first packet of each, and
passes the following ones by itself until the time that it was told. For packets that
are none of an exact flow (:func:`flow_key` has no key) it asks each time: fragments,
errors, and those that begin or end a TCP connection. What it knows is worth nothing
once :attr:`PacketFilter.generation` has changed.
"""

from enum import IntEnum
from typing import Protocol

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
TCP_AND_UDP = (TCP, UDP)
BEGIN_OR_END = 0x07
"""Flags of TCP by which a segment is judged alone: FIN, SYN and RST."""
REFUSED = -1.0
_SHORTEST = 28
"""Bytes of an IPv4 header and one of UDP, or the first eight of another protocol."""
MAX_EXACT_FLOWS = 16_384
"""Exact flows, in each direction, of which it is known that they may pass."""


class Passage(IntEnum):
    """What passes, of a flow and a packet of it."""

    NOTHING = 0
    PACKET = 1
    FLOW = 2
    """The packet, and those that follow it."""


class PacketFilter(Protocol):
    """Says which packets pass.

    :ivar generation: changes with what it says.
    """

    generation: int

    def judge(self, packet: bytes, now: float, *, inbound: bool) -> float:
        """Return until when packets of the same exact flow pass without being judged.

        A time that is past lets only this packet pass, and :data:`REFUSED` not even
        that. What has to be said of it is in :meth:`take_answers` then.

        :param packet: a whole IP packet without padding.
        :param inbound: whether it came from a peer.
        """

    def take_answers(self) -> tuple[list[bytes], list[bytes]]:
        """Return packets that are to go to the interface, and those for peers."""


def flow_key(packet: bytes) -> bytes | None:
    """Return what the packets of an exact flow have in common.

    :return: ``None`` for a packet that is to be judged by itself.
    """
    length = len(packet)
    if length < _SHORTEST:
        return None
    first = packet[0]
    if first == 0x45:
        if packet[6] & 0x3F or packet[7]:
            return None
        protocol = packet[9]
        if protocol == TCP:
            if length < 40 or packet[33] & BEGIN_OR_END:
                return None
            return b"T" + packet[12:24]
        if protocol == UDP:
            return b"U" + packet[12:24]
        if protocol == ICMP and packet[20] in (0, 8):
            return packet[12:21] + packet[24:26]
    elif first >> 4 == 6 and length >= 48:
        protocol = packet[6]
        if protocol == TCP:
            if length < 60 or packet[53] & BEGIN_OR_END:
                return None
            return b"T" + packet[8:44]
        if protocol == UDP:
            return b"U" + packet[8:44]
        if protocol == ICMPV6 and packet[40] in (128, 129):
            return packet[8:41] + packet[44:46]
    return None


def both_keys(packet: bytes) -> tuple[bytes, ...]:
    """Return the keys of a TCP segment's connection, if it begins or ends one.

    :return: that of its own direction, and that of the other one, or nothing.
    """
    length = len(packet)
    if length < _SHORTEST:
        return ()
    first = packet[0]
    if first == 0x45 and packet[9] == TCP and length >= 40:
        start, middle, end = 12, 16, 20
    elif first >> 4 == 6 and packet[6] == TCP and length >= 60:
        start, middle, end = 8, 24, 40
    else:
        return ()
    ends = packet[middle:end] + packet[start:middle]
    ports = packet[end + 2 : end + 4] + packet[end : end + 2]
    return b"T" + packet[start : end + 4], b"T" + ends + ports


class KnownFlows:
    """The exact flows that a filter lets pass, and until when.

    :ivar inbound: times by key, of what comes from peers.
    :ivar outbound: those of what comes from the interface.
    :ivar generation: that of the filter from which they are.
    """

    def __init__(self, packet_filter: PacketFilter) -> None:
        self.filter = packet_filter
        self.generation = packet_filter.generation
        self.inbound: dict[bytes | None, float] = {}
        self.outbound: dict[bytes | None, float] = {}

    def follow(self) -> None:
        """Forget all flows if the filter says something else by now."""
        if self.generation != self.filter.generation:
            self.generation = self.filter.generation
            self._clear(inbound=True)
            self._clear(inbound=False)

    def judge(self, packet: bytes, now: float, *, inbound: bool) -> Passage:
        """Tell whether a packet passes, by what is known of its flow, else ask."""
        self.follow()
        key = flow_key(packet)
        known = self.inbound if inbound else self.outbound
        if now < known.get(key, 0.0):
            return Passage.FLOW
        until = self.filter.judge(packet, now, inbound=inbound)
        if until < 0:
            return Passage.NOTHING
        if key is None:
            self._forget_both(packet, inbound=inbound)
        elif until > now:
            if len(known) >= MAX_EXACT_FLOWS:
                self._clear(inbound=inbound)
            self._learn(key, until, inbound=inbound)
            return Passage.FLOW
        return Passage.PACKET

    def _forget_both(self, packet: bytes, *, inbound: bool) -> None:
        """Have both directions of a connection judged again that begins or ends."""
        for key, direction in zip(
            both_keys(packet), (inbound, not inbound), strict=False
        ):
            self._forget(key, inbound=direction)

    def _learn(self, key: bytes, until: float, *, inbound: bool) -> None:
        (self.inbound if inbound else self.outbound)[key] = until

    def _forget(self, key: bytes, *, inbound: bool) -> None:
        (self.inbound if inbound else self.outbound).pop(key, None)

    def _clear(self, *, inbound: bool) -> None:
        (self.inbound if inbound else self.outbound).clear()
