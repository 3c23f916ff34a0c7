"""Where a relay is, how to reach it, and with which credentials."""

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from meshwg.transmit import Endpoint
from meshwg.wire.token import host_name


class Transport(StrEnum):
    """How messages travel to a relay; the relay's peers are always reached by UDP."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    WS = "ws"
    """In a WebSocket, where a proxy passes on nothing else."""
    WSS = "wss"
    """The same over TLS."""


WEBSOCKETS = (Transport.WS, Transport.WSS)


class RelayUrl(NamedTuple):
    """The parts of a TURN URI (RFC 7065), or of the URL of a WebSocket."""

    host: str
    """A name or a numeric address."""
    port: int
    transport: Transport
    path: str = ""
    """Of a WebSocket."""

    def __str__(self) -> str:
        if self.transport in WEBSOCKETS:
            return f"{self.transport}://{Endpoint(self.host, self.port)}{self.path}"
        scheme = "turns" if self.transport is Transport.TLS else "turn"
        over = Transport.UDP if self.transport is Transport.UDP else Transport.TCP
        return f"{scheme}:{Endpoint(self.host, self.port)}?transport={over}"


def parse_url(text: str) -> RelayUrl:
    """Return the parts of ``turn:HOST[:PORT][?transport=udp|tcp]`` or ``turns:…``, or
    of ``wss://HOST[:PORT]/PATH`` or ``ws://…``.

    :raises ValueError: if the text is something else, such as TURN over DTLS.
    """
    scheme, _, rest = text.partition(":")
    if scheme in WEBSOCKETS:
        return _parse_websocket(text)
    parts = urlsplit(f"//{rest}")
    transport = parse_qs(parts.query).get("transport", [""])[0]
    known = {
        ("turn", ""): (Transport.UDP, 3478),
        ("turn", "udp"): (Transport.UDP, 3478),
        ("turn", "tcp"): (Transport.TCP, 3478),
        ("turns", ""): (Transport.TLS, 5349),
        ("turns", "tcp"): (Transport.TLS, 5349),
    }.get((scheme, transport))
    if known is None or not parts.hostname:
        raise ValueError(f"{text!r} is not the URL of a usable relay")
    return RelayUrl(host_name(parts.hostname), parts.port or known[1], known[0])


def _parse_websocket(text: str) -> RelayUrl:
    parts = urlsplit(text)
    if not parts.hostname or parts.username is not None or parts.query:
        raise ValueError(f"{text!r} is not the URL of a usable relay")
    transport = Transport(parts.scheme)
    port = parts.port or (443 if transport is Transport.WSS else 80)
    return RelayUrl(host_name(parts.hostname), port, transport, parts.path)


@dataclass(frozen=True, slots=True)
class RelayServer:
    """One way to one TURN server, with its name resolved."""

    url: RelayUrl
    """Entries whose URLs have the same host are ways to the same server."""
    address: str
    """The numeric address of the URL's host, or that host where a proxy is to look it
    up."""
    username: str
    password: str = field(repr=False)

    @property
    def transport(self) -> Transport:
        """How the server is reached."""
        return self.url.transport

    @property
    def is_proxied(self) -> bool:
        """Whether its name is left to a proxy, by which alone it is reached."""
        try:
            ip_address(self.address)
        except ValueError:
            return True
        return False

    @property
    def way(self) -> tuple[RelayUrl, str]:
        """What identifies this entry while its credentials change."""
        return self.url, self.address
