"""The connection that carries a control client's frames, in place of a WebSocket."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from meshwg.control.client import ControlClient
from tests.sim.network import Network

if TYPE_CHECKING:
    from tests.world.coordinator import SimCoordinator

LATENCY = 0.02
"""Seconds that a frame takes, and the news that a connection was closed."""


class Carrier:
    """The end of the connection at the node: it dials when its client wants it to.

    The parent sets :attr:`client`, calls :meth:`drain` after every call into it, and is
    told by :attr:`on_news` when frames or the end of the connection have arrived.

    :param address: from which the coordinator sees the connection come.
    """

    client: ControlClient

    def __init__(
        self,
        network: Network,
        coordinator: "SimCoordinator",
        address: Callable[[], str],
    ) -> None:
        self.network = network
        self.coordinator = coordinator
        self.silent = False
        """The network swallows everything, both ways, and tells nobody."""
        self.on_news: Callable[[], None] = lambda: None
        self.observed = ""
        """The address that the coordinator saw last."""
        self._address = address
        self._number: int | None = None

    def drain(self) -> bool:
        """Dial, send and hang up as the client wants; return whether it was told."""
        wants_one = self.client.wants_connection and self._number is None
        dials = wants_one and not self.silent
        if dials:
            self._dial()
        # What is left to say goes out even when the client wants to hang up.
        for frame in self.client.control_to_send():
            self._send_later(frame)
        if not self.client.wants_connection:
            self.hang_up()
        return dials

    def cut(self, reason: str = "The connection was reset") -> None:
        """Break the connection; both ends are told."""
        number, self._number = self._number, None
        if number is not None:
            self.coordinator.disconnect(number)
            self.client.control_closed(reason, self.network.now)
            self.on_news()

    def hang_up(self) -> None:
        """Close the connection; the coordinator hears of it in a moment."""
        number, self._number = self._number, None
        coordinator = self.coordinator
        if number is not None and not self.silent:
            self.network.after(LATENCY, lambda: coordinator.disconnect(number))

    # What the coordinator's end does.

    def receive_later(self, number: int, frame: bytes) -> None:
        """Take a frame when it has travelled."""

        def arrive() -> None:
            if self._number == number and not self.silent:
                self.client.receive_control(frame, self.network.now)
                self.on_news()

        self.network.after(LATENCY, arrive)

    def closed_later(self, number: int, code: int) -> None:
        """Learn in a moment that the coordinator has closed the connection."""

        def arrive() -> None:
            if self._number == number and not self.silent:
                self._number = None
                reason = "The coordinator closed the connection"
                self.client.control_closed(reason, self.network.now, code)
                self.on_news()

        self.network.after(LATENCY, arrive)

    def _dial(self) -> None:
        self.observed = self._address()
        self._number = self.coordinator.connect(self, self.observed)
        if self._number is None:
            self.client.control_closed("It cannot be reached", self.network.now)
        else:
            self.client.control_opened(self.network.now)

    def _send_later(self, frame: bytes) -> None:
        number, coordinator = self._number, self.coordinator
        if number is not None and not self.silent:
            self.network.after(LATENCY, lambda: coordinator.receive(number, frame))
