"""Connections that carry messages: to a relay over TCP or TLS, or to a peer over TCP.

Packets in a stream wait for each other, so as few as possible should wait: a full
connection drops the oldest, always whole messages, and never slows down the rest of the
node.
"""

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from meshwg.proxies import Proxies
from meshwg.relay.server import RelayServer, Transport
from meshwg.runtime.dialing import dial
from meshwg.runtime.openssl import load_ssl, tls_failure
from meshwg.transmit import Transmit

if TYPE_CHECKING:
    from ssl import SSLContext

CONNECT_TIMEOUT = 8.0
"""Seconds for TCP and TLS together."""
WRITE_BUFFER = 64 << 10
"""Bytes that asyncio buffers, which can no longer be dropped."""
BACKLOG = 192 << 10
"""Bytes kept beyond that: at 10 Mbit/s they wait for 0.15 s."""


class MessageStream(asyncio.Protocol):
    """One end of a connection, which somebody else opens.

    :param on_open: called when it is open.
    :param on_data: called with the bytes that arrive.
    :param on_close: called once with the reason when it cannot be opened or is lost,
        but not because of :meth:`close`.
    :param write_buffer: bytes that asyncio buffers, which can no longer be dropped.
    """

    far_end = "The other side"

    def __init__(
        self,
        *,
        on_open: Callable[[], None],
        on_data: Callable[[bytes], None],
        on_close: Callable[[str], None],
        write_buffer: int = WRITE_BUFFER,
    ) -> None:
        self._on_open = on_open
        self._on_data = on_data
        self._on_close = on_close
        self._write_buffer = write_buffer
        self._transport: asyncio.Transport | None = None
        self._is_paused = False
        self._is_closed = False
        self._backlog: deque[bytes] = deque()
        self._backlog_size = 0
        self.dropped = 0
        """Batches that were dropped for newer ones."""
        self._connecting: asyncio.Future[None] | None = None

    def send(self, transmit: Transmit) -> bool:
        """Send whole messages; the answer is always ``True``: it never blocks."""
        data = b"".join(transmit.datagrams)
        if self._transport is None or not data:
            return True
        if self._is_paused:
            self._keep(data)
        else:
            self._transport.write(data)
        return True

    def close(self) -> None:
        """Close the connection when all that was sent before has left."""
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._transport.write(b"".join(self._backlog))
            self._transport.close()
            self._transport = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=self._write_buffer)
        if self._is_closed:
            transport.abort()
            return
        self._transport = transport
        self._on_open()

    def data_received(self, data: bytes) -> None:
        if not self._is_closed:
            self._on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        ended = f"{self.far_end} closed it"
        self._fail(reason_of(exc) if exc is not None else ended)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        while self._backlog and not self._is_paused and self._transport is not None:
            data = self._backlog.popleft()
            self._backlog_size -= len(data)
            self._transport.write(data)

    # The inside.

    def _connect(self, opening: Callable[[], Awaitable[None]]) -> None:
        """Open the connection; report if that fails or takes too long."""
        self._connecting = asyncio.ensure_future(self._open_in_time(opening))

    async def _open_in_time(self, opening: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await opening()
        except (OSError, TimeoutError, ValueError) as error:
            # A ValueError is of a name that no certificate could have.
            self._fail(reason_of(error))

    def _keep(self, data: bytes) -> None:
        self._backlog.append(data)
        self._backlog_size += len(data)
        while self._backlog_size > BACKLOG and len(self._backlog) > 1:
            self._backlog_size -= len(self._backlog.popleft())
            self.dropped += 1

    def _fail(self, reason: str) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._on_close(reason)


class RelayStream(MessageStream):
    """A connection to a relay, which is opened at once.

    :param fwmark: marks the packets (SO_MARK), 0 for no mark.
    :param proxies: by which hosts are reached; by default directly.
    """

    far_end = "The relay"

    def __init__(
        self,
        server: RelayServer,
        *,
        on_open: Callable[[], None],
        on_data: Callable[[bytes], None],
        on_close: Callable[[str], None],
        fwmark: int = 0,
        proxies: Proxies | None = None,
    ) -> None:
        super().__init__(on_open=on_open, on_data=on_data, on_close=on_close)
        self._fwmark = fwmark
        self._proxies = proxies or Proxies()
        self._connect(lambda: self._open(server))

    async def _open(self, server: RelayServer) -> None:
        loop = asyncio.get_running_loop()
        host, port = server.url.host, server.url.port
        proxy = self._proxies.find(host, port, secure=True)
        # Its address was looked up before, unless a proxy is to do that.
        where = server.address if proxy is None else host
        sock = await dial(where, port, fwmark=self._fwmark, proxy=proxy)
        try:
            is_tls = server.transport is Transport.TLS
            await loop.create_connection(
                lambda: self,
                sock=sock,
                ssl=_tls() if is_tls else None,
                server_hostname=server.url.host if is_tls else None,
            )
        except BaseException:
            sock.close()
            raise


def _tls() -> "SSLContext":
    """Return a context that checks no certificate.

    What is inside is WireGuard's, and with each signed answer the relay proves that it
    knows the node's password; TLS only gets through networks that block all else.
    """
    ssl = load_ssl()
    context: SSLContext = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def reason_of(error: BaseException) -> str:
    """Return why a connection failed, as the system puts it."""
    if isinstance(error, TimeoutError):
        return "it could not be opened in time"
    failure = tls_failure(error)
    if failure is not None:
        return f"TLS failed ({failure})"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
