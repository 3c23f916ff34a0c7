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

from meshwg.runtime.acceptor import Acceptor
from meshwg.runtime.visitors import Visitors

REQUEST_LIMIT = 10.0
"""Seconds in which a request has to arrive."""
SEND_LIMIT = 10.0
"""Seconds in which a client has to take what waits for it."""
GRACE = 1.0
"""Seconds that requests in service are waited for when the server closes."""
LAST_CONNECTIONS = 0.02
"""Seconds for the event loop to accept the connections that are queued."""

_RECEIVE_SIZE = 1 << 16
_PEER_CREDENTIALS = struct.Struct("=iII")

_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
    b"Content-Type: application/json; charset=utf-8\r\n\r\n"
    b'{"error": "Too many commands of this user run at once: wait until some have '
    b'ended", "kind": "MeshError"}'
)

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
        self._acceptor: Acceptor | None = None
        self._visitors = Visitors()

    async def start(self, sock: socket.socket) -> None:
        """Accept connections at a socket that listens."""
        self._acceptor = Acceptor(sock, self._on_connection, "The control socket")

    async def close(self) -> None:
        """Stop listening, let answers end for a moment, and close all connections."""
        if self._acceptor is None:
            return
        # Connections that are queued are accepted first, to be closed with the others.
        await asyncio.sleep(LAST_CONNECTIONS)
        self._acceptor.close()
        await self._visitors.leave(GRACE)

    def _on_connection(self, connection: socket.socket) -> None:
        user = _user(connection)
        if not self._visitors.make_room(user):
            with contextlib.suppress(OSError), connection:
                connection.send(_TOO_MANY)
            return
        visit = asyncio.create_task(self._serve(connection, user))
        self._visitors.arrive(visit, user)
        # One that is cancelled before it begins has closed nothing.
        visit.add_done_callback(lambda _: connection.close())

    async def _serve(self, connection: socket.socket, user: int) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        try:
            await self._answer_one(reader, writer, user)
            writer.close()
            async with asyncio.timeout(SEND_LIMIT):
                await writer.wait_closed()
        except (ConnectionError, TimeoutError):
            logger.debug("A client of the control socket is gone")
        finally:
            writer.transport.abort()

    async def _answer_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, user: int
    ) -> None:
        protocol = h11.Connection(h11.SERVER)
        try:
            async with asyncio.timeout(REQUEST_LIMIT):
                request = await self._receive(protocol, reader, writer, user)
            if request is not None:
                visit = asyncio.current_task()
                assert visit is not None
                self._visitors.serve(visit)
                answer = await self._answer(request)
                is_whole = request.method != "HEAD"
                await _send(protocol, writer, answer, is_whole)
        except h11.RemoteProtocolError as error:
            await _refuse(protocol, writer, HTTPStatus(error.error_status_hint))

    async def _receive(
        self,
        protocol: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        user: int,
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
                if event.method == b"CONNECT":
                    no_proxy = HTTPStatus.METHOD_NOT_ALLOWED
                    raise h11.RemoteProtocolError("no proxy", no_proxy)
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._max_body:
                    too_large = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                    raise h11.RemoteProtocolError("too large", too_large)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                path = head.target.decode("latin-1").partition("?")[0]
                method = head.method.decode("latin-1")
                return HttpRequest(method, path, bytes(body), user)
            else:
                return None

    async def _answer(self, request: HttpRequest) -> HttpAnswer:
        try:
            return await self._handler(request)
        except Exception:
            logger.exception("A request for %s failed", request.path)
            return HttpAnswer(b"{}", HTTPStatus.INTERNAL_SERVER_ERROR)


async def _send(
    protocol: h11.Connection,
    writer: asyncio.StreamWriter,
    answer: HttpAnswer,
    is_whole: bool = True,
) -> None:
    """Send an answer to its end, or to that of the connection.

    :param is_whole: whether its body is sent, too, which HEAD does not want.
    :raises ConnectionError: if the client is gone.
    """
    headers = [("Content-Type", answer.content_type), ("Connection", "close")]
    if answer.more is None:
        headers.append(("Content-Length", str(len(answer.body))))
    _write(protocol, writer, h11.Response(status_code=answer.status, headers=headers))
    if is_whole:
        _write(protocol, writer, h11.Data(data=answer.body))
    if answer.more is not None:
        async with contextlib.aclosing(answer.more) as parts:
            if not is_whole:
                return
            async for part in parts:
                _write(protocol, writer, h11.Data(data=part))
                await _drain(writer)
    _write(protocol, writer, h11.EndOfMessage())
    await _drain(writer)


async def _drain(writer: asyncio.StreamWriter) -> None:
    """Wait until a client has read.

    :raises TimeoutError: if it does not.
    """
    async with asyncio.timeout(SEND_LIMIT):
        await writer.drain()


async def _refuse(
    protocol: h11.Connection, writer: asyncio.StreamWriter, status: HTTPStatus
) -> None:
    if protocol.our_state in (h11.IDLE, h11.SEND_RESPONSE):
        with contextlib.suppress(ConnectionError):
            # Without a body, which a request by HEAD may not have.
            await _send(protocol, writer, HttpAnswer(b"", status), is_whole=False)


def _write(
    protocol: h11.Connection, writer: asyncio.StreamWriter, event: h11.Event
) -> None:
    data = protocol.send(event)
    if data:
        writer.write(data)


def _user(sock: socket.socket) -> int:
    """Return who is at the other end of a Unix socket."""
    size = _PEER_CREDENTIALS.size
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    except OSError:
        return -1
    user: int = _PEER_CREDENTIALS.unpack(raw)[1]
    return user
