"""When a device is under load, and how many handshakes an address then gets.

A reply costs Diffie-Hellman work, so a flood of handshakes must cost its sender more
than us (paper, section 5.3). Other implementations call themselves under load when the
queue in front of their handshake workers fills. This engine answers at once and has
no such queue, so :class:`LoadMeter` keeps the length that it would have.
"""

from ipaddress import ip_address

from meshwg.transmit import Endpoint
from meshwg.wireguard.constants import UNDER_LOAD_TIME

PACKETS_PER_SECOND = 20
BURST = 5
MAX_SOURCES = 4096
"""Sources remembered at once; the longest silent are forgotten first."""

QUEUE_THRESHOLD = 128
"""Handshakes waiting in the imagined queue that mean load."""
SERVICE_RATE = 500.0
"""Handshakes a second that leave it: half of what one core computes."""


class LoadMeter:
    """The queue of handshakes there would be if each waited for its turn."""

    __slots__ = ("_last", "_length", "_until")

    def __init__(self) -> None:
        self._length = 0.0
        self._last = 0.0
        self._until = float("-inf")

    def handshake_arrived(self, now: float) -> bool:
        """Count one handshake message and return whether the device is under load."""
        drained = (now - self._last) * SERVICE_RATE
        self._length = max(self._length - drained, 0.0) + 1
        self._last = now
        if self._length > QUEUE_THRESHOLD:
            # A longer memory of a flood would only prolong it.
            self._length = QUEUE_THRESHOLD
            self._until = now + UNDER_LOAD_TIME
        return now < self._until


class RateLimiter:
    """A token bucket for every IPv4 address and every IPv6 /64."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        # Source -> (tokens, time of the last message), the longest silent first.
        self._buckets: dict[bytes, tuple[float, float]] = {}

    def allow(self, source: Endpoint, now: float) -> bool:
        """Return whether the source may have one more handshake."""
        packed = ip_address(source.host.partition("%")[0]).packed
        key = packed if len(packed) == 4 else packed[:8]
        tokens, last = self._buckets.pop(key, (float(BURST), now))
        tokens = min(tokens + (now - last) * PACKETS_PER_SECOND, BURST)
        allowed = tokens >= 1
        self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > MAX_SOURCES:
            del self._buckets[next(iter(self._buckets))]
        return allowed
