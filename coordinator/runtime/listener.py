"""One TCP port for HTTP and for STUN-framed streams (TURN over TCP).

The first byte tells them apart: STUN messages begin with two zero bits and a method
below 256, so with 0 or 1 (RFC 8489 section 5); HTTP begins with a letter, and a TLS
handshake, which only comes where TLS is not ours, with 22.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable

from aiohttp import web

from meshwg.errors import MeshError, NotPermitted

FIRST_BYTE_TIMEOUT = 15.0
"""Seconds in which a connection must say something."""

BACKLOG = 1024
"""Connections that wait to be accepted: a whole mesh may come back at once."""

ProtocolFactory = Callable[[], asyncio.Protocol]

_STUN_FIRST_BYTES = (0, 1)


class FirstByte(asyncio.Protocol):
    """Waits for the first bytes, and then hands the connection over."""

    def __init__(self, http: ProtocolFactory, stream: ProtocolFactory | None) -> None:
        self._http, self._stream = http, stream
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(FIRST_BYTE_TIMEOUT, transport.abort)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        self._forget()
        factory: ProtocolFactory | None = self._http
        if data[0] in _STUN_FIRST_BYTES:
            factory = self._stream
        if factory is None:
            transport.abort()
            return
        protocol = factory()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()

    def _forget(self) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


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
    stream: ProtocolFactory | None,
    tls: ssl.SSLContext | None,
) -> asyncio.Server:
    """Serve on a listening socket.

    :param stream: makes the protocol for STUN-framed streams; without it they are cut.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: FirstByte(http, stream), sock=listener, ssl=tls, backlog=BACKLOG
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
