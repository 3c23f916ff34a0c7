"""A node in a mesh: strangers, its peer, boxes on the way, its relay, coordinator."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from random import Random
from unittest.mock import patch

from coordinator.credentials import password
from coordinator.turn.credentials import long_term_key
from meshwg.config import MAX_MTU
from meshwg.errors import InvalidMessage
from meshwg.keys import format_key
from meshwg.path.check import CheckKeys
from meshwg.transmit import FIRST_LINK, UDP, Endpoint, Source
from meshwg.wire import channel, control
from meshwg.wire.stun import Attribute, is_stun, parse
from tests.fuzz import mutation
from tests.fuzz.inputs import Input
from tests.fuzz.target import Target
from tests.sim.kinds import FULL_CONE, LINUX, PUBLIC, SYMMETRIC_RANDOM, UDP_BLOCKED
from tests.sim.realm import Packet
from tests.world.internet import NODE_PORT, RELAY_HOSTS, STUN_HOSTS
from tests.world.relay import REALM, SECRET
from tests.world.world import World

KINDS = (PUBLIC, FULL_CONE, LINUX, SYMMETRIC_RANDOM, UDP_BLOCKED)
SOURCES = (
    *(Endpoint(f"192.0.2.{number}", 666 + number) for number in range(12)),
    Endpoint("203.0.1.2", NODE_PORT),
    Endpoint("203.0.2.2", NODE_PORT),
    Endpoint("fe80::1%eth0", 1, UDP, Source("fe80::2", 3)),
    Endpoint("0.0.0.0", 0),
    Endpoint("::ffff:203.0.2.2", NODE_PORT),
    Endpoint("2001:db8::7", 7, UDP, Source("2001:db8::8", 2)),
    *(Endpoint(host, 3478) for host in (*RELAY_HOSTS, *STUN_HOSTS)),
    Endpoint(RELAY_HOSTS[0], 50000, FIRST_LINK),
)
LINKS = (UDP, FIRST_LINK, FIRST_LINK + 1, -1, -2, -3, 1, 2)
"""Streams to relays and of peers, sockets of their own, and some that are not."""

RARELY_SAID: tuple[control.FromCoordinator, ...] = (
    control.Successor(public_key=format_key(bytes(range(32)))),
    control.Credentials(),
    control.Error(code="rate-limited", message="x"),
    control.PolicyMessage(
        version=1,
        sha256="0" * 64,
        own=1,
        view="a.b",
        classes=(control.NamedClass(number=1, labels=("tag:db",)),),
        rules=(
            control.PolicyRule(sources=(0,), destinations=(0, 1), ports=("any",)),
            control.PolicyRule(
                source_prefixes=("10.0.0.0/8",),
                destination_prefixes=("fd00::/16",),
                internet=True,
                ports=("tcp/1-99", "icmp"),
            ),
        ),
    ),
    control.ItselfMessage(
        peer=control.PeerEntry(
            public_key=format_key(bytes(range(32))), name="x", addresses=(), version=1
        )
    ),
)
"""What a coordinator has not said when the inputs begin."""

LONGEST_PACKET = MAX_MTU
"""Bytes: the kernel hands over none that is longer than the interface's MTU."""


