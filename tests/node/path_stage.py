"""The paths of one node, for tests of them and of what they are made of."""

import random
from collections import deque

from meshwg.control.client import ControlClient
from meshwg.control.identity import Identity
from meshwg.keys import PrivateKey, format_key
from meshwg.node.events import NodeEvent
from meshwg.node.failover import Failover
from meshwg.node.hubs import Diversions
from meshwg.node.paths import Paths
from meshwg.node.streams import Streams
from meshwg.path.candidate import CandidateKind
from meshwg.path.check import Asked, CheckKeys, Checks
from meshwg.path.overlay import Overlay
from meshwg.peer import MeshPeer
from meshwg.relay.pool import RelayPool
from meshwg.transmit import FIRST_LINK, Endpoint, Random
from meshwg.whereabouts import Whereabouts
from meshwg.wire import control, stun
from meshwg.wireguard.device import Device

NOW = 1000.0
LOW_ORDER_KEY = bytes(32)
RELAY_LINK = FIRST_LINK
SOURCE = Endpoint("192.0.2.1", 1)
RELAYED = control.ReportedCandidate(kind="relay", host="198.51.100.9", port=50000)
RELAYED_ENDPOINT = Endpoint("198.51.100.9", 50000, RELAY_LINK)


class Recorder(RelayPool):
    """A relay pool that writes down what it is asked for."""

    def __init__(self) -> None:
        super().__init__(random=random.Random(8).randbytes)
        self.opened: list[Endpoint] = []
        self.closed: list[Endpoint] = []
        self.permitted: list[str] = []
        self.forbidden: list[str] = []
        self.given_up: set[str] = set()

    def open(self, peer: Endpoint, now: float) -> None:
        self.opened.append(peer)

    def close(self, peer: Endpoint) -> None:
        self.closed.append(peer)

    def permit(self, host: str, now: float) -> None:
        self.permitted.append(host)

    def has_given_up(self, host: str) -> bool:
        return host in self.given_up

    def forbid(self, host: str) -> None:
        self.forbidden.append(host)


class Stage:
    """The paths of one node."""

    def __init__(self) -> None:
        self.random = random.Random(7).randbytes
        self.key = PrivateKey.generate(self.random)
        self.device = Device(
            random=self.random, unix_time=lambda now: now, roaming=False
        )
        self.device.set_private_key(self.key)
        self.device.up(NOW)
        coordinator = PrivateKey.generate(self.random).public_bytes
        membership = Identity(self.key, coordinator, "node")
        self.relays = Recorder()
        self.events: deque[NodeEvent] = deque()
        self.overlay = Overlay()
        self._control = ControlClient(membership, now=NOW, random=self.random)
        self.streams = Streams(41641, self.overlay, random=self.random)
        self.paths = self.make_paths(self.random)
        self._keys: dict[MeshPeer, PrivateKey] = {}

    def make_paths(self, source: Random) -> Paths:
        """Return new paths that draw from a source."""
        return Paths(
            self.key,
            self.device,
            self._control,
            self.relays,
            Whereabouts(random=self.random, listen_port=41641),
            Diversions(self.device),
            self.overlay,
            self.streams,
            self.events,
            Failover({}, self.device, NOW),
            random=source,
            birthday=True,
        )

    def add_peer(
        self,
        key: bytes | None = None,
        candidates: tuple[control.ReportedCandidate, ...] = (),
    ) -> MeshPeer:
        private_key = PrivateKey.generate(self.random)
        key = key or private_key.public_bytes
        entry = control.PeerEntry(
            public_key=format_key(key),
            name="peer",
            addresses=("100.64.0.9",),
            version=1,
            candidates=candidates,
        )
        peer = MeshPeer(entry, self.device.add_peer(key))
        self._keys[peer] = private_key
        self.paths.add(peer)
        return peer

    def offer_of(
        self, peer: MeshPeer, *candidates: control.ReportedCandidate
    ) -> control.OfferMessage:
        return control.OfferMessage(
            to=format_key(self.key.public_bytes),
            sender=peer.key,
            sequence=1,
            candidates=candidates,
        )

    def check_of(self, peer: MeshPeer, *tags: str) -> stun.Message:
        """Return a check that the peer makes.

        :param tags: which this node gave it.
        """
        checks = self._checks_of(peer)
        checks.take_tags(tags)
        return stun.parse(checks.ask(SOURCE, CandidateKind.HOST, NOW))

    def answer_of(self, peer: MeshPeer) -> stun.Message:
        """Return the peer's answer to a check that its agent makes."""
        assert peer.agent is not None
        check = peer.agent.checks.ask(SOURCE, CandidateKind.HOST, NOW)
        asked = self._checks_of(peer).receive(stun.parse(check), SOURCE, NOW)
        assert isinstance(asked, Asked)
        return stun.parse(asked.answer)

    def answer_to(self, peer: MeshPeer, check: bytes) -> stun.Message:
        """Return the peer's answer to a check that was sent to it."""
        asked = self._checks_of(peer).receive(stun.parse(check), SOURCE, NOW)
        assert isinstance(asked, Asked)
        return stun.parse(asked.answer)

    def _checks_of(self, peer: MeshPeer) -> Checks:
        keys = CheckKeys.derive(self._keys[peer], self.key.public_bytes)
        assert keys is not None
        return Checks(keys, self.random)
