"""One TCP port for HTTP and for STUN-framed streams (TURN over TCP).

The first byte tells them apart: STUN messages begin with two zero bits and a method
below 256, so with 0 or 1 (RFC 8489 section 5); HTTP begins with a letter, and a TLS
handshake, which only comes where TLS is not ours, with 22.
"""

import asyncio
import ssl
from collections.abc import Callable

from aiohttp import web

from meshwg.errors import MeshError, NotPermitted

FIRST_BYTE_TIMEOUT = 15.0
"""Seconds in which a connection must say something."""

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


async def listen(
    host: str,
    port: int,
    http: web.Server | None,
    *,
    stream: ProtocolFactory | None,
    tls: ssl.SSLContext | None,
) -> asyncio.Server:
    """Listen on the coordinator's TCP port.

    :param stream: makes the protocol for STUN-framed streams; without it they are cut.
    :raises MeshError: if the port is taken, or the address is not this machine's.
    """
    assert http is not None
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(
            lambda: FirstByte(http, stream), host, port, ssl=tls, backlog=1024
        )
    except PermissionError:
        raise NotPermitted(
            f"TCP port {port} needs privileges; choose one from 1024 on with --listen"
        ) from None
    except OSError as error:
        raise MeshError(
            f"TCP {host}:{port} cannot be listened on ({error.strerror}); stop what "
            "uses it, or choose another address with --listen"
        ) from None


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
