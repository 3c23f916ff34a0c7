"""Whole nodes in virtual time: on the simulated internet, with the real servers.

The coordinator's machine, the relay's and the STUN server's are the project's own; the
hosts of the nodes do what a daemon and a kernel would do, and answer echo requests.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import TypeVar

from coordinator.netmap import NetMapHistory
from coordinator.operations import Operation
from coordinator.registry import Registry
from coordinator.server import ControlServer, Settings
from meshwg.control.client import ControlClient, ControlState, Membership
from meshwg.keys import PrivateKey
from meshwg.node import (
    EchoReceived,
    Expelled,
    InterfaceChanged,
    Node,
    NodeEvent,
    ServersChanged,
    SocketsClosed,
    SocketsWanted,
)
from meshwg.node.hubs import HUB
from meshwg.packet.ip import checksum, word_sum
from meshwg.peer import MeshPeer
from meshwg.relay.pool import CloseStream, OpenStream
from meshwg.relay.server import RelayServer, parse_url
from meshwg.transmit import Endpoint, Transmit
from meshwg.wire import control
from tests.sim.host import Host
from tests.sim.kinds import PUBLIC, Kind
from tests.sim.network import UNIX_OFFSET, Network
from tests.sim.servers import STUN_PORT, add_stun_server
from tests.world.ledger import Ledger
from tests.world.relay import PORT as RELAY_PORT
from tests.world.relay import SECRET, RelayHost

Event = TypeVar("Event", bound=NodeEvent)

CONTROL_LATENCY = 0.02
STUN_HOSTS = ("198.51.100.1", "198.51.100.2")
RELAY_HOSTS = ("198.51.100.9", "198.51.100.10")
NODE_PORT = 41641
ICMP, UDP_PROTOCOL = 1, 17
ECHO_REPLY, ECHO_REQUEST = 0, 8


class Mesh:
    """An internet with a coordinator, a STUN server and some relays.

    Nodes may announce routes to private networks.
    """

    def __init__(self, seed: int = 1, *, relays: int = 1) -> None:
        self.network = Network(seed)
        add_stun_server(self.network, "stun", *STUN_HOSTS)
        self.relays = [RelayHost(self.network, host) for host in RELAY_HOSTS[:relays]]
        routes = ["10.0.0.0/8", "192.168.0.0/16"]
        self.ledger = Ledger(self.network, routes)
        self.auth_key = self.ledger.add_auth_key()
        self.coordinator = SimCoordinator(self)
        self.nodes: dict[str, MeshNode] = {}

    @property
    def now(self) -> float:
        return self.network.now

    def add(
        self,
        name: str,
        kind: Kind = PUBLIC,
        role: str = "node",
        routes: Sequence[str] = (),
    ) -> "MeshNode":
        """Run a node of a kind of network, which then joins."""
        host = kind.add_to(self.network, name, len(self.nodes) + 1)
        node = self.nodes[name] = MeshNode(self, name, host, role, routes)
        node.start()
        return node

    def settle(self, seconds: float = 10.0) -> None:
        """Let nodes join and look at their NATs."""
        self.network.advance(seconds)
        for node in self.nodes.values():
            assert node.client.state is ControlState.CONNECTED, node.client.error

    def run(self, until: Callable[[], bool], limit: float = 60.0) -> None:
        """Let time pass until something is so."""
        assert self.network.run(until, limit), "It never happens"


class SimCoordinator:
    """A coordinator with its carriers and its database."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._key = PrivateKey.generate(mesh.network.random.randbytes)
        self._carriers: dict[int, MeshNode] = {}
        self._armed: float | None = None
        self.is_up = True
        self.offers = 0
        self._boot()

    @property
    def public_key(self) -> bytes:
        return self._key.public_bytes

    def _boot(self) -> None:
        mesh = self._mesh
        self.registry: Registry
        self._history: NetMapHistory
        self.registry, self._history = mesh.ledger.load()
        self._server = ControlServer(
            self._key,
            self.registry,
            self._history,
            Settings(
                stun=tuple(f"{host}:{STUN_PORT}" for host in STUN_HOSTS),
                relays=tuple(
                    f"turn:{relay.address}:{RELAY_PORT}?transport=udp"
                    for relay in mesh.relays
                ),
                relay_secret=SECRET,
            ),
            now=mesh.now,
            unix_time=mesh.now + UNIX_OFFSET,
            random=mesh.network.random.randbytes,
        )

    def stop(self) -> None:
        """Die; the operating system closes the carriers."""
        self.is_up = False
        carriers, self._carriers = self._carriers, {}
        for node in carriers.values():
            node.carrier_closed("The coordinator closed the connection", None)

    def start(self) -> None:
        """Come back from the database."""
        self._boot()
        self.is_up = True

    def perform(self, operation: Operation) -> None:
        """Do what an administrator does."""
        self._commit([operation])
        self._drain()

    def connect(self, node: "MeshNode") -> int | None:
        """Take a carrier, ``None`` while there is no process."""
        if not self.is_up:
            return None
        number = self._server.connect(_seen_from_outside(node.host), self._mesh.now)
        assert number is not None
        self._carriers[number] = node
        return number

    def receive(self, number: int, frame: bytes) -> None:
        """Take a frame of a carrier."""
        if number in self._carriers:
            self._server.receive_frame(number, frame, self._mesh.now)
            self._drain()

    def disconnect(self, number: int) -> None:
        """Take note that a node has closed its carrier."""
        if self._carriers.pop(number, None) is not None:
            self._server.disconnect(number)
            self._drain()

    def _drain(self) -> None:
        while operations := self._server.operations(self._mesh.now):
            self._commit(operations)
        for number, frame in self._server.frames_to_send():
            if number in self._carriers:
                self._carriers[number].frame_later(number, frame)
        for close in self._server.closes():
            node = self._carriers.pop(close.connection, None)
            self._server.disconnect(close.connection)
            if node is not None:
                node.close_later(close.connection, close.code)
        self._arm()

    def _commit(self, operations: list[Operation]) -> None:
        mesh = self._mesh
        outcomes, changes = mesh.ledger.commit(self.registry, operations)
        self._server.committed(outcomes, changes, mesh.now)

    def _arm(self) -> None:
        when = self._server.get_timer()
        if self._armed is None or when < self._armed:
            self._armed = when
            self._mesh.network.at(when, lambda: self._fire(when))

    def _fire(self, when: float) -> None:
        if self._armed == when:
            self._armed = None
            if self.is_up:
                now = self._mesh.now
                self._server.handle_timer(now, now + UNIX_OFFSET)
                self._drain()


