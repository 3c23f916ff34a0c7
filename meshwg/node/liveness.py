"""Whether a router is there, judged by what it answers to the data that goes to it.

A path may be doubted for long before it is given up, since there is no other one. Where
another router leads to the same network there is no reason to wait: a few checks in a
row that nothing answers are enough to send there instead.
"""

from collections.abc import Callable
from enum import Enum, auto

PATIENCE = 0.4
"""Seconds for which data may stay unanswered until the router is checked."""
FIRST_PATIENCE = 2.5
"""The same where nothing was heard of it lately: a path may have to be found first."""
ONE_WAY_PATIENCE = 0.6
"""The same after a check was answered: data goes one way, it seems."""
RECENT = 60.0
"""Seconds for which a router counts as heard lately."""
CHECKS = 3
"""Checks in a row without an answer after which the router counts as silent."""
MIN_GAP = 0.3
"""Seconds between them at least, and after the last one; twice the round trip where
that is longer."""
MAX_GAP = 1.0


class Probing(Enum):
    """What is to be done about a router that does not answer."""

    CHECK = auto()
    SILENT = auto()


class Liveness:
    """What is known of one router.

    :ivar is_silent: whether nothing answers where it should be.
    :ivar heard_at: when something authentic last came from it.
    :param round_trip: returns the seconds of that, ``None`` where it is not known.
    """

    def __init__(self, round_trip: Callable[[], float | None]) -> None:
        self.is_silent = False
        self.heard_at = float("-inf")
        self._round_trip = round_trip
        self._patience = FIRST_PATIENCE
        self._due: float | None = None
        self._checks = 0

    def sent(self, now: float) -> None:
        """Note that something goes to it, or waits for a way there."""
        if self._due is None and not self.is_silent:
            if now >= self.heard_at + RECENT:
                self._patience = FIRST_PATIENCE
            self._due, self._checks = now + self._patience, 0

    def heard(self, now: float, *, is_data: bool) -> bool:
        """Note that something authentic came; return whether it was silent before."""
        was_silent, self.is_silent = self.is_silent, False
        self.heard_at, self._due = now, None
        self._patience = PATIENCE if is_data else ONE_WAY_PATIENCE
        return was_silent

    def get_timer(self) -> float | None:
        """Return when to call :meth:`next_step`."""
        return self._due

    def next_step(self, now: float) -> Probing | None:
        """Return what is due, if anything is."""
        if self._due is None or now < self._due:
            return None
        if self._checks == CHECKS:
            self._due, self.is_silent = None, True
            return Probing.SILENT
        self._checks += 1
        self._due = now + min(max(MIN_GAP, 2 * (self._round_trip() or 0.0)), MAX_GAP)
        return Probing.CHECK
