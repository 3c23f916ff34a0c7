"""Where this machine's programs ask for names: UDP and TCP at addresses of its own."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from meshwg.dns.forwarder import Asker
from meshwg.dns.framing import MessageReader, framed
from meshwg.dns.message import MAX_QUERY

DNS_PORT = 53
BATCH = 32
"""Datagrams that are read before others have their turn."""
MAX_STREAMS = 64
"""Connections at once."""
MAX_UNSENT = 256 * 1024
"""Bytes that wait for an asker who does not read."""
IDLE = 10.0
"""Seconds for which a connection may say nothing (RFC 7766 section 6.2.3)."""
IP_FREEBIND, IPV6_FREEBIND = 15, 78
"""Linux's numbers: an address may be bound to before it is there."""

Place = tuple[str, int]
"""An address and a port; port 0 takes any."""


@dataclass(slots=True)
class _Listening:
    """The two sockets at a place."""

    datagrams: socket.socket
    streams: asyncio.Server


class Stub:
    """Carries questions in, and answers back.

    :param on_query: called with each question, and who asks.
    :param on_turn: called after questions were handed in.
    """

    def __init__(
        self, on_query: Callable[[bytes, Asker], None], on_turn: Callable[[], None]
    ) -> None:
        self._on_query = on_query
        self._on_turn = on_turn
        self._places: dict[Place, _Listening] = {}
        self._open: dict[StreamAsker, None] = {}

    async def listen(self, places: Iterable[Place]) -> dict[Place, str]:
        """Listen at these places, and no longer at others.

        :returns: why the system refuses some, by place.
        """
        wanted = dict.fromkeys(places)
        for place in [each for each in self._places if each not in wanted]:
            self._close(self._places.pop(place))
        refused = {}
        for place in wanted:
            if place not in self._places:
                try:
                    self._places[place] = await self._bind(place)
                except OSError as error:
                    refused[place] = error.strerror or str(error)
        return refused

    @property
    def places(self) -> list[Place]:
        """Where questions are taken."""
        return [(host, self.port_of((host, port))) for host, port in self._places]

    def port_of(self, place: Place) -> int:
        """Return the port of a place that is listened at."""
        port: int = self._places[place].datagrams.getsockname()[1]
        return port

    def is_at(self, place: Place) -> bool:
        """Tell whether a place is listened at."""
        return place in self._places

    def send(self, asker: Asker, answer: bytes) -> None:
        """Send an answer to who asked."""
        if isinstance(asker.way, StreamAsker):
            asker.way.send(answer)
        elif isinstance(asker.way, tuple):
            sock, address = asker.way
            # Whoever does not read it asks again.
            with contextlib.suppress(OSError):
                sock.sendto(answer, address)

    def close(self) -> None:
        """Stop listening."""
        for listening in self._places.values():
            self._close(listening)
        self._places.clear()
        for stream in list(self._open):
            stream.abort()

    async def _bind(self, place: Place) -> _Listening:
        """Open both sockets at one port.

        :raises OSError: if one of them cannot be had.
        """
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undo:
            datagrams = undo.enter_context(_bound(place, socket.SOCK_DGRAM))
            port = datagrams.getsockname()[1]
            listener = undo.enter_context(_bound((place[0], port), socket.SOCK_STREAM))
            streams = await loop.create_server(
                lambda: StreamAsker(self._open, self._on_message), sock=listener
            )
            undo.pop_all()
        loop.add_reader(datagrams, self._read, datagrams)
        return _Listening(datagrams, streams)

    def _close(self, listening: _Listening) -> None:
        asyncio.get_running_loop().remove_reader(listening.datagrams)
        listening.datagrams.close()
        listening.streams.close()

    def _read(self, sock: socket.socket) -> None:
        for _ in range(BATCH):
            try:
                data, address = sock.recvfrom(MAX_QUERY + 1)
            except OSError:
                # Nothing is left, or what was sent before could not be delivered.
                break
            asker = Asker(address[0], False, (sock, address))
            self._on_query(data, asker)
        self._on_turn()

    def _on_message(self, message: bytes, asker: Asker) -> None:
        self._on_query(message, asker)
        self._on_turn()


class StreamAsker(asyncio.Protocol):
    """A connection on which questions come.

    :param among: all that are open; it is in there while it is.
    """

    def __init__(
        self,
        among: dict["StreamAsker", None],
        on_message: Callable[[bytes, Asker], None],
    ) -> None:
        self._among = among
        self._on_message = on_message
        self._reader = MessageReader()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._host = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._host = (transport.get_extra_info("peername") or ("",))[0]
        if len(self._among) >= MAX_STREAMS:
            # The one that has been there for longest has had its answers.
            next(iter(self._among)).abort()
        self._among[self] = None
        self._wait()

    def data_received(self, data: bytes) -> None:
        for message in self._reader.receive_data(data):
            self._on_message(message, Asker(self._host, True, self))
        self._wait()
        if self._reader.is_broken:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()

    def send(self, answer: bytes) -> None:
        """Send an answer, if the asker still is there and reads."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(framed(answer))
        if transport.get_write_buffer_size() > MAX_UNSENT:
            self.abort()

    def abort(self) -> None:
        """End the connection."""
        self._forget()
        if self._transport is not None:
            self._transport.abort()

    def _wait(self) -> None:
        """Wait for what comes next, though not for ever."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(IDLE, self.abort)

    def _forget(self) -> None:
        self._among.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()


def _bound(place: Place, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place)
    except OSError:
        sock.close()
        raise
    return sock
