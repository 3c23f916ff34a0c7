"""A connection to a relay in a WebSocket, through whatever proxies are on the way.

Its messages carry one stream of bytes, as TCP would: proxies may divide it otherwise.
What does not fit waits here, and the oldest is dropped, always whole batches.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from meshwg.proxies import Proxies
from meshwg.relay.server import RelayServer
from meshwg.runtime.stream import BACKLOG, CONNECT_TIMEOUT, reason_of
from meshwg.runtime.surprises import Surprises
from meshwg.runtime.websocket import NoWebSocket, WebSocket
from meshwg.transmit import Transmit

MESSAGE_SIZE = 16 * 1024
"""Bytes of one message that is sent."""
MESSAGE_LIMIT = 64 * 1024
"""Bytes of the longest message that is read."""


class RelayWebSocket:
    """A connection to a relay, which is opened at once.

    :param on_open: called when it is open.
    :param on_data: called with the bytes that arrive.
    :param on_close: called once with the reason when it cannot be opened or is lost,
        but not because of :meth:`close`.
    :param fwmark: marks the packets (SO_MARK), 0 for no mark.
    :param proxies: by which hosts are reached; by default directly.
    :param surprises: where errors that nobody expects are noted; they, too, end only
        this connection.
    """

    def __init__(
        self,
        server: RelayServer,
        *,
        on_open: Callable[[], None],
        on_data: Callable[[bytes], None],
        on_close: Callable[[str], None],
        surprises: Surprises,
        fwmark: int = 0,
        proxies: Proxies | None = None,
    ) -> None:
        self._url = str(server.url)
        self._on_open, self._on_data, self._on_close = on_open, on_data, on_close
        self._fwmark, self._proxies = fwmark, proxies
        self._surprises = surprises
        self._websocket: WebSocket | None = None
        self._backlog: deque[bytes] = deque()
        self._backlog_size = 0
        self.dropped = 0
        """Batches that were dropped for newer ones."""
        self._is_closed = False
        self._draining: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._hold(), name="relay")

    def send(self, transmit: Transmit) -> bool:
        """Send whole messages; the answer is always ``True``: it never blocks."""
        data = b"".join(transmit.datagrams)
        if self._websocket is None or self._is_closed or not data:
            return True
        if self._backlog or self._websocket.is_full:
            self._keep(data)
        else:
            self._write(data)
        return True

    def close(self) -> None:
        """Close the connection when all that was sent before has left."""
        self._is_closed = True
        if self._websocket is not None:
            for data in self._backlog:
                self._write(data)
            self._websocket.leave()
        self._end()

    async def _hold(self) -> None:
        """Hold the connection from the first byte to the last."""
        try:
            await self._open_in_time()
            await self._carry()
            reason = "The relay closed it"
        except NoWebSocket as refusal:
            reason = f"there is no relay (HTTP {refusal.status})"
        except (OSError, TimeoutError) as error:
            reason = reason_of(error)
        except Exception as error:
            self._surprises.note(error)
            reason = f"it failed in an unexpected way ({type(error).__name__})"
        self._fail(reason)

    async def _open_in_time(self) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            self._websocket = await WebSocket.open(
                self._url,
                max_size=MESSAGE_LIMIT,
                fwmark=self._fwmark,
                proxies=self._proxies,
            )

    async def _carry(self) -> None:
        assert self._websocket is not None
        self._on_open()
        while (data := await self._websocket.receive()) is not None:
            if data and not self._is_closed:
                self._on_data(data)

    def _fail(self, reason: str) -> None:
        if self._websocket is not None:
            self._websocket.leave()
        if not self._is_closed:
            self._is_closed = True
            self._on_close(reason)

    def _end(self) -> None:
        for task in (self._task, self._draining):
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    def _write(self, data: bytes) -> None:
        assert self._websocket is not None
        # A connection that breaks here ends the loop that reads it, too.
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(data), MESSAGE_SIZE):
                self._websocket.write(data[start : start + MESSAGE_SIZE])

    def _keep(self, data: bytes) -> None:
        self._backlog.append(data)
        self._backlog_size += len(data)
        while self._backlog_size > BACKLOG and len(self._backlog) > 1:
            self._backlog_size -= len(self._backlog.popleft())
            self.dropped += 1
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain(), name="relay")

    async def _drain(self) -> None:
        """Send what waits as soon as there is room."""
        assert self._websocket is not None
        try:
            with contextlib.suppress(ConnectionError):
                while self._backlog:
                    await self._websocket.drain()
                    if self._backlog:
                        data = self._backlog.popleft()
                        self._backlog_size -= len(data)
                        self._write(data)
        finally:
            self._draining = None
