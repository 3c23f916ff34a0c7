"""Server-sent events: those who follow what changes, each at his own pace.

One who reads slowly keeps nothing waiting: what he has not read is in the log of
events, and if that is gone, he begins anew. One who reads nothing is cut.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from coordinator.administration.events import BEGIN, EventLog
from coordinator.administration.problems import Problem, Trouble
from coordinator.administration.rights import Actor
from coordinator.mesh.registry import Registry
from coordinator.runtime.listener import take_over

HEARTBEAT = 15.0
"""Seconds without an event until a comment says that the connection is alive, and
whether the token is still good is looked at."""
SEND_LIMIT = 10.0
"""Seconds in which a follower has to take what waits for him."""
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}
TOO_MANY = "Too many follow the events already: wait until some have ended"

Check = Callable[[], Awaitable[bool]]


class EventStream:
    """All who follow the events of one process."""

    def __init__(self, log: EventLog, registry: Registry) -> None:
        self._log = log
        self._registry = registry
        self._wakes: set[asyncio.Event] = set()
        self._stopping = False

    def note(self) -> None:
        """There may be something new in the log."""
        for wake in self._wakes:
            wake.set()

    def stop(self) -> None:
        """End all streams."""
        self._stopping = True
        self.note()

    async def serve(
        self, request: web.Request, actor: Actor, is_still_good: Check
    ) -> web.StreamResponse:
        """Send events until the follower goes, or may not follow any more.

        :param is_still_good: whether what he has shown is still good.
        :raises Problem: if there are too many.
        """
        if not self._log.begin_to_follow(self._registry):
            raise Problem(503, Trouble.TOO_MANY, TOO_MANY)
        wake = asyncio.Event()
        self._wakes.add(wake)
        visit = take_over(request)
        response = web.StreamResponse(headers=HEADERS)
        response.force_close()
        try:
            await response.prepare(request)
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._send_all(request, response, actor, wake, is_still_good)
        finally:
            self._wakes.discard(wake)
            self._log.end_to_follow()
            if visit is not None:
                visit.close()
        return response

    async def _send_all(
        self,
        request: web.Request,
        response: web.StreamResponse,
        actor: Actor,
        wake: asyncio.Event,
        is_still_good: Check,
    ) -> None:
        log = self._log
        place = log.place(request.headers.get("Last-Event-ID", ""))
        while not self._stopping:
            if place is None:
                place = log.number
                version = {"version": self._registry.version}
                await _send(response, log.id_of(place), BEGIN, version)
            newest = log.number
            for event in log.after(place, actor):
                id_ = log.id_of(event.number)
                await _send(response, id_, event.kind, event.record)
            if not await _has_woken(wake):
                if not await is_still_good():
                    return
                await _write(response, b":\n\n")
            # More may have happened meanwhile than the log keeps.
            place = log.place(log.id_of(newest))


async def _has_woken(wake: asyncio.Event) -> bool:
    """Wait for news; return whether there may be any."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HEARTBEAT):
            await wake.wait()
    was_set = wake.is_set()
    wake.clear()
    return was_set


async def _send(
    response: web.StreamResponse, id_: str, kind: str, record: dict[str, Any]
) -> None:
    text = json.dumps({"schema": 1, **record})
    await _write(response, f"id: {id_}\nevent: {kind}\ndata: {text}\n\n".encode())


async def _write(response: web.StreamResponse, data: bytes) -> None:
    """Write as much as a follower takes.

    :raises TimeoutError: if he does not.
    """
    async with asyncio.timeout(SEND_LIMIT):
        await response.write(data)
