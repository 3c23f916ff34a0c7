"""UDP sockets that are connected to one endpoint, beside the socket for all.

They need no address and no control message with what they send and receive, and the
kernel looks up the route once and not for each datagram: for a program that was woken
by a single packet, that is a tenth of the round trip.
"""

import socket
from collections.abc import Callable

from meshwg.runtime.pktinfo import address_of, pktinfo
from meshwg.runtime.routes import Routes
from meshwg.runtime.socket_options import (
    SO_BINDTOIFINDEX,
    allow_fragments,
    bind_beside,
    enlarge_buffers,
    get_fwmark,
    set_fwmark,
)
from meshwg.runtime.udp_receiver import UdpReceiver
from meshwg.transmit import Endpoint


class ConnectedUdpSocket(UdpReceiver):
    """A socket that hears and sends to one endpoint only.

    :param sock: connected to the endpoint, and bound to the endpoint's source.
    """

    def __init__(self, sock: socket.socket, remote: Endpoint) -> None:
        super().__init__(sock, remote.link, local=remote.source)
        enlarge_buffers(sock)
        allow_fragments(sock)
        self.remote: Endpoint = remote
        self.remote_address = sock.getpeername()
        self._endpoints[self.remote_address, b""] = remote
        self.send_alone: Callable[[bytes], int] = sock.send
        """Send a datagram to :attr:`remote`.

        :raises OSError: if it is not sent, or one before it was refused.
        """
        if sock.family == socket.AF_INET6:
            self.send_alone = self._send_pinned
        self._send = sock.sendmsg
        self._pktinfo = pktinfo(remote.source)

    @classmethod
    def beside(cls, other: socket.socket, remote: Endpoint) -> "ConnectedUdpSocket":
        """Return a socket at the port of another one, and with its mark.

        :param remote: an endpoint with a source, which the socket is bound to.
        :raises OSError: if the system refuses, or cannot (before Linux 5.1).
        """
        assert remote.source is not None, "a connected socket has a local address"
        sock = socket.socket(other.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            interface = remote.source.interface
            sock.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, interface)
            set_fwmark(sock, get_fwmark(other))
            bind_beside(sock, other, remote.source.host)
            sock.connect(address_of(remote, is_ipv4=other.family == socket.AF_INET))
            return cls(sock, remote)
        except BaseException:
            sock.close()
            raise

    def leads_there(self, routes: Routes) -> bool:
        """Return whether the host's routes to the remote are still those it has."""
        return routes.source_for(self.remote, self._socket) == self.remote.source

    def _send_pinned(self, datagram: bytes) -> int:
        """Send to the remote, if the source address is still this host's.

        For IPv6, the kernel does not ask that of a connected socket by itself.
        """
        return self._send((datagram,), self._pktinfo)
