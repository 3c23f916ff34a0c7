"""TURN's ChannelData (RFC 8656 section 12.4) and its framing over TCP and TLS.

Relayed packets cross this module in batches. What a kernel's receive offload hands
over has one length and mostly one channel, so a run of datagrams is wrapped or opened
with one header and C-speed loops; there is no Python step for a single packet.

Over a stream every message says its own length: STUN in its header, ChannelData in
its own, padded to four bytes (RFC 8656 section 12.5). :class:`StreamFramer` cuts what
a stream delivers into the same messages that a UDP socket delivers as datagrams.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter

from meshwg.errors import InvalidMessage
from meshwg.wire.stun import COOKIE, HEADER_LENGTH, Buffer

FIRST_CHANNEL, LAST_CHANNEL = 0x4000, 0x4FFF
"""RFC 8656 section 12. What this program binds is from this range."""
LAST_OLD_CHANNEL = 0x7FFF
"""RFC 5766 section 11, which coturn's own client still follows. So what others bind may
be up to here, except where WireGuard, STUN and TURN share a port: see
:mod:`meshwg.wire.demux`."""

PEER_CHANNEL = FIRST_CHANNEL
"""The one channel of a stream between two nodes, which carries WireGuard."""
MAX_MESSAGE = HEADER_LENGTH + 0xFFFF
"""Bytes of the longest message that a stream can carry."""

CHANNEL_HEADER = struct.Struct("!HH")
"""Channel number and length of the payload in bytes, without padding."""


def wrap(channel: int, payloads: Iterable[Buffer]) -> list[bytes]:
    """Return one ChannelData message for each payload, for UDP."""
    messages: list[bytes] = []
    for length, run in groupby(payloads, len):
        messages += map(CHANNEL_HEADER.pack(channel, length).__add__, run)
    return messages


def wrap_stream(channel: int, payloads: Iterable[Buffer]) -> bytes:
    """Return the ChannelData messages of all payloads, padded and joined for a stream.

    WireGuard's messages are multiples of four bytes long, so the padding is empty for
    them.
    """
    parts: list[Buffer] = []
    for payload in payloads:
        length = len(payload)
        parts += (CHANNEL_HEADER.pack(channel, length), payload, bytes(-length % 4))
    return b"".join(parts)


def runs(messages: Sequence[Buffer]) -> list[tuple[int, list[Buffer]]]:
    """Cut a batch into runs of one channel, in order.

    Returns the first 16 bits, which is the channel number of ChannelData and the type
    of a STUN message, and the run: the payloads of ChannelData, the whole messages of
    anything else. ChannelData that is shorter than it says, or has a reserved number,
    gets the type 0, which STUN does not have, and so do messages below four bytes.
    """
    found: list[tuple[int, list[Buffer]]] = []
    for header, group in groupby(messages, _first_four):
        number, run = _open(bytes(header), list(group))
        if found and found[-1][0] == number:
            found[-1][1].extend(run)
        else:
            found.append((number, run))
    return found


def _open(header: bytes, run: list[Buffer]) -> tuple[int, list[Buffer]]:
    """Return the number and the payloads of messages that begin with one header."""
    if len(header) < CHANNEL_HEADER.size:
        return 0, run
    number, length = CHANNEL_HEADER.unpack(header)
    if number < FIRST_CHANNEL:
        return number, run
    end = CHANNEL_HEADER.size + length
    if number > LAST_OLD_CHANNEL or min(map(len, run)) < end:
        return 0, run
    return number, list(map(itemgetter(slice(CHANNEL_HEADER.size, end)), run))


_first_four = itemgetter(slice(0, CHANNEL_HEADER.size))


class StreamFramer:
    """Cuts the bytes of one stream into STUN messages and ChannelData.

    :ivar limit: bytes of the longest message that is taken.
    """

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self.limit = limit
        self._rest = bytearray()
        self._needed = 0

    def receive(self, data: Buffer) -> list[Buffer]:
        """Return the messages that are complete now, without their padding.

        They are views of one buffer, which they keep alive. What is incomplete is
        kept; it is never longer than one message, so below 64 KiB and a little.

        :raises InvalidMessage: if the stream carries anything but TURN, or too long a
            message. There is no way to find the next message then: the stream has to
            be closed.
        """
        if len(self._rest) + len(data) < self._needed:
            self._rest += data
            return []
        buffer = b"".join((self._rest, data))
        view = memoryview(buffer)
        messages: list[Buffer] = []
        position, available = 0, len(buffer)
        self._needed = CHANNEL_HEADER.size
        while available - position >= CHANNEL_HEADER.size:
            length, padded = _lengths(buffer, position)
            if length > self.limit:
                raise InvalidMessage("A stream carries too long a message")
            if available - position < padded:
                self._needed = padded
                break
            messages.append(view[position : position + length])
            position += padded
        self._rest = bytearray(view[position:])
        return messages


def _lengths(buffer: bytes, position: int) -> tuple[int, int]:
    """Return the length of the message at a position, without and with its padding."""
    number, length = CHANNEL_HEADER.unpack_from(buffer, position)
    if FIRST_CHANNEL <= number <= LAST_OLD_CHANNEL:
        length += CHANNEL_HEADER.size
        return length, length + -length % 4
    cookie = buffer[position + 4 : position + 8]
    if number > LAST_OLD_CHANNEL or length % 4 or not COOKIE.startswith(cookie):
        raise InvalidMessage("A stream carries something other than TURN")
    return length + HEADER_LENGTH, length + HEADER_LENGTH
