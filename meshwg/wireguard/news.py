"""What a device tells its owner about peers whose endpoints the owner decides."""

from dataclasses import dataclass

from meshwg.transmit import Endpoint
from meshwg.wireguard.lane import Lane


@dataclass(frozen=True, slots=True)
class Heard:
    """Authentic messages of a peer came from an endpoint."""

    lane: Lane
    endpoint: Endpoint
    at: float


@dataclass(frozen=True, slots=True)
class Sent:
    """Messages are on their way to a peer."""

    lane: Lane
    at: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something waits for a peer whose endpoint is not known."""

    lane: Lane
    at: float


@dataclass(frozen=True, slots=True)
class SessionUnknown:
    """Data messages came from an endpoint under a session unknown to this device."""

    endpoint: Endpoint
    at: float


News = Heard | Sent | Wanted | SessionUnknown
