"""Keeps what stays in memory out of the garbage collector's way.

A full collection looks at every object, which with ten thousand peers takes a twentieth
of a second, and packets wait. What a netmap consists of stays, so it is not looked at
again (:func:`gc.freeze`), until as much of it has gone.
"""

import asyncio
import gc
from collections.abc import Callable

from meshwg.node import Node

INTERVAL = 1.0
"""Seconds between two looks."""
ENOUGH = 256
"""Peers more, or gone, from which on something is done."""
RARELY = 200
"""Collections of young objects between two of all. Before the first look a node may
learn of ten thousand peers."""


class SettledObjects:
    """What the collector does not look at any more."""

    def __init__(
        self,
        freeze: Callable[[], None] = gc.freeze,
        unfreeze: Callable[[], None] = gc.unfreeze,
    ) -> None:
        self._freeze, self._unfreeze = freeze, unfreeze
        self._frozen = self._gone = 0

    def look(self, peers: int, gone: int) -> None:
        """Leave out what is new, or look at all again, if that is worth it.

        :param peers: how many there are.
        :param gone: how many have gone since the start.
        """
        if gone - self._gone >= max(ENOUGH, self._frozen):
            self._unfreeze()
            self._gone, self._frozen = gone, 0
        elif peers >= self._frozen + ENOUGH:
            self._freeze()
            self._frozen = peers


async def keep_settled(node: Node) -> None:
    """Do that for a node that has its process for itself, until this is cancelled."""
    before = gc.get_threshold()
    gc.set_threshold(*before[:2], RARELY)
    settled = SettledObjects()
    try:
        while True:
            await asyncio.sleep(INTERVAL)
            settled.look(len(node.peers), node.members.gone)
    finally:
        gc.set_threshold(*before)
