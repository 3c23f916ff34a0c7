"""Keeps files on the disk up to date, without holding up traffic."""

import asyncio
import logging
from collections.abc import Callable, Iterator

from meshwg.errors import MeshError
from meshwg.runtime import clock

SETTLE = 0.1
"""Seconds from a change until it is saved: changes often come together."""
INTERVAL = 2.0
"""Seconds between two writes while the mesh keeps changing."""
RETRY_INTERVAL = 10.0
"""Seconds until a write that failed is tried again."""
REST = 20.0
"""How many times as long as it took to make what is saved nothing is saved again."""

Content = bytes | Iterator[bytes] | None
"""What to save, as a whole or in parts that are made one by one; ``None``: nothing."""

logger = logging.getLogger(__name__)


class SavedFile:
    """One of the files that a :class:`Saver` keeps up to date."""

    def __init__(
        self,
        write: Callable[[bytes], None],
        content: Callable[[], Content],
        changed: asyncio.Event,
    ) -> None:
        self.write = write
        self.content = content
        self.is_due = False
        """Whether it is to be saved."""
        self._changed = changed

    def change(self) -> None:
        """What is to be in it has changed."""
        self.is_due = True
        self._changed.set()


class Saver:
    """Saves files after changes, in a thread, because disks can be slow.

    They are written in the order in which they were made known. They are on one disk,
    so where several cannot be written, one sentence is enough: that of the last.
    """

    def __init__(self) -> None:
        self._files: list[SavedFile] = []
        self._changed = asyncio.Event()
        self._writing: asyncio.Future[None] | None = None
        self._failing = False
        self._took = 0.0
        """Seconds in which what is saved was made."""
        self._task = asyncio.create_task(self._save_changes(), name="saver")

    def keep(
        self, write: Callable[[bytes], None], content: Callable[[], Content]
    ) -> SavedFile:
        """Return a file that is saved from now on whenever it was changed.

        :param write: writes it.
        :param content: returns what to save, or nothing.
        """
        file = SavedFile(write, content, self._changed)
        self._files.append(file)
        return file

    async def close(self) -> None:
        """Save what is not saved yet."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._save()

    async def _save_changes(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE)
            self._took = 0.0
            await self._save()
            rest = max(INTERVAL, REST * self._took)
            await asyncio.sleep(RETRY_INTERVAL if self._failing else rest)

    async def _save(self) -> None:
        """Save what is due; of failures in a row, only the first is logged."""
        self._changed.clear()
        due = [file for file in self._files if file.is_due]
        outcomes = [await self._save_one(file) for file in due]
        errors = [error for error in outcomes if error is not None]
        if errors and not self._failing:
            logger.error("%s", errors[-1])
        self._failing = bool(errors)

    async def _save_one(self, file: SavedFile) -> MeshError | None:
        """Return why it cannot be written; it stays due then."""
        file.is_due = False
        began = clock.now()
        content = file.content()
        if content is None:
            return None
        if not isinstance(content, bytes):
            content = await _joined(content)
        self._took += clock.now() - began
        work = asyncio.to_thread(file.write, content)
        self._writing = asyncio.ensure_future(work)
        try:
            # A thread cannot be cancelled, and two of them must not write at once.
            await asyncio.shield(self._writing)
        except MeshError as error:
            file.change()
            return error
        return None


async def _joined(parts: Iterator[bytes]) -> bytes:
    """Return what parts are together; packets have their turn between them."""
    made = []
    for part in parts:
        made.append(part)
        await asyncio.sleep(0)
    return b"".join(made)
