"""The ways out beside the node's own UDP sockets: auxiliary sockets, and streams.

Each has a link number. The node asks for them and is told when they open and close; the
data plane reads the sockets, and sends through all of them.
"""

import logging
import socket
from collections.abc import Callable
from functools import partial

from meshwg.node import (
    DialWanted,
    Node,
    SocketsClosed,
    SocketsWanted,
    StreamsClosed,
)
from meshwg.proxies import Proxies
from meshwg.relay.pool import CloseStream, OpenStream
from meshwg.relay.server import WEBSOCKETS, RelayServer
from meshwg.runtime import clock
from meshwg.runtime.dataplane import Dataplane
from meshwg.runtime.relaywebsocket import RelayWebSocket
from meshwg.runtime.stream import RelayStream
from meshwg.runtime.surprises import Surprises
from meshwg.runtime.tcp import PeerStream, TcpPort, refuse
from meshwg.runtime.udp import UdpSocket
from meshwg.transmit import Endpoint

MAX_LINK = 0xFFFF
"""The highest number of an auxiliary socket; relays' numbers lie above."""

LinkEvent = (
    SocketsWanted
    | SocketsClosed
    | OpenStream
    | CloseStream
    | DialWanted
    | StreamsClosed
)
Way = UdpSocket | RelayStream | RelayWebSocket | PeerStream

logger = logging.getLogger(__name__)


class WaysOut:
    """A node's auxiliary sockets and streams, by link number.

    :param on_unpinned: of the sockets (:class:`~meshwg.runtime.udp.UdpSocket`).
    :param refuses: of the sockets, too: whether an index is of the node's interface.
    :param fwmark: marks what sockets and streams send (SO_MARK), 0 for no mark.
    :param tcp: by which streams to peers are opened and accepted.
    :param proxies: by which relays are reached where UDP does not get through.
    """

    def __init__(
        self,
        node: Node,
        dataplane: Dataplane,
        *,
        on_unpinned: Callable[[Endpoint], None],
        refuses: Callable[[int], bool],
        fwmark: int = 0,
        tcp: TcpPort | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self._node = node
        self._dataplane = dataplane
        self._on_unpinned = on_unpinned
        self._refuses = refuses
        self._fwmark = fwmark
        self._tcp = tcp
        self._proxies = proxies
        self._surprises = Surprises(logger)
        self._links: dict[int, Way] = {}
        self._last_link = 0

    def carry_out(self, event: LinkEvent) -> None:
        """Open or close what the node asks for."""
        match event:
            case SocketsWanted(request, family, count):
                self._open_sockets(request, family, count)
            case SocketsClosed(links) | StreamsClosed(links):
                for link in links:
                    self._close(link)
            case OpenStream(link, server):
                self._open_stream(link, server)
            case CloseStream(link):
                self._close(link)
            case DialWanted(endpoint, hole, ttl):
                self._dial(endpoint, hole, ttl)

    def start(self) -> None:
        """Accept streams of peers from now on."""
        if self._tcp is not None:
            self._tcp.start(self._accept)

    def get(self, number: int) -> Way | None:
        """Return the socket or stream of a link number, if there is one."""
        return self._links.get(number)

    def close(self) -> None:
        """Close everything, once the data plane has stopped."""
        if self._tcp is not None:
            self._tcp.close()
        for link in self._links.values():
            link.close()

    def _open_sockets(self, request: int, family: int, count: int) -> None:
        """Open sockets at random ports for a discovery or a birthday punch."""
        ports: dict[int, int] = {}
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        for _ in range(count):
            link = self._free_link()
            try:
                sock = UdpSocket.open(
                    kind,
                    link=link,
                    fwmark=self._fwmark,
                    on_unpinned=self._on_unpinned,
                )
            except OSError as error:
                logger.debug("Cannot open more sockets: %s", error)
                break
            sock.refuses = self._refuses
            self._links[link] = sock
            self._dataplane.add_link(link, sock)
            ports[link] = sock.port
        self._node.sockets_opened(request, ports, clock.now())

    def _free_link(self) -> int:
        while True:
            self._last_link = self._last_link % MAX_LINK + 1
            if self._last_link not in self._links:
                return self._last_link

    def _open_stream(self, link: int, server: RelayServer) -> None:
        open_way: Callable[..., RelayStream | RelayWebSocket] = RelayStream
        if server.transport in WEBSOCKETS:
            open_way = partial(RelayWebSocket, surprises=self._surprises)
        stream = open_way(
            server,
            on_open=lambda: self._on_stream_opened(link),
            on_data=lambda data: self._on_stream_data(link, data),
            on_close=lambda reason: self._on_stream_closed(link, reason),
            fwmark=self._fwmark,
            proxies=self._proxies,
        )
        self._links[link] = stream
        self._dataplane.add_link(link, stream)

    def _on_stream_opened(self, link: int) -> None:
        self._node.background.stream_opened(link, clock.now())
        self._dataplane.turn()

    def _on_stream_data(self, link: int, data: bytes) -> None:
        self._node.receive_stream(link, data, clock.now())
        self._dataplane.turn()

    def _on_stream_closed(self, link: int, reason: str) -> None:
        self._close(link)
        self._node.background.stream_closed(link, reason, clock.now())
        self._dataplane.turn()

    # Streams to peers.

    def _dial(self, endpoint: Endpoint, hole: int | None, ttl: int | None) -> None:
        assert self._tcp is not None
        self._add(endpoint.link, self._tcp.dial(endpoint, hole, ttl))

    def _accept(self, sock: socket.socket, remote: Endpoint) -> None:
        link = self._node.streaming.accepted(remote, clock.now())
        if link is None:
            refuse(sock)
            return
        self._add(link, PeerStream(sock))
        self._dataplane.turn()

    def _add(self, link: int, stream: PeerStream) -> None:
        self._links[link] = stream
        self._dataplane.add_link(link, stream)
        stream.start(
            on_open=lambda: self._on_peer_opened(link),
            on_data=lambda data: self._on_stream_data(link, data),
            on_close=lambda reason: self._on_peer_closed(link, reason),
        )

    def _on_peer_opened(self, link: int) -> None:
        self._node.streaming.opened(link, clock.now())
        self._dataplane.turn()

    def _on_peer_closed(self, link: int, reason: str) -> None:
        self._close(link)
        self._node.streaming.closed(link, reason, clock.now())
        self._dataplane.turn()

    def _close(self, number: int) -> None:
        self._dataplane.remove_link(number)
        link = self._links.pop(number, None)
        if link is not None:
            link.close()
