"""How lately a peer was needed: without traffic, an agent starts nothing."""

ACTIVE = 45.0
"""Seconds after the last packet for which a peer counts as active."""

DORMANT = 600.0
"""Seconds after the last packet from which nothing is kept open."""


class Activity:
    """The time of the last packet to or from one peer."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def note(self, now: float) -> None:
        """Note a packet, or something else that shows that the peer is needed."""
        self._last = now

    def is_active(self, now: float) -> bool:
        """Tell whether there is traffic."""
        return now < self._last + ACTIVE

    def is_dormant(self, now: float) -> bool:
        """Tell whether the peer has not been needed for long."""
        return now >= self._last + DORMANT

    def get_timer(self, now: float) -> float | None:
        """Return when the peer stops being active, or becomes dormant."""
        turns = (self._last + ACTIVE, self._last + DORMANT)
        return next((when for when in turns if when > now), None)
