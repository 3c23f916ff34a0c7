"""The policy as a file that is applied whenever it changes."""

import asyncio
import contextlib
import logging
from pathlib import Path

from coordinator.mesh.operations import ApplyPolicy, Refused
from coordinator.policy.document import MAX_TEXT
from coordinator.runtime.worker import StoreWorker
from meshwg.errors import MeshError

INTERVAL = 0.5
"""Seconds between two looks at the file."""

logger = logging.getLogger(__name__)


class PolicyFile:
    """Applies the policy in a file; one that is wrong is complained of once.

    :param path: ``None`` for none.
    """

    def __init__(self, path: Path | None, worker: StoreWorker) -> None:
        self._path = path
        self._worker = worker
        self._wanted = asyncio.Event()

    def look(self) -> None:
        """Read the file again, whether it seems to have changed or not."""
        self._wanted.set()

    async def watch(self) -> None:
        """Apply the file, and again after each change, until cancelled."""
        path = self._path
        known: object = None
        while True:
            stamp = None if path is None else _stamp(path)
            if path is not None and (stamp != known or self._wanted.is_set()):
                self._wanted.clear()
                known = stamp
                await self._apply(path)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL if path is not None else None):
                    await self._wanted.wait()
            if path is None:
                self._wanted.clear()

    async def _apply(self, path: Path) -> None:
        try:
            text = await asyncio.to_thread(_read, path)
            author = f"file {path}"[:255]
            result = await self._worker.perform(ApplyPolicy(text, author), author)
        except MeshError as error:
            logger.error("The policy stays as it is: %s", error)
            return
        if isinstance(result, Refused):
            logger.error("The policy stays as it is, see %s: %s", path, result.message)
        elif result.policy is not None:
            logger.info("Policy version %d is in force", result.policy.version)


def _stamp(path: Path) -> object:
    """Return what changes with a file."""
    try:
        status = path.stat()
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: Path) -> str:
    """Return the text of a file, as much as is needed to see that it is too long.

    :raises MeshError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_TEXT + 1).decode()
    except OSError as error:
        raise MeshError(
            f"The file {path} cannot be read ({error.strerror}): name another one "
            "with --policy"
        ) from None
    except UnicodeDecodeError:
        raise MeshError(
            f"The file {path} is not a text in UTF-8: save it as one"
        ) from None
