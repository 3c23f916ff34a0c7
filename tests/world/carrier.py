"""The connections that carry a control client's frames, in place of WebSockets."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshwg.control.client import ControlClient
from tests.sim.network import Network

if TYPE_CHECKING:
    from tests.world.coordinator import SimCoordinator

LATENCY = 0.02
"""Seconds that a frame takes, unless a test wants otherwise, and the news that a
connection was closed."""

DIALLING = 4 * LATENCY
"""Seconds for TCP and the HTTP upgrade: two round trips."""

PATIENCE = 10.0
"""Seconds without an acknowledgement after which the system gives a connection up."""

FIRST_REPETITION = 1.0
"""Seconds after which TCP repeats its SYN; doubled each time."""


@dataclass(eq=False)
class Line:
    """One connection, at the node's end."""

    carrier: "Carrier"
    own: int
    """What the client calls it."""
    coordinator: "SimCoordinator"
    """Whom it was dialled to."""
    route: Hashable
    """The way that it was dialled over."""
    number: int | None = None
    """What the coordinator calls it; ``None`` while it is dialled."""

    # What the coordinator's end does.

    def receive_later(self, number: int, frame: bytes) -> None:
        """Take a frame when it has travelled."""
        self.carrier.receive_later(self, frame)

    def closed_later(self, number: int, code: int) -> None:
        """Learn in a moment that the coordinator has closed the connection."""
        self.carrier.closed_later(self, code)

    def cut(self, reason: str) -> None:
        """Learn at once that the connection is broken."""
        self.carrier.lose(self, reason)


class Carrier:
    """The ends of the connections at the node: it dials when its client wants it to.

    A connection is bound to the way that it was dialled over. When the node moves, or a
    router on the way forgets it, what is sent on it vanishes, and nobody is told.

    The parent sets :attr:`client`, calls :meth:`drain` after every call into it, and is
    told by :attr:`on_news` when frames or the end of the connection have arrived.

    :param address: from which the coordinator sees the connection come.
    :param route: the way to the coordinator now, ``None`` if there is none.
    """

    client: ControlClient

    def __init__(
        self,
        network: Network,
        coordinator: "SimCoordinator",
        address: Callable[[], str],
        route: Callable[[], Hashable] = lambda: "the only one",
    ) -> None:
        self.network = network
        self.coordinator = coordinator
        self.latency = LATENCY
        """Seconds that a frame takes."""
        self.silent = False
        """The network swallows everything, both ways, and tells nobody."""
        self.on_news: Callable[[], None] = lambda: None
        self.observed = ""
        """The address that the coordinator saw last."""
        self.dialled = 0
        """How many connections were begun."""
        self._address = address
        self._route = route
        self._lines: dict[int, Line] = {}

    def drain(self) -> None:
        """Dial, send and hang up as the client wants."""
        wanted = self.client.connections
        for number in wanted:
            if number not in self._lines:
                self._dial(number)
        # What is left to say goes out even when the client wants to hang up.
        for number, frame in self.client.control_to_send():
            if number in self._lines:
                self._send_later(self._lines[number], frame)
        for number in [each for each in self._lines if each not in wanted]:
            self._hang_up(self._lines.pop(number))

    def cut(self, reason: str = "The connection was reset") -> None:
        """Break all connections; both ends are told."""
        lines, self._lines = self._lines, {}
        for own, line in lines.items():
            if line.number is not None:
                line.coordinator.disconnect(line.number)
            self.client.control_closed(own, reason, self.network.now)
        if lines:
            self.on_news()

    def hang_up(self) -> None:
        """Close all connections; the coordinator hears of it in a moment."""
        lines, self._lines = self._lines, {}
        for line in lines.values():
            self._hang_up(line)

    # What the coordinator's end does.

    def receive_later(self, line: Line, frame: bytes) -> None:
        """Take a frame when it has travelled."""

        def arrive() -> None:
            if self._lines.get(line.own) is line and self._is_whole(line):
                self.client.receive_control(line.own, frame, self.network.now)
                self.on_news()

        self.network.after(self.latency, arrive)

    def closed_later(self, line: Line, code: int) -> None:
        """Learn in a moment that the coordinator has closed the connection."""

        def arrive() -> None:
            if self._lines.get(line.own) is line and self._is_whole(line):
                del self._lines[line.own]
                reason = "The coordinator closed the connection"
                self.client.control_closed(line.own, reason, self.network.now, code)
                self.on_news()

        self.network.after(LATENCY, arrive)

    def lose(self, line: Line, reason: str) -> None:
        """Learn at once that the coordinator's end is gone."""
        if self._lines.get(line.own) is line:
            del self._lines[line.own]
            self.client.control_closed(line.own, reason, self.network.now)
            self.on_news()

    def _is_whole(self, line: Line) -> bool:
        return not self.silent and line.route == self._route()

    def _dial(self, own: int) -> None:
        coordinator = self.coordinator.find(self.client.coordinators.of(own))
        line = self._lines[own] = Line(self, own, coordinator, self._route())
        self.dialled += 1
        self._ask(own, line, FIRST_REPETITION)

    def _ask(self, own: int, line: Line, patience: float) -> None:
        """Send what opens a connection, again and again until it is answered."""

        def answer() -> None:
            if self._lines.get(own) is not line:
                return
            if line.route is None or self._is_whole(line):
                self._open(own, line)
                self.on_news()
            else:
                again = patience - DIALLING
                self.network.after(again, lambda: self._ask(own, line, 2 * patience))

        self.network.after(DIALLING, answer)

    def _open(self, own: int, line: Line) -> None:
        now = self.network.now
        if line.route is not None:
            self.observed = self._address()
            line.number = line.coordinator.connect(line, self.observed)
        if line.number is None:
            del self._lines[own]
            self.client.control_closed(own, "It cannot be reached", now)
        else:
            self.client.control_opened(own, now)

    def _hang_up(self, line: Line) -> None:
        number, coordinator = line.number, line.coordinator
        if number is not None and self._is_whole(line):
            self.network.after(LATENCY, lambda: coordinator.disconnect(number))

    def _send_later(self, line: Line, frame: bytes) -> None:
        coordinator = line.coordinator

        def arrive() -> None:
            if line.number is not None and self._is_whole(line):
                coordinator.receive(line.number, frame)
            else:
                self.network.after(PATIENCE, lambda: self._give_up(line))

        if line.number is not None:
            self.network.after(self.latency, arrive)

    def _give_up(self, line: Line) -> None:
        """Learn from the system that nothing was acknowledged."""
        for own, each in list(self._lines.items()):
            if each is line and not self._is_whole(line):
                del self._lines[own]
                self.client.control_closed(own, "Timed out", self.network.now)
                self.on_news()
