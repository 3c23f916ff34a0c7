"""One TCP port for HTTP and for STUN-framed streams (TURN over TCP).

The first byte tells them apart: STUN messages begin with two zero bits and a method
below 256, so with 0 or 1 (RFC 8489 section 5); HTTP begins with a letter, and a TLS
handshake, which only comes where TLS is not ours, with 22.

Every connection costs a descriptor, even one that says nothing, says it letter by
letter, or does not read its answer. So one address may have only so many at a time, and
none for long. Control connections and TURN streams have limits of their own, and are
no longer counted here once these apply.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from coordinator.control.limits import AddressLimits
from coordinator.runtime.unexpected import Unexpected
from meshwg.errors import MeshError, NotPermitted
from meshwg.runtime.alarm import Alarm

EXCHANGE_TIMEOUT = 15.0
"""Seconds for one exchange: a request and its answer."""

EXCHANGES_PER_ADDRESS = 128
"""Connections of one address (IPv6: /64) in the middle of an exchange."""
MAX_EXCHANGES = 4096
"""The same for all addresses together."""

BACKLOG = 1024
"""Connections that wait to be accepted: a whole mesh may come back at once."""

ProtocolFactory = Callable[[], asyncio.Protocol]

_STUN_FIRST_BYTES = (0, 1)


class Admission:
    """Counts the connections in the middle of an exchange, and bounds them."""

    def __init__(self) -> None:
        self._limits = AddressLimits(EXCHANGES_PER_ADDRESS, EXCHANGES_PER_ADDRESS)
        self._count = 0
        self.refused = 0
        """Connections that were cut because there were too many."""
        self.late = 0
        """Those that were cut because they took too long."""

    def admit(self, host: str) -> bool:
        """Count a connection; return whether it is allowed."""
        if self._count >= MAX_EXCHANGES or not self._limits.opened(host):
            self.refused += 1
            return False
        self._count += 1
        return True

    def release(self, host: str) -> None:
        """A counted connection is gone, or somebody else counts it from now on."""
        self._count -= 1
        self._limits.closed(host, registered=False)


class NewConnection(asyncio.Protocol):
    """A connection until its first bytes say whose it is, or until it is gone."""

    def __init__(
        self,
        admission: Admission,
        http: ProtocolFactory,
        stream: ProtocolFactory | None,
    ) -> None:
        self._admission, self._http, self._stream = admission, http, stream
        self._transport: asyncio.Transport | None = None
        self._inner: asyncio.Protocol | None = None
        self._host = ""
        self._alarm = Alarm(self._on_late)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        host = (transport.get_extra_info("peername") or ("",))[0]
        if not self._admission.admit(host):
            transport.abort()
            return
        self._host, self._transport = host, transport
        self._alarm.set(EXCHANGE_TIMEOUT, 0.0)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if self._inner is not None:
            self._inner.data_received(data)
        elif transport is None:
            return
        elif data[0] not in _STUN_FIRST_BYTES:
            self._inner = self._http()
            self._inner.connection_made(transport)
            self._inner.data_received(data)
        elif self._stream is None:
            transport.abort()
        else:
            self._inner = self._stream()
            self._inner.connection_made(transport)
            self.hand_over()
            self._inner.data_received(data)

    def hand_over(self) -> None:
        """Leave the connection to the inner protocol, whose owner counts it."""
        transport, inner = self._transport, self._inner
        self._leave()
        if transport is not None and inner is not None:
            transport.set_protocol(inner)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def _on_late(self) -> None:
        self._admission.late += 1
        if self._transport is not None:
            self._transport.abort()

    def _leave(self) -> None:
        if self._transport is not None:
            self._alarm.clear()
            self._admission.release(self._host)
            self._transport = None


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


def take_over(request: web.Request) -> None:
    """Take over the connection of a request; the caller counts it from now on."""
    transport = request.transport
    connection = transport.get_protocol() if transport is not None else None
    if isinstance(connection, NewConnection):
        connection.hand_over()


class MalformedRequests(logging.Filter):
    """Counts requests that are not HTTP; aiohttp would log each as an error.

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
        if isinstance(error, HttpProcessingError):
            self.count += 1
        else:
            where = "reading a request"
            self._unexpected.note(where, error, asyncio.get_running_loop().time())
        return False


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
    stream: ProtocolFactory | None,
    tls: ssl.SSLContext | None,
) -> asyncio.Server:
    """Serve on a listening socket; the application needs :func:`one_request`.

    :param stream: makes the protocol for STUN-framed streams; without it they are cut.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: NewConnection(admission, http, stream),
        sock=listener,
        ssl=tls,
        backlog=BACKLOG,
    )


def load_tls(certificate: str, key: str) -> ssl.SSLContext:
    """Return the TLS context of the TCP port.

    :raises MeshError: if certificate or key cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        # An SSLError is an OSError whose text is in other places.
        reason = getattr(error, "reason", None) or error.strerror
        raise MeshError(
            f"The TLS certificate {certificate} with key {key} cannot be used: {reason}"
        ) from None
    return context


def renew_tls(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Let new connections see another certificate.

    :raises MeshError: if it cannot be used; the old one then stays.
    """
    # A context that fails half-way would be left with a key of another certificate.
    load_tls(certificate, key)
    context.load_cert_chain(certificate, key)
