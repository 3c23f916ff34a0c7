"""What kind of datagram this is: WireGuard, STUN and TURN share one UDP port.

The first bytes decide, without parsing and without state. WireGuard's types 1 to 4
overlap the range that RFC 7983 gives to STUN, but three zero bytes follow them, which
would be a STUN message of a method with sixteen bits set aside and no content; none
exists. All else that begins with two zero bits must carry STUN's magic cookie.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum
from itertools import groupby

from meshwg.wire.stun import Buffer, is_stun

WIREGUARD_LENGTH = 32
"""The shortest WireGuard message: transport data without a packet."""

CHANNEL_HEADER_LENGTH = 4


class DatagramKind(IntEnum):
    """Who a datagram is for."""

    UNKNOWN = 0
    WIREGUARD = 1
    STUN = 2
    CHANNEL_DATA = 3
    """A relay's wrapping (RFC 8656 section 12.4); only a known relay may use it."""


def kind_of(datagram: Buffer) -> DatagramKind:
    """Return the kind of one datagram."""
    length = len(datagram)
    if length >= WIREGUARD_LENGTH and 1 <= _type_of(datagram)[0] <= 4:
        return DatagramKind.WIREGUARD
    if is_stun(datagram):
        return DatagramKind.STUN
    if length >= CHANNEL_HEADER_LENGTH and 0x40 <= datagram[0] <= 0x4F:
        return DatagramKind.CHANNEL_DATA
    return DatagramKind.UNKNOWN


def runs(datagrams: Sequence[Buffer]) -> list[tuple[DatagramKind, Sequence[Buffer]]]:
    """Cut a batch into runs of one kind, in order.

    A batch of the kernel's receive offload promises one source and one length, not
    one kind. A batch of WireGuard alone, as nearly all are, is returned itself.
    """
    for datagram in datagrams:
        if len(datagram) < WIREGUARD_LENGTH or not 1 <= _type_of(datagram)[0] <= 4:
            break
    else:
        return [(DatagramKind.WIREGUARD, datagrams)] if datagrams else []
    return [(kind, list(group)) for kind, group in groupby(datagrams, kind_of)]


_type_of = struct.Struct("<I").unpack_from
"""Reads WireGuard's type with the three reserved bytes that follow it."""
