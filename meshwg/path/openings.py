"""What keeps a NAT open for a peer that nobody can tell that it is wanted.

While the coordinator is away, both nodes send now and then. An *opener* has a low TTL:
it passes this node's NAT, and dies before the peer's. A check goes all the way, and
proves the path if the peer's NAT is open; but if the peer is not there, a router that
accepts packets for itself takes it for a flow of its own, and spoils the port for the
peer that comes later. A port that is spoiled stays so while either side sends.

So there are many openers and few checks, none with the first opener, when the peer's
may still be to come; and every third turn is left out, so that what is spoiled can be
forgotten.
"""

from enum import Enum

MEMORY = 50.0
"""Seconds after the last turn when the next one counts as the first."""

CYCLE = 9
"""Turns from one check to the next: three minutes, at one turn in 20 s."""


class Turn(Enum):
    """What is done in one turn."""

    OPEN = "open"
    """Send an opener."""
    CHECK = "check"
    """Send a check that goes all the way."""
    REST = "rest"
    """Send nothing."""


class Openings:
    """Counts the turns for one peer."""

    def __init__(self) -> None:
        self._count = 0
        self._last_at = float("-inf")

    def take_turn(self, now: float) -> Turn:
        """Return what to do now, and count it."""
        if now > self._last_at + MEMORY:
            self._count = 0
        count, self._count, self._last_at = self._count, self._count + 1, now
        if count % 3 == 2:
            return Turn.REST
        return Turn.CHECK if count % CYCLE == 1 else Turn.OPEN