class NodeTarget(Target):
    """Alice, who talks with Bob."""

    name = "node"
    most_objects = 30_000
    """A birthday attempt plans thousands of shots."""
    ways: tuple[str, ...] = (
        *("datagram", "datagram", "stun", "stun", "wireguard", "replay", "noise"),
        *("packet", "peer-packet", "stream", "accept", "tamper", "reorder", "time"),
    )

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        random = Random(seed)
        self.payloads: list[bytes] = []
        """What the coordinator has said, as it was before it was sealed."""
        transports = random.choice((("tcp",), ("udp", "tcp")))
        self._tampering: Random | None = None
        self._held: list[Packet] | None = None
        self._left = 0
        self._keys: list[bytes] = []
        with _overheard_seals(self.payloads):
            self.world = World(seed, transports=transports)
            self.alice = self.world.add("alice", random.choice(KINDS))
            self.bob = self.world.add("bob", random.choice(KINDS))
            self.world.network.lose = self._meddle
            self.world.settle()
            assert self.alice.reaches(self.bob)
            self.world.advance(random.choice((1, 10, 30)))
        self.alice.talk_to(self.bob, 0.2)
        self._keys += self._check_keys()
        self._calm()

    def draw(self, random: Random) -> Input:
        way = random.choice(self.ways)
        choice = random.randrange(1 << 30)
        match way:
            case "stun":
                data = mutation.mutate_stun(random, self._a_check(random), self._keys)
                return Input("datagram", data, choice)
            case "wireguard":
                key = self.alice.private_key.public_bytes
                data = self.pick(random, 92)
                data = mutation.mutate_wireguard(random, data, key)
                return Input("datagram", data, choice)
            case "datagram":
                data = mutation.mutate(random, self.pick(random))
            case "noise":
                return Input("datagram", mutation.noise(random), choice)
            case "replay":
                return Input("datagram", self.pick(random), choice)
            case "packet" | "peer-packet":
                data = self._a_packet(random, way)
            case "stream":
                several = (self.pick(random) for _ in range(random.choice((1, 2, 5))))
                data = b"".join(several)
                if random.random() < 0.7:
                    data = mutation.mutate(random, data)
            case _:
                data = b""
        return Input(way, data, choice)

    def apply(self, step: Input) -> None:
        alice, now = self.alice, self.world.now
        match step.way:
            case "datagram":
                alice.receive(step.data, SOURCES[step.choice % len(SOURCES)], now)
            case "packet":
                alice.write(step.data)
            case "peer-packet":
                self.bob.write(step.data)
            case "stream":
                self._receive_stream(step)
            case "accept":
                source = SOURCES[step.choice % len(SOURCES)]
                alice.node.streaming.accepted(source, now)
            case "tamper":
                self._tampering, self._left = Random(step.choice), 1 + step.choice % 30
            case "reorder":
                self._reorder(Random(step.choice))
            case "time":
                self.world.advance((0.01, 0.1, 1, 7, 30)[step.choice % 5])
        alice.host.drain()

    def roots(self) -> list[object]:
        return [self.alice.node]

    def failure(self) -> str | None:
        self._tampering = None
        self.world.advance(200)
        works = self.alice.reaches(self.bob)
        return None if works else "alice does not reach bob any more"

    def _calm(self) -> None:
        """Let the first things be over that need memory once."""
        self.world.advance(5)

    def _a_check(self, random: Random) -> bytes:
        stun = [each for each in self.overheard if is_stun(each)]
        return random.choice(stun) if stun else b""

    def _a_packet(self, random: Random, way: str) -> bytes:
        ends = [self.alice.node, self.bob.node]
        own, other = ends if way == "packet" else reversed(ends)
        family = random.choice((4, 6))

        def address(text: str) -> bytes:
            return ip_address(text).packed

        def of(node: object) -> list[str]:
            assert node in ends
            found = (self.alice if node is ends[0] else self.bob).node.members
            return [
                each for each in found.own_addresses() if (":" in each) == (family == 6)
            ]

        everywhere = ("224.0.0.1", "255.255.255.255", "0.0.0.0", "127.0.0.1", "8.8.8.8")
        if family == 6:
            everywhere = ("ff02::1", "::", "::1", "fe80::1", "2001:db8::1")
        to = [*of(other), *of(other), *of(other), random.choice(everywhere)]
        by = [*of(own), *of(own), random.choice(everywhere)]
        source, target = address(random.choice(by)), address(random.choice(to))
        return mutation.ip_packet(random, source, target)[:LONGEST_PACKET]

    def _receive_stream(self, step: Input) -> None:
        random = Random(step.choice)
        links = [*LINKS, *self.alice.host.streams, *self.alice.host.streams]
        link = random.choice(links)
        for part in mutation.chunks(random, step.data):
            self.alice.node.receive_stream(link, part, self.world.now)
            self.alice.host.drain()

    # What a box on the way does.

    def _meddle(self, packet: Packet) -> bool:
        """See what passes, and hold it or change it if that was asked for."""
        if packet.tcp is not None:
            return False
        self._listen(packet.payload)
        if self._held is not None:
            self._held.append(packet)
            return True
        if self._tampering is not None and self._left > 0:
            self._left -= 1
            packet.payload = self._tampered(self._tampering, packet.payload)
        return False

    def _tampered(self, random: Random, data: bytes) -> bytes:
        if random.random() < 0.3:
            return data
        if is_stun(data):
            return mutation.mutate_stun(random, data, self._keys)
        return mutation.mutate(random, data)

    def _reorder(self, random: Random) -> None:
        self._held = []
        self.world.advance(random.choice((0.05, 0.3, 2)))
        held, self._held = self._held, None
        random.shuffle(held)
        for packet in held:
            for node in (self.alice, self.bob):
                source = Endpoint(*packet.source)
                node.receive(packet.payload, source, self.world.now)
                node.host.drain()

    def _listen(self, payload: bytes) -> None:
        self.overheard.append(payload)
        if not is_stun(payload):
            return
        try:
            name = parse(payload).attributes.get(Attribute.USERNAME)
        except InvalidMessage:
            return
        # A relay can sign whatever it likes.
        if isinstance(name, str) and ":" in name and len(self._keys) < 40:
            key = long_term_key(name, REALM, password(name, SECRET))
            if key not in self._keys:
                self._keys.append(key)

    def _check_keys(self) -> list[bytes]:
        own, peer = self.bob.private_key, self.alice.private_key.public_bytes
        keys = CheckKeys.derive(own, peer)
        assert keys is not None
        return [keys.outgoing.key, keys.incoming.key]


