"""Connections that were just accepted; a proxy may say whose its own are.

A proxy that passes connections on as they are, with or without TLS inside, can say with
a header of the PROXY protocol who is at their other end. Where it passes on requests,
these say it themselves (:mod:`coordinator.runtime.proxied`).
"""

import asyncio

from coordinator.proxyheader import read_header
from coordinator.runtime.admission import Visit
from coordinator.runtime.proxied import TrustedProxies
from meshwg.errors import InvalidMessage


class Arrival(asyncio.Protocol):
    """A connection until it is known whether a proxy says whose it is.

    :param inner: takes the connection over, with all that comes after the header.
    """

    def __init__(
        self, visit: Visit, inner: asyncio.Protocol, proxies: TrustedProxies
    ) -> None:
        self._visit, self._inner, self._proxies = visit, inner, proxies
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        host = (transport.get_extra_info("peername") or ("",))[0]
        if not self._proxies.trusts(host):
            self._pass_on(b"")
        else:
            self._visit.begin(transport)

    def data_received(self, data: bytes) -> None:
        if not self._visit.heard(len(data)):
            return
        self._received += data
        try:
            header = read_header(self._received)
        except InvalidMessage:
            self._visit.cut("malformed")
            return
        if header is None:
            return
        if header.source is not None:
            self._visit.forwarded_for = header.source
            if not self._visit.belongs_to(header.source[0]):
                assert self._transport is not None
                self._transport.abort()
                return
        self._pass_on(self._received[header.length :])

    def connection_lost(self, exc: Exception | None) -> None:
        self._visit.end()

    def _pass_on(self, rest: bytes) -> None:
        transport, self._received = self._transport, b""
        assert transport is not None
        transport.set_protocol(self._inner)
        self._inner.connection_made(transport)
        if rest:
            self._inner.data_received(rest)
