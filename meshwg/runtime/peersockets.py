"""Connected sockets for the peers whose packets come one at a time.

Datagrams from another source, or to another local address, still reach the socket for
all. So a peer that roams is heard; the socket that it had is of no use then, and does
no harm until another peer's takes its place.
"""

from collections.abc import Callable

from meshwg.runtime.connected_udp import ConnectedUdpSocket
from meshwg.runtime.routes import Routes
from meshwg.runtime.udp import UdpSockets
from meshwg.transmit import UDP, Endpoint

CONNECT_AFTER = 8
"""Lone packets to an endpoint after which it gets a socket of its own."""
MAX_CONNECTED = 64
"""Endpoints with a socket of their own; the oldest socket makes room for a new one."""
MAX_COUNTED = 1024
"""Endpoints whose lone packets are counted; with one more, counting starts over."""


class PeerSockets:
    """Which endpoints have a socket of their own.

    :param on_opened: called with a socket that must be read from now on.
    :param on_closing: called with a socket that must no longer be read.
    """

    def __init__(
        self,
        on_opened: Callable[[ConnectedUdpSocket], None],
        on_closing: Callable[[ConnectedUdpSocket], None],
    ) -> None:
        self._on_opened = on_opened
        self._on_closing = on_closing
        self._sockets: dict[Endpoint, ConnectedUdpSocket] = {}
        self._sent: dict[Endpoint, int] = {}

    def get(self, endpoint: Endpoint) -> ConnectedUdpSocket | None:
        """Return the endpoint's own socket, if it has one."""
        return self._sockets.get(endpoint)

    def sent_alone(self, endpoint: Endpoint, sockets: UdpSockets) -> None:
        """Count a lone packet that went through a socket for all."""
        if endpoint.source is None or endpoint.link != UDP:
            return
        if endpoint not in self._sent and len(self._sent) >= MAX_COUNTED:
            self._sent.clear()
        self._sent[endpoint] = count = self._sent.get(endpoint, 0) + 1
        if count == CONNECT_AFTER:
            self._open(endpoint, sockets)

    def close(self, endpoint: Endpoint) -> None:
        """Close an endpoint's socket; the next one takes as many lone packets again."""
        sock = self._sockets.pop(endpoint)
        self._sent.pop(endpoint, None)
        self._on_closing(sock)
        sock.close()

    def follow_routes(self, routes: Routes) -> None:
        """Close the sockets from which the host's routes do not lead any more."""
        for endpoint, sock in list(self._sockets.items()):
            if not sock.leads_there(routes):
                self.close(endpoint)
        # Endpoints that could not have one may have one now.
        for endpoint in self._sent.keys() - self._sockets.keys():
            del self._sent[endpoint]

    def close_all(self) -> None:
        """Close all sockets, as before the port or the mark changes."""
        for endpoint in list(self._sockets):
            self.close(endpoint)
        self._sent.clear()

    def _open(self, endpoint: Endpoint, sockets: UdpSockets) -> None:
        parent = sockets.of(endpoint)
        if parent is None or not parent.is_pinned(endpoint):
            return
        try:
            sock = parent.connected(endpoint)
        except OSError:
            return  # The socket for all serves, too, and this is not tried again soon.
        if len(self._sockets) >= MAX_CONNECTED:
            self.close(next(iter(self._sockets)))
        self._sockets[endpoint] = sock
        self._on_opened(sock)
