"""Streams to peers: a port at which they are accepted, and ports to dial from.

A *hole* is a local port that several streams share (SO_REUSEPORT): those by which
servers see how a NAT maps it, and those that go through the NAT to a peer then. Nobody
listens at it, see :mod:`meshwg.path.dialer`.
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable

from meshwg.runtime.socket_options import get_fwmark, set_fwmark
from meshwg.runtime.stream import MessageStream
from meshwg.transmit import Endpoint

BACKLOG = 64
"""Connections that wait to be accepted."""

ACCEPTED_AT_ONCE = 16
"""Connections accepted before anything else is looked at."""

ACCEPTED = 50
WINDOW = 0.25
"""Connections accepted within so many seconds. Those that come too fast wait in the
backlog, and where that is full the system drops them, for next to nothing."""

PAUSE = 1.0
"""Seconds without accepting when there are no descriptors left."""

USER_TIMEOUT = 10_000
"""Milliseconds without acknowledgement after which the system gives a stream up."""

UNSENT = 32 << 10
"""Bytes that the system keeps without having sent them: what waits there can no longer
be dropped for something newer."""

WRITE_BUFFER = 16 << 10
"""Bytes that asyncio keeps beside that."""

MAX_HOLES = 64
"""Holes whose local ports are remembered."""

_TCP_NOTSENT_LOWAT = 25
_IP_MINTTL = 21
_IPV6_MINHOPCOUNT = 73
_DEFAULT_TTL = -1
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

logger = logging.getLogger(__name__)


class PeerStream(MessageStream):
    """A stream between this node and a peer, or whoever is at the other end.

    :param sock: of a connection that was accepted.
    :param connect: else returns a connected socket.
    """

    far_end = "The peer"

    def __init__(
        self,
        sock: socket.socket | None = None,
        connect: Callable[[], Awaitable[socket.socket]] | None = None,
    ) -> None:
        super().__init__(
            on_open=_nothing,
            on_data=_nothing,
            on_close=_nothing,
            write_buffer=WRITE_BUFFER,
        )
        self._socket = sock
        self._dial = connect

    def start(
        self,
        *,
        on_open: Callable[[], None],
        on_data: Callable[[bytes], None],
        on_close: Callable[[str], None],
    ) -> None:
        """Connect, and report from now on what happens."""
        self._on_open, self._on_data, self._on_close = on_open, on_data, on_close
        self._connect(self._open)

    def close(self) -> None:
        """Close the stream at once.

        What is on its way is lost, and the system does not keep the addresses busy for
        a minute (TIME_WAIT): the peer may have to be dialled again from this port.
        """
        self._backlog.clear()
        sock, self._socket = self._socket, None
        transport, self._transport = self._transport, None
        super().close()
        if sock is not None:
            _reset_when_closed(sock)
        if transport is not None:
            transport.abort()
        elif sock is not None:
            sock.close()

    async def _open(self) -> None:
        if self._dial is not None:
            self._socket = await self._dial()
        sock = self._socket
        assert sock is not None
        try:
            _prefer_the_newest(sock)
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: self, sock=sock)
        except BaseException:
            sock.close()
            raise


class TcpPort:
    """The listeners of a node, IPv4 and IPv6, at one port."""

    def __init__(self, listeners: list[socket.socket]) -> None:
        self._listeners = listeners
        self._on_accept: Callable[[socket.socket, Endpoint], None] | None = None
        self._resuming: asyncio.TimerHandle | None = None
        self._window_ends = 0.0
        self._room = 0
        """Connections that may still be accepted in this window."""
        self._holes: dict[tuple[int | None, socket.AddressFamily], int] = {}

    @classmethod
    def open(cls, port: int, fwmark: int = 0) -> "TcpPort | None":
        """Return listeners at this port, or at another one if it is taken.

        ``None`` if the system lets nobody listen: there are no streams then.
        """
        for wanted in (port, 0):
            try:
                return cls(_listen_at(wanted, fwmark))
            except OSError as error:
                logger.debug("TCP port %d cannot be used: %s", wanted, error)
        return None

    @property
    def port(self) -> int:
        """The port of all listeners."""
        number: int = self._listeners[0].getsockname()[1]
        return number

    def start(self, on_accept: Callable[[socket.socket, Endpoint], None]) -> None:
        """Accept connections, and hand over each with where it comes from."""
        self._on_accept = on_accept
        self._resume()

    def dial(
        self, endpoint: Endpoint, hole: int | None = None, ttl: int | None = None
    ) -> PeerStream:
        """Return a stream to an endpoint, which connects when it is started.

        :param ttl: the hop limit of the first SYN.
        """
        return PeerStream(connect=lambda: self._connect(endpoint, hole, ttl))

    async def _connect(
        self, endpoint: Endpoint, hole: int | None, ttl: int | None
    ) -> socket.socket:
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        mark = get_fwmark(self._listeners[0])
        sock = _bound(family, self._holes.get((hole, family), 0), mark)
        try:
            self._remember(hole, family, sock.getsockname()[1])
            address = (endpoint.host, endpoint.port)
            if ttl is None or not _send_opener(sock, address, ttl):
                await asyncio.get_running_loop().sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock

    def _remember(
        self, hole: int | None, family: socket.AddressFamily, port: int
    ) -> None:
        if hole is not None:
            self._holes[hole, family] = port
            while len(self._holes) > MAX_HOLES:
                del self._holes[next(iter(self._holes))]

    def close(self) -> None:
        """Accept no more."""
        self._pause()
        self._on_accept = None
        for listener in self._listeners:
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() >= self._window_ends:
            self._window_ends, self._room = loop.time() + WINDOW, ACCEPTED
        for _ in range(min(ACCEPTED_AT_ONCE, self._room)):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS:
                    # It would be ready again at once, and again for nothing.
                    self._rest(PAUSE)
                    return
                continue  # That connection is gone; the next may be there.
            self._room -= 1
            sock.setblocking(False)
            if self._on_accept is not None:
                self._on_accept(sock, Endpoint(address[0], address[1]))
        if not self._room:
            self._rest(max(0.0, self._window_ends - loop.time()))

    def _rest(self, seconds: float) -> None:
        self._pause()
        if self._on_accept is not None:
            loop = asyncio.get_running_loop()
            self._resuming = loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.add_reader(listener.fileno(), self._accept, listener)

    def _pause(self) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
        if self._on_accept is not None:
            loop = asyncio.get_running_loop()
            for listener in self._listeners:
                loop.remove_reader(listener.fileno())


def _listen_at(port: int, fwmark: int) -> list[socket.socket]:
    """Return listeners of the IP versions that the system has, at one port.

    :raises OSError: if the port is taken in either, or nothing can be listened at.
    """
    listeners: list[socket.socket] = []
    try:
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                sock = _bound(family, port, fwmark, shared=False)
            except OSError as error:
                if error.errno == errno.EAFNOSUPPORT:
                    continue
                raise
            listeners.append(sock)
            sock.listen(BACKLOG)
            port = sock.getsockname()[1]
        if not listeners:
            raise OSError(errno.EAFNOSUPPORT, "there is no TCP")
    except BaseException:
        for sock in listeners:
            sock.close()
        raise
    return listeners


def _bound(
    family: socket.AddressFamily, port: int, fwmark: int, *, shared: bool = True
) -> socket.socket:
    """Return a socket bound to a port.

    :param shared: whether others may have the port, too.
    """
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        set_fwmark(sock, fwmark)
        sock.bind(("", port))
    except BaseException:
        sock.close()
        raise
    return sock


def _send_opener(sock: socket.socket, address: tuple[str, int], ttl: int) -> bool:
    """Begin to connect with a SYN that ends on the way; return whether it is done.

    The SYNs that the system sends later go all the way. The router at which this one
    ends says so, and for that Linux would give up; but it ignores what is said of
    packets that had fewer hops left than the socket takes (IP_MINTTL).
    """
    if sock.family == socket.AF_INET:
        level, limit, least = socket.IPPROTO_IP, socket.IP_TTL, _IP_MINTTL
    else:
        level, limit = socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS
        least = _IPV6_MINHOPCOUNT
    sock.setsockopt(level, least, ttl)
    sock.setsockopt(level, limit, ttl)
    error = sock.connect_ex(address)
    sock.setsockopt(level, limit, _DEFAULT_TTL)
    if error not in (0, errno.EINPROGRESS):
        raise OSError(error, os.strerror(error))
    return error == 0


def _prefer_the_newest(sock: socket.socket) -> None:
    """Keep little in the system, and notice soon that nothing arrives any more."""
    tcp = socket.IPPROTO_TCP
    sock.setsockopt(tcp, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)
    sock.setsockopt(tcp, _TCP_NOTSENT_LOWAT, UNSENT)


def refuse(sock: socket.socket) -> None:
    """Close a connection that was accepted, and keep nothing of it."""
    _reset_when_closed(sock)
    sock.close()


def _reset_when_closed(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # It may be gone.
        linger = struct.pack("ii", 1, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def _nothing(*_: object) -> None:
    """Hear of nothing before the start."""
