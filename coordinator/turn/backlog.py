"""What waits for a socket that is blocked: bounded, and the oldest is dropped first.

A packet that has waited long is worth less than a new one: its sender has sent it again
by now, or another one instead. So a full backlog drops at its head.
"""

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Backlog(Generic[Item]):
    """A queue of batches that is limited by the bytes in it."""

    def __init__(self, limit: int) -> None:
        """Begin empty.

        :param limit: bytes; one batch alone may be longer.
        """
        self._limit = limit
        self._items: deque[tuple[Item, int, int]] = deque()
        self._size = 0
        self.dropped = 0
        """Packets that were dropped."""

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: Item, packets: int, size: int) -> None:
        """Add a batch of so many packets and bytes."""
        self._items.append((item, packets, size))
        self._size += size
        while self._size > self._limit and len(self._items) > 1:
            _, packets, size = self._items.popleft()
            self._size -= size
            self.dropped += packets

    def pop(self) -> Item:
        """Remove and return the oldest batch.

        :raises IndexError: if there is none.
        """
        item, _, size = self._items.popleft()
        self._size -= size
        return item

    def clear(self) -> None:
        """Drop everything, without counting it."""
        self._items.clear()
        self._size = 0
