"""Reliable byte streams of the simulated internet, in place of TCP and TLS.

A stream carries chunks in order and without loss, each as late as the path is long.
What kills TCP kills it: a router on the way that reboots, an end whose address changes,
a firewall. Handshake and congestion are not modelled, but opening takes a round trip.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.sim.nat import Address

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.network import Network
    from tests.sim.router import Router


@dataclass(frozen=True, slots=True)
class Path:
    """How one end reaches the other: what is on the way, and how long it takes."""

    delay: float
    seen_as: Address
    """The connecting end's address as the listening end sees it."""
    routers: tuple[tuple["Router", int], ...]
    """The routers that keep state, with the number of their reboots so far."""
    host: "Host"
    """The listening end."""

    def is_whole(self) -> bool:
        """Tell whether every router still knows the connection."""
        return all(router.reboots == count for router, count in self.routers)


@dataclass(slots=True, eq=False)
class Stream:
    """One end of a connection."""

    network: "Network"
    local: Address
    remote: Address
    path: Path | None
    """``None`` where there is no way at all."""
    on_open: Callable[[float], None] = lambda now: None
    on_data: Callable[[bytes, float], None] = lambda data, now: None
    on_close: Callable[[float], None] = lambda now: None
    """Called once when the other end closes, or the path is found broken."""
    after: Callable[[], None] = lambda: None
    """Called after each of the above: drains the machine of the host."""
    other: "Stream | None" = None
    is_open: bool = False
    received: bytearray = field(default_factory=bytearray)
    """Everything that arrived, for tests that look instead of listening."""

    def write(self, data: bytes) -> None:
        """Send bytes; on a closed stream they are lost."""
        path, other = self.path, self.other
        if not self.is_open or path is None or other is None or not data:
            return
        if path.is_whole():
            self.network.after(path.delay, lambda: other._arrive(bytes(data)))
        else:
            self.abort()

    def close(self) -> None:
        """Close this end now, and the other when it hears of it."""
        was_open, self.is_open = self.is_open, False
        path, other = self.path, self.other
        if was_open and path is not None and other is not None and path.is_whole():
            self.network.after(path.delay, other._closed)

    def abort(self) -> None:
        """Break the connection: both ends learn of it a one-way delay from now."""
        for end in (self, self.other):
            if end is not None and end.path is not None:
                self.network.after(end.path.delay, end._closed)

    def open(self) -> None:
        """Complete the connection at the connecting end."""
        self.is_open = True
        self.on_open(self.network.now)
        self.after()

    def fail(self) -> None:
        """Tell the connecting end that the connection cannot be made."""
        self.on_close(self.network.now)
        self.after()

    def _arrive(self, data: bytes) -> None:
        if self.is_open and self.path is not None and self.path.is_whole():
            self.received += data
            self.on_data(data, self.network.now)
            self.after()

    def _closed(self) -> None:
        was_open, self.is_open = self.is_open, False
        if was_open:
            self.on_close(self.network.now)
            self.after()
