"""When each of many things wants to be woken, and which one is next."""

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Agenda(Generic[T]):
    """Deadlines that move often, of which only the earliest matters.

    A deadline that moves to later leaves the earlier entry in place: it is looked at
    when its time has come, which is far rarer than deadlines move. So a thing may be
    woken too early, and never too late.
    """

    def __init__(self) -> None:
        # Each entry has a number, which keeps things from being compared.
        self._heap: list[tuple[float, int, T]] = []
        self._entries = 0
        self._times: dict[T, float] = {}

    def schedule(self, thing: T, when: float | None) -> None:
        """Wake a thing at a time, or earlier if that was said before."""
        if when is None or when >= self._times.get(thing, float("inf")):
            return
        self._times[thing] = when
        self._entries += 1
        heapq.heappush(self._heap, (when, self._entries, thing))

    def discard(self, thing: T) -> None:
        """Wake a thing no more, if it is known."""
        self._times.pop(thing, None)

    def clear(self) -> None:
        """Wake nothing any more."""
        self._heap.clear()
        self._times.clear()

    def get_timer(self) -> float | None:
        """Return when the first thing is due."""
        heap, times = self._heap, self._times
        while heap and heap[0][0] != times.get(heap[0][2]):
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def take_due(self, now: float) -> Iterator[T]:
        """Yield the things that are due; each can be scheduled anew meanwhile."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, thing = heapq.heappop(heap)
            if when == self._times.get(thing):
                del self._times[thing]
                yield thing
