"""Whether this process serves, and whether nodes should be sent to it.

The database is heard of every few seconds, whether there is anything to write or not.
So it is known to be away soon after it went, and not when the first node waits for it.
"""

SILENCE = 10.0
"""Seconds without an answer of the database after which it counts as away."""


class Readiness:
    """What ``/healthz`` and ``/readyz`` say.

    :param now: the time of the database's last answer.
    """

    def __init__(self, now: float) -> None:
        self._answered_at = now
        self._is_listening = False
        self._is_leaving = False

    def answered(self, now: float) -> None:
        """The database has answered."""
        self._answered_at = now

    def listening(self, is_listening: bool) -> None:
        """The process hears of what others write, or not any more."""
        self._is_listening = is_listening

    def leave(self) -> None:
        """The process is about to stop."""
        self._is_leaving = True

    def ill(self, now: float, *, is_failing: bool) -> str | None:
        """Return what is wrong with the process, ``None`` if nothing is.

        :param is_failing: whether the last transaction failed.
        """
        if is_failing:
            return "the database fails"
        if now - self._answered_at > SILENCE:
            return "the database does not answer"
        return None

    def unready(self, now: float, *, is_failing: bool) -> str | None:
        """Return why nodes should go elsewhere, ``None`` if they should not."""
        if self._is_leaving:
            return "the coordinator is about to stop"
        if (problem := self.ill(now, is_failing=is_failing)) is not None:
            return problem
        if not self._is_listening:
            return "the database sends no notifications"
        return None
