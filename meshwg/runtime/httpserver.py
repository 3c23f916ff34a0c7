"""A small HTTP/1.1 server for a Unix socket, with the protocol from h11.

One request a connection: its clients are commands that ask one thing. What is asked is
read whole and within limits; an answer is one piece, or lines that come one by one.
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import h11

REQUEST_LIMIT = 10.0
"""Seconds in which a request has to arrive."""
GRACE = 1.0
"""Seconds that requests in service are waited for when the server closes."""
LAST_CONNECTIONS = 0.02
"""Seconds for the event loop to accept the connections that are queued."""

_RECEIVE_SIZE = 1 << 16
_PEER_CREDENTIALS = struct.Struct("=iII")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What a client asks."""

    method: str
    path: str
    body: bytes
    user: int
    """The number of the user at the other end, -1 if it is not known."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What it gets."""

    body: bytes = b""
    """All of it, or what comes before :attr:`more`."""
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "application/json; charset=utf-8"
    more: AsyncGenerator[bytes] | None = None
    """What follows as soon as it is there; it is closed in any case."""


Handler = Callable[[HttpRequest], Awaitable[HttpAnswer]]


class HttpServer:
    """Serves requests at one listening socket.

    :param handler: answers a request; what it raises is answered with status 500.
    :param max_body: bytes of the largest request's body.
    """

    def __init__(self, handler: Handler, max_body: int) -> None:
        self._handler = handler
        self._max_body = max_body
        self._server: asyncio.Server | None = None
        self._arriving: set[asyncio.Task[None]] = set()
        self._in_service: set[asyncio.Task[None]] = set()

    async def start(self, sock: socket.socket) -> None:
        """Accept connections at a socket that listens."""
        self._server = await asyncio.start_unix_server(self._on_connection, sock=sock)

    async def close(self) -> None:
        """Stop listening, let answers end for a moment, and close all connections."""
        if self._server is None:
            return
        # Connections that are queued are accepted first, to be closed with the others.
        await asyncio.sleep(LAST_CONNECTIONS)
        self._server.close()
        for task in self._arriving:
            task.cancel()
        if self._in_service:
            await asyncio.wait(self._in_service, timeout=GRACE)
        for task in self._in_service:
            task.cancel()
        if left := self._arriving | self._in_service:
            await asyncio.wait(left)

    async def _on_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # asyncio would log that this was cancelled, and keep no reference to it.
        task = asyncio.create_task(self._serve(reader, writer))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)
        task.add_done_callback(self._in_service.discard)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        protocol = h11.Connection(h11.SERVER)
        try:
            async with asyncio.timeout(REQUEST_LIMIT):
                request = await self._receive(protocol, reader, writer)
            if request is not None:
                task = asyncio.current_task()
                assert task is not None
                self._arriving.discard(task)
                self._in_service.add(task)
                await _send(protocol, writer, await self._answer(request))
        except h11.RemoteProtocolError as error:
            await _refuse(protocol, writer, HTTPStatus(error.error_status_hint))
        except (ConnectionError, TimeoutError):
            logger.debug("A client of the control socket is gone")
        finally:
            writer.close()

    async def _receive(
        self,
        protocol: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> HttpRequest | None:
        """Return the request, or ``None`` if there is none.

        :raises h11.RemoteProtocolError: if it is not well-formed, or too large.
        """
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = protocol.next_event()
            if event is h11.NEED_DATA:
                if protocol.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    writer.write(protocol.send(go_on))
                protocol.receive_data(await reader.read(_RECEIVE_SIZE))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._max_body:
                    too_large = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                    raise h11.RemoteProtocolError("too large", too_large)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                path = head.target.decode("latin-1").partition("?")[0]
                method = head.method.decode("latin-1")
                return HttpRequest(method, path, bytes(body), _user(writer))
            else:
                return None

    async def _answer(self, request: HttpRequest) -> HttpAnswer:
        try:
            return await self._handler(request)
        except Exception:
            logger.exception("A request for %s failed", request.path)
            return HttpAnswer(b"{}", HTTPStatus.INTERNAL_SERVER_ERROR)


async def _send(
    protocol: h11.Connection, writer: asyncio.StreamWriter, answer: HttpAnswer
) -> None:
    """Send an answer to its end, or to that of the connection.

    :raises ConnectionError: if the client is gone.
    """
    headers = [("Content-Type", answer.content_type), ("Connection", "close")]
    if answer.more is None:
        headers.append(("Content-Length", str(len(answer.body))))
    _write(protocol, writer, h11.Response(status_code=answer.status, headers=headers))
    _write(protocol, writer, h11.Data(data=answer.body))
    if answer.more is not None:
        async with contextlib.aclosing(answer.more) as parts:
            async for part in parts:
                _write(protocol, writer, h11.Data(data=part))
                await writer.drain()
    _write(protocol, writer, h11.EndOfMessage())
    await writer.drain()


async def _refuse(
    protocol: h11.Connection, writer: asyncio.StreamWriter, status: HTTPStatus
) -> None:
    if protocol.our_state in (h11.IDLE, h11.SEND_RESPONSE):
        with contextlib.suppress(ConnectionError):
            await _send(protocol, writer, HttpAnswer(b"{}", status))


def _write(
    protocol: h11.Connection, writer: asyncio.StreamWriter, event: h11.Event
) -> None:
    data = protocol.send(event)
    if data:
        writer.write(data)


def _user(writer: asyncio.StreamWriter) -> int:
    """Return who is at the other end of a Unix socket."""
    sock = writer.get_extra_info("socket")
    size = _PEER_CREDENTIALS.size
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    except OSError:
        return -1
    user: int = _PEER_CREDENTIALS.unpack(raw)[1]
    return user
