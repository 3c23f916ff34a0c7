"""When each of many items is due, and which one is next."""

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
        # The number of an entry keeps items from being compared.
        self._heap: list[tuple[float, int, T]] = []
        self._entries = 0
        self._times: dict[T, float] = {}

    def schedule(self, thing: T, when: float | None) -> None:
        """Wake an item at a time, unless an earlier time was given before."""
        if when is None or when >= self._times.get(thing, float("inf")):
            return
        self._times[thing] = when
        self._entries += 1
        heapq.heappush(self._heap, (when, self._entries, thing))

    def discard(self, thing: T) -> None:
        """Do not wake an item any more, if it was scheduled."""
        self._times.pop(thing, None)

    def clear(self) -> None:
        """Forget all deadlines."""
        self._heap.clear()
        self._times.clear()

    def get_timer(self) -> float | None:
        """Return when the first item is due."""
        heap, times = self._heap, self._times
        while heap and heap[0][0] != times.get(heap[0][2]):
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def take_due(self, now: float) -> Iterator[T]:
        """Yield the items that are due; each can be scheduled again meanwhile."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, thing = heapq.heappop(heap)
            if when == self._times.get(thing):
                del self._times[thing]
                yield thing
