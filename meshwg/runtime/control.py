"""The node's WebSockets to the coordinator: they carry the control client's frames."""

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Callable

from meshwg.control.client import ControlClient
from meshwg.proxies import Proxies
from meshwg.runtime import clock
from meshwg.runtime.surprises import Surprises
from meshwg.runtime.websocket import NoWebSocket, WebSocket
from meshwg.wire.control import MAX_COORDINATOR_PAYLOAD, CloseCode

logger = logging.getLogger(__name__)

PATH = "/v1/control"
DIAL_TIMEOUT = 10.0
"""Seconds for name resolution, TCP, TLS and the HTTP upgrade together."""
ACKNOWLEDGEMENT_TIMEOUT = 10.0
"""Seconds that the coordinator's system may leave something unacknowledged. Without a
limit TCP tries for a quarter of an hour; a heartbeat every 3 s finds out."""
FLUSH_TIMEOUT = 2.0
"""Seconds that stopping waits for the last message to leave."""

UPGRADE_REQUIRED = 426
BAD_GATEWAY = (502, 504)
BUSY = (429, 503)
"""Statuses of HTTP (RFC 9110 section 15)."""

_FRAME_LIMIT = MAX_COORDINATOR_PAYLOAD + 64 * 1024
_REASONS = {
    CloseCode.WRONG_KEY: "does not own the key that the join token names",
    CloseCode.MALFORMED: "did not understand this node",
    CloseCode.SILENT: "heard nothing from this node for too long",
    CloseCode.SLOW: "found this connection too slow",
}


class ControlLink:
    """Keeps the WebSockets open that a control client wants.

    It has no timers: the owner of the client calls its ``handle_timer``.

    :param url: the coordinator's URL, where the client knows none.
    :param on_activity: called after every input to the client, so that its owner can
        take its events and set its timer; the owner then calls :meth:`update`.
    :param fwmark: marks what is sent (SO_MARK), 0 for no mark.
    :param proxies: by which the coordinator is reached; by default directly.
    """

    def __init__(
        self,
        client: ControlClient,
        url: str,
        on_activity: Callable[[], None],
        fwmark: int = 0,
        proxies: Proxies | None = None,
    ) -> None:
        self._client = client
        self._url = url
        self._fwmark = fwmark
        self._proxies = proxies
        self._on_activity = on_activity
        self._sockets: dict[int, _WebSocket] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._surprises = Surprises(logger)

    def update(self) -> None:
        """Do what the client wants now: open, send, or close.

        To be called after everything that may have changed the client.
        """
        wanted = self._client.connections
        if not self._is_closed:
            for number in wanted:
                if number not in self._sockets:
                    self._sockets[number] = self._open(number)
        for number, frame in self._client.control_to_send():
            if number in self._sockets:
                self._sockets[number].send(frame)
        if not self._is_closed:
            for number in [each for each in self._sockets if each not in wanted]:
                self._end(self._sockets.pop(number))

    async def close(self) -> None:
        """Send what is left, for example that the node leaves, and close."""
        self._is_closed = True
        self.update()
        sockets, self._sockets = self._sockets, {}
        await asyncio.gather(*(each.close() for each in sockets.values()))
        if self._ending:
            await asyncio.wait(self._ending)

    def _open(self, number: int) -> "_WebSocket":
        return _WebSocket(
            self._client.coordinators.of(number) or self._url,
            self._fwmark,
            self._proxies,
            on_open=lambda: self._on_open(number),
            on_frame=lambda frame: self._on_frame(number, frame),
            on_close=lambda reason, code: self._on_close(number, reason, code),
            surprises=self._surprises,
        )

    def _end(self, websocket: "_WebSocket") -> None:
        """Close a WebSocket without a word, which may take a moment."""
        task = websocket.task
        task.cancel()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _on_open(self, number: int) -> None:
        self._client.control_opened(number, clock.now())
        self._on_activity()

    def _on_frame(self, number: int, frame: bytes) -> None:
        self._client.receive_control(number, frame, clock.now())
        self._on_activity()

    def _on_close(self, number: int, reason: str, code: int | None) -> None:
        self._sockets.pop(number, None)
        self._client.control_closed(number, reason, clock.now(), code)
        try:
            self._on_activity()
        except Exception as error:
            # The client knows, and its timer opens the next connection.
            self._surprises.note(error)


