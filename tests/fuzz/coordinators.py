"""A coordinator's control server: strangers, and members that say anything."""

from random import Random

from meshwg.keys import PrivateKey
from meshwg.wire import channel, control
from meshwg.wire.control import ReportedCandidate
from tests.fuzz import mutation
from tests.fuzz.inputs import Input
from tests.fuzz.target import Target
from tests.world.control import ControlWorld
from tests.world.member import SimMember

VISITORS = 8
"""Connections of the attacker at a time."""
CANDIDATE = ReportedCandidate(kind="host", host="192.0.2.1", port=7)


class Visitor:
    """A connection of an attacker, who is a member, or is not."""

    def __init__(self, world: ControlWorld, number: int, random: Random) -> None:
        self._world = world
        self._random = random
        self._private_key = PrivateKey.generate(random.randbytes)
        self._channel: channel.Channel | None = None
        self._handshake: channel.ClientHandshake | None = None
        self.is_closed = False
        address = f"192.0.2.{100 + number}"
        self._number = world.coordinator.connect(self, address)
        if self._number is None:
            self.is_closed = True

    def greet(self) -> None:
        """Begin the handshake, whose answer comes in a moment."""
        key = self._world.key.public_bytes
        self._handshake = channel.ClientHandshake(
            self._private_key, key, random=self._random.randbytes
        )
        self.send(self._handshake.initiation)

    def say(self, payload: bytes) -> None:
        """Say something inside of the channel, if there is one."""
        if self._channel is not None:
            self.send(self._channel.seal(payload))

    def send(self, frame: bytes) -> None:
        if not self.is_closed and self._number is not None:
            self._world.coordinator.receive(self._number, frame)

    def ping(self) -> None:
        if not self.is_closed and self._number is not None:
            self._world.coordinator.server.receive_ping(self._number, self._world.now)
            self._world.coordinator.drain()

    def hang_up(self) -> None:
        """Close the connection without a word."""
        if not self.is_closed and self._number is not None:
            self._world.coordinator.disconnect(self._number)
        self.is_closed = True

    # What the coordinator has of a visitor in the place of a carrier.

    def receive_later(self, number: int, frame: bytes) -> None:
        if self._channel is None and self._handshake is not None:
            self._channel = self._handshake.read_response(frame)

    def closed_later(self, number: int, code: int) -> None:
        self.is_closed = True

    def cut(self, reason: str) -> None:
        self.is_closed = True


class CoordinatorTarget(Target):
    """A control server with two honest members."""

    name = "coordinator"
    most_objects = 8000
    ways = (
        *("say", "say", "say", "say", "join", "join", "greet", "initiation", "noise"),
        *("hang-up", "ping", "flood", "time", "remove"),
    )

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.world = ControlWorld(seed)
        self.world.add_coordinator()
        self._random = Random(seed)
        self.members = [self.world.add_member("a"), self.world.add_member("b")]
        self.world.advance(2)
        self._visitors = [self._visitor(number) for number in range(VISITORS)]
        self._messages = self._real_messages()

    def draw(self, random: Random) -> Input:
        way, choice = random.choice(self.ways), random.randrange(1 << 30)
        match way:
            case "say":
                text = control.to_json(random.choice(self._messages))
                text = mutation.mutate_json(random, text)
                return Input(way, mutation.pack(random, text), choice)
            case "initiation":
                handshake = channel.ClientHandshake(
                    PrivateKey.generate(random.randbytes),
                    self.world.key.public_bytes,
                    random=random.randbytes,
                )
                data = handshake.initiation
                if random.random() < 0.7:
                    data = mutation.mutate(random, data)
                return Input("noise", data, choice)
            case "noise":
                return Input(way, mutation.noise(random), choice)
        return Input(way, b"", choice)

    def apply(self, step: Input) -> None:
        slot = step.choice % VISITORS
        if self._visitors[slot].is_closed:
            self._visitors[slot] = self._visitor(slot)
        visitor = self._visitors[slot]
        match step.way:
            case "say":
                visitor.say(step.data)
            case "noise":
                visitor.send(step.data)
            case "greet":
                visitor.greet()
            case "join":
                visitor.greet()
                visitor.say(control.encode(self._messages[0]))
                self.world.advance(0.1)
            case "hang-up":
                visitor.hang_up()
            case "ping":
                visitor.ping()
            case "flood":
                for _ in range(100):
                    visitor.say(channel.HEARTBEAT)
            case "remove":
                visitor.say(control.encode(control.Leave(for_good=True)))
            case "time":
                self.world.advance((0.01, 0.5, 3, 16, 70)[step.choice % 5])
        self.world.coordinator.drain()

    def roots(self) -> list[object]:
        coordinator = self.world.coordinator
        return [coordinator.server, coordinator.registry, coordinator.history]

    def failure(self) -> str | None:
        for visitor in self._visitors:
            visitor.hang_up()
        self.world.advance(60)
        newcomer = self.world.add_member("newcomer")
        self.world.advance(10)
        honest: list[SimMember] = [*self.members, newcomer]
        away = [each.name for each in honest if not each.connected]
        return f"{', '.join(away)} cannot connect any more" if away else None

    def _visitor(self, number: int) -> Visitor:
        return Visitor(self.world, number, self._random)

    def _real_messages(self) -> list[control.FromNode]:
        a, _ = self.members
        register = control.Register(
            name="visitor",
            auth_key=self.world.auth_key,
            routes=("10.1.0.0/16", "fd00:7::/64"),
            candidates=(CANDIDATE,) * 2,
            epoch="epoch",
            version=3,
        )
        offer = control.OfferMessage(
            to=a.key,
            sequence=3,
            candidates=(CANDIDATE,) * 3,
            extension={"session": "abc", "tcp": {"candidates": [], "mapping": "none"}},
        )
        return [
            register,
            offer,
            control.Report(candidates=(CANDIDATE,), nat=None),
            control.Ping(id=7),
            control.Pong(id=8),
            control.Resync(),
            control.Leave(for_good=False),
        ]
