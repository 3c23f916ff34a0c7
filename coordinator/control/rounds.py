"""Rounds: when which members are told of a new netmap version.

The first change after a quiet time starts a round at once. Versions that follow during
the round, or the pause after it, are told together in the next one. A round takes
members in slices, so that joins and offers are served in between. It takes only those
who see a difference, so a change costs as much as it has spectators, however large the
mesh is.
"""

from collections import deque
from collections.abc import Iterable

from coordinator.control.connection import Connection

SLICE = 200
"""Members told in one go."""
PAUSE_PER_MEMBER = 200e-6
"""Seconds that each member adds to the time between the starts of two rounds: telling
it costs 60 to 80 microseconds, so rounds leave time for everything else."""


class Rounds:
    """The members that are still to be told, and when the next round may start."""

    def __init__(self, now: float) -> None:
        self._queue: deque[Connection] = deque()
        self._wanted: dict[Connection, None] = {}
        self._not_before = now

    def want(self, members: Iterable[Connection]) -> None:
        """There is news for these: start a round as soon as one may start."""
        self._wanted |= dict.fromkeys(members)

    def next_slice(self, now: float) -> list[Connection]:
        """Return the members to tell now."""
        if not self._queue and self._wanted and now >= self._not_before:
            self._queue.extend(self._wanted)
            self._wanted = {}
            self._not_before = now + len(self._queue) * PAUSE_PER_MEMBER
        count = min(SLICE, len(self._queue))
        return [self._queue.popleft() for _ in range(count)]

    def get_timer(self) -> float | None:
        if self._queue:
            return 0.0
        return self._not_before if self._wanted else None