def _seen_from_outside(host: Host) -> str:
    """Return the address that a connection of the host comes from."""
    interface = host.interfaces[0]
    address, gateway = interface.address, interface.realm.gateway
    while gateway is not None:
        if gateway.translation is not None and ":" not in address:
            address = gateway.translation.addresses[0]
        gateway = gateway.outside.gateway
    return address


class MeshNode:
    """A node with the host it runs on."""

    def __init__(
        self,
        mesh: Mesh,
        name: str,
        host: Host,
        role: str = "node",
        routes: Sequence[str] = (),
    ) -> None:
        self.mesh = mesh
        self.name = name
        self.host = host
        self.role = role
        self.routes = tuple(routes)
        self.networks: tuple[str, ...] = ()
        """Those that its host is in."""
        self.key = PrivateKey.generate(mesh.network.random.randbytes)
        self.events: list[NodeEvent] = []
        self.packets: list[bytes] = []
        """What the system got from the interface, but for echo requests."""
        self.entered_mesh = 0
        self._sealed: list[Transmit] = []
        """How many of its own datagrams were routed into its own tunnel."""
        self.lost_control = False
        """The network swallows what goes to and comes from the coordinator."""
        self.clock_error = 0.0
        """Seconds by which its wall clock is wrong."""
        self._carrier: int | None = None
        self._next_link = 0
        self.client: ControlClient
        self.node: Node

    def start(self, cache: bytes | None = None) -> None:
        """Start the daemon, perhaps with a netmap from before."""
        mesh, now = self.mesh, self.mesh.now
        random = mesh.network.random.randbytes
        membership = Membership(
            self.key,
            mesh.coordinator.public_key,
            self.name,
            auth_key=None if cache else mesh.auth_key,
            role=self.role,
            routes=self.routes,
        )
        self.client = ControlClient(
            membership,
            now=now,
            random=random,
            cache=control.load_cache(cache) if cache else None,
        )
        self.node = Node(
            self.key,
            self.client,
            random=random,
            unix_time=lambda at: at + UNIX_OFFSET + self.clock_error,
            listen_port=NODE_PORT,
            now=now,
        )
        self.events = []
        self.node.set_hosts(self.host.addresses, now, self.networks)
        self.host.run(self, NODE_PORT)

    def die(self) -> bytes | None:
        """End without taking leave; return the netmap that is on the disk."""
        self.host.stop()
        self._hang_up()
        return self.client.cache()

    def move(self, kind: Kind, number: int) -> None:
        """Take the host to another network, as its daemon would notice."""
        other = kind.add_to(self.mesh.network, f"{self.name}-{number}", number)
        (interface,) = other.interfaces
        other.move()
        router = interface.realm.gateway
        self.host.move(interface.address, behind=router)
        self.node.set_hosts(self.host.addresses, self.mesh.now)
        self.node.network_changed(self.mesh.now)
        self.host.drain()

    def leave(self) -> None:
        """End in good order."""
        self.node.stop(self.mesh.now)
        self.host.drain()
        self.mesh.network.advance(1)
        self.host.stop()

    # What tests look at.

    @property
    def address(self) -> str:
        """Its IPv4 address in the mesh."""
        return next(one for one in self.node.own_addresses() if ":" not in one)

    def peer(self, other: "MeshNode") -> MeshPeer:
        """Return what it knows of a peer."""
        found = self.node.find(other.node.public_key)
        assert found is not None
        return found

    def path(self, other: "MeshNode") -> str:
        """Return the kind of path to a peer, and a hub's name."""
        path = self.peer(other).path_json(self.mesh.now, self.mesh.now)
        return f"via {path['via']}" if path["via"] else str(path["kind"])

    def found(self, kind: type[Event]) -> list[Event]:
        """Return the events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    # Traffic.

    def ping(self, other: "MeshNode", sequence: int = 1) -> bool:
        """Send an echo request through the tunnel."""
        sent = self.node.ping(self.peer(other), 7, sequence, self.mesh.now)
        self.host.drain()
        return sent

    def answers(self) -> list[int]:
        """Return the sequence numbers of the echo replies so far."""
        return [e.sequence for e in self.events if isinstance(e, EchoReceived)]

    def reaches(self, other: "MeshNode", limit: float = 30.0) -> bool:
        """Ping a peer every half second until an answer comes."""
        end, before = self.mesh.now + limit, len(self.answers())
        while self.mesh.now < end and len(self.answers()) == before:
            self.ping(other, 1000 + before)
            self.mesh.network.run(lambda: len(self.answers()) > before, 0.5)
        return len(self.answers()) > before

    def keep_pinging(self, other: "MeshNode", seconds: float) -> int:
        """Ping a peer ten times a second; return how many were not answered."""
        first = 10_000 + len(self.answers())
        wanted = range(first, first + round(seconds * 10))
        for sequence in wanted:
            self.ping(other, sequence)
            self.mesh.network.advance(0.1)
        self.mesh.network.advance(1)
        return len(set(wanted) - set(self.answers()))

    def write(self, *packets: bytes) -> None:
        """Hand packets to the interface."""
        if len(packets) == 1:
            self._take_in(*packets)
        else:
            self.node.receive_packets(packets, self.mesh.now)
        self.host.drain()

    # The machine that the host runs.

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        if source.link in self.host.streams:
            self.node.receive_stream(source.link, data, now)
            return
        packet = self.node.open_one(data, source, now)
        if packet is None:
            self.node.receive_datagrams([data], source, now)
        elif packet:
            self._take_packet(packet)

    def datagrams_to_send(self) -> list[Transmit]:
        self.node.note()
        self._work()
        transmits = [
            transmit
            for transmit in self._take_sealed() + self.node.datagrams_to_send()
            if not self._enters_mesh(transmit)
        ]
        for packet in self.node.packets_to_write():
            self._take_packet(packet)
        # An answer, an event or a wish may have come of it.
        self.node.note()
        self._work()
        return transmits + self._take_sealed() + self.node.datagrams_to_send()

    def _take_in(self, packet: bytes) -> None:
        """Give the node a lone packet of the interface, as the pump does."""
        sealed = self.node.seal_one(packet, self.mesh.now)
        if sealed is None:
            self.node.receive_packets([packet], self.mesh.now)
        else:
            endpoint, message = sealed
            self._sealed.append(Transmit(endpoint, [message]))

    def _take_sealed(self) -> list[Transmit]:
        sealed, self._sealed = self._sealed, []
        return sealed

    def get_timer(self) -> float | None:
        return self.node.get_timer()

    def handle_timer(self, now: float) -> None:
        self.node.handle_timer(now)

    def _enters_mesh(self, transmit: Transmit) -> bool:
        """Do what a kernel does with datagrams to where a route into the mesh leads."""
        to = transmit.destination
        changes = self.found(InterfaceChanged)
        routes = changes[-1].routes if changes else ()
        if to.link or not any(_is_in(to.host, route) for route in routes):
            return False
        ports = NODE_PORT.to_bytes(2) + to.port.to_bytes(2)
        packets = [
            udp_packet(self.address, to.host, ports + bytes(4) + datagram)
            for datagram in transmit.datagrams
        ]
        self.entered_mesh += len(packets)
        self.node.receive_packets(packets, self.mesh.now)
        return True

    def _take_packet(self, packet: bytes) -> None:
        """Do what a kernel does with a packet from the interface."""
        source, destination = (str(ip_address(packet[at : at + 4])) for at in (12, 16))
        if destination in self.host.addresses and packet[9] == UDP_PROTOCOL:
            port = int.from_bytes(packet[20:22])
            self.node.receive_datagrams(
                [packet[28:]], Endpoint(source, port), self.mesh.now
            )
        elif destination != self.address:
            if self.role == HUB:
                self._take_in(packet)
        elif packet[9] == ICMP and packet[20] == ECHO_REQUEST:
            self._take_in(_echo_reply(packet))
        else:
            self.packets.append(packet)

    # What a daemon does.

    def _work(self) -> None:
        while (event := self.node.next_event()) is not None:
            self.events.append(event)
            self._carry_out(event)
        if self.client.wants_connection and self._carrier is None:
            self._dial()
        for frame in self.client.control_to_send():
            self._send_frame(frame)
        if not self.client.wants_connection:
            self._hang_up()

    def _carry_out(self, event: NodeEvent) -> None:
        now = self.mesh.now
        match event:
            case SocketsWanted(request, _, count):
                self.node.sockets_opened(request, self._open(count), now)
            case SocketsClosed(links):
                for link in links:
                    self.host.close(link)
            case ServersChanged(stun, relays):
                servers = [Endpoint(s.rpartition(":")[0], STUN_PORT) for s in stun]
                self.node.set_servers(servers, map(_resolved, relays), now)
            case OpenStream(link, server):
                to = Endpoint(server.address, server.url.port, link)
                stream = self.host.connect(to)
                stream.on_open = lambda at: self.node.stream_opened(link, at)
                stream.on_close = lambda at: self.node.stream_closed(link, "gone", at)
            case CloseStream(link):
                self.host.close(link)
            case Expelled():
                self.mesh.network.after(0, self.leave)

    def _open(self, count: int) -> dict[int, int]:
        ports = {}
        for _ in range(count):
            self._next_link += 1
            ports[self._next_link] = self.host.open(link=self._next_link).port
        return ports

    # The carrier of the control connection.

    def _dial(self) -> None:
        number = None if self.lost_control else self.mesh.coordinator.connect(self)
        if number is not None:
            self._carrier = number
            self.client.control_opened(self.mesh.now)
        elif not self.lost_control:
            self.client.control_closed("It cannot be reached", self.mesh.now)

    def _send_frame(self, frame: bytes) -> None:
        number, coordinator = self._carrier, self.mesh.coordinator
        if number is not None and not self.lost_control:
            self.mesh.network.after(
                CONTROL_LATENCY, lambda: coordinator.receive(number, frame)
            )

    def _hang_up(self) -> None:
        number, self._carrier = self._carrier, None
        coordinator = self.mesh.coordinator
        if number is not None and not self.lost_control:
            self.mesh.network.after(
                CONTROL_LATENCY, lambda: coordinator.disconnect(number)
            )

    def frame_later(self, number: int, frame: bytes) -> None:
        """Take a frame of the coordinator when it has travelled."""

        def arrive() -> None:
            if self._carrier == number and not self.lost_control:
                self.client.receive_control(frame, self.mesh.now)
                self._control_changed()

        self.mesh.network.after(CONTROL_LATENCY, arrive)

    def close_later(self, number: int, code: int) -> None:
        """Learn in a moment that the coordinator has closed the carrier."""

        def arrive() -> None:
            if self._carrier == number:
                self.carrier_closed("The coordinator closed the connection", code)

        self.mesh.network.after(CONTROL_LATENCY, arrive)

    def carrier_closed(self, reason: str, code: int | None) -> None:
        """Take note that the carrier is gone."""
        self._carrier = None
        self.client.control_closed(reason, self.mesh.now, code)
        self._control_changed()

    def _control_changed(self) -> None:
        self.node.control_changed(self.mesh.now)
        self.host.drain()


def strangers(*kinds: Kind, relays: int = 1) -> tuple[Mesh, MeshNode, MeshNode]:
    """Return two nodes in kinds of networks that have joined and never talked."""
    mesh = Mesh(relays=relays)
    alice, bob = (
        mesh.add(name, kind)
        for name, kind in zip(("alice", "bob"), kinds or (PUBLIC, PUBLIC), strict=True)
    )
    mesh.settle()
    return mesh, alice, bob


def pair(*kinds: Kind, relays: int = 1) -> tuple[Mesh, MeshNode, MeshNode]:
    """Return two nodes that have talked to each other."""
    mesh, alice, bob = strangers(*kinds, relays=relays)
    assert alice.reaches(bob)
    return mesh, alice, bob


def udp_packet(source: str, destination: str, payload: bytes) -> bytes:
    """Return an IPv4 packet with a payload; nobody looks at the rest of it."""
    length = (20 + len(payload)).to_bytes(2)
    header = b"\x45\0" + length + bytes(5) + b"\x11\0\0"
    ends = ip_address(source).packed + ip_address(destination).packed
    return header + ends + payload


def _is_in(host: str, network: str) -> bool:
    return ip_address(host) in ip_network(network)


def _echo_reply(request: bytes) -> bytes:
    """Return what a system answers to an echo request."""
    echo = bytes([ECHO_REPLY, 0, 0, 0]) + request[24:]
    echo = echo[:2] + checksum(word_sum(echo)).to_bytes(2) + echo[4:]
    return request[:12] + request[16:20] + request[12:16] + echo


def _resolved(relay: control.Relay) -> RelayServer:
    url = parse_url(relay.url)
    return RelayServer(url, url.host, relay.username, relay.password)
