"""Keeps the cached netmap on the disk up to date, without holding up traffic."""

import asyncio
import logging
from collections.abc import Callable

from meshwg.errors import MeshError
from meshwg.runtime.state import StateDirectory

SETTLE = 0.1
"""Seconds from a change until it is saved: changes often come together."""
INTERVAL = 2.0
"""Seconds between two writes while the mesh keeps changing."""
RETRY_INTERVAL = 10.0
"""Seconds until a write that failed is tried again."""

logger = logging.getLogger(__name__)


class NetmapSaver:
    """Saves the netmap after changes, in a thread, because disks can be slow.

    :param netmap: returns what to save, or nothing.
    """

    def __init__(
        self, state: StateDirectory, netmap: Callable[[], bytes | None]
    ) -> None:
        self._state = state
        self._netmap = netmap
        self._changed = asyncio.Event()
        self._writing: asyncio.Future[None] | None = None
        self._failing = False
        self._task = asyncio.create_task(self._save_changes(), name="saver")

    def change(self) -> None:
        """The netmap has changed."""
        self._changed.set()

    async def close(self) -> None:
        """Save what is not saved yet."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._writing is not None:
            await asyncio.wait([self._writing])
        if self._changed.is_set():
            await self._save()

    async def _save_changes(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE)
            await self._save()
            await asyncio.sleep(RETRY_INTERVAL if self._failing else INTERVAL)

    async def _save(self) -> None:
        """Save the netmap; of failures in a row, only the first is logged."""
        self._changed.clear()
        netmap = self._netmap()
        if netmap is None:
            return
        work = asyncio.to_thread(self._state.save_netmap, netmap)
        self._writing = asyncio.ensure_future(work)
        try:
            # A thread cannot be cancelled, and two of them must not write at once.
            await asyncio.shield(self._writing)
        except MeshError as error:
            if not self._failing:
                logger.error("%s", error)
            self._failing = True
            self._changed.set()
        else:
            self._failing = False
