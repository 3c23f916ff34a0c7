"""What waits to be sent on one WebSocket, so that a slow reader delays nobody."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from aiohttp import web

from meshwg.wire.control import CloseCode

FULL = 256 * 1024
"""Bytes waiting above which the connection counts as full."""
EMPTY = 64 * 1024
"""Bytes waiting below which it no longer does."""
LIMIT = 64 * 1024 * 1024
"""Bytes waiting above which the connection is closed."""


class Outbox:
    """Sends frames in order from a task that exists only while there are some.

    :param on_writable: called with false when full, and with true when no longer.
    """

    def __init__(
        self, socket: web.WebSocketResponse, on_writable: Callable[[bool], None]
    ) -> None:
        self._socket = socket
        self._on_writable = on_writable
        self._frames: deque[bytes] | None = None
        """What waits; an empty one would be a twentieth of a connection's memory."""
        self._waiting = 0
        self._full = False
        self._close_code: int | None = None
        self._task: asyncio.Task[None] | None = None

    def send(self, frame: bytes) -> None:
        """Send a frame after those before it."""
        if self._frames is None:
            self._frames = deque()
        self._frames.append(frame)
        self._waiting += len(frame)
        if self._waiting > LIMIT:
            self._frames.clear()
            self.close(CloseCode.SLOW)
        elif self._waiting > FULL and not self._full:
            self._full = True
            self._on_writable(False)
        self._start()

    def close(self, code: int) -> None:
        """Close the connection after what waits has been sent."""
        self._close_code = code
        self._start()

    async def flush(self) -> None:
        """Wait until all has been sent."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def stop(self) -> None:
        """End without sending the rest: the connection is gone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._pump())

    async def _pump(self) -> None:
        try:
            # A connection that breaks here ends the loop that reads it, too.
            with contextlib.suppress(ConnectionError):
                while self._frames:
                    await self._send_next(self._frames)
                self._frames = None
                if self._close_code is not None:
                    await self._socket.close(code=self._close_code)
        finally:
            self._task = None

    async def _send_next(self, frames: deque[bytes]) -> None:
        frame = frames.popleft()
        await self._socket.send_bytes(frame)
        self._waiting -= len(frame)
        if self._full and self._waiting < EMPTY:
            self._full = False
            self._on_writable(True)
