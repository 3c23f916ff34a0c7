"""Coordinators and nodes in virtual time: carriers that delay, break and go silent."""

import dataclasses
import heapq
import itertools
import random
from collections.abc import Callable

from coordinator.operations import Operation, Result
from coordinator.server import ControlServer
from coordinator.settings import Settings
from meshwg.control.client import ControlClient, ControlState, Membership
from meshwg.control.events import ControlEvent
from meshwg.keys import PrivateKey, format_key
from meshwg.wire.control import Cache
from tests.world.ledger import DATABASE_LATENCY, UNIX_TIME, Ledger

LATENCY = 0.02


class World:
    """Everything there is, and the time."""

    def __init__(self, seed: int = 1, settings: Settings | None = None) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.ledger = Ledger()
        self.key = PrivateKey.generate(self.random.randbytes)
        self.auth_key = self.ledger.add_auth_key(self.random)
        self.settings = settings or Settings()
        self.nodes: list[SimNode] = []
        self.coordinators: list[SimCoordinator] = []
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    @property
    def unix_time(self) -> float:
        return UNIX_TIME + self.now

    def add_coordinator(self, home: str = "home") -> "SimCoordinator":
        coordinator = SimCoordinator(self, home)
        self.coordinators.append(coordinator)
        return coordinator

    def add_node(
        self, name: str = "node", coordinator: "SimCoordinator | None" = None
    ) -> "SimNode":
        node = SimNode(self, name, coordinator or self.coordinators[0])
        self.nodes.append(node)
        return node

    def call_later(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + delay, next(self._order), action))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        for step in itertools.count():
            assert step < 2_000_000, "the world does not come to rest"
            for machine in self._machines():
                machine.drain()
            at = min(self._times(), default=end)
            if at > end:
                break
            self.now = max(self.now, at)
            self._work()
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit: float = 120.0) -> float:
        """Let time pass until something is so; return how long that took."""
        begin = self.now
        while not condition():
            assert self.now - begin < limit, "it never happens"
            self.run(0.05)
        return self.now - begin

    def _machines(self) -> "list[SimNode | SimCoordinator]":
        return [*self.nodes, *self.coordinators]

    def _times(self) -> list[float]:
        times = [self._agenda[0][0]] if self._agenda else []
        for machine in self._machines():
            at = machine.get_timer()
            if at is not None:
                times.append(at)
        return times

    def _work(self) -> None:
        while self._agenda and self._agenda[0][0] <= self.now:
            heapq.heappop(self._agenda)[2]()
        for machine in self._machines():
            at = machine.get_timer()
            if at is not None and at <= self.now:
                machine.handle_timer()


class SimCoordinator:
    """One coordinator process."""

    def __init__(self, world: World, home: str) -> None:
        self.world = world
        self.home = home
        self.up = True
        self.carriers: dict[int, SimNode] = {}
        self._busy = False
        self._boot()

    def _boot(self) -> None:
        world = self.world
        self.registry, self.history = world.ledger.load()
        self.server = ControlServer(
            world.key,
            self.registry,
            self.history,
            dataclasses.replace(world.settings, home=self.home),
            now=world.now,
            unix_time=world.unix_time,
            random=world.random.randbytes,
        )

    def kill(self) -> None:
        """Die without a word; the operating system closes the connections."""
        self.up = False
        for node in list(self.carriers.values()):
            node.cut("The coordinator closed the connection")
        self.carriers.clear()

    def restart(self) -> None:
        """Start again from the database."""
        self.up = True
        self._busy = False
        self._boot()

    def connect(self, node: "SimNode") -> int | None:
        """Take a carrier; ``None`` if there is no process, or it has no room."""
        if not self.up:
            return None
        number = self.server.connect(node.address, self.world.now)
        if number is not None:
            self.carriers[number] = node
        return number

    def receive(self, number: int, frame: bytes) -> None:
        if self.up:
            self.server.receive_frame(number, frame, self.world.now)

    def disconnect(self, number: int) -> None:
        if self.carriers.pop(number, None) is not None:
            self.server.disconnect(number)

    def perform(self, operation: Operation) -> Result:
        """Do what an administrator does, at once."""
        outcomes, changes = self.world.ledger.commit(
            self.registry, [operation], self.world.unix_time, self.world.random
        )
        self.server.committed([], changes, self.world.now)
        return outcomes[0][1]

    def drain(self) -> None:
        if not self.up:
            return
        for number, frame in self.server.frames_to_send():
            node = self.carriers.get(number)
            if node is not None:
                node.receive_later(number, frame)
        for close in self.server.closes():
            node = self.carriers.get(close.connection)
            self.disconnect(close.connection)
            if node is not None:
                node.closed_later(close.connection, close.code)
        for delivery in self.server.offers_to_forward():
            self._forward(delivery.home, delivery.text)
        if not self._busy and (operations := self.server.operations(self.world.now)):
            self._busy = True
            server = self.server
            self.world.call_later(
                self.world.ledger.latency, lambda: self._commit(server, operations)
            )

    def get_timer(self) -> float | None:
        return self.server.get_timer() if self.up else None

    def handle_timer(self) -> None:
        self.server.handle_timer(self.world.now, self.world.unix_time)

    def look(self) -> None:
        """Another process has told that the database changed."""
        if self.up and not self._busy:
            _, changes = self.world.ledger.commit(
                self.registry, [], self.world.unix_time, self.world.random
            )
            self.server.committed([], changes, self.world.now)

    def _commit(self, server: ControlServer, operations: list[Operation]) -> None:
        if server is not self.server or not self.up:
            return
        self._busy = False
        if self.world.ledger.broken:
            server.failed(operations, self.world.now)
            return
        outcomes, changes = self.world.ledger.commit(
            self.registry, operations, self.world.unix_time, self.world.random
        )
        server.committed(outcomes, changes, self.world.now)
        for other in self.world.coordinators:
            if other is not self:
                self.world.call_later(DATABASE_LATENCY, other.look)

    def _forward(self, home: str, text: bytes) -> None:
        for other in self.world.coordinators:
            if other.home == home and other.up:
                other.server.receive_forwarded(text, self.world.now)


