"""A WebSocket client (RFC 6455) for binary messages, with the protocol from wsproto.

It is opened by a URL, and uses TLS where the URL says so, without checking
certificates: who is at the other end is proved inside. Until then an answer is
anybody's, so no redirect is followed: it would let strangers choose what this machine
asks of its own network.
"""

import asyncio
import contextlib
import functools
import socket
from base64 import b64encode
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, unquote, urlsplit

from wsproto import ConnectionType, WSConnection, events
from wsproto.utilities import ProtocolError

from meshwg.proxies import Proxies
from meshwg.runtime.dialing import dial
from meshwg.runtime.openssl import load_ssl
from meshwg.wire.token import host_name

if TYPE_CHECKING:
    from ssl import SSLContext

WRITE_BUFFER = 64 << 10
"""Bytes that wait to be sent above which a WebSocket is full."""
CLOSE_TIMEOUT = 1.0
"""Seconds to wait for the other end's half of the close."""

NORMAL_CLOSURE = 1000
PROTOCOL_ERROR = 1002
MESSAGE_TOO_BIG = 1009

_RECEIVE_SIZE = 1 << 16
_LITERAL = "%/:?#[]@!$&'()*+,;=~"
"""What may stand in a request as it is."""
_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class NoWebSocket(Exception):
    """The server answered, but opens no WebSocket.

    :ivar status: of its HTTP answer.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class WebSocket:
    """One WebSocket that is open; to be closed by :meth:`close`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        max_size: int,
    ) -> None:
        self.close_code: int | None = None
        """That of the other end, once it has closed."""
        self._reader = reader
        self._writer = writer
        self._max_size = max_size
        self._writer.transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._message = bytearray()
        self._messages: deque[bytes] = deque()
        self._is_closing = False
        self._has_answered = False
        """Whether an answer may still wait to be sent."""

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        max_size: int,
        fwmark: int = 0,
        proxies: Proxies | None = None,
    ) -> "WebSocket":
        """Return a WebSocket to the resource at a URL.

        :param max_size: bytes of the largest message that is received.
        :param fwmark: marks what is sent (SO_MARK), 0 for no mark.
        :param proxies: by which hosts are reached; by default directly.
        :raises OSError: if there is no connection, or it breaks.
        :raises NoWebSocket: if the server does not want a WebSocket.
        """
        parts, host, port = _parse(url)
        way = proxies or Proxies()
        streams = await _connect(parts.scheme, host, port, fwmark, way)
        websocket = cls(*streams, max_size)
        try:
            await websocket._shake_hands(parts, f"[{host}]" if ":" in host else host)
        except BaseException:
            websocket._writer.transport.abort()
            raise
        return websocket

    @property
    def socket(self) -> socket.socket:
        """The TCP socket, for its options."""
        found: socket.socket = self._writer.get_extra_info("socket")
        return found

    async def send(self, message: bytes) -> None:
        """Send a message; return when there is room for more.

        :raises ConnectionError: if the connection is gone.
        """
        self.write(message)
        await self._writer.drain()

    def write(self, message: bytes) -> None:
        """Send a message without waiting for room, see :attr:`is_full`.

        :raises ConnectionError: if the connection is gone.
        """
        if self._is_closing or self._writer.transport.is_closing():
            raise ConnectionResetError("The WebSocket is closed")
        self._writer.write(self._protocol.send(events.BytesMessage(data=message)))

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be sent that more should wait elsewhere."""
        transport = self._writer.transport
        return transport.get_write_buffer_size() > WRITE_BUFFER

    async def drain(self) -> None:
        """Return when there is room for more.

        :raises ConnectionError: if the connection is gone.
        """
        await self._writer.drain()

    def leave(self) -> None:
        """Say goodbye, and close when all that was written before has left."""
        if not self._is_closing and not self._writer.transport.is_closing():
            self._say_goodbye(NORMAL_CLOSURE)
        self._is_closing = True
        self._writer.close()

    async def receive(self) -> bytes | None:
        """Return the next message, or ``None`` when the other end has closed.

        :raises OSError: if the connection breaks.
        """
        while not self._messages:
            if self._is_closing:
                return None
            data = await self._reader.read(_RECEIVE_SIZE)
            if not data:
                self._is_closing = True
            self._take(data)
            if self._has_answered and not self._is_closing:
                # Whoever pings, and does not read the answers, is not read either.
                self._has_answered = False
                await self._writer.drain()
        return self._messages.popleft()

    async def close(self) -> None:
        """Say goodbye, wait a little for the answer, and close the connection."""
        try:
            if not self._is_closing:
                self._say_goodbye(NORMAL_CLOSURE)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_TIMEOUT):
                        while await self._reader.read(_RECEIVE_SIZE):
                            pass
        except OSError:
            pass
        finally:
            self._writer.close()

    async def _shake_hands(self, parts: SplitResult, host: str) -> None:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        request = events.Request(
            host=host if _is_usual(parts) else f"{host}:{parts.port}",
            target=quote(target, safe=_LITERAL),
            extra_headers=_authorization(parts),
        )
        self._writer.write(self._protocol.send(request))
        while True:
            data = await self._reader.read(_RECEIVE_SIZE)
            if not data:
                raise ConnectionResetError("The server closed the connection")
            try:
                self._protocol.receive_data(data)
                if self._is_accepted():
                    break
            except (ProtocolError, ValueError) as error:
                # Headers that are not ASCII are no ProtocolError to wsproto.
                raise ConnectionAbortedError(str(error)) from None
        # What came with the answer is the first of the messages.
        try:
            self._take_events()
        except ProtocolError:
            self._say_goodbye(PROTOCOL_ERROR)

    def _is_accepted(self) -> bool:
        for event in self._protocol.events():
            if isinstance(event, events.AcceptConnection):
                return True
            if isinstance(event, events.RejectConnection):
                raise NoWebSocket(event.status_code)
        return False

    def _take(self, data: bytes) -> None:
        """Understand what was received."""
        try:
            self._protocol.receive_data(data or None)
            self._take_events()
        except ProtocolError:
            self._say_goodbye(PROTOCOL_ERROR)

    def _take_events(self) -> None:
        for event in self._protocol.events():
            if isinstance(event, events.BytesMessage):
                self._take_part(event)
            elif isinstance(event, events.Ping):
                self._answer(event)
            elif isinstance(event, events.CloseConnection):
                self.close_code = event.code
                if not self._is_closing:
                    self._answer(event)
                self._is_closing = True

    def _answer(self, event: events.Ping | events.CloseConnection) -> None:
        """Answer, unless the connection broke while others were answered.

        It would not be an error, but asyncio warns of each.
        """
        if not self._writer.transport.is_closing():
            self._writer.write(self._protocol.send(event.response()))
            self._has_answered = True

    def _take_part(self, event: events.BytesMessage) -> None:
        if len(self._message) + len(event.data) > self._max_size:
            self._message.clear()
            self._say_goodbye(MESSAGE_TOO_BIG)
            return
        self._message += event.data
        if event.message_finished:
            self._messages.append(bytes(self._message))
            self._message.clear()

    def _say_goodbye(self, code: int) -> None:
        self._is_closing = True
        with contextlib.suppress(ProtocolError):
            self._writer.write(self._protocol.send(events.CloseConnection(code)))


def _is_usual(parts: SplitResult) -> bool:
    """Tell whether a URL's port is that of its scheme, which requests do not name."""
    return parts.port in (None, _PORTS[parts.scheme])


def _authorization(parts: SplitResult) -> list[tuple[bytes, bytes]]:
    """Return the header for the name and password in a URL (RFC 7617)."""
    if parts.username is None:
        return []
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return [(b"Authorization", b"Basic " + b64encode(user.encode()))]


def _parse(url: str) -> tuple[SplitResult, str, int]:
    """Return the parts of a URL, its host as it is asked for, and its port.

    :raises ConnectionError: if nothing can be opened there.
    """
    try:
        parts = urlsplit(url)
        host = host_name(parts.hostname or "")
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise ConnectionError("no host has such a name, or port") from None
    return parts, host, port


async def _connect(
    scheme: str, host: str, port: int, fwmark: int, proxies: Proxies
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    is_tls = scheme in ("https", "wss")
    proxy = proxies.find(host, port, secure=is_tls)
    sock = await dial(host, port, fwmark=fwmark, proxy=proxy)
    try:
        return await asyncio.open_connection(
            sock=sock,
            ssl=_tls() if is_tls else None,
            server_hostname=host if is_tls else None,
        )
    except BaseException:
        sock.close()
        raise


@functools.cache
def _tls() -> "SSLContext":
    """Return a context that checks no certificate."""
    ssl = load_ssl()
    context: SSLContext = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
