"""A mesh of two, and someone who speaks to the server by hand."""

import random

from meshwg.keys import PrivateKey, format_key
from meshwg.wire import channel, control
from meshwg.wire.control import ReportedCandidate
from tests.coordinator.world import SimCoordinator, SimNode, World

CANDIDATE = ReportedCandidate(kind="host", host="192.0.2.1", port=7)


def mesh() -> tuple[World, SimNode, SimNode]:
    """Two nodes that know each other."""
    world = World()
    world.add_coordinator()
    a, b = world.add_node("a"), world.add_node("b")
    world.run(2.0)
    assert a.connected
    assert b.connected
    return world, a, b


class Visitor:
    """Someone who speaks to the server by hand, and need not be well-behaved."""

    def __init__(self, world: World, coordinator: SimCoordinator | None = None) -> None:
        self.world = world
        self.coordinator = coordinator or world.add_coordinator()
        self.private_key = PrivateKey.generate(random.Random(99).randbytes)
        self.key = format_key(self.private_key.public_bytes)
        self.code: int | None = None
        self._frames: list[bytes] = []
        self._channel: channel.Channel | None = None
        self._stand_in = _StandIn(self)
        number = self.coordinator.connect(self._stand_in)
        assert number is not None
        self._number = number

    def greet(self) -> "Visitor":
        """Do the handshake."""
        self.shake_hands_with(self.world.key.public_bytes)
        return self

    def shake_hands_with(self, key: bytes) -> None:
        handshake = channel.ClientHandshake(
            self.private_key, key, random=self.world.random.randbytes
        )
        self.send(handshake.initiation)
        self.world.run(0.1)
        if self._frames:
            self._channel = handshake.read_response(self._frames.pop(0))

    def join(self) -> "Visitor":
        """Become a member; return after the netmap was heard."""
        self.greet()
        self.say(control.Register(name="visitor", auth_key=self.world.auth_key))
        self.world.run(1.0)
        assert self.hear()
        return self

    def say(self, message: control.FromNode) -> None:
        self.say_payload(control.encode(message))

    def say_payload(self, payload: bytes) -> None:
        assert self._channel is not None
        self.send(self._channel.seal(payload))

    def send(self, frame: bytes) -> None:
        if self.code is None:
            self.coordinator.receive(self._number, frame)
            self.coordinator.drain()

    def hear(self) -> list[control.FromCoordinator | None]:
        """Return the messages received since the last call."""
        self.world.run(0.1)
        assert self._channel is not None
        payloads = [self._channel.open(frame) for frame in self._frames]
        self._frames.clear()
        return [control.decode_from_coordinator(p) for p in payloads if p]

    def received(self, frame: bytes) -> None:
        self._frames.append(frame)


class _StandIn(SimNode):
    """What the coordinator has of a visitor in the place of a node."""

    def __init__(self, visitor: Visitor) -> None:
        super().__init__(visitor.world, "visitor", visitor.coordinator)
        self.address = "192.0.2.200"
        self._visitor = visitor

    def receive_later(self, number: int, frame: bytes) -> None:
        self._visitor.received(frame)

    def closed_later(self, number: int, code: int) -> None:
        self._visitor.code = code
