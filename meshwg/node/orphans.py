"""Data under sessions that this node does not have, such as those of its last run.

Whoever sends it goes on with the other half of a session. If that is a member, a new
session is needed, and this node can begin it sooner than the peer, which has to miss
answers first. But anybody can send what looks like that, from any address. So few
addresses are remembered, each is looked at a few times a second, and what comes of it
is no more than a packet of this node for that peer would cause.
"""

from meshwg.transmit import Endpoint

INTERVAL = 0.25
"""Seconds between two looks at data from one address."""
MEMORY = 2.0
"""Seconds for which an address is remembered."""
MOST = 32
"""Addresses that are remembered: those of others then have to wait."""


class Orphans:
    """The addresses from which such data came lately."""

    def __init__(self) -> None:
        self._seen: dict[Endpoint, float] = {}

    def note(self, source: Endpoint, now: float) -> bool:
        """Remember where data came from; return whether to look into it now."""
        source = source.unpinned()
        before = self._seen.get(source)
        if before is not None:
            if now < before + INTERVAL:
                return False
        elif not self._has_room(now):
            return False
        self._seen[source] = now
        return True

    def take(self, endpoint: Endpoint, now: float) -> bool:
        """Tell, once, whether data came from there lately."""
        at = self._seen.pop(endpoint.unpinned(), None)
        return at is not None and now <= at + MEMORY

    def _has_room(self, now: float) -> bool:
        if len(self._seen) < MOST:
            return True
        self._seen = {
            source: at for source, at in self._seen.items() if now < at + MEMORY
        }
        return len(self._seen) < MOST
