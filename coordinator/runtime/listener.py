"""One TCP port for HTTP and STUN-framed streams (TURN over TCP), also with TLS.

The first byte tells them apart: STUN messages begin with two zero bits and a method
below 256, so with 0 or 1 (RFC 8489 section 5); HTTP begins with a letter, and a TLS
handshake with 22.

Every connection costs a descriptor and memory, even one that says nothing, says it
letter by letter, or does not read its answer. So each is counted from when it is
accepted until it is gone (:mod:`coordinator.runtime.admission`), and TLS begins with
the first byte. Control connections and TURN streams have limits of their own, and are
not counted here while these apply. Where a proxy is in front, its connections are its
clients' (:mod:`coordinator.runtime.arrivals`).
"""

import asyncio
import errno
import logging
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from typing import Protocol as TypingProtocol
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from coordinator.config import HostPort
from coordinator.runtime.admission import Admission, Visit
from coordinator.runtime.arrivals import Arrival
from coordinator.runtime.proxied import TrustedProxies
from coordinator.runtime.unexpected import Unexpected
from meshwg.errors import MeshError, NotPermitted

TLS_TIMEOUT = 10
"""Seconds for the handshake of TLS."""
TLS_BUFFER = 16 * 1024
"""Bytes that a connection with TLS reads at once: a record. asyncio would have each
keep 256 KiB for it."""

READ_SIZE, STREAM_READ_SIZE = 16 * 1024, 256 * 1024
"""Bytes that are read at once: of a connection until it is known what it is, and of a
request; and of a stream, as much as asyncio reads of all. A request may not have that
much before it shows who sends it.
"""

BACKLOG = 1024
"""Connections that wait to be accepted: a whole mesh may come back at once."""

ProtocolFactory = Callable[[], asyncio.Protocol]
StreamFactory = Callable[[HostPort | None], asyncio.Protocol]
"""Makes the protocol of a stream; it is told of whom, if a proxy has said that."""


class _Reading(TypingProtocol):
    """What asyncio's transports say of how much they read."""

    max_size: int


_STUN_FIRST_BYTES = (0, 1)


class NewConnection(asyncio.Protocol):
    """A connection until its first bytes say whose it is, or until it is gone."""

    def __init__(
        self,
        visit: Visit,
        http: ProtocolFactory,
        stream: StreamFactory | None,
    ) -> None:
        self.visit, self._http, self._stream = visit, http, stream
        self._transport: asyncio.Transport | None = None
        self._inner: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self.visit.begin(transport):
            self._transport = transport
            _read_at_once(transport, READ_SIZE)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or not self.visit.heard(len(data)):
            return
        if self._inner is not None:
            self._inner.data_received(data)
        elif data[0] not in _STUN_FIRST_BYTES:
            self._inner = self._http()
            self._inner.connection_made(transport)
            self._inner.data_received(data)
        elif self._stream is None:
            transport.abort()
        else:
            self._inner = self._stream(self.visit.forwarded_for)
            self.visit.leave()
            transport.set_protocol(self._inner)
            _read_at_once(transport, STREAM_READ_SIZE)
            self._inner.connection_made(transport)
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.visit.end()
        if self._inner is not None:
            self._inner.connection_lost(exc)


