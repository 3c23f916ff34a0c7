"""Where a relay is, how to reach it, and with which credentials."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from meshwg.transmit import Endpoint
from meshwg.wire.token import host_name


class Transport(StrEnum):
    """How messages travel to a relay; the relay's peers are always reached by UDP."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


class RelayUrl(NamedTuple):
    """The parts of a TURN URI (RFC 7065)."""

    host: str
    """A name or a numeric address."""
    port: int
    transport: Transport

    def __str__(self) -> str:
        scheme = "turns" if self.transport is Transport.TLS else "turn"
        over = Transport.UDP if self.transport is Transport.UDP else Transport.TCP
        return f"{scheme}:{Endpoint(self.host, self.port)}?transport={over}"


def parse_url(text: str) -> RelayUrl:
    """Return the parts of ``turn:HOST[:PORT][?transport=udp|tcp]`` or ``turns:…``.

    :raises ValueError: if the text is something else, such as TURN over DTLS.
    """
    scheme, _, rest = text.partition(":")
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


@dataclass(frozen=True, slots=True)
class RelayServer:
    """One way to one TURN server, with its name resolved."""

    url: RelayUrl
    """Entries whose URLs have the same host are ways to the same server."""
    address: str
    """The numeric address of the URL's host."""
    username: str
    password: str = field(repr=False)

    @property
    def transport(self) -> Transport:
        """How the server is reached."""
        return self.url.transport

    @property
    def way(self) -> tuple[RelayUrl, str]:
        """What identifies this entry while its credentials change."""
        return self.url, self.address
