"""The relay's two ends on the simulated internet: a server's host, a client's host."""

from collections.abc import Sequence
from itertools import count

from coordinator.credentials import password
from coordinator.turn import (
    CloseSocket,
    Limits,
    OpenSocket,
    PeerRules,
    TurnServer,
)
from meshwg.relay.allocation import RelayState
from meshwg.relay.client import RelayClient
from meshwg.relay.pool import CloseStream, OpenStream, RelayChanged, RelayPool
from meshwg.relay.server import RelayServer, RelayUrl, Transport
from meshwg.transmit import UDP, Endpoint, Transmit
from meshwg.wire.channeldata import StreamFramer
from meshwg.wire.demux import DatagramKind, kind_of
from meshwg.wire.stun import Buffer
from tests.sim.host import Host
from tests.sim.network import Network
from tests.sim.router import Router
from tests.sim.stream import Stream

SECRET = b"only relay and coordinator know"
REALM = "mesh.test"
PORT = 3478
RELAY_LINKS = 100_000
STREAM_LINKS = 200_000
UNIX_OFFSET = 1_700_000_000.0
LINK = 7


def mint(network: Network, node: str, lifetime: float = 86_400) -> tuple[str, str]:
    """Return a user name and its password, good for some seconds from now."""
    username = f"{int(network.now + UNIX_OFFSET + lifetime)}:{node}"
    return username, password(username, SECRET)


class RelayHost:
    """A host that runs a :class:`TurnServer` on UDP and streams."""

    def __init__(
        self,
        network: Network,
        address: str = "198.51.100.1",
        *,
        limits: Limits | None = None,
        rules: PeerRules | None = None,
        ports: range = range(49152, 65536),
        delay: float = 0.005,
        loss: float = 0.0,
    ) -> None:
        self.network = network
        self.address = address
        self.limits = limits
        self.rules = rules
        self.ports = ports
        self.host = network.add_host(
            f"relay-{address}", address, delay=delay, loss=loss
        )
        self.fails_to_bind = False
        self.is_dead = False
        self.opened = 0
        self._sockets: dict[int, Endpoint] = {}
        self._streams: dict[int, Stream] = {}
        self._links = count(STREAM_LINKS)
        self.server = self.new_server()
        self.host.run(self, PORT)
        self.host.listen(PORT, self._accept)

    def new_server(self) -> TurnServer:
        """Return a server that knows of nothing that happened before."""
        return TurnServer(
            realm=REALM,
            secrets=[SECRET],
            hosts={6 if ":" in self.address else 4: self.address},
            random=self.network.random.randbytes,
            unix_offset=UNIX_OFFSET,
            ports=self.ports,
            rules=self.rules,
            limits=self.limits,
        )

    def restart(self) -> None:
        """Lose all state."""
        for link in self._sockets:
            self.host.close(link)
        for stream in list(self._streams.values()):
            stream.close()
        self._sockets.clear()
        self._streams.clear()
        self.server = self.new_server()

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        if self.is_dead:
            return
        if source.link == UDP:
            self.server.receive([data], source, now)
        elif source.link in self._sockets:
            self.server.receive_from_peer(
                self._sockets[source.link], [data], source, now
            )

    def datagrams_to_send(self) -> list[Transmit]:
        while event := self.server.next_event():
            self._manage(event)
        ready: list[Transmit] = []
        for transmit in self.server.datagrams_to_send():
            stream = self._streams.get(transmit.destination.link)
            if stream is not None:
                stream.write(b"".join(transmit.datagrams))
            elif transmit.destination.link == UDP:
                ready.append(transmit)
        for relayed, transmit in self.server.relayed_to_send():
            link = RELAY_LINKS + relayed.port
            destination = transmit.destination._replace(link=link)
            ready.append(Transmit(destination, transmit.datagrams))
        return ready

    def get_timer(self) -> float | None:
        return self.server.get_timer()

    def handle_timer(self, now: float) -> None:
        self.server.handle_timer(now)

    def _manage(self, event: OpenSocket | CloseSocket) -> None:
        link = RELAY_LINKS + event.relayed.port
        if isinstance(event, CloseSocket):
            self.host.close(link)
            self._sockets.pop(link, None)
        elif self.fails_to_bind:
            self.server.socket_failed(event.relayed, self.network.now)
        else:
            self.opened += 1
            self.host.open(event.relayed.port, link)
            self._sockets[link] = event.relayed
            self.server.socket_opened(event.relayed, self.network.now)

    def _accept(self, stream: Stream) -> None:
        link = next(self._links)
        client = Endpoint(*stream.remote, link=link)
        framer = StreamFramer()
        self._streams[link] = stream

        def on_data(data: bytes, now: float) -> None:
            if not self.is_dead:
                self.server.receive(framer.receive(data), client, now, stream=True)

        def on_close(now: float) -> None:
            if self._streams.pop(link, None) is not None:
                self.server.forget(client)

        stream.on_data, stream.on_close = on_data, on_close


