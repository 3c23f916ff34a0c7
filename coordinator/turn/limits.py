"""How much one client, one node and one stranger may have of a relay."""

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import ip_address


@dataclass(frozen=True, slots=True)
class Limits:
    """What a :class:`~coordinator.turn.server.TurnServer` grants; all have defaults."""

    allocations: int = 10_000
    """At once, for everybody together; more are answered with 508."""
    allocations_per_node: int = 8
    """At once; more are answered with 486, unless one of them has been silent."""
    silence: float = 60.0
    """Seconds after which an allocation gives way to another one of its node. Nodes
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


class TokenBuckets:
    """One token bucket per key; of many keys the least recently used are forgotten."""

    def __init__(self, rate: float, burst: float, max_keys: int = 8192) -> None:
        self._rate = rate
        self._burst = burst
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, amount: float, now: float) -> bool:
        """Take tokens if there are any left, and tell whether there were.

        The last tokens may be overdrawn, so that a batch larger than the burst passes
        once in a while instead of never.
        """
        tokens, then = self._buckets.get(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        enough = tokens > 0
        self._buckets[key] = (tokens - amount if enough else tokens, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return enough


def site_of(host: str) -> str:
    """Return the part of an address that one site controls: for IPv6 its /64."""
    if ":" not in host:
        return host
    return ip_address(host.partition("%")[0]).packed[:8].hex()
