"""Keeps a file on the disk up to date, without holding up traffic."""

import asyncio
import logging
from collections.abc import Callable

from meshwg.errors import MeshError

SETTLE = 0.1
"""Seconds from a change until it is saved: changes often come together."""
INTERVAL = 2.0
"""Seconds between two writes while the mesh keeps changing."""
RETRY_INTERVAL = 10.0
"""Seconds until a write that failed is tried again."""

logger = logging.getLogger(__name__)


class Saver:
    """Saves something after changes, in a thread, because disks can be slow.

    :param write: writes the file.
    :param content: returns what to save, or nothing.
    """

    def __init__(
        self, write: Callable[[bytes], None], content: Callable[[], bytes | None]
    ) -> None:
        self._write = write
        self._content = content
        self._changed = asyncio.Event()
        self._writing: asyncio.Future[None] | None = None
        self._failing = False
        self._task = asyncio.create_task(self._save_changes(), name="saver")

    def change(self) -> None:
        """It has changed."""
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
        """Save it; of failures in a row, only the first is logged."""
        self._changed.clear()
        content = self._content()
        if content is None:
            return
        work = asyncio.to_thread(self._write, content)
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
