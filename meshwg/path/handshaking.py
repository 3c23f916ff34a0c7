"""Begins a handshake anew when it is known that waiting is of no use.

WireGuard repeats an initiation after 5 s, because it does not know why nothing came. A
path agent does: a check that was sent later, and answered, shows that there is a way
now, and that the initiation or its response got lost on it, or was sent before there
was any. A few times in a row, and each time later, the initiation is then sent anew.
"""

PATIENCE = 0.1
"""Seconds from the answer of a check to the next initiation; twice a path's round trip
where that is longer: the response may take another path than the answer."""

COURTESY = 2
"""How many times that the side waits which does not lead: two that begin anew at the
same moment would refuse each other's answers to what they sent before."""

CHECK_AFTER = 0.25
"""Seconds after a handshake message at which its path is checked."""

REPEATS = 4
"""Initiations in a row that are sent early, each with twice the patience."""

UNANSWERED = 3.0
"""Seconds after the first initiation at which, after all of these, the path has a
fault: checks are answered, handshakes are not."""

REKEY_UNANSWERED = 10.0
"""The same without them, when WireGuard itself has repeated it twice."""


SERIES = 8.0
"""Seconds without an initiation after which the next one has nothing to do with it:
WireGuard repeats after 5 s and a little, or does not wait any more."""


class Handshaking:
    """The initiations of this node that the peer has not answered.

    :param leads: whether this side is the first of two to begin anew.
    """

    def __init__(self, *, leads: bool = True) -> None:
        self._turns = 1 if leads else COURTESY
        self._first_at: float | None = None
        self._sent_at = 0.0
        self._sent = 0
        self._repeats = 0
        self._due: float | None = None

    @property
    def is_pending(self) -> bool:
        """Whether an answer is awaited."""
        return self._first_at is not None

    def sent(self, now: float) -> None:
        """Note that an initiation was sent."""
        if self._first_at is None or now >= self._sent_at + SERIES:
            self._first_at = now
            self._sent = self._repeats = 0
        self._sent_at = now
        self._sent += 1
        self._due = None

    def answered(self) -> None:
        """Note that the peer has answered."""
        self._first_at = self._due = None

    def crossed(self, round_trip: float, now: float) -> None:
        """Note that the peer began a handshake, too, and was answered.

        To begin anew now would make this node refuse the peer's answer to its first
        initiation; if the peer did so at the same time, neither would have a session.
        """
        if self._due is not None:
            self._due = max(self._due, now + self._patience(round_trip))

    def moved(self, round_trip: float, now: float) -> None:
        """Note that handshakes go another way now, on which there is a way."""
        if self._first_at is not None:
            self._first_at = now
            self._sent = self._repeats = 0
            self._due = now + self._patience(round_trip)

    def checked(self, sent_at: float, round_trip: float, now: float) -> None:
        """Note that a check was answered.

        :param round_trip: of the slower one of the paths, in seconds.
        """
        if self._first_at is None or self._due is not None or sent_at < self._sent_at:
            return
        if self._repeats < REPEATS:
            self._due = now + self._patience(round_trip) * (1 << self._repeats)

    def take_due(self, now: float) -> bool:
        """Tell whether to begin anew now."""
        if self._due is None or now < self._due:
            return False
        self._due = None
        self._repeats += 1
        return True

    def is_unanswered(self, now: float) -> bool:
        """Tell whether there should have been an answer long ago."""
        if self._first_at is None or self._sent < 2:
            return False
        all_tried = self._repeats >= REPEATS
        patience = UNANSWERED if all_tried else REKEY_UNANSWERED
        return now >= self._first_at + patience

    def get_timer(self) -> float | None:
        """Return when to call :meth:`take_due`."""
        return self._due

    def _patience(self, round_trip: float) -> float:
        return max(PATIENCE * self._turns, 2 * round_trip)
