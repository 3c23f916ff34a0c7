"""How much of a relay one client, one node and one stranger may use."""

from dataclasses import dataclass

MAX_SENDERS = 8192
"""How many nodes, and how many strangers, are counted at a time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a :class:`~coordinator.turn.server.TurnServer` grants; all have defaults."""

    allocations: int = 10_000
    """At once, for everybody together; more are answered with 508."""
    allocations_per_node: int = 8
    """At once; more are answered with 486, unless one of them has been silent."""
    silence: float = 60.0
    """Seconds after which an allocation is dropped for another one of its node. Nodes
    of meshwg are never silent for that long."""
    permissions: int = 1024
    """Of one allocation; more are answered with 508."""
    channels: int = 1024
    """Of one allocation; more are answered with 508."""
    bytes_per_second: int | None = None
    """Of one node, in each direction; what is above is dropped. ``None``: no limit."""
    default_lifetime: float = 600.0
    """Seconds an allocation lives without a refresh (RFC 8656 section 3.2)."""
    max_lifetime: float = 3600.0
    """Seconds that a client can ask for at most."""
    permission_lifetime: float = 300.0
    """Seconds (RFC 8656 section 9)."""
    channel_lifetime: float = 600.0
    """Seconds (RFC 8656 section 12)."""
    channel_rest: float = 300.0
    """Seconds for which an expired channel is not bound to another peer."""
    strangers_per_second: float = 20.0
    """Answers to requests without proof, to one address; above that they are dropped.
    The sender's address can be forged, so this bounds what a victim gets."""
    strangers_burst: float = 100.0
