"""A node by itself, for tests of its parts; the test plays network and peers."""

import random
from ipaddress import ip_network
from typing import TypeVar

from meshwg.control.client import ControlClient
from meshwg.control.identity import Identity
from meshwg.keys import PrivateKey, format_key
from meshwg.node import Node, NodeEvent
from meshwg.peer import MeshPeer
from meshwg.schema import read
from meshwg.transmit import Endpoint
from meshwg.wire import control
from meshwg.wireguard.device import Device
from tests.wireguard.pair import ipv4

Event = TypeVar("Event", bound=NodeEvent)

NOW = 1000.0
HOME = "100.64.0.1"
BOB = "100.64.0.2"
BOBS_ENDPOINT = Endpoint("192.0.2.2", 41641)
NETWORKS = ("100.64.0.0/10", "fd00::/48")


class Stage:
    """A node that knows a mesh from its cache; nobody carries its control frames.

    :param addresses: its own, in the mesh.
    :param routes: networks that it offers.
    :param role: what it was started as.
    :param exit_: whether it offers itself as an exit.
    :param proves_routes: whether peers have to prove a session before packets go to
        the networks behind them.
    """

    def __init__(
        self,
        addresses: tuple[str, ...] = (HOME, "fd00::1"),
        routes: tuple[str, ...] = (),
        *,
        role: str = "node",
        exit_: bool = False,
        proves_routes: bool = False,
    ) -> None:
        self._random = random.Random(11).randbytes
        self.key = PrivateKey.generate(self._random)
        coordinator = PrivateKey.generate(self._random).public_bytes
        registered = control.Registered(
            epoch="e",
            name="home",
            addresses=addresses,
            networks=NETWORKS,
            stun=("stun.test:3478",),
        )
        self.node = Node(
            self.key,
            ControlClient(
                Identity(
                    self.key,
                    coordinator,
                    "home",
                    role=role,
                    routes=routes,
                    exit=exit_,
                ),
                now=NOW,
                random=self._random,
                cache=control.Cache(registered=registered, version=1, peers=()),
            ),
            random=self._random,
            unix_time=lambda now: 1.7e9 + now,
            listen_port=41641,
            now=NOW,
            proves_routes=proves_routes,
        )
        self._devices: dict[MeshPeer, Device] = {}

    def entry(self, name: str, *addresses: str, **fields: object) -> control.PeerEntry:
        """Return what the coordinator says about a peer; equal names, equal keys."""
        raw: dict[str, object] = {
            "public_key": format_key(self._key_of(name).public_bytes),
            "name": name,
            "addresses": addresses,
            "version": 1,
            "online": True,
        }
        return read(control.PeerEntry, {**raw, **fields})

    def add_peer(self, name: str, *addresses: str, **fields: object) -> MeshPeer:
        """Let the node learn of a peer, or of a change to it."""
        entry = self.entry(name, *addresses, **fields)
        self.node.members.change([entry], [], NOW)
        return self.node.peers[entry.public_key]

    def connect(self, peer: MeshPeer) -> None:
        """Let a peer make a session with the node."""
        device = Device(random=self._random, unix_time=lambda now: 1.7e9 + now)
        device.set_private_key(self._key_of(peer.entry.name))
        home = device.add_peer(self.key.public_bytes)
        for network in ("0.0.0.0/0", "::/0"):
            device.allowed_ips.insert(ip_network(network), home.lane)
        device.set_endpoint(home, Endpoint("192.0.2.1", 41641))
        device.up(NOW)
        self._devices[peer] = device
        self.hear(peer, ipv4(BOB, HOME, b"hello"))
        for transmit in self.node.datagrams_to_send():
            device.receive_datagrams(transmit.datagrams, BOBS_ENDPOINT, NOW)
        self.hear(peer)
        assert peer.tunnel.current is not None
        self.node.packets_to_write()

    def hear(self, peer: MeshPeer, *packets: bytes) -> None:
        """Let a peer send packets, and whatever waited for a session."""
        device = self._devices[peer]
        device.receive_packets(packets, NOW)
        for transmit in device.datagrams_to_send():
            self.node.receive_datagrams(transmit.datagrams, BOBS_ENDPOINT, NOW)

    def events(self, kind: type[Event]) -> list[Event]:
        """Return the events of a kind since the last call; others are forgotten."""
        found: list[Event] = []
        while (event := self.node.next_event()) is not None:
            if isinstance(event, kind):
                found.append(event)
        return found

    @staticmethod
    def _key_of(name: str) -> PrivateKey:
        return PrivateKey.generate(random.Random(name).randbytes)
