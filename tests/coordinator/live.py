"""Nodes that talk to a real coordinator over real sockets, without a data plane."""

import asyncio
import os
from collections.abc import Callable
from typing import TypeVar

from meshwg.control.client import ControlClient, ControlState
from meshwg.control.events import ControlEvent
from meshwg.control.identity import Identity
from meshwg.keys import PrivateKey, format_key
from meshwg.runtime import clock
from meshwg.runtime.control import ControlLink
from meshwg.wire.control import Cache
from meshwg.wire.token import JoinToken

_Event = TypeVar("_Event", bound=ControlEvent)

PATIENCE = 20.0
"""Seconds a test waits for what must come; it is reached only when a test fails."""
LOOK = 0.01
"""Seconds between two looks at what nobody tells of."""


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something is so that nobody tells of."""
    for _ in range(int(PATIENCE / LOOK)):
        if condition():
            return
        await asyncio.sleep(LOOK)
    raise AssertionError("It never happens")


class LiveNode:
    """A control client with its link and its timer, as a daemon has them."""

    def __init__(
        self,
        token: str,
        name: str = "node",
        *,
        private_key: PrivateKey | None = None,
        cache: Cache | None = None,
        authenticate: bool = True,
    ) -> None:
        joined = JoinToken.parse(token)
        self.private_key = private_key or PrivateKey.generate(os.urandom)
        self.key = format_key(self.private_key.public_bytes)
        membership = Identity(
            self.private_key,
            joined.coordinator_key,
            name,
            str(joined.auth_key) if authenticate else None,
        )
        self._loop = asyncio.get_running_loop()
        self.client = ControlClient(
            membership, now=clock.now(), random=os.urandom, cache=cache
        )
        self.events: list[ControlEvent] = []
        self._link = ControlLink(self.client, joined.url, self._on_activity)
        self._timer: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()
        self._on_timer()

    async def joined(self) -> "LiveNode":
        """Wait until the coordinator has accepted this node."""
        await self.until(lambda: self.client.state is ControlState.CONNECTED)
        return self

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def event(self, kind: type[_Event]) -> _Event:
        """Wait for the first event of a kind, and take it."""

        def found() -> _Event | None:
            return next((e for e in self.events if isinstance(e, kind)), None)

        await self.until(lambda: found() is not None)
        event = found()
        assert event is not None
        self.events.remove(event)
        return event

    def act(self) -> None:
        """Carry out what the client asks for after a call to it."""
        self._on_activity()

    async def stop(self) -> None:
        """Leave, as a daemon does on SIGTERM."""
        self.client.stop(clock.now())
        await self.vanish()

    async def vanish(self) -> None:
        """Close the connection without leaving."""
        if self._timer is not None:
            self._timer.cancel()
        await self._link.close()

    def _on_activity(self) -> None:
        while (event := self.client.next_event()) is not None:
            self.events.append(event)
        self._link.update()
        self._news.set()
        if self._timer is not None:
            self._timer.cancel()
        at = self.client.get_timer()
        self._timer = None if at is None else self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self.client.handle_timer(clock.now())
        self._on_activity()
