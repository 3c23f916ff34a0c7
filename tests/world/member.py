"""A member of the mesh that is nothing but a control client."""

from collections.abc import Callable

from meshwg.control.client import ControlClient, ControlState
from meshwg.control.events import ControlEvent
from meshwg.control.identity import Identity
from meshwg.keys import PrivateKey, format_key
from meshwg.wire.control import Cache
from tests.sim.network import Network
from tests.world.carrier import Carrier
from tests.world.coordinator import SimCoordinator


class SimMember(Carrier):
    """A control client with its carrier.

    :param auth_key: returns the key with which to join.
    """

    def __init__(
        self,
        network: Network,
        coordinator: SimCoordinator,
        name: str,
        address: str,
        auth_key: Callable[[], str],
    ) -> None:
        super().__init__(network, coordinator, lambda: address, lambda: self.moves)
        self.moves = 0
        """How often it has moved to another network."""
        self.name = name
        self.private_key = PrivateKey.generate(network.random.randbytes)
        self.key = format_key(self.private_key.public_bytes)
        self.events: list[ControlEvent] = []
        self._auth_key = auth_key
        self._armed: float | None = None
        self.on_news = self.run
        self.client = self.make_client()

    def make_client(
        self, *, auth_key: str | None = None, cache: Cache | None = None
    ) -> ControlClient:
        """Return a client as a fresh start of the daemon has it."""
        membership = Identity(
            self.private_key,
            self.coordinator.public_key,
            self.name,
            auth_key or self._auth_key(),
        )
        return ControlClient(
            membership,
            now=self.network.now,
            random=self.network.random.randbytes,
            cache=cache,
        )

    @property
    def connected(self) -> bool:
        return self.client.state is ControlState.CONNECTED

    def found(self, kind: type[ControlEvent]) -> list[ControlEvent]:
        """Return the events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def restart(self, cache: Cache | None = None) -> None:
        """Die without leaving, and start again."""
        self.hang_up()
        self.client = self.make_client(cache=cache)
        self.run()

    def move(self) -> None:
        """Move to another network; nobody says so to the connection it had."""
        self.moves += 1
        self.client.network_changed(self.network.now)
        self.run()

    def run(self) -> None:
        """Carry out what the client wants; called after every call into it."""
        while (event := self.client.next_event()) is not None:
            self.events.append(event)
        self.drain()
        when = self.client.get_timer()
        if when is not None and (self._armed is None or when < self._armed):
            self._armed = when
            self.network.at(when, lambda: self._fire(when))

    def _fire(self, when: float) -> None:
        if self._armed == when:
            self._armed = None
            due = self.client.get_timer()
            if due is not None and due <= self.network.now:
                self.client.handle_timer(self.network.now)
            self.run()
