"""UDP sockets that carry batches: segmentation offloads and sticky source addresses.

One ``sendmsg`` with UDP_SEGMENT hands the kernel up to 64 datagrams, one ``recvmsg``
with UDP_GRO returns as many: system calls cost more than everything else here. Each
received :class:`~meshwg.transmit.Endpoint` remembers the local address it was sent to
(IP_PKTINFO), and whatever is sent to that endpoint leaves from there.

Nothing that the network does raises: a datagram that cannot be sent is counted, as if
it had been lost on its way.
"""

import contextlib
import errno
import os
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence

from meshwg.errors import ConfigError
from meshwg.runtime.connected_udp import ConnectedUdpSocket
from meshwg.runtime.pktinfo import (
    Address,
    Ancillary,
    address_of,
    ask_for_pktinfo,
    hop_limit,
    pktinfo,
)
from meshwg.runtime.routes import Routes
from meshwg.runtime.socket_options import (
    SOL_UDP,
    UDP_SEGMENT,
    allow_fragments,
    can_segment,
    enlarge_buffers,
    set_fwmark,
)
from meshwg.runtime.udp_receiver import CACHE_SIZE, UdpReceiver
from meshwg.transmit import UDP, Endpoint, Source, Transmit

MAX_SEGMENTS = 64
"""UDP_MAX_SEGMENTS of the oldest kernels with UDP_SEGMENT."""
MAX_BATCH = 65507
"""The longest UDP payload of an IPv4 packet."""
MAX_WAITING = 1024
"""Batches kept while a socket blocks."""
BIND_ATTEMPTS = 100

SOURCE_IS_GONE = (errno.ENETUNREACH, errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENODEV)
"""A pinned source that was removed: IPv4 gives the first, IPv6 the second; the last,
if its interface went too."""
CANNOT_SEGMENT = (errno.EIO, errno.EINVAL, errno.EMSGSIZE)
"""EIO: never on this socket. The others: not these datagrams, on their route."""


