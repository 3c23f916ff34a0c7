"""Clients of the relay on the simulated internet."""

from collections.abc import Sequence

import pytest

from coordinator.turn import Limits, PeerRules
from meshwg.relay.allocation import Allocated, RelayState
from meshwg.relay.client import RelayClient
from meshwg.relay.pool import (
    ChannelChanged,
    CloseStream,
    CredentialsUsed,
    OpenStream,
    RelayChanged,
    RelayPool,
)
from meshwg.relay.server import RelayServer, RelayUrl, Transport
from meshwg.relay.transactions import TurnCredentials
from meshwg.transmit import UDP, Endpoint, Transmit
from meshwg.wire.demux import DatagramKind, kind_of
from meshwg.wire.stun import Buffer
from tests.sim.host import Host
from tests.sim.network import Network
from tests.sim.router import Router
from tests.world.relay import PORT, RelayHost, mint

LINK = 7
TRANSPORTS = pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])


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
        self.used: dict[str, TurnCredentials] = {}
        """What another process would need to delete the allocations."""
        self.channels: list[ChannelChanged] = []
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
            elif isinstance(event, ChannelChanged):
                self.channels.append(event)
            elif isinstance(event, CredentialsUsed):
                self.used = dict(event.credentials)
            else:
                self.changes.append((self.network.now, event))

    def _connect(self, event: OpenStream) -> None:
        link = event.link
        self.streams_opened += 1
        destination = Endpoint(event.server.address, event.server.url.port, link)
        stream = self.host.connect(destination)
        stream.on_open = lambda now: self.pool.stream_opened(link, now)
        stream.on_close = lambda now: self.pool.stream_closed(link, "gone", now)


def internet(
    seed: int = 0, limits: Limits | None = None, rules: PeerRules | None = None
) -> tuple[Network, RelayHost]:
    """Return an internet with one relay."""
    network = Network(seed)
    return network, RelayHost(network, limits=limits, rules=rules)


def ready(client: ClientHost) -> ClientHost:
    """Return the client when it has an allocation."""
    client.start()
    return client


def pair(
    network: Network, relay: RelayHost, transport: Transport = Transport.UDP
) -> tuple[ClientHost, ClientHost]:
    """Return two clients with allocations and channels to each other."""
    alice = ready(ClientHost(network, relay, "203.0.113.1", transport=transport))
    bob = ready(ClientHost(network, relay, "203.0.113.2", transport=transport))
    bob.open(alice.relayed)
    network.advance(1)
    alice.open(bob.relayed)
    return alice, bob


def seen(client: ClientHost) -> Endpoint:
    """Return a client's relayed address as its peers see it."""
    return client.relayed._replace(link=LINK)


def packets(client: ClientHost) -> list[bytes]:
    return [packet for _, packet in client.received]


def no_loss(client: ClientHost) -> bool:
    """Tell whether the first allocation lasted."""
    return [type(event) for event in client.events] == [Allocated]
