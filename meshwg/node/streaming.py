"""What the runtime tells of streams below link zero: to peers, and to servers.

A stream's owner is found in :class:`~meshwg.node.streams.Streams`; what a stream did is
told to the owner's path agent, which decides what comes of it.
"""

from collections import deque
from collections.abc import Sequence

from meshwg.node.events import NodeEvent
from meshwg.node.lookout import StreamsClosed
from meshwg.node.paths import Paths
from meshwg.node.streams import Streams
from meshwg.transmit import Endpoint, Transmit
from meshwg.wire.stun import Buffer


class Streaming:
    """The streams of one node, as its runtime sees them.

    :param events: where requests to the runtime are put.
    """

    def __init__(
        self,
        streams: Streams,
        paths: Paths,
        events: deque[NodeEvent],
    ) -> None:
        self._streams = streams
        self._lookout = streams.lookout
        self._paths = paths
        self._events = events

    # What the runtime tells.

    def accepted(self, remote: Endpoint, now: float) -> int | None:
        """Return the link for a stream that was accepted; ``None``: close it."""
        return self._streams.accept(remote, now)

    def opened(self, link: int, now: float) -> None:
        """A stream that was asked for is open."""
        owner, endpoint = self._streams.owner(link), self._streams.find(link)
        if self._lookout.claims(link):
            self._lookout.opened(link)
        elif owner is not None and endpoint is not None:
            self._paths.stream_opened(owner, endpoint, now)

    def closed(self, link: int, reason: str, now: float) -> None:
        """A stream could not be opened, or is gone."""
        if self._lookout.claims(link):
            if self._lookout.closed(link, now):
                self._tell(now)
            return
        owner = self._streams.remove(link)
        if owner is not None:
            self._paths.stream_closed(owner, link, reason, now)

    def receive(
        self, link: int, data: Buffer, now: float
    ) -> list[tuple[Endpoint, list[Buffer]]]:
        """Take bytes; return the messages of a peer in them, with where it is."""
        if self._lookout.claims(link):
            if self._lookout.receive(link, data, now):
                self._tell(now)
            return []
        received = self._streams.receive(link, data)
        if received is None:
            self._events.append(StreamsClosed((link,)))
            self.closed(link, "the peer sent something else than a tunnel", now)
            return []
        return received

    # What changes for all.

    def set_hosts(self, addresses: Sequence[str]) -> None:
        """Take note of the host's own addresses."""
        self._lookout.set_hosts(addresses)
        self._paths.tcp_changed()
        self._drain()

    def set_mapped(self, endpoint: Endpoint | None) -> None:
        """Take note of the TCP port that the router forwards."""
        self._lookout.set_mapped(endpoint)
        self._paths.tcp_changed()

    def network_changed(self) -> None:
        """Forget how the NAT maps streams."""
        self._lookout.network_changed()
        self._paths.tcp_changed()
        self._drain()

    # Time.

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is due."""
        times = (self._streams.get_timer(), self._lookout.get_timer())
        return min((when for when in times if when is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        late = self._streams.take_late(now)
        if late:
            self._events.append(StreamsClosed(late))
        if self._lookout.handle_timer(now):
            self._tell(now)
        self._drain()

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what goes to servers."""
        return self._lookout.datagrams_to_send()

    def _tell(self, now: float) -> None:
        self._paths.tcp_changed()
        self._paths.tcp_known(now)
        self._drain()

    def _drain(self) -> None:
        self._events.extend(self._lookout.events)
        self._lookout.events.clear()