class UdpSocket(UdpReceiver):
    """One UDP socket of one address family, for all endpoints.

    :param on_unpinned: called with an endpoint, without its source, whose sticky
        source address has gone: what is sent there must not be pinned again.
    """

    def __init__(
        self,
        sock: socket.socket,
        link: int = UDP,
        on_unpinned: Callable[[Endpoint], None] | None = None,
    ) -> None:
        super().__init__(sock, link)
        enlarge_buffers(sock)
        allow_fragments(sock)
        ask_for_pktinfo(sock)
        self.on_unpinned = on_unpinned
        self._is_ipv4 = sock.family == socket.AF_INET
        self._gso = can_segment(sock)
        self._waiting: deque[Transmit] = deque()
        self._send = sock.sendmsg
        self._routes: dict[Endpoint, tuple[Address, list[Ancillary]]] = {}

    @classmethod
    def open(
        cls,
        family: socket.AddressFamily,
        port: int = 0,
        link: int = UDP,
        fwmark: int = 0,
        on_unpinned: Callable[[Endpoint], None] | None = None,
    ) -> "UdpSocket":
        """Return a socket bound to ``port`` on all addresses of ``family``.

        :raises OSError: EADDRINUSE if the port is taken, EAFNOSUPPORT if the system
            does not have the family, EPERM if it does not permit the mark.
        """
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            set_fwmark(sock, fwmark)
            sock.bind(("", port))
            return cls(sock, link, on_unpinned)
        except BaseException:
            sock.close()
            raise

    @property
    def is_ipv4(self) -> bool:
        """Whether its address family is IPv4."""
        return self._is_ipv4

    @property
    def is_blocked(self) -> bool:
        """Whether batches wait for the socket to become writable."""
        return bool(self._waiting)

    def set_fwmark(self, mark: int) -> None:
        """Mark what is sent from now on (SO_MARK), 0 for no mark.

        :raises OSError: EPERM without the privilege.
        """
        set_fwmark(self._socket, mark)

    def close(self) -> None:
        """Close the socket and forget what waits."""
        self._waiting.clear()
        super().close()

    def send(self, transmit: Transmit) -> bool:
        """Send a batch; return whether the socket takes more.

        ``False`` means that the socket blocks. What was not sent is kept, and goes
        first, when :meth:`flush` is called after the socket has become writable.
        """
        datagrams = transmit.datagrams
        route = self._routes.get(transmit.destination)
        if len(datagrams) == 1 and not self._waiting and route and not transmit.ttl:
            address, ancillary = route
            try:
                self._send(datagrams, ancillary, 0, address)
                return True
            except OSError:
                pass  # What follows meets the same error, and deals with it.
        if self._waiting:
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(transmit)
            else:
                self.errors["ENOBUFS"] += len(datagrams)
            return False
        return self._send_all(transmit)

    def follow_routes(self, routes: Routes) -> None:
        """Send to known endpoints from where the host's routes lead by now."""
        for endpoint, (address, _) in list(self._routes.items()):
            if endpoint.source is not None:
                source = routes.source_for(endpoint, self._socket)
                self._routes[endpoint] = address, pktinfo(source)

    def source_for(self, endpoint: Endpoint, routes: Routes) -> Source | None:
        """Return from where datagrams to an endpoint with a source should leave."""
        return routes.source_for(endpoint, self._socket)

    def is_pinned(self, endpoint: Endpoint) -> bool:
        """Return whether datagrams to an endpoint leave from its source."""
        return self._route(endpoint)[1] == pktinfo(endpoint.source)

    def connected(self, remote: Endpoint) -> ConnectedUdpSocket:
        """Return another socket of the same port, which hears one endpoint only.

        Its errors are counted with those of this one.

        :param remote: an endpoint with a source, which the socket is bound to.
        :raises OSError: if the system refuses, or cannot (before Linux 5.1).
        """
        own = ConnectedUdpSocket.beside(self._socket, remote)
        own.errors = self.errors
        return own

    def flush(self) -> bool:
        """Send what waits; return whether the socket takes more."""
        while self._waiting:
            if not self._send_all(self._waiting.popleft()):
                return False
        return True

    def _send_all(self, transmit: Transmit) -> bool:
        """Send the runs of a batch, keeping the rest if the socket blocks."""
        datagrams, endpoint = transmit.datagrams, transmit.destination
        limit = MAX_SEGMENTS if self._gso else 1
        start = 0
        while start < len(datagrams):
            end = _end_of_run(datagrams, start, limit)
            try:
                self._send_run(endpoint, datagrams[start:end], transmit.ttl)
            except BlockingIOError:
                rest = Transmit(endpoint, datagrams[start:], transmit.ttl)
                self._waiting.appendleft(rest)
                return False
            except OSError as error:
                if endpoint.source is not None and error.errno in SOURCE_IS_GONE:
                    endpoint = self._unpin(endpoint)
                    continue
                if end - start > 1 and error.errno in CANNOT_SEGMENT:
                    self._gso = self._gso and error.errno != errno.EIO
                    limit = 1
                    continue
                self._count(error, end - start)
            start = end
        return True

    def _send_run(
        self, endpoint: Endpoint, run: Sequence[bytes], ttl: int | None
    ) -> None:
        """Send datagrams of equal length, the last perhaps shorter, by one call."""
        address, ancillary = self._route(endpoint)
        if len(run) > 1:
            segment_size = len(run[0]).to_bytes(2, sys.byteorder)
            ancillary = [*ancillary, (SOL_UDP, UDP_SEGMENT, segment_size)]
        if ttl is not None:
            ancillary = [*ancillary, hop_limit(ttl, is_ipv4=self._is_ipv4)]
        self._send(run, ancillary, 0, address)

    def _unpin(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint without its source, after telling the owner."""
        unpinned = endpoint.unpinned()
        if self.on_unpinned is not None:
            self.on_unpinned(unpinned)
        return unpinned

    def _route(self, endpoint: Endpoint) -> tuple[Address, list[Ancillary]]:
        return self._routes.get(endpoint) or self._remember_route(endpoint)

    def _remember_route(self, endpoint: Endpoint) -> tuple[Address, list[Ancillary]]:
        """Return the socket address and the control messages for an endpoint."""
        address = address_of(endpoint, is_ipv4=self._is_ipv4)
        route = (address, pktinfo(endpoint.source))
        if len(self._routes) >= CACHE_SIZE:
            self._routes.clear()
        self._routes[endpoint] = route
        return route


class UdpSockets:
    """An IPv4 and an IPv6 socket on one port; a system may lack one of the families."""

    def __init__(self, ipv4: UdpSocket | None, ipv6: UdpSocket | None) -> None:
        self.ipv4 = ipv4
        self.ipv6 = ipv6
        self.errors: Counter[str] = Counter()
        """What had no socket to go through."""

    @classmethod
    def open(
        cls,
        port: int = 0,
        fwmark: int = 0,
        on_unpinned: Callable[[Endpoint], None] | None = None,
    ) -> "UdpSockets":
        """Return sockets bound to one port, a free one if ``port`` is 0.

        :raises OSError: EADDRINUSE if the port is taken in either family,
            EAFNOSUPPORT if the system has neither, EPERM if it forbids the mark.
        """
        for attempts_left in reversed(range(BIND_ATTEMPTS)):
            ipv4 = _open_if_supported(socket.AF_INET, port, fwmark, on_unpinned)
            try:
                same = ipv4.port if ipv4 else port
                ipv6 = _open_if_supported(socket.AF_INET6, same, fwmark, on_unpinned)
            except OSError as error:
                if ipv4:
                    ipv4.close()
                is_taken = error.errno == errno.EADDRINUSE
                if not (is_taken and port == 0 and attempts_left):
                    raise
                continue
            if ipv4 is None and ipv6 is None:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            return cls(ipv4, ipv6)
        raise AssertionError("The last attempt returns or raises")

    def __iter__(self) -> Iterator[UdpSocket]:
        """Iterate over the sockets that exist."""
        return (sock for sock in (self.ipv4, self.ipv6) if sock is not None)

    @property
    def port(self) -> int:
        """The local port of both."""
        return next(iter(self)).port

    def send(self, transmit: Transmit) -> bool:
        """Send through the socket of the destination's family (:meth:`UdpSocket.send`).

        What has no socket is counted and lost: the answer is ``True``.
        """
        sock = self.of(transmit.destination)
        if sock is None:
            self.errors["EAFNOSUPPORT"] += len(transmit.datagrams)
            return True
        return sock.send(transmit)

    def of(self, endpoint: Endpoint) -> UdpSocket | None:
        """Return the socket of the endpoint's family, if there is one."""
        return self.ipv6 if ":" in endpoint.host else self.ipv4

    def set_fwmark(self, mark: int) -> None:
        """Mark what is sent from now on; see :meth:`UdpSocket.set_fwmark`."""
        for sock in self:
            sock.set_fwmark(mark)

    def close(self) -> None:
        """Close both sockets."""
        for sock in self:
            sock.close()


def _open_if_supported(
    family: socket.AddressFamily,
    port: int,
    fwmark: int,
    on_unpinned: Callable[[Endpoint], None] | None,
) -> UdpSocket | None:
    """Return a socket, or ``None`` if the system does not have the family."""
    try:
        return UdpSocket.open(family, port, UDP, fwmark, on_unpinned)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None
        raise


def _end_of_run(datagrams: Sequence[bytes], start: int, limit: int) -> int:
    """Return where the datagrams end that may go with the first by one call."""
    size = len(datagrams[start])
    end = start + 1
    if size == 0:
        return end
    stop = min(len(datagrams), start + min(limit, MAX_BATCH // size))
    while end < stop and len(datagrams[end]) == size:
        end += 1
    if end < stop and 0 < len(datagrams[end]) < size:
        end += 1
    return end


def open_sockets(
    port: int, last_port: int, fwmark: int, on_unpinned: Callable[[Endpoint], None]
) -> UdpSockets:
    """Open a node's sockets; where any port will do, those of the last run.

    :raises ConfigError: if the port cannot be had.
    """
    if port == 0 and last_port != 0:
        with contextlib.suppress(OSError):
            return UdpSockets.open(last_port, fwmark, on_unpinned)
    try:
        return UdpSockets.open(port, fwmark, on_unpinned)
    except OSError as error:
        raise ConfigError(
            f"UDP port {port} cannot be used ({error.strerror}): choose another "
            "--listen-port, or 0 for any"
        ) from None
