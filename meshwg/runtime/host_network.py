"""Notices that the host's network is another one, or that the machine was asleep."""

import asyncio
import logging
from collections.abc import Callable

from meshwg.runtime import clock
from meshwg.runtime.interface import Network, NetworkWatcher, look_around
from meshwg.runtime.tasks import TaskSet

SLEEP_CHECK = 5.0
"""Seconds between two looks whether the machine was asleep."""
SLEPT = 2.0
"""Seconds that the clocks must have drifted apart for that."""

logger = logging.getLogger(__name__)


class HostNetwork:
    """Watches the network that a node's host is in.

    :param on_change: called when the network has changed or the machine has slept.
    :param except_interface: index of the node's own interface, which does not count.
    """

    def __init__(
        self, on_change: Callable[[Network], None], *, except_interface: int
    ) -> None:
        self.current = Network((), (), ())
        """As it was at the last look."""
        self._on_change = on_change
        self._except = except_interface
        self._drift = _drift()
        self._watcher: NetworkWatcher | None = None
        self._tasks = TaskSet()

    async def start(self) -> None:
        """Look around, and from now on report what changes."""
        self._watcher = NetworkWatcher(
            lambda: self._look_again(slept=False), except_interface=self._except
        )
        self.current = await look_around(self._except)
        self._tasks.run(self._watch_sleep())

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.close()
        self._tasks.cancel()

    def _look_again(self, *, slept: bool) -> None:
        self._tasks.run(self._look_around(slept=slept))

    async def _look_around(self, *, slept: bool) -> None:
        """See whether the network is another one now, and report it."""
        network = await look_around(self._except)
        if slept or network != self.current:
            logger.info("The network changed")
            self.current = network
            self._on_change(network)

    async def _watch_sleep(self) -> None:
        """Notice that the machine was asleep: its clocks then drifted apart."""
        while True:
            await asyncio.sleep(SLEEP_CHECK)
            drift = _drift()
            if drift - self._drift > SLEPT:
                logger.info("The machine was asleep")
                self._look_again(slept=True)
            self._drift = drift


def _drift() -> float:
    """Return how much longer the machine has existed than been awake, in seconds."""
    return clock.now() - asyncio.get_running_loop().time()
