"""An event loop that serves packets before anything else.

Between a descriptor that becomes readable and its handler, asyncio has a dozen function
calls. A process that was woken by a single packet finds all of their code and data
fallen out of the processor's caches, so the packet waits several times as long for
asyncio as for its own encryption. The selector of this loop therefore calls the
handlers of packet descriptors itself, and goes back to sleep: an answer often comes
sooner than asyncio would be done. What the packets mean for the rest of the program,
new timers above all, is carried out when there are none for a millisecond, or when the
rest has waited for two.
"""

import asyncio
import select
import time
from collections.abc import Callable, Mapping
from selectors import BaseSelector, EpollSelector, SelectorKey
from typing import Any

TURN = 0.002
"""Seconds for which packets are carried before the rest of the program goes on."""

QUIET = 0.001
"""Seconds without packets after which the rest of the program goes on."""

UNTIMED = 4
"""How often the descriptors are asked before the clock is looked at."""

MAX_READY = 16
"""Descriptors named by one call: Python makes room for them each time."""

Handler = Callable[[int], None]
"""Called with the descriptor that is readable."""


class PacketSelector(BaseSelector):
    """What the loop waits with: its own descriptors, and those of packets.

    The loop's descriptors are in an epoll instance of their own, which stands for all
    of them in the one that is waited on.

    :param on_error: called with what a handler raised, which must not end the loop.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error
        self._others = EpollSelector()
        self._epoll = select.epoll()
        self._epoll.register(self._others.fileno(), select.EPOLLIN)
        self._handlers: dict[int, Handler] = {}
        self.on_quiet: Callable[[], None] | None = None
        """Called after packets were served."""

    def watch(self, descriptor: int, handler: Handler) -> None:
        """Call the handler whenever the descriptor is readable."""
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, select.EPOLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor, before it is closed."""
        del self._handlers[descriptor]
        self._epoll.unregister(descriptor)

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Serve packets, and return what else is ready."""
        poll, find = self._epoll.poll, self._handlers.get
        ready = poll(timeout, MAX_READY)
        others = False
        rounds, end = 0, 0.0
        while ready:
            for descriptor, _ in ready:
                handler = find(descriptor)
                if handler is None:
                    others = True
                    continue
                try:
                    handler(descriptor)
                except Exception as error:
                    self._on_error(error)
            rounds += 1
            if others:
                break
            # The clock is not read for the first packets: those are in a hurry.
            if rounds >= UNTIMED:
                now = time.monotonic()
                end = end or now + TURN
                if now >= end:
                    break
            ready = poll(QUIET, MAX_READY)
        if rounds and self.on_quiet is not None:
            try:
                self.on_quiet()
            except Exception as error:
                self._on_error(error)
        return self._others.select(0) if others else []

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
        self._handlers.clear()
        self._epoll.close()
        self._others.close()


class PacketLoop(asyncio.SelectorEventLoop):
    """An asyncio loop with readers that come before everything else."""

    def __init__(self) -> None:
        self._packets = PacketSelector(self._report)
        super().__init__(self._packets)

    def add_packet_reader(self, descriptor: int, handler: Handler) -> None:
        """Call a handler whenever packets can be read."""
        self._packets.watch(descriptor, handler)

    def remove_packet_reader(self, descriptor: int) -> None:
        """Stop to watch a descriptor that was added."""
        self._packets.unwatch(descriptor)

    def set_quiet_handler(self, handler: Callable[[], None] | None) -> None:
        """Call a handler after packets were served, when there is time."""
        self._packets.on_quiet = handler

    def _report(self, error: Exception) -> None:
        self.call_exception_handler(
            {"message": "A handler of packets failed", "exception": error}
        )
