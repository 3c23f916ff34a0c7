"""The streams that carry messages between this node and its peers.

A stream is framed as TURN over TCP is: STUN messages as they are, and WireGuard's as
ChannelData of one channel. It is nobody's until an authentic check comes over it, and
from then on its peer's alone. Anybody can connect. So a few streams at a time may wait
for such a check, each for a few seconds and with small messages, and nothing else is
taken from them.
"""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from itertools import count, groupby

from meshwg.errors import InvalidMessage
from meshwg.limits import site_of
from meshwg.node.lookout import Lookout
from meshwg.path.overlay import IPAddress
from meshwg.peer import MeshPeer
from meshwg.transmit import UDP, Endpoint, Random, Transmit
from meshwg.wire.channeldata import (
    MAX_MESSAGE,
    PEER_CHANNEL,
    StreamFramer,
    runs,
    wrap_stream,
)
from meshwg.wire.stun import Buffer, is_stun

SILENCE = 5.0
"""Seconds for which an accepted stream may wait for its first authentic check."""

STRANGERS = 64
"""Accepted streams that may wait so at one time."""
STRANGERS_PER_SITE = 8
"""Those of one address, or one IPv6 /64."""
STREAMS = 1024
"""Streams in all; this many descriptors are a busy node's share."""

CHECK_LIMIT = 1024
"""Bytes of the longest message before the first authentic check."""


class StreamDrop(StrEnum):
    """Why a stream was refused or closed, or something on it ignored."""

    CROWDED = "stream-crowded"
    """Too many streams are waiting for a check already."""
    INSIDE_MESH = "stream-inside-mesh"
    """It came through a tunnel of this mesh."""
    SILENT = "stream-silent"
    """No authentic check came in time."""
    MALFORMED = "stream-malformed"
    """It carries something else than checks and WireGuard."""
    UNPROVEN = "stream-unproven"
    """Data came before the first authentic check."""
    FOREIGN = "stream-of-another-peer"
    """A check or data of one peer on another one's stream."""


@dataclass(slots=True)
class _Stream:
    endpoint: Endpoint
    framer: StreamFramer = field(default_factory=lambda: StreamFramer(CHECK_LIMIT))
    owner: MeshPeer | None = None
    is_heard: bool = False
    """Whether an authentic check of the owner came over it."""
    closes_at: float | None = None


