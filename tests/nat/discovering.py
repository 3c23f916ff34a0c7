"""A discovery on a host, and servers that answer it truly or as they are told."""

from collections.abc import Callable
from collections.abc import Mapping as Dict

from meshwg.nat.discovery import (
    THOROUGH,
    DiscoveryReport,
    NatDiscovery,
    Patience,
)
from meshwg.nattypes import Filtering, Mapping, NatType, PortAllocation
from meshwg.transmit import UDP, Endpoint, Transmit
from meshwg.wire import stun
from meshwg.wire.stun import Attribute, Class, Message, Method
from tests.sim import Host, Kind, Nat, Network, Socket
from tests.sim.servers import add_stun_server

SERVER = Endpoint("198.51.100.1", 3478)
SECOND = Endpoint("198.51.100.2", 3478)
OTHERS = (Endpoint("192.0.2.1", 3478), Endpoint("192.0.2.2", 3478))
SERVER6 = Endpoint("2001:db8::1", 3478)


Attributes = Dict[Attribute, object]


Answer = Callable[[Message, Socket, Endpoint], None]


class Client:
    """A discovery as a machine that a host can run."""

    def __init__(self, discovery: NatDiscovery) -> None:
        self.discovery = discovery
        self.report: DiscoveryReport | None = None

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        self.discovery.receive_stun(data, source, now)

    def datagrams_to_send(self) -> list[Transmit]:
        self.report = self.report or self.discovery.next_event()
        return self.discovery.datagrams_to_send()

    def get_timer(self) -> float | None:
        return self.discovery.get_timer()

    def handle_timer(self, now: float) -> None:
        self.discovery.handle_timer(now)


def discover(
    network: Network,
    host: Host,
    *,
    servers: tuple[Endpoint, ...] | list[Endpoint] = (SERVER,),
    fresh: int = 4,
    port: int = 0,
    limit: float = 4.8,
    patience: Patience = THOROUGH,
) -> tuple[DiscoveryReport, float]:
    """Run a discovery on a host; return its report and how long it took."""
    if UDP not in host.sockets:
        host.open(port)
    for link in range(1, fresh + 1):
        host.close(link)
        host.open(link=link)
    start = network.now
    client = Client(
        NatDiscovery(
            servers,
            {link: socket.port for link, socket in host.sockets.items()},
            addresses=host.addresses,
            random=network.random.randbytes,
            now=start,
            limit=limit,
            patience=patience,
        )
    )
    host.run(client)
    assert network.run(until=lambda: client.report is not None, limit=10)
    took = network.now - start
    network.run()
    assert client.get_timer() is None
    assert client.report is not None
    return client.report, took


def assert_not_wrong(report: DiscoveryReport, kind: Kind) -> None:
    """Check that what is not unknown is right."""
    found, truth = report.behavior, kind.behaviour
    assert found.mapping in (truth.mapping, Mapping.UNKNOWN)
    assert found.filtering in (truth.filtering, Filtering.UNKNOWN)
    assert found.type in (truth.type, NatType.UNKNOWN)
    if truth.mapping is not Mapping.NONE:
        unknown = PortAllocation.UNKNOWN
        assert found.port_allocation in (truth.port_allocation, unknown)


def internet() -> Network:
    """Return a network with one complete STUN server."""
    network = Network(seed=1)
    add_stun_server(network, "stun", SERVER.host, SECOND.host)
    return network


def behind(network: Network, nat: Nat) -> Host:
    """Return a host behind one NAT."""
    router = network.add_router("home", "203.0.113.1", nat=nat)
    return network.add_host("laptop", "192.168.1.2", behind=router)


def fake(network: Network, name: str, address: Endpoint, answer: Answer) -> None:
    """Add a server that answers as it is told."""
    socket = network.add_host(name, address.host).open(address.port)

    def on_datagram(data: bytes, source: Endpoint, now: float) -> None:
        answer(stun.parse(data), socket, source)

    socket.on_datagram = on_datagram


def plain_answer(
    request: Message,
    socket: Socket,
    source: Endpoint,
    more: Attributes | None = None,
) -> None:
    mapped = Endpoint(source.host, source.port)
    attributes = {Attribute.XOR_MAPPED_ADDRESS: mapped, **(more or {})}
    reply(request, socket, source, attributes)


def plain_bytes(request: Message, source: Endpoint) -> bytes:
    return stun.binding_response(request.transaction_id, source)


def reply(
    request: Message,
    socket: Socket,
    source: Endpoint,
    attributes: Attributes,
    cls: Class = Class.SUCCESS,
) -> None:
    message = Message(Method.BINDING, cls, request.transaction_id, dict(attributes))
    socket.send(stun.encode(message), source)
