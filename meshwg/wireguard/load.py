"""When a device is under load, and how many handshakes a site then gets.

A reply costs Diffie-Hellman work, so a flood of handshakes must cost its sender more
than us (paper, section 5.3). Other implementations call themselves under load when the
queue in front of their handshake workers fills. This engine answers at once and has
no such queue, so :class:`LoadMeter` keeps the length that it would have.
"""

from meshwg.limits import RateLimiter
from meshwg.wireguard.constants import UNDER_LOAD_TIME

PACKETS_PER_SECOND = 20
BURST = 5
"""Handshakes of one site, as in Linux's implementation."""
MAX_SOURCES = 4096
"""Sites remembered at once."""

QUEUE_THRESHOLD = 128
"""Handshakes waiting in the imagined queue that mean load."""
SERVICE_RATE = 1400.0
"""Handshakes a second that leave it. What a stranger can cost with the public key alone
is one curve operation and some hashes, 87 us where this was measured: an eighth of a
core, which leaves the rest to members' own handshakes."""


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


def handshake_limiter() -> RateLimiter:
    """Return what bounds the handshakes of each site under load."""
    return RateLimiter(PACKETS_PER_SECOND, BURST, max_keys=MAX_SOURCES)
