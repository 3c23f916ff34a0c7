"""The 32-bit indices by which peers name our handshakes and sessions."""

from collections.abc import Callable
from typing import Generic, TypeVar

from meshwg.transmit import Random

Owner = TypeVar("Owner")


class IndexTable(Generic[Owner]):
    """Random, unique indices and who owns each.

    They are random because a receiver index travels in clear: a structure in it would
    tell sessions apart, and who renews which.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._owners: dict[int, Owner] = {}
        self.owner: Callable[[int], Owner | None] = self._owners.get
        """Return whose an index is; every data message asks."""

    def __len__(self) -> int:
        return len(self._owners)

    def new(self, owner: Owner) -> int:
        """Return an unused index, which from now on belongs to ``owner``."""
        while True:
            index = int.from_bytes(self._random(4), "little")
            if index not in self._owners:
                self._owners[index] = owner
                return index

    def release(self, index: int) -> None:
        self._owners.pop(index, None)