class SimNode:
    """A control client on a carrier."""

    def __init__(self, world: World, name: str, coordinator: SimCoordinator) -> None:
        self.world = world
        self.name = name
        self.coordinator = coordinator
        self.address = f"192.0.2.{len(world.nodes) % 250 + 1}"
        self.private_key = PrivateKey.generate(world.random.randbytes)
        self.key = format_key(self.private_key.public_bytes)
        self.events: list[ControlEvent] = []
        self.silent = False
        """The network swallows everything, both ways, and tells nobody."""
        self._carrier: int | None = None
        self.client = self.make_client()

    def make_client(
        self, *, auth_key: str | None = None, cache: Cache | None = None
    ) -> ControlClient:
        """Return a client as a fresh start of the daemon has it."""
        membership = Membership(
            self.private_key,
            self.world.key.public_bytes,
            self.name,
            auth_key or self.world.auth_key,
        )
        return ControlClient(
            membership,
            now=self.world.now,
            random=self.world.random.randbytes,
            cache=cache,
        )

    @property
    def connected(self) -> bool:
        return self.client.state is ControlState.CONNECTED

    def found(self, kind: type[ControlEvent]) -> list[ControlEvent]:
        """Return the events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def cut(self, reason: str = "The connection was reset") -> None:
        """Break the carrier; both sides are told."""
        number, self._carrier = self._carrier, None
        if number is not None:
            self.coordinator.disconnect(number)
            self.client.control_closed(reason, self.world.now)

    def restart(self, cache: Cache | None = None) -> None:
        """Die without leaving, and start again."""
        if self._carrier is not None:
            self.coordinator.disconnect(self._carrier)
            self._carrier = None
        self.client = self.make_client(cache=cache)

    def drain(self) -> None:
        while (event := self.client.next_event()) is not None:
            self.events.append(event)
        if self.client.wants_connection and self._carrier is None:
            self._connect()
        # What is left to say goes out even when the client wants to hang up.
        for frame in self.client.control_to_send():
            self._send_later(frame)
        if not self.client.wants_connection and self._carrier is not None:
            number, self._carrier = self._carrier, None
            coordinator = self.coordinator
            if not self.silent:
                self.world.call_later(LATENCY, lambda: coordinator.disconnect(number))

    def get_timer(self) -> float | None:
        return self.client.get_timer()

    def handle_timer(self) -> None:
        self.client.handle_timer(self.world.now)

    def receive_later(self, number: int, frame: bytes) -> None:
        def arrive() -> None:
            if self._carrier == number and not self.silent:
                self.client.receive_control(frame, self.world.now)

        self.world.call_later(LATENCY, arrive)

    def closed_later(self, number: int, code: int) -> None:
        def arrive() -> None:
            if self._carrier == number and not self.silent:
                self._carrier = None
                reason = "The coordinator closed the connection"
                self.client.control_closed(reason, self.world.now, code)

        self.world.call_later(LATENCY, arrive)

    def _connect(self) -> None:
        number = None if self.silent else self.coordinator.connect(self)
        if number is None:
            if not self.silent:
                reason = "The coordinator cannot be reached"
                self.client.control_closed(reason, self.world.now)
            return
        self._carrier = number
        self.client.control_opened(self.world.now)

    def _send_later(self, frame: bytes) -> None:
        number, coordinator = self._carrier, self.coordinator

        def arrive() -> None:
            if number is not None and number in coordinator.carriers:
                coordinator.receive(number, frame)

        if not self.silent:
            self.world.call_later(LATENCY, arrive)