class ClientHost:
    """A host that runs one :class:`RelayClient`."""

    def __init__(
        self,
        network: Network,
        relay: RelayHost,
        address: str,
        *,
        node: str = "",
        transport: Transport = Transport.UDP,
        behind: Router | None = None,
        loss: float = 0.0,
        lifetime: float = 86_400,
    ) -> None:
        self.network = network
        self.host: Host = network.add_host(
            f"client-{address}", address, behind=behind, loss=loss
        )
        url = RelayUrl("relay.test", PORT, transport)
        user = mint(network, node or address, lifetime)
        server = RelayServer(url, relay.address, *user)
        self.client = RelayClient(server, LINK, random=network.random.randbytes)
        self.received: list[tuple[Endpoint, bytes]] = []
        self.events: list[object] = []
        self.host.on_activity = self._take_events
        self.host.run(self)
        if transport is not Transport.UDP:
            self.connect()

    def connect(self) -> None:
        """Open the stream and start when it is there."""
        stream = self.host.connect(self.client.destination)
        stream.on_open = self.client.start
        stream.on_close = lambda now: self.client.stream_closed("it was closed", now)

    def start(self) -> None:
        """Begin, and run until there is an allocation."""
        if self.client.destination.link == UDP:
            self.client.start(self.network.now)
            self.host.drain()
        assert self.network.run(until=self.is_allocated, limit=30)

    def is_allocated(self) -> bool:
        return self.client.state is RelayState.ALLOCATED

    @property
    def relayed(self) -> Endpoint:
        """The relayed address; there has to be one."""
        assert self.client.relayed is not None
        return self.client.relayed

    def send(self, peer: Endpoint, *datagrams: bytes) -> None:
        """Send packets through the relay."""
        self.client.send(peer, datagrams, self.network.now)
        self.host.drain()

    def open(self, peer: Endpoint) -> None:
        self.client.open(peer, self.network.now)
        self.host.drain()

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        take = self.client.receive_stream if source.link else self._receive_datagram
        for peer, packets in take(data, now):
            self.received += [(peer, bytes(packet)) for packet in packets]

    def datagrams_to_send(self) -> list[Transmit]:
        return self.client.datagrams_to_send()

    def get_timer(self) -> float | None:
        return self.client.get_timer()

    def handle_timer(self, now: float) -> None:
        self.client.handle_timer(now)

    def _receive_datagram(
        self, data: Buffer, now: float
    ) -> Sequence[tuple[Endpoint, Sequence[Buffer]]]:
        return self.client.receive([data], now)

    def _take_events(self) -> None:
        while event := self.client.next_event():
            self.events.append(event)


class PoolHost:
    """A host that runs a :class:`RelayPool`."""

    def __init__(
        self,
        network: Network,
        address: str,
        *,
        behind: Router | None = None,
        loss: float = 0.0,
    ) -> None:
        self.network = network
        self.name = f"node-{address}"
        self.host: Host = network.add_host(self.name, address, behind=behind, loss=loss)
        self.pool = RelayPool(random=network.random.randbytes)
        self.received: list[tuple[Endpoint, bytes]] = []
        self.changes: list[tuple[float, RelayChanged]] = []
        self.streams_opened = 0
        self.host.on_activity = self._take_events
        self.host.run(self)

    def use(self, *ways: tuple[RelayHost, Transport], lifetime: float = 86_400) -> None:
        """Name the servers, and the transports to reach them over."""
        user = mint(self.network, self.name, lifetime)
        servers = [
            RelayServer(RelayUrl(relay.address, PORT, transport), relay.address, *user)
            for relay, transport in ways
        ]
        self.pool.set_servers(servers, self.network.now)
        self.host.drain()

    def is_ready(self) -> bool:
        return self.pool.status.state is RelayState.ALLOCATED

    def wait(self, limit: float = 30) -> None:
        """Run until there is an allocation."""
        assert self.network.run(until=self.is_ready, limit=limit)

    @property
    def home(self) -> str:
        """The address of the relay that is home."""
        assert self.pool.relayed is not None
        return self.pool.relayed.host

    @property
    def relayed(self) -> Endpoint:
        assert self.pool.relayed is not None
        return self.pool.relayed

    def open(self, peer: Endpoint) -> None:
        self.pool.open(peer, self.network.now)
        self.host.drain()

    def send(self, peer: Endpoint, *datagrams: bytes) -> None:
        self.pool.send(peer, datagrams, self.network.now)
        self.host.drain()

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        pool = self.pool
        if source.link:
            received = pool.receive_stream(source.link, data, now)
        elif kind_of(data) is DatagramKind.CHANNEL_DATA:
            received = pool.receive_channel_data([data], source, now)
        else:
            received = pool.receive_stun(data, source, now) or []
        for peer, packets in received:
            self.received += [(peer, bytes(packet)) for packet in packets]

    def datagrams_to_send(self) -> list[Transmit]:
        return self.pool.datagrams_to_send()

    def get_timer(self) -> float | None:
        return self.pool.get_timer()

    def handle_timer(self, now: float) -> None:
        self.pool.handle_timer(now)

    def _take_events(self) -> None:
        while event := self.pool.next_event():
            if isinstance(event, OpenStream):
                self._connect(event)
            elif isinstance(event, CloseStream):
                self.host.close(event.link)
            else:
                self.changes.append((self.network.now, event))

    def _connect(self, event: OpenStream) -> None:
        link = event.link
        self.streams_opened += 1
        destination = Endpoint(event.server.address, event.server.url.port, link)
        stream = self.host.connect(destination)
        stream.on_open = lambda now: self.pool.stream_opened(link, now)
        stream.on_close = lambda now: self.pool.stream_closed(link, "gone", now)
