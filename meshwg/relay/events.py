"""What a :class:`~meshwg.relay.pool.RelayPool` has to say."""

from dataclasses import dataclass

from meshwg.relay.allocation import RelayState
from meshwg.relay.server import RelayServer, Transport
from meshwg.relay.transactions import TurnCredentials
from meshwg.transmit import Endpoint


@dataclass(frozen=True, slots=True)
class RelayChanged:
    """The node's relayed address is another one, or it has none now."""

    relayed: Endpoint | None
    """What peers send to."""
    link: int | None
    """What endpoints of peers behind this relay carry."""
    standby: Endpoint | None = None
    """What peers send to if that relay dies."""


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Connect to a server, then call ``stream_opened`` or ``stream_closed``."""

    link: int
    server: RelayServer


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Close a connection, when all that was to be sent before is sent."""

    link: int


@dataclass(frozen=True, slots=True)
class ChannelChanged:
    """Packets of a peer may go through this channel of a relay over UDP, or no more."""

    peer: Endpoint
    """Its relayed address, on the link of the relay."""
    server: Endpoint
    number: int | None
    """``None`` if there is no channel any more."""


@dataclass(frozen=True, slots=True)
class CredentialsUsed:
    """Allocations were made with these, by the URL of the relay, and may outlive us."""

    credentials: tuple[tuple[str, TurnCredentials], ...]


Event = CredentialsUsed | RelayChanged | OpenStream | CloseStream | ChannelChanged


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """What a user wants to know about the node's relay."""

    state: RelayState
    url: str | None = None
    transport: Transport | None = None
    address: Endpoint | None = None
    """The relayed address."""
    rtt_ms: float | None = None
    error: str | None = None
