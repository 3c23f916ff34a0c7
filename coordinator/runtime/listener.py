"""One TCP port for HTTP and for STUN-framed streams (TURN over TCP).

The first byte tells them apart: STUN messages begin with two zero bits and a method
below 256, so with 0 or 1 (RFC 8489 section 5); HTTP begins with a letter, and a TLS
handshake, which only comes where TLS is not ours, with 22.

Who connects and says nothing, or says it letter by letter, costs a descriptor. So only
so many connections of one address may be without a request at a time, and none for
long; beyond that, control connections and TURN streams have limits of their own.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from coordinator.limits import AddressLimits
from meshwg.errors import MeshError, NotPermitted

REQUEST_TIMEOUT = 15.0
"""Seconds in which a connection must have said what it wants."""

UNDECIDED_PER_ADDRESS = 128
"""Connections of one address (IPv6: /64) that may be about to say it."""
UNDECIDED = 4096
"""The same of all addresses together."""

BACKLOG = 1024
"""Connections that wait to be accepted: a whole mesh may come back at once."""

ProtocolFactory = Callable[[], asyncio.Protocol]

_STUN_FIRST_BYTES = (0, 1)


class Door:
    """Counts connections that have not said yet what they want."""

    def __init__(self) -> None:
        self._limits = AddressLimits(UNDECIDED_PER_ADDRESS, UNDECIDED_PER_ADDRESS)
        self._undecided = 0
        self.refused = 0
        """Connections that were cut because there were too many."""
        self.late = 0
        """Those that were cut because they did not get to the point."""

    def open(self, host: str) -> bool:
        """Let a connection in, if there are not too many."""
        if self._undecided >= UNDECIDED or not self._limits.opened(host):
            self.refused += 1
            return False
        self._undecided += 1
        return True

    def close(self, host: str) -> None:
        """A connection has said what it wants, or is gone."""
        self._undecided -= 1
        self._limits.closed(host, registered=False)


class Visitor(asyncio.Protocol):
    """A connection until it is clear what it wants; then others take it over."""

    def __init__(
        self, door: Door, http: ProtocolFactory, stream: ProtocolFactory | None
    ) -> None:
        self._door, self._http, self._stream = door, http, stream
        self._transport: asyncio.Transport | None = None
        self._inner: asyncio.Protocol | None = None
        self._host = ""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        host = (transport.get_extra_info("peername") or ("",))[0]
        if not self._door.open(host):
            transport.abort()
            return
        self._host, self._transport = host, transport
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(REQUEST_TIMEOUT, self._on_late)

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
            self.decide()
            self._inner.data_received(data)

    def decide(self) -> None:
        """It has said what it wants: whoever gives it that has it from now on."""
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
        self._door.late += 1
        if self._transport is not None:
            self._transport.abort()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._door.close(self._host)
        self._transport = None


@web.middleware
async def one_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take note that a request is complete, and let it be the connection's last."""
    transport = request.transport
    visitor = transport.get_protocol() if transport is not None else None
    if isinstance(visitor, Visitor):
        visitor.decide()
    try:
        response = await handler(request)
    except web.HTTPException as refusal:
        refusal.force_close()
        raise
    response.force_close()
    return response


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
                f"TCP port {port} needs privileges; choose one from 1024 on with "
                "--listen"
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
    door: Door,
    stream: ProtocolFactory | None,
    tls: ssl.SSLContext | None,
) -> asyncio.Server:
    """Serve on a listening socket; the application needs :func:`one_request`.

    :param stream: makes the protocol for STUN-framed streams; without it they are cut.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: Visitor(door, http, stream), sock=listener, ssl=tls, backlog=BACKLOG
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
