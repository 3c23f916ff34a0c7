"""What a daemon and a kernel do around a node, on a host of the simulated internet.

All calls into :class:`~meshwg.node.Node` are in this module.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_address, ip_network

from meshwg.control.client import ControlClient
from meshwg.control.identity import Identity
from meshwg.keys import PrivateKey, format_key
from meshwg.node import (
    CoordinatorKeyChanged,
    DialWanted,
    Expelled,
    InterfaceChanged,
    Node,
    NodeEvent,
    PathChanged,
    ServersChanged,
    SocketsClosed,
    SocketsWanted,
    StreamsClosed,
    TrustChanged,
)
from meshwg.node.trust import Trust, load_pins
from meshwg.peer import HUB, MeshPeer
from meshwg.relay.pool import CloseStream, OpenStream
from meshwg.relay.server import RelayServer, parse_url
from meshwg.transmit import UDP, Endpoint, Transmit
from meshwg.wire import control
from tests.sim.conntrack import track_flows
from tests.sim.host import Host
from tests.sim.network import UNIX_OFFSET, Network
from tests.sim.router import Router
from tests.sim.servers import STUN_PORT
from tests.sim.tcp import Connection
from tests.world import packets
from tests.world.carrier import Carrier
from tests.world.contact import Contact, sender_of
from tests.world.coordinator import SimCoordinator
from tests.world.internet import NODE_PORT, address_outside, way_out
from tests.world.sendlog import SendLog

ECHO_IDENTIFIER = 7

NOTICE = 0.25
"""Seconds after which a daemon notices that its network is another one."""


class SimDaemon:
    """A node with the host it runs on.

    :param auth_key: returns the key with which to join.
    """

    node: Node

    def __init__(
        self,
        network: Network,
        coordinator: SimCoordinator,
        name: str,
        host: Host,
        auth_key: Callable[[], str],
        *,
        role: str = "node",
        routes: Sequence[str] = (),
        tcp: bool = True,
        service_token: str | None = None,
    ) -> None:
        self.service_token = service_token
        """What it shows of the cluster that it is a node of, if it is one."""
        self.network = network
        self.name = name
        self.host = host
        self.role = role
        self.routes = tuple(routes)
        self.networks: tuple[str, ...] = ()
        """Those that its host is in."""
        self.tunnels: dict[int, tuple[str, ...]] = {}
        """Interfaces that it knows to be tunnels of other programs, with addresses."""
        self.tcp = tcp
        """Whether it takes part in streams."""
        self.clock_error = 0.0
        """Seconds by which its wall clock is wrong."""
        self.private_key = PrivateKey.generate(network.random.randbytes)
        self.key = format_key(self.private_key.public_bytes)
        self.carrier = Carrier(
            network,
            coordinator,
            lambda: address_outside(self.host),
            lambda: way_out(self.host),
        )
        self.carrier.on_news = self._control_changed
        self.events: list[NodeEvent] = []
        self.packets: list[bytes] = []
        """What the system got from the interface: neither echo requests nor talk."""
        self.log = SendLog()
        self.entered_mesh = 0
        """How many of its own datagrams were routed into its own tunnel."""
        self.authority: tuple[bytes, bytes | None] = (coordinator.public_key, None)
        """What is on its disk of the coordinator's keys; the first is the token's."""
        self.pins: bytes | None = None
        """What is on its disk of others' keys."""
        self._auth_key = auth_key
        self._contacts: dict[str, Contact] = {}
        self._interface = InterfaceChanged((), (), ())
        self._sealed: list[Transmit] = []
        self._next_link = 0
        self._holes: dict[int | None, int] = {}

    @property
    def now(self) -> float:
        return self.network.now

    @property
    def client(self) -> ControlClient:
        return self.carrier.client

    # Its life.

    def start(self, cache: bytes | None = None) -> None:
        """Start the daemon, perhaps with a netmap from before."""
        random = self.network.random.randbytes
        known, former = self.authority
        identity = Identity(
            self.private_key,
            known,
            self.name,
            auth_key=None if cache or self.service_token else self._auth_key(),
            role=self.role,
            routes=self.routes,
            former_key=former,
            service_token=self.service_token,
        )
        self.carrier.client = ControlClient(
            identity,
            now=self.now,
            random=random,
            cache=control.load_cache(cache) if cache else None,
        )
        self.host.tcp.ignore(NODE_PORT)
        if self.tcp:
            self.host.tcp.listen(NODE_PORT, self._accept)
        self.node = Node(
            self.private_key,
            self.client,
            random=random,
            unix_time=lambda at: at + UNIX_OFFSET + self.clock_error,
            listen_port=NODE_PORT,
            now=self.now,
            tcp_port=NODE_PORT if self.tcp else None,
            trust=Trust(load_pins(self.pins)) if self.pins else None,
            proves_routes=self.service_token is not None,
        )
        self.events = []
        self._interface = InterfaceChanged((), (), ())
        self._track_flows()
        self.node.set_hosts(self.host.addresses, self.now, self.networks, self.tunnels)
        self.host.run(self, NODE_PORT)

    def die(self) -> bytes | None:
        """End without taking leave; return the netmap that is on the disk."""
        self.host.stop()
        self.carrier.hang_up()
        return self.client.cache()

    def restart(self) -> None:
        """Die, and start again with the netmap that is on the disk."""
        self.start(self.die())

    def move(self, *addresses: str, behind: Router | None = None) -> None:
        """Take the host to another network, as its daemon notices a moment later."""
        self.host.move(*addresses, behind=behind)
        self._track_flows()
        self.network.after(NOTICE, self._notice)

    # Its peers and packets.

    @property
    def address(self) -> str:
        """Its IPv4 address in the mesh."""
        return next(one for one in self.node.members.own_addresses() if ":" not in one)

    def peer(self, other: "SimDaemon") -> MeshPeer:
        """Return what it knows of a peer."""
        found = self.node.members.find(other.key)
        assert found is not None
        return found

    def accept(self, name: str, key: str | None = None) -> None:
        """Trust a peer that is held."""
        self.node.members.accept(name, key, self.now)
        self.host.drain()

    def ping(self, other: "SimDaemon", sequence: int = 1) -> bool:
        """Send an echo request through the tunnel."""
        peer = self.peer(other)
        sent = self.node.ping(peer, ECHO_IDENTIFIER, sequence, self.now)
        self.host.drain()
        return sent

    def write(self, *packets: bytes) -> None:
        """Hand packets to the interface."""
        if len(packets) == 1:
            self._take_in(*packets)
        else:
            self.node.receive_packets(packets, self.now)
        self.host.drain()

    # The machine that the host runs.

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take a datagram, or bytes of a stream."""
        if source.link in self.host.streams:
            self.node.receive_stream(source.link, data, now)
            return
        packet = self.node.open_one(data, source, now)
        if packet is None:
            self.node.receive_datagrams([data], source, now)
        elif packet:
            self._take_packet(packet)

    def datagrams_to_send(self) -> list[Transmit]:
        """Carry out what the node wants, and return what it sends."""
        self.node.settle()
        self._work()
        transmits = [
            transmit
            for transmit in self._take_sealed() + self.node.datagrams_to_send()
            if not self._enters_mesh(transmit)
        ]
        for packet in self.node.packets_to_write():
            self._take_packet(packet)
        # An answer, an event or a wish may have come of it.
        self.node.settle()
        self._work()
        transmits += self._take_sealed() + self.node.datagrams_to_send()
        for transmit in transmits:
            self.log.add(transmit, self.now)
        return transmits

    def get_timer(self) -> float | None:
        return self.node.get_timer()

    def handle_timer(self, now: float) -> None:
        self.node.handle_timer(now)

    # What a kernel does.

    def _take_in(self, packet: bytes) -> None:
        """Give the node a lone packet of the interface, as the pump does."""
        sealed = self.node.seal_one(packet, self.now)
        if sealed is None:
            self.node.receive_packets([packet], self.now)
        else:
            endpoint, message = sealed
            self._sealed.append(Transmit(endpoint, [message]))

    def _take_sealed(self) -> list[Transmit]:
        sealed, self._sealed = self._sealed, []
        return sealed

    def _enters_mesh(self, transmit: Transmit) -> bool:
        """Take in datagrams to where a route into the mesh leads."""
        to, routes = transmit.destination, self._interface.routes
        if to.link != UDP or not any(_is_in(to.host, route) for route in routes):
            return False
        packets_in = [
            packets.datagram_packet(self.address, NODE_PORT, to.host, to.port, datagram)
            for datagram in transmit.datagrams
        ]
        self.entered_mesh += len(packets_in)
        self.node.receive_packets(packets_in, self.now)
        return True

    def _take_packet(self, packet: bytes) -> None:
        """Deliver a packet from the interface, forward it or answer it."""
        source, destination = packets.addresses_of(packet)
        if destination in self.host.addresses and packet[9] == packets.UDP:
            port = int.from_bytes(packet[20:22])
            self.node.receive_datagrams([packet[28:]], Endpoint(source, port), self.now)
        elif destination != self.address:
            if self.role == HUB:
                self._take_in(packet)
        elif packets.is_echo_request(packet):
            self._take_in(packets.echo_reply(packet))
        elif (sender := sender_of(packet[20:])) is not None:
            contact = self._contacts.setdefault(sender, Contact())
            contact.receive(packet[20:], self.now)
        else:
            self.packets.append(packet)

    # What a daemon does.

    def _work(self) -> None:
        while (event := self.node.next_event()) is not None:
            self.events.append(event)
            self._carry_out(event)
        self.carrier.drain()

    def _carry_out(self, event: NodeEvent) -> None:
        match event:
            case InterfaceChanged():
                self._interface = event
            case CoordinatorKeyChanged(key, former):
                self.authority = (key, former)
            case TrustChanged():
                self.pins = self.node.trust.to_json()
            case PathChanged(peer, change):
                contact = self._contacts.setdefault(peer.key, Contact())
                contact.changes.append((self.now, change))
            case SocketsWanted(request, _, count):
                self.node.sockets_opened(request, self._open(count), self.now)
            case SocketsClosed(links):
                for link in links:
                    self.host.close(link)
            case ServersChanged(stun, relays):
                servers = [Endpoint(s.rpartition(":")[0], STUN_PORT) for s in stun]
                self.node.background.set_servers(servers, _resolved(relays), self.now)
            case OpenStream(link, server):
                self._connect(Endpoint(server.address, server.url.port, link))
            case CloseStream(link):
                self.host.close(link)
            case DialWanted(endpoint, hole, ttl):
                self._dial(endpoint, hole, ttl)
            case StreamsClosed(links):
                for link in links:
                    self.host.close(link)
            case Expelled():
                self.network.after(0, self._end)

    def _open(self, count: int) -> dict[int, int]:
        ports = {}
        for _ in range(count):
            self._next_link += 1
            ports[self._next_link] = self.host.open(link=self._next_link).port
        return ports

    def _connect(self, to: Endpoint) -> None:
        relays, stream = self.node.background, self.host.connect(to)
        stream.on_open = lambda at: relays.stream_opened(to.link, at)
        stream.on_close = lambda at: relays.stream_closed(to.link, "gone", at)

    def _dial(self, to: Endpoint, hole: int | None, ttl: int | None) -> None:
        port = self._holes.get(hole) or self.network.random.randrange(32768, 61000)
        if hole is not None:
            self._holes[hole] = port
        stream = self.host.tcp.connect(port, (to.host, to.port), ttl)
        if stream is None:
            self.network.after(0, lambda: self._closed(to.link, "Address in use"))
            return
        self._attach(stream, to.link)

        def on_open(now: float) -> None:
            self.node.streaming.opened(to.link, now)
            self.host.drain()

        stream.on_open = on_open

    def _accept(self, stream: Connection) -> None:
        link = self.node.streaming.accepted(Endpoint(*stream.remote), self.now)
        if link is None:
            stream.abort()
        else:
            self._attach(stream, link)

    def _attach(self, stream: Connection, link: int) -> None:
        def on_data(data: bytes, now: float) -> None:
            if link in self.host.streams:
                self.node.receive_stream(link, data, now)
                self.host.drain()

        self.host.streams[link] = stream
        stream.on_data = on_data
        stream.on_close = lambda now: self._closed(link, "Connection refused")

    def _closed(self, link: int, reason: str) -> None:
        self.host.streams.pop(link, None)
        if self.host.machine is not None:
            self.node.streaming.closed(link, reason, self.now)
            self.host.drain()

    def _end(self) -> None:
        self.node.stop(self.now)
        self.host.drain()
        self.host.stop()

    def _control_changed(self) -> None:
        self.node.control_changed(self.now)
        self.host.drain()

    def _notice(self) -> None:
        """Learn that the host's addresses are others."""
        if self.host.machine is not None:
            self.node.set_hosts(self.host.addresses, self.now)
            self.node.network_changed(self.now)
            self.host.drain()

    def _track_flows(self) -> None:
        for interface in self.host.interfaces:
            track_flows(self.network, interface.realm)


def _is_in(host: str, network: str) -> bool:
    return ip_address(host) in ip_network(network)


def _resolved(relays: Iterable[control.Relay]) -> Iterator[RelayServer]:
    """Yield the relays that this version can use, as the resolver does."""
    for relay in relays:
        with suppress(ValueError):
            url = parse_url(relay.url)
            yield RelayServer(url, url.host, relay.username, relay.password)
