"""What a relay counts, for ``/metrics``."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class TurnDrop(StrEnum):
    """Why something was dropped without an answer."""

    MALFORMED = "malformed"
    """Neither a STUN message nor whole ChannelData."""
    UNEXPECTED = "unexpected"
    """A STUN message that only a server sends, or of an unknown method."""
    NO_ALLOCATION = "no-allocation"
    """Data from a client, or for a relayed address, without an allocation."""
    NO_CHANNEL = "no-channel"
    """ChannelData of a channel that is not bound."""
    NO_PERMISSION = "no-permission"
    """Data for or from a peer that the client did not permit."""
    NO_SOCKET = "no-socket"
    """Data for a peer outside this server before there is a socket to send it from."""
    NOT_SUPPORTED = "not-supported"
    """A Send indication with an option that this server does not support."""
    RATE_LIMITED = "rate-limited"
    """A request without proof from an address that has had its share of answers."""
    OVER_QUOTA = "over-quota"
    """Data above a node's bandwidth."""


@dataclass(slots=True)
class Traffic:
    """Packets and bytes of payload that were relayed one way."""

    packets: int = 0
    size: int = 0

    def add(self, packets: int, size: int) -> None:
        """Count a batch."""
        self.packets += packets
        self.size += size


@dataclass(slots=True)
class Counters:
    """Plain integers, which cost little on the path of packets."""

    requests: Counter[str] = field(default_factory=Counter)
    """By method in lower case, proven or not."""
    errors: Counter[int] = field(default_factory=Counter)
    """Error responses by their code."""
    drops: Counter[TurnDrop] = field(default_factory=Counter)
    allocated: int = 0
    """Allocations made so far."""
    expired: int = 0
    """Allocations that expired, and were not given back."""
    internal: Traffic = field(default_factory=Traffic)
    """Handed over between two allocations of this server."""
    to_peers: Traffic = field(default_factory=Traffic)
    from_peers: Traffic = field(default_factory=Traffic)

    def drop(self, reason: TurnDrop, packets: int = 1) -> None:
        """Count what was dropped."""
        self.drops[reason] += packets