class Streams:
    """The streams of one node that are not to servers.

    :param port: at which streams are accepted, ``None`` if there are to be none.
    :param overlay: what is reached through the mesh.
    :ivar links: numbers for streams.
    :ivar lookout: how this node's NAT treats them.
    """

    def __init__(
        self, port: int | None, overlay: Container[IPAddress], *, random: Random
    ) -> None:
        self.links = count(UDP - 1, -1)
        self.lookout = Lookout(port, self.links, random=random)
        self.drops: Counter[str] = Counter()
        self._overlay = overlay
        self._streams: dict[int, _Stream] = {}
        self._sites: Counter[str] = Counter()

    # Beginnings.

    def accept(self, remote: Endpoint, now: float) -> int | None:
        """Return the number for a stream that somebody opened, if it may stay."""
        if _is_in(remote.host, self._overlay):
            self.drops[StreamDrop.INSIDE_MESH] += 1
            return None
        site = site_of(remote.host)
        waiting = self._sites.total()
        if (
            waiting >= STRANGERS
            or self._sites[site] >= STRANGERS_PER_SITE
            or len(self._streams) >= STREAMS
        ):
            self.drops[StreamDrop.CROWDED] += 1
            return None
        link = next(self.links)
        self._streams[link] = _Stream(
            Endpoint(remote.host, remote.port, link), closes_at=now + SILENCE
        )
        self._sites[site] += 1
        return link

    def dial(self, endpoint: Endpoint, owner: MeshPeer) -> bool:
        """Take note of a stream to a peer; return whether there is room for it."""
        if len(self._streams) >= STREAMS:
            return False
        self._streams[endpoint.link] = _Stream(endpoint, owner=owner)
        return True

    def find(self, link: int) -> Endpoint | None:
        """Return where a stream leads."""
        stream = self._streams.get(link)
        return None if stream is None else stream.endpoint

    def owner(self, link: int) -> MeshPeer | None:
        """Return whose stream it is, ``None`` as long as nobody proved to be."""
        stream = self._streams.get(link)
        return None if stream is None else stream.owner

    def may_hear(self, link: int, peer: MeshPeer) -> bool:
        """Tell whether a peer may speak on a stream; if not, count it."""
        stream = self._streams.get(link)
        if stream is not None and stream.owner in (None, peer):
            return True
        self.drops[StreamDrop.FOREIGN] += 1
        return False

    def heard(self, link: int, peer: MeshPeer) -> None:
        """Take note of an authentic check: the stream is this peer's, and no other's.

        Messages of any length are taken from now on, and data.
        """
        stream = self._streams.get(link)
        if stream is None or stream.is_heard:
            return
        self._welcome(stream)
        stream.owner, stream.is_heard = peer, True
        stream.framer.limit = MAX_MESSAGE

    def remove(self, link: int) -> MeshPeer | None:
        """Forget a stream that is closed; return whose it was."""
        stream = self._streams.pop(link, None)
        if stream is None:
            return None
        self._welcome(stream)
        return stream.owner

    def remove_all(self, owner: MeshPeer) -> tuple[int, ...]:
        """Forget the streams of a peer; return their links."""
        links = tuple(
            link for link, stream in self._streams.items() if stream.owner is owner
        )
        for link in links:
            self.remove(link)
        return links

    # Bytes.

    def receive(
        self, link: int, data: Buffer
    ) -> list[tuple[Endpoint, list[Buffer]]] | None:
        """Return the messages in some bytes; ``None`` if the stream must be closed."""
        stream = self._streams.get(link)
        if stream is None:
            return []
        try:
            messages = runs(stream.framer.receive(data))
        except InvalidMessage:
            self.drops[StreamDrop.MALFORMED] += 1
            return None
        received = []
        for number, run in messages:
            is_data = number == PEER_CHANNEL
            if not is_data and not all(map(is_stun, run)):
                self.drops[StreamDrop.MALFORMED] += 1
                return None
            if is_data and not stream.is_heard:
                self.drops[StreamDrop.UNPROVEN] += len(run)
                return None
            received.append((stream.endpoint, run))
        return received

    # Time.

    def get_timer(self) -> float | None:
        """Return when a stream has waited for long enough."""
        waiting = (stream.closes_at for stream in self._streams.values())
        return min((when for when in waiting if when is not None), default=None)

    def take_late(self, now: float) -> tuple[int, ...]:
        """Return the streams that waited for too long, and forget them."""
        late = tuple(
            link
            for link, stream in self._streams.items()
            if stream.closes_at is not None and now >= stream.closes_at
        )
        for link in late:
            self.drops[StreamDrop.SILENT] += 1
            self.remove(link)
        return late

    def _welcome(self, stream: _Stream) -> None:
        """Count a stream no longer among those that wait."""
        if stream.closes_at is not None:
            stream.closes_at = None
            site = site_of(stream.endpoint.host)
            self._sites[site] -= 1
            if not self._sites[site]:
                del self._sites[site]


def framed(transmit: Transmit) -> Transmit:
    """Return messages as they go over a stream."""
    parts: list[bytes] = []
    for is_bare, run in groupby(transmit.datagrams, is_stun):
        if is_bare:
            parts += run
        else:
            parts.append(wrap_stream(PEER_CHANNEL, run))
    return Transmit(transmit.destination, [b"".join(parts)])


def _is_in(host: str, overlay: Container[IPAddress]) -> bool:
    return ip_address(host.partition("%")[0]) in overlay