class _WebSocket:
    """One WebSocket, from the look-up of the coordinator's name to its end.

    :param on_close: called with a sentence for the user and the WebSocket's close code,
        unless the end was asked for.
    :param surprises: where errors that nobody expects are noted; they, too, end only
        this connection.
    """

    def __init__(
        self,
        url: str,
        fwmark: int,
        proxies: Proxies | None,
        *,
        on_open: Callable[[], None],
        on_frame: Callable[[bytes], None],
        on_close: Callable[[str, int | None], None],
        surprises: Surprises,
    ) -> None:
        self._url = url
        self._fwmark = fwmark
        self._proxies = proxies
        self._on_open = on_open
        self._on_frame = on_frame
        self._on_close = on_close
        self._surprises = surprises
        self._outgoing: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.task = asyncio.create_task(self._connect(), name="control")

    def send(self, frame: bytes) -> None:
        """Send a frame after those before it."""
        self._outgoing.append(frame)
        self._idle.clear()
        self._wake.set()

    async def close(self) -> None:
        """Send what waits, and close."""
        flushed = asyncio.create_task(self._idle.wait())
        await asyncio.wait(
            [self.task, flushed],
            timeout=FLUSH_TIMEOUT,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for ending in (self.task, flushed):
            ending.cancel()
        await asyncio.wait([self.task, flushed])

    async def _connect(self) -> None:
        """Hold the connection from the first byte to the last."""
        code: int | None = None
        try:
            websocket = await self._dial()
            try:
                await self._carry(websocket)
            finally:
                await websocket.close()
            code = websocket.close_code
            reason = self._explain_close(code)
        except (NoWebSocket, OSError) as error:
            reason = self._explain_failure(error)
        except Exception as error:
            self._surprises.note(error)
            reason = (
                f"The connection to the coordinator at {self._url} failed in an "
                f"unexpected way ({type(error).__name__})"
            )
        self._on_close(reason, code)

    async def _dial(self) -> WebSocket:
        async with asyncio.timeout(DIAL_TIMEOUT):
            websocket = await WebSocket.open(
                self._url + PATH,
                max_size=_FRAME_LIMIT,
                fwmark=self._fwmark,
                proxies=self._proxies,
            )
        _limit_silence(websocket.socket)
        return websocket

    async def _carry(self, websocket: WebSocket) -> None:
        """Carry frames both ways until either side closes."""
        sender = asyncio.create_task(self._send(websocket))
        try:
            self._on_open()
            while (frame := await websocket.receive()) is not None:
                self._on_frame(frame)
                # What came together is dealt with one by one: packets have their turn.
                await asyncio.sleep(0)
        finally:
            sender.cancel()
            await asyncio.wait([sender])

    async def _send(self, websocket: WebSocket) -> None:
        # A connection that fails here also ends the loop that reads it.
        with contextlib.suppress(ConnectionError):
            try:
                await self._send_all(websocket)
            except OSError:
                raise
            except Exception as error:
                self._surprises.note(error)
                websocket.leave()

    async def _send_all(self, websocket: WebSocket) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outgoing:
                await websocket.send(self._outgoing[0])
                self._outgoing.popleft()
            self._idle.set()

    def _explain_close(self, code: int | None) -> str:
        what = _REASONS.get(CloseCode(code)) if code in _REASONS else None
        return f"The coordinator at {self._url} {what or 'closed the connection'}"

    def _explain_failure(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"The coordinator at {self._url} does not answer"
        if isinstance(error, NoWebSocket):
            return _explain_refusal(self._url, error.status)
        return f"The coordinator at {self._url} cannot be reached: {error}"


def _explain_refusal(url: str, status: int) -> str:
    """Return what an HTTP answer without a WebSocket means."""
    if 300 <= status < 400:
        return (
            f"The server at {url} sends nodes elsewhere (HTTP {status}): join with a "
            "token that has the URL it leads to"
        )
    if status == UPGRADE_REQUIRED:
        return (
            f"The coordinator at {url} is behind a proxy that takes 'Upgrade' off "
            "requests: have that proxy pass on the headers Upgrade and Connection"
        )
    if status in BAD_GATEWAY:
        return (
            f"The proxy at {url} gets no answer from the coordinator behind it (HTTP "
            f"{status})"
        )
    if status in BUSY:
        return f"The coordinator at {url} is busy (HTTP {status})"
    return f"There is no coordinator at {url} (HTTP {status})"


def _limit_silence(sock: socket.socket) -> None:
    """Have the system end a connection whose other end acknowledges nothing."""
    milliseconds = int(ACKNOWLEDGEMENT_TIMEOUT * 1000)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
