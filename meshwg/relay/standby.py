"""Whether a node needs an allocation at a second relay, before its first one dies.

Peers send to a relayed address that they were told. If the relay dies together with the
coordinator, nobody can tell them another one. So a node through whose relay data goes
keeps a second allocation and tells its address in advance. Most pairs are relayed for
a second only, until they are direct, and need none.
"""

STEADY = 5.0
"""Seconds for which data has to go through the relay first."""

PAUSE = 30.0
"""Seconds without data after which that begins anew."""

KEPT = 300.0
"""Seconds without data for which a second allocation is kept: to give it up and make it
again costs all peers a message each."""


class Need:
    """The times of data through the relay."""

    def __init__(self) -> None:
        self._since = self._last = float("-inf")

    def note(self, now: float) -> None:
        """Note that data goes through the relay."""
        if now > self._last + PAUSE:
            self._since = now
        self._last = now

    def begins(self) -> bool:
        """Tell whether data goes through the relay for long enough."""
        return self._last - self._since >= STEADY

    def lasts(self, now: float) -> bool:
        """Tell whether a second allocation is still worth its keeping."""
        return now < self._last + KEPT
