"""When a node asks for the whole netmap again, because what it holds does not add up.

That is sent in slices, and if one of them cannot be read, none after it fits. So it is
asked for once, and then more and more rarely until something adds up again.
"""

FIRST_PAUSE = 1.0
"""Seconds after asking until it may be asked again."""
MAX_PAUSE = 60.0


class Resyncs:
    """The wish for a whole netmap, and when it may be said."""

    def __init__(self) -> None:
        self._is_wanted = False
        self._not_before = float("-inf")
        self._pause = FIRST_PAUSE

    def want(self) -> None:
        """Take note that something does not add up."""
        self._is_wanted = True

    def settle(self) -> None:
        """Take note that what is held adds up."""
        self._is_wanted = False
        self._pause = FIRST_PAUSE

    def forget(self) -> None:
        """Begin anew on another connection, which begins with what is missing."""
        self._is_wanted = False
        self._not_before = float("-inf")

    def take(self, now: float) -> bool:
        """Tell whether to ask now."""
        if not self._is_wanted or now < self._not_before:
            return False
        self._is_wanted = False
        self._not_before = now + self._pause
        self._pause = min(self._pause * 2, MAX_PAUSE)
        return True

    def get_timer(self) -> float | None:
        """Return when to ask, ``None`` if there is no reason to."""
        return self._not_before if self._is_wanted else None