class ControlledNodeTarget(NodeTarget):
    """The same with a coordinator that says whatever it likes."""

    name = "node-control"
    ways = ("frame", "frame", "frame", "frame", "offer", "raw-frame", "time", "packet")

    def draw(self, random: Random) -> Input:
        way = random.choice(self.ways)
        if way not in ("frame", "offer", "raw-frame"):
            return super().draw(random)
        texts = [mutation.unpack(each) for each in self.payloads if each[:1] in b"\0\1"]
        texts += [control.to_json(each) for each in RARELY_SAID]
        text = random.choice([each for each in texts if each])
        if way == "offer":
            offers = [each for each in texts if b'"offer"' in each]
            text = random.choice(offers or [text])
        if way == "raw-frame":
            return Input(way, mutation.noise(random), random.randrange(1 << 30))
        data = mutation.pack(random, mutation.mutate_json(random, text))
        return Input("frame", data, random.randrange(1 << 30))

    def apply(self, step: Input) -> None:
        if step.way not in ("frame", "raw-frame"):
            super().apply(step)
            return
        carrier = self.alice.carrier
        for own, line in list(carrier._lines.items()):
            connection = None
            if line.number is not None:
                server = self.world.coordinator.server
                connection = server._carriers.get(line.number)
            if connection is None or connection.channel is None:
                continue
            frame = step.data
            if step.way == "frame":
                frame = connection.channel.seal(frame)
            carrier.client.receive_control(own, frame, self.world.now)
            carrier.on_news()
        self.alice.host.drain()

    @property
    def is_over(self) -> bool:
        return self.alice.host.machine is None

    def failure(self) -> str | None:
        """A coordinator may end what it likes, but the node keeps its time."""
        if not self.is_over:
            self.world.advance(200)
        return None


@contextmanager
def _overheard_seals(payloads: list[bytes]) -> Iterator[None]:
    """Remember what is sealed meanwhile."""
    seal = channel.Channel.seal

    def listen(self: channel.Channel, payload: bytes) -> bytes:
        if payload:
            payloads.append(payload)
        return seal(self, payload)

    with patch.object(channel.Channel, "seal", listen):
        yield
