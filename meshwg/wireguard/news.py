"""What a device tells its owner about peers whose endpoints the owner decides."""

from dataclasses import dataclass
from enum import Enum, auto

from meshwg.transmit import Endpoint
from meshwg.wireguard.lane import Lane


class MessageKind(Enum):
    """What messages are."""

    DATA = auto()
    INITIATION = auto()
    RESPONSE = auto()


@dataclass(frozen=True, slots=True)
class Heard:
    """Authentic messages of a peer came from an endpoint."""

    lane: Lane
    endpoint: Endpoint
    at: float
    length: int
    """Bytes of the messages."""
    message: MessageKind = MessageKind.DATA


@dataclass(frozen=True, slots=True)
class Sent:
    """Messages are on their way to a peer."""

    lane: Lane
    at: float
    length: int
    """Bytes of the messages."""
    message: MessageKind = MessageKind.DATA


@dataclass(frozen=True, slots=True)
class CookieReceived:
    """A peer that is under load has an initiation of ours, and did not look at it."""

    lane: Lane
    at: float


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A peer that should have answered data has said nothing for 15 seconds."""

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


News = Heard | Sent | CookieReceived | Unanswered | Wanted | SessionUnknown
