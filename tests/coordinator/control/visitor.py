"""A mesh of two, and someone who speaks to the server by hand."""

import random

from meshwg.keys import PrivateKey, format_key
from meshwg.wire import channel, control
from meshwg.wire.control import ReportedCandidate
from tests.world.control import ControlWorld
from tests.world.coordinator import SimCoordinator
from tests.world.member import SimMember

CANDIDATE = ReportedCandidate(kind="host", host="192.0.2.1", port=7)


def mesh() -> tuple[ControlWorld, SimMember, SimMember]:
    """Two nodes that know each other."""
    world = ControlWorld()
    world.add_coordinator()
    a, b = world.add_member("a"), world.add_member("b")
    world.advance(2.0)
    assert a.connected
    assert b.connected
    return world, a, b


class Visitor:
    """Someone who speaks to the server by hand, and need not be well-behaved."""

    def __init__(
        self, world: ControlWorld, coordinator: SimCoordinator | None = None
    ) -> None:
        self.world = world
        self.coordinator = coordinator or world.add_coordinator()
        self.private_key = PrivateKey.generate(random.Random(99).randbytes)
        self.key = format_key(self.private_key.public_bytes)
        self.code: int | None = None
        self._frames: list[bytes] = []
        self._channel: channel.Channel | None = None
        number = self.coordinator.connect(self, "192.0.2.200")
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
        self.world.advance(0.1)
        if self._frames:
            self._channel = handshake.read_response(self._frames.pop(0))

    def join(self) -> "Visitor":
        """Become a member; return after the netmap was heard."""
        self.greet()
        self.say(control.Register(name="visitor", auth_key=self.world.auth_key))
        self.world.advance(1.0)
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
        self.world.advance(0.1)
        assert self._channel is not None
        payloads = [self._channel.open(frame) for frame in self._frames]
        self._frames.clear()
        return [control.decode_from_coordinator(p) for p in payloads if p]

    # What the coordinator has of a visitor in the place of a carrier.

    def receive_later(self, number: int, frame: bytes) -> None:
        self._frames.append(frame)

    def closed_later(self, number: int, code: int) -> None:
        self.code = code

    def cut(self, reason: str) -> None:
        raise AssertionError(reason)
