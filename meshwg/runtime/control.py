"""The node's WebSocket to the coordinator: it carries the control client's frames."""

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Callable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from meshwg.control.client import ControlClient
from meshwg.runtime import clock
from meshwg.runtime.resolver import look_up
from meshwg.wire.control import MAX_COORDINATOR_PAYLOAD, CloseCode

PATH = "/v1/control"
DIAL_TIMEOUT = 10.0
"""Seconds for name resolution, TCP, TLS and the HTTP upgrade together."""
CLOSE_TIMEOUT = 1.0
"""Seconds to wait for the coordinator's half of the WebSocket close."""
FLUSH_TIMEOUT = 2.0
"""Seconds that stopping waits for the last message to leave."""

_FRAME_LIMIT = MAX_COORDINATOR_PAYLOAD + 64 * 1024
_REASONS = {
    CloseCode.WRONG_KEY: "does not own the key that the join token names",
    CloseCode.MALFORMED: "did not understand this node",
    CloseCode.SILENT: "heard nothing from this node for too long",
    CloseCode.SLOW: "found this connection too slow",
}


class ControlLink:
    """Keeps one WebSocket open while a control client wants it.

    It has no timers: the owner of the client calls its ``handle_timer``.

    :param url: the coordinator's URL from the join token.
    :param on_activity: called after every input to the client, so that its owner can
        take its events and set its timer; the owner then calls :meth:`update`.
    """

    def __init__(
        self, client: ControlClient, url: str, on_activity: Callable[[], None]
    ) -> None:
        self._client = client
        self._url = url
        self._on_activity = on_activity
        self._task: asyncio.Task[None] | None = None
        self._outgoing: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closed = False

    def update(self) -> None:
        """Do what the client wants now: open, send, or close.

        To be called after everything that may have changed the client.
        """
        self._enqueue()
        if self._is_closed:
            return
        if self._client.wants_connection and self._task is None:
            self._outgoing.clear()
            self._idle.set()
            self._task = asyncio.create_task(self._connect(), name="control")
        elif not self._client.wants_connection and self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Send what is left, for example that the node leaves, and close."""
        self._is_closed = True
        self._enqueue()
        task = self._task
        if task is None:
            return
        flushed = asyncio.create_task(self._idle.wait())
        await asyncio.wait(
            [task, flushed], timeout=FLUSH_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
        )
        for ending in (task, flushed):
            ending.cancel()
        await asyncio.wait([task, flushed])

    def _enqueue(self) -> None:
        self._outgoing.extend(self._client.control_to_send())
        if self._outgoing:
            self._idle.clear()
            self._wake.set()

    async def _connect(self) -> None:
        """Hold one connection from the first byte to the last."""
        code: int | None = None
        try:
            connector = aiohttp.TCPConnector(resolver=_Names())
            async with aiohttp.ClientSession(connector=connector) as session:
                websocket = await self._dial(session)
                async with websocket:
                    await self._carry(websocket)
                code = websocket.close_code
            reason = self._explain_close(code)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = self._explain_failure(error)
        except asyncio.CancelledError:
            # The client already knows: it, or the daemon, ended the connection.
            self._task = None
            if self._client.wants_connection:
                self.update()
            raise
        self._task = None
        self._client.control_closed(reason, clock.now(), code)
        self._on_activity()

    async def _dial(
        self, session: aiohttp.ClientSession
    ) -> "aiohttp.ClientWebSocketResponse[bool]":
        async with asyncio.timeout(DIAL_TIMEOUT):
            return await session.ws_connect(
                self._url + PATH,
                max_msg_size=_FRAME_LIMIT,
                compress=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT),
                ssl=_tls() if self._url.startswith("https:") else True,
            )

    async def _carry(self, websocket: "aiohttp.ClientWebSocketResponse[bool]") -> None:
        """Carry frames both ways until either side closes."""
        self._client.control_opened(clock.now())
        sender = asyncio.create_task(self._send(websocket))
        try:
            self._on_activity()
            async for message in websocket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    self._client.receive_control(message.data, clock.now())
                    self._on_activity()
        finally:
            sender.cancel()
            await asyncio.wait([sender])

    async def _send(self, websocket: "aiohttp.ClientWebSocketResponse[bool]") -> None:
        # A connection that fails here also ends the loop that reads it.
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._outgoing:
                    await websocket.send_bytes(self._outgoing[0])
                    self._outgoing.popleft()
                self._idle.set()

    def _explain_close(self, code: int | None) -> str:
        what = _REASONS.get(CloseCode(code)) if code in _REASONS else None
        return f"The coordinator at {self._url} {what or 'closed the connection'}"

    def _explain_failure(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"The coordinator at {self._url} does not answer"
        if isinstance(error, aiohttp.WSServerHandshakeError):
            if error.status in (429, 503):
                return f"The coordinator at {self._url} is busy (HTTP {error.status})"
            return f"There is no coordinator at {self._url} (HTTP {error.status})"
        return f"The coordinator at {self._url} cannot be reached: {error}"


class _Names(AbstractResolver):
    """Has aiohttp resolve names in a way that does not hold up the end."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await look_up(
            host,
            port,
            family=family,
            kind=socket.SOCK_STREAM,
            flags=socket.AI_ADDRCONFIG,
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        pass


def _tls() -> ssl.SSLContext:
    """Return a context that checks no certificate.

    Noise inside authenticates the coordinator by the key in the join token, so that a
    self-signed certificate is as good as any; TLS here only gets through networks that
    let nothing else pass.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