class NewTlsConnection(asyncio.Protocol):
    """An accepted connection that has not begun with TLS yet."""

    def __init__(
        self, visit: Visit, inner: NewConnection, context: ssl.SSLContext
    ) -> None:
        self._visit, self._inner, self._context = visit, inner, context
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self._visit.begin(transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        tls = _Tls(self._visit, self._inner, self._context)
        self._transport.set_protocol(tls)
        tls.connection_made(self._transport)
        rest = memoryview(data)
        while rest:
            buffer = tls.get_buffer(len(rest))
            size = min(len(buffer), len(rest))
            buffer[:size] = rest[:size]
            tls.buffer_updated(size)
            rest = rest[size:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._visit.end()


class _Tls(SSLProtocol):
    """TLS between a transport and a protocol, which costs a record's memory."""

    max_size = TLS_BUFFER

    def __init__(
        self, visit: Visit, inner: NewConnection, context: ssl.SSLContext
    ) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        # The transport is closed if the handshake fails, and that is all.
        done.add_done_callback(lambda _: done.cancelled() or done.exception())
        super().__init__(
            loop,
            inner,
            context,
            done,
            server_side=True,
            ssl_handshake_timeout=TLS_TIMEOUT,
            ssl_shutdown_timeout=TLS_TIMEOUT,
        )
        self._visit = visit

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        # The inner protocol never hears of a handshake that failed.
        self._visit.end()


@web.middleware
async def one_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Close each connection after its first request."""
    try:
        response = await handler(request)
    except web.HTTPException as refusal:
        refusal.force_close()
        raise
    response.force_close()
    return response


def refuse_expectations(server: web.Server) -> None:
    """Have a server refuse what clients expect of it, but for a 100 (Continue).

    aiohttp would do so before any middleware is asked: on a connection that stays
    open, in a sentence that repeats the header, which need not be text.
    """
    answer = server.request_handler

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        expected = request.headers.get("Expect", "")
        if expected.lower() in ("", "100-continue"):
            return await answer(request)
        text = "Only 100-continue may be expected here\n"
        response = web.Response(status=417, text=text)
        response.force_close()
        return response

    server.request_handler = handle


def count_clients(proxies: TrustedProxies) -> Middleware:
    """Return a middleware that counts a proxy's connections as its clients'."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        visit = visit_of(request)
        if visit is None or visit.belongs_to(client_of(request, proxies)):
            return await handler(request)
        text = "Too many requests at once; try again later\n"
        return web.Response(status=503, text=text, headers={"Retry-After": "10"})

    return count


def client_of(request: web.Request, proxies: TrustedProxies) -> str:
    """Return the address of whoever has sent a request, as far as it is known."""
    visit = visit_of(request)
    remote = request.remote or "" if visit is None else visit.host
    return proxies.client_of(remote, request.headers)


def take_over(request: web.Request) -> Visit | None:
    """Take over the connection of a request; the caller counts it from now on.

    Its :meth:`Visit.close` gives it back.
    """
    visit = visit_of(request)
    if visit is not None:
        visit.leave()
    return visit


def visit_of(request: web.Request) -> Visit | None:
    """Return the connection of a request, as it is counted."""
    transport = request.transport
    connection = transport.get_protocol() if transport is not None else None
    return connection.visit if isinstance(connection, NewConnection) else None


class MalformedRequests(logging.Filter):
    """Counts requests that are not HTTP, or whose sender is gone before the answer;
    aiohttp would log each as an error.

    Other exceptions that get as far as aiohttp's log are passed on.
    """

    def __init__(self, unexpected: Unexpected) -> None:
        super().__init__()
        self.count = 0
        self._unexpected = unexpected

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return True
        if isinstance(error, HttpProcessingError | ConnectionError):
            self.count += 1
        else:
            where = "reading a request"
            self._unexpected.note(where, error, asyncio.get_running_loop().time())
        return False


def _read_at_once(transport: asyncio.Transport, size: int) -> None:
    cast(_Reading, transport).max_size = size


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket for the coordinator's TCP port.

    :raises MeshError: if the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno in (errno.EACCES, errno.EPERM):
            raise NotPermitted(
                f"TCP port {port} needs privileges; choose one above 1023 with --listen"
            ) from None
        raise MeshError(
            f"TCP {host}:{port} cannot be listened on ({error.strerror}); stop what "
            "uses it, or choose another address with --listen"
        ) from None
    return listener


async def listen(
    listener: socket.socket,
    http: web.Server,
    *,
    admission: Admission,
    stream: StreamFactory | None,
    tls: ssl.SSLContext | None,
) -> asyncio.Server:
    """Serve on a listening socket; the application needs :func:`one_request`.

    :param stream: makes the protocol for STUN-framed streams; without it they are cut.
    """

    def accept() -> asyncio.Protocol:
        visit = Visit(admission)
        connection = NewConnection(visit, http, stream)
        if tls is None:
            return Arrival(visit, connection, admission.proxies)
        secured = NewTlsConnection(visit, connection, tls)
        return Arrival(visit, secured, admission.proxies)

    loop = asyncio.get_running_loop()
    return await loop.create_server(accept, sock=listener, backlog=BACKLOG)
