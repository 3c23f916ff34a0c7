"""What several tests of the relay on real sockets need."""

import asyncio
from collections.abc import Callable

from tests.interop.relays import LiveNode


class Node(LiveNode):
    """A node that closes what it opened."""

    async def __aenter__(self) -> "Node":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.socket.fileno() >= 0:
            self.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (whatever changes it)
            await asyncio.sleep(0.01)
