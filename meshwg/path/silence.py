"""Notices that nothing comes back from the peer while data goes to it.

Data that is answered proves more often than any check that the peer still hears us, and
costs nothing. When its answers stop, a NAT may have got another address, or the peer
may have moved; or nobody had anything to say. A few checks in a row tell which, long
before the one that is planned would.
"""

from enum import Enum, auto

PATIENCE = 0.4
"""Seconds for which data may stay unanswered until the path is checked."""

CHECKS = 3
"""Checks in a row without an answer after which the path is not relied on."""

MIN_GAP = 0.15
"""Seconds between them at least; twice the round trip where that is longer."""

MAX_GAP = 1.0

ONE_WAY_PATIENCE = 0.6
"""The same as :data:`PATIENCE` after an answered check: data goes one way, it seems."""


class Step(Enum):
    """What to do about a silence."""

    CHECK = auto()
    """Check the path now."""
    DOUBT = auto()
    """Check it again, and see whether this node is where it was."""
    SUSPECT = auto()
    """No check was answered: do not rely on the path."""


class Silence:
    """The time since the peer was heard, as far as it should have been."""

    def __init__(self) -> None:
        self._due: float | None = None
        self._patience = PATIENCE
        self._checks = 0

    def sent(self, now: float) -> None:
        """Note that data goes to the peer."""
        if self._due is None:
            self._due = now + self._patience
            self._checks = 0

    def heard(self) -> None:
        """Note that something authentic came from the peer."""
        self._due = None
        self._patience = PATIENCE

    def proven(self) -> None:
        """Note that a check was answered: the silence has another reason."""
        if self._due is not None:
            self._due = None
            self._patience = ONE_WAY_PATIENCE

    def get_timer(self) -> float | None:
        """Return when to call :meth:`next_step`."""
        return self._due

    def next_step(self, round_trip: float | None, now: float) -> Step | None:
        """Return what is due, if anything is.

        :param round_trip: seconds, of the path that is relied on.
        """
        if self._due is None or now < self._due:
            return None
        if self._checks == CHECKS:
            self._due = None
            return Step.SUSPECT
        self._checks += 1
        self._due = now + min(max(MIN_GAP, 2 * (round_trip or 0.0)), MAX_GAP)
        return Step.CHECK if self._checks == 1 else Step.DOUBT
