"""UDP sockets that are connected to one endpoint, beside the socket for all.

They need no address and no control message with what they send and receive, and the
kernel looks up the route once and not for each datagram: for a program that was woken
by a single packet, that is a tenth of the round trip.
"""

import socket
from collections.abc import Callable
from contextlib import suppress

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
from meshwg.transmit import Endpoint, Source


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
        host = remote.source.host
        address = address_of(remote, is_ipv4=other.family == socket.AF_INET)
        # From when it is bound until it is closed, a socket takes what is sent to the
        # port. So whether the system connects it is tried out at another port.
        with _on_interface_of(remote.source, other) as trial:
            trial.bind((host, 0))
            trial.connect(address)
        sock = _on_interface_of(remote.source, other)
        try:
            bind_beside(sock, other, host)
            sock.connect(address)
            return cls(sock, remote)
        except BaseException:
            sock.close()
            raise

    def turn_away(self) -> None:
        """Hear no more: what comes from now on reaches the socket for all.

        What came before can still be received. Without this, a datagram would be lost
        that comes after the last was received and before the socket is closed.
        """
        # It hears nobody but itself, which is silent. If its address is gone, so that
        # this fails, nothing comes there any more.
        with suppress(OSError):
            self._socket.connect(self._socket.getsockname())

    def leads_there(self, routes: Routes) -> bool:
        """Return whether the host's routes to the remote are still those it has."""
        return routes.source_for(self.remote, self._socket) == self.remote.source

    def _send_pinned(self, datagram: bytes) -> int:
        """Send to the remote, if the source address is still this host's.

        For IPv6, the kernel does not ask that of a connected socket by itself.
        """
        return self._send((datagram,), self._pktinfo)


def _on_interface_of(source: Source, other: socket.socket) -> socket.socket:
    """Return a new socket for one interface, with the mark of another socket."""
    sock = socket.socket(other.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, source.interface)
        set_fwmark(sock, get_fwmark(other))
    except BaseException:
        sock.close()
        raise
    return sock
