"""What nobody expected: caught, counted, and logged once a minute.

A stranger who finds a fault must not find a way to fill the disk as well. So of each
kind the first is logged with its traceback, and from then on one in a minute, with how
many there were in between.
"""

import asyncio
import logging
from collections import Counter
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from coordinator.administration.problems import MEDIA_TYPE, Problem, Trouble, record_of
from meshwg.limits import RateLimiter

logger = logging.getLogger(__name__)

INTERVAL = 60.0
"""Seconds between two lines of one kind."""
MAX_KINDS = 64
"""Kinds that are told apart."""


class Unexpected:
    """Takes exceptions from wherever they are caught last."""

    def __init__(self) -> None:
        self.count = 0
        self._lines = RateLimiter(1 / INTERVAL, 1.0, max_keys=MAX_KINDS)
        self._unlogged: Counter[tuple[str, str]] = Counter()

    def note(self, where: str, error: BaseException | None, now: float) -> None:
        """Count an exception, and log it if none of its kind was for a while.

        :param where: what was being done, in words that nobody outside can choose.
        """
        self.count += 1
        kind = where, type(error).__name__
        if not self._lines.take(kind, now):
            if kind in self._unlogged or len(self._unlogged) < MAX_KINDS:
                self._unlogged[kind] += 1
            return
        before = self._unlogged.pop(kind, 0)
        more = f" ({before} more of these since the last line)" if before else ""
        logger.error("Unexpected, while %s%s", where, more, exc_info=error)

    def note_in_loop(
        self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
    ) -> None:
        """Take what an event loop would log: see ``loop.set_exception_handler``."""
        where = str(context.get("message", "serving")).partition(":")[0]
        self.note(where, context.get("exception"), loop.time())

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """Answer with 500 what a handler did not expect."""
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:
            now = asyncio.get_running_loop().time()
            self.note("answering a request", error, now)
            text = "The coordinator did not expect this; its log says more"
            record = record_of(Problem(500, Trouble.UNEXPECTED, text))
            return web.json_response(record, status=500, content_type=MEDIA_TYPE)
