"""An event loop that leaves the waiting to the code that carries packets.

Between a descriptor that becomes readable and its handler, asyncio has a dozen function
calls. A process that was woken by a single packet finds none of their code and data in
the processor's caches, so the packet waits several times as long for asyncio as for its
own encryption. The selector of this loop therefore lets a *carrier* wait. It handles
packets with no call in between, and returns when the rest of the program has something
to do.
"""

import asyncio
import select
from collections.abc import Callable, Mapping
from selectors import BaseSelector, EpollSelector, SelectorKey
from typing import Any

Poll = Callable[[float | None, int], list[tuple[int, int]]]
""":meth:`select.epoll.poll`: the time to wait in seconds, and how many descriptors to
return at most."""

Carrier = Callable[[Poll, float | None], bool]
"""Waits with the first argument, for as long as the second says or packets arrive, and
returns whether a descriptor of something else is ready, too."""


class PacketSelector(BaseSelector):
    """What the loop waits with: its own descriptors, and those of packets.

    The loop's descriptors are in an epoll instance of their own, which stands for all
    of them in the one that the carrier waits with.

    :param on_error: called with what the carrier raised, which does not end the loop.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self.carrier: Carrier | None = None
        """What waits for packets, ``None`` while nothing does."""
        self._on_error = on_error
        self._others = EpollSelector()
        self._epoll = select.epoll()
        self._epoll.register(self._others.fileno(), select.EPOLLIN)

    def watch(self, descriptor: int) -> None:
        """Tell the carrier whenever the descriptor is readable."""
        self._epoll.register(descriptor, select.EPOLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor; to be called before it is closed."""
        self._epoll.unregister(descriptor)

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Have packets carried, and return what else is ready."""
        carrier = self.carrier
        if carrier is None:
            return self._others.select(timeout)
        try:
            if not carrier(self._epoll.poll, timeout):
                return []
        except Exception as error:
            self._on_error(error)
        return self._others.select(0)

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Register a descriptor of the loop's (:class:`selectors.BaseSelector`)."""
        return self._others.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> SelectorKey:
        """Unregister a descriptor of the loop's."""
        return self._others.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Change what is waited for at a descriptor of the loop's."""
        return self._others.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, SelectorKey]:
        """Return the loop's descriptors; those of packets are not among them."""
        return self._others.get_map()

    def close(self) -> None:
        """Close the selector, not the descriptors."""
        self._epoll.close()
        self._others.close()


class PacketLoop(asyncio.SelectorEventLoop):
    """An asyncio loop in which packets come before everything else."""

    def __init__(self) -> None:
        self._packets = PacketSelector(self._report)
        super().__init__(self._packets)

    def add_packet_descriptor(self, descriptor: int) -> None:
        """Tell the carrier whenever packets can be read from the descriptor."""
        self._packets.watch(descriptor)

    def remove_packet_descriptor(self, descriptor: int) -> None:
        """Stop watching a descriptor that was added."""
        self._packets.unwatch(descriptor)

    def set_carrier(self, carrier: Carrier | None) -> None:
        """Let the carrier wait for packets; ``None`` leaves the waiting to the loop."""
        self._packets.carrier = carrier

    def _report(self, error: Exception) -> None:
        self.call_exception_handler(
            {"message": "The packet carrier failed", "exception": error}
        )
