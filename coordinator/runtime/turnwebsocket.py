"""TURN over WebSockets, for nodes that have no UDP and reach this server by a proxy.

What a client sends in binary messages is one stream of bytes, as over TCP: proxies may
divide it otherwise. So :class:`~coordinator.runtime.tcp.TurnStream` serves both, within
the same limits. While nothing is said, this side pings, because many proxies end a
connection that has been silent for half a minute.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from coordinator.config import HostPort
from coordinator.runtime.listener import client_of, take_over
from coordinator.runtime.proxied import TrustedProxies
from coordinator.runtime.tcp import TurnStream
from coordinator.runtime.upgrades import is_upgrade, upgrade_required
from meshwg.limits import TokenBucket

MESSAGE_SIZE = 16 * 1024
"""Bytes of one message that is sent; longer ones would wait for each other in proxies.
"""
MESSAGE_LIMIT = 64 * 1024
"""Bytes of the longest message that is read."""
HEARTBEAT = 10.0
"""Seconds of silence after which this side pings; who does not answer is gone."""
CLOSE_TIMEOUT = 2.0
"""Seconds to wait for the client's half of the close."""
PING_RATE, PING_BURST = 2.0, 20.0
"""Pings of a client a second, and at once, that are answered; after the others the
connection ends."""


class RelayEndpoint:
    """Serves ``/v1/relay``.

    :param open_stream: makes the relay's end of a connection, told of whom it is.
    """

    def __init__(
        self,
        open_stream: Callable[[HostPort | None], TurnStream],
        proxies: TrustedProxies,
    ) -> None:
        self._open_stream = open_stream
        self._proxies = proxies
        self._streams: dict[TurnStream, None] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one WebSocket from its first frame to its last."""
        socket = web.WebSocketResponse(
            max_msg_size=MESSAGE_LIMIT,
            compress=False,
            timeout=CLOSE_TIMEOUT,
            heartbeat=HEARTBEAT,
            autoping=False,
        )
        if not is_upgrade(request, socket):
            return upgrade_required()
        client = client_of(request, self._proxies), _port_of(request)
        visit = take_over(request)
        try:
            await socket.prepare(request)
            assert request.transport is not None
            await self._carry(socket, request.transport, client)
        finally:
            if visit is not None:
                visit.close()
        return socket

    async def close(self, _: web.Application | None = None) -> None:
        """End all connections; to be called when the server stops."""
        for stream in list(self._streams):
            stream.abort()

    async def _carry(
        self, socket: web.WebSocketResponse, below: asyncio.Transport, client: HostPort
    ) -> None:
        stream = self._open_stream(client)
        carrier = WebSocketTransport(socket, below, stream)
        self._streams[stream] = None
        stream.connection_made(carrier)
        now = asyncio.get_running_loop().time
        pings = TokenBucket(PING_RATE, PING_BURST, now())
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    stream.data_received(message.data)
                    continue
                is_ping = message.type in (WSMsgType.PING, WSMsgType.PONG)
                if not is_ping or not pings.take(now()):
                    stream.abort()
                    break
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
        finally:
            del self._streams[stream]
            stream.connection_lost(None)
            await carrier.stop()


class WebSocketTransport(asyncio.Transport):
    """What a stream writes to: one WebSocket, on the connection below.

    :param protocol: is told when what waits has become too much, and when no longer.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        below: asyncio.Transport,
        protocol: asyncio.Protocol,
    ) -> None:
        super().__init__()
        self._socket, self._below, self._protocol = socket, below, protocol
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._high = 0
        self._is_full = False
        self._task: asyncio.Task[None] | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection below."""
        return self._below.get_extra_info(name, default)

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """Set how many bytes may wait; less than a quarter is little again."""
        self._high = high or 0

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait here."""
        return self._size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes after those before them."""
        whole = bytes(data)
        for start in range(0, len(whole), MESSAGE_SIZE):
            self._waiting.append(whole[start : start + MESSAGE_SIZE])
        self._size += len(whole)
        if self._size > self._high and not self._is_full:
            self._is_full = True
            self._protocol.pause_writing()
        if self._task is None:
            self._task = asyncio.create_task(self._pump())

    def abort(self) -> None:
        """End the connection at once."""
        self._below.abort()

    async def stop(self) -> None:
        """End without sending the rest: the connection is gone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _pump(self) -> None:
        try:
            # A connection that breaks here ends the loop that reads it, too.
            with contextlib.suppress(ConnectionError):
                while self._waiting:
                    await self._send_next()
        finally:
            self._task = None

    async def _send_next(self) -> None:
        message = self._waiting.popleft()
        await self._socket.send_bytes(message)
        self._size -= len(message)
        if self._is_full and self._size <= self._high // 4:
            self._is_full = False
            self._protocol.resume_writing()


def _port_of(request: web.Request) -> int:
    """Return the port at the other end; that of a client behind a proxy is unknown."""
    assert request.transport is not None
    peer = request.transport.get_extra_info("peername") or ("", 0)
    return int(peer[1])
