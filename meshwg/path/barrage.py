"""Sends the shots of one attempt when they are due, as far as the NAT has room.

A *flow* is new when its socket sends to an endpoint for the first time; and again when
it first sends something that does not die on the way, because only that reaches an
outer NAT. While a canary (:mod:`meshwg.path.room`) is awaited, everything waits. When
there is no room, flows that are not known to have found some are left out.
"""

from collections import Counter, deque
from collections.abc import Iterable

from meshwg.path.room import RoomWatch
from meshwg.path.volley import Shot
from meshwg.transmit import Endpoint

SHOTS_AT_ONCE = 32
"""Shots taken in one go at most, when a timer was late."""


class Barrage:
    """Shots, in order of time.

    :ivar watch: who looks for room, if anybody does.
    :ivar delay: seconds for which everything had to wait so far.
    """

    def __init__(
        self, shots: Iterable[Shot] = (), watch: RoomWatch | None = None
    ) -> None:
        self.watch = watch
        self.delay = 0.0
        self._shots = deque(shots)
        self._held_since: float | None = None
        self._flows: dict[tuple[Endpoint, bool], None] = {}
        self._opened: Counter[bool] = Counter()
        self._roomy: set[tuple[Endpoint, bool]] = set()

    def take_due(self, now: float) -> list[Shot]:
        """Return the shots to fire now."""
        due: list[Shot] = []
        while len(due) < SHOTS_AT_ONCE and not self._waits(now):
            if not self._shots or self._shots[0].when + self.delay > now:
                break
            shot = self._shots.popleft()
            if self._may_fire(shot, now):
                due.append(shot)
        return due

    def get_timer(self) -> float | None:
        """Return when there is something to do."""
        watched = None if self.watch is None else self.watch.get_timer()
        if watched is not None:
            return watched
        return self._shots[0].when + self.delay if self._shots else None

    def _waits(self, now: float) -> bool:
        watch = self.watch
        if watch is not None:
            watch.handle_timer(now)
        if watch is not None and watch.waits:
            self._held_since = now if self._held_since is None else self._held_since
            return True
        if self._held_since is not None:
            self.delay += now - self._held_since
            self._held_since = None
            if watch is not None and not watch.is_full:
                self._roomy.update(self._flows)
        return False

    def _may_fire(self, shot: Shot, now: float) -> bool:
        flow = shot.endpoint, shot.ttl is None
        watch = self.watch
        if watch is None:
            return True
        if watch.is_full:
            return flow in self._roomy
        if flow not in self._flows:
            self._flows[flow] = None
            self._opened[shot.ttl is None] += 1
            watch.opened(self._opened[shot.ttl is None], now)
        return True
