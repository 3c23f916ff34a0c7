"""What pure code and the runtime hand each other: endpoints and datagrams to send."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

Random = Callable[[int], bytes]
"""``random(n)`` returns ``n`` random bytes: ``os.urandom``, or seeded in a test."""

UDP = 0
"""The link of the node's own UDP sockets. Other numbers are other ways out: auxiliary
sockets of a birthday punch, or the stream to a relay; streams to peers and to servers
that are asked over TCP have numbers below zero."""


FIRST_LINK = 1 << 16
"""Links from here on are relays'; auxiliary sockets of a punch stay below."""


class Source(NamedTuple):
    """The local end that datagrams arrived at, so that answers leave from there."""

    host: str
    interface: int
    """Interface index, 0 for "any"."""


class Endpoint(NamedTuple):
    """Where a peer's datagrams come from and go to (WireGuard's "endpoint")."""

    host: str
    """A numeric address. IPv6 link-local ones carry their zone, ``fe80::1%2``, by the
    interface's index and not by its name, which may change or mean another one."""
    port: int
    link: int = UDP
    """Which socket or stream carries the datagrams."""
    source: Source | None = None
    """The sticky source address, ``None`` to let routing choose."""

    def __str__(self) -> str:
        return (
            f"[{self.host}]:{self.port}"
            if ":" in self.host
            else f"{self.host}:{self.port}"
        )

    def unpinned(self) -> "Endpoint":
        """Return the same endpoint without its sticky source address."""
        return self._replace(source=None) if self.source is not None else self


@dataclass(slots=True)
class Transmit:
    """Datagrams for one endpoint, in order; the socket cuts them into GSO runs."""

    destination: Endpoint
    datagrams: list[bytes]
    ttl: int | None = None
    """Hop limit for these datagrams only: the low-TTL opener of a hole punch."""
