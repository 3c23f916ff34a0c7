"""A mesh of path agents on the simulated internet.

The nodes here are as small as can be: path agents, a UDP socket, a STUN client, and
data packets that carry their sender's name instead of a tunnel. Two things stand in for
servers that other tests are about: offers are carried by a :class:`Coordinator` that
takes 30 ms, and a :class:`Relay` hands packets over in 40 ms.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from meshwg.errors import InvalidMessage
from meshwg.keys import PrivateKey, format_key
from meshwg.path.agent import PathAgent
from meshwg.path.candidate import Candidate, CandidateKind, Rejection
from meshwg.path.check import ROUTE_LENGTH, CheckKeys
from meshwg.path.events import (
    AuxiliarySockets,
    CandidatesOffered,
    CandidatesWanted,
    SelectionChanged,
)
from meshwg.path.limiter import PunchLimiter
from meshwg.path.offer import from_message, to_message
from meshwg.path.traits import NatTraits
from meshwg.transmit import UDP, Endpoint, Transmit
from meshwg.wire import control, stun
from tests.path.test_traits import traits_of
from tests.sim import kinds
from tests.sim.conntrack import track_flows
from tests.sim.host import Host
from tests.sim.network import Network

RELAY = 1
"""The link of the relay, on every node."""

FIRST_AUXILIARY = 100
COORDINATOR_DELAY = 0.03
RELAY_DELAY = 0.04
STUN_INTERVAL = 20.0
STUN_TIMEOUT = 0.5
STUN = tuple(
    Endpoint(host, port)
    for port in (3478, 3479)
    for host in ("198.51.100.1", "198.51.100.2")
)
MARK = b"\x04\0\0\0" + bytes(28)
"""Data looks like WireGuard's."""


class Mesh:
    """A network with a STUN server, a coordinator and a relay."""

    def __init__(self, seed: int = 0, loss: float = 0.0) -> None:
        self.seed = seed
        self.network = Network(seed)
        self.loss = loss
        self.coordinator = Coordinator(self)
        self.relay = Relay(self)
        self.nodes: dict[str, MeshNode] = {}
        host = self.network.add_host("stun", *{server.host: 0 for server in STUN})
        host.run(StunServer(), port=3478)
        host.open(port=3479, link=1)

    def add(self, host: Host, nat: NatTraits, *, birthday: bool = True) -> "MeshNode":
        """Run a node on a host; ``nat`` is what it would find out about its NAT."""
        for interface in host.interfaces:
            interface.uplink.loss = self.loss
            track_flows(self.network, interface.realm)
        node = MeshNode(self, host, nat, birthday)
        self.nodes[host.name] = node
        host.run(node)
        node.discover(self.network.now)
        host.drain()
        return node

    def add_kind(self, kind: kinds.Kind, number: int) -> "MeshNode":
        """Run a node in a kind of network."""
        host = kind.add_to(self.network, f"node-{number}", number)
        return self.add(host, traits_of(kind))

    def introduce(self, *nodes: "MeshNode") -> None:
        """Make each of the nodes a peer of each other."""
        for node in nodes:
            for peer in nodes:
                if peer is not node:
                    node.meet(peer)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.network.advance(seconds)

    def run(self, until: Callable[[], bool], limit: float = 60.0) -> bool:
        """Let time pass until something is so; tell whether it came so far."""
        return self.network.run(until, limit)


class Coordinator:
    """Carries offers."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self.is_up = True
        self.carried: Counter[str] = Counter()
        self.tamper: Callable[[control.OfferMessage], control.OfferMessage] = honest

    def carry(self, sender: str, to: str, offer: control.OfferMessage) -> None:
        """Bring an offer to its addressee."""
        if not self.is_up:
            return
        self.carried[sender] += 1
        node, tampered = self._mesh.nodes[to], self.tamper(offer)
        self._mesh.network.after(
            COORDINATOR_DELAY, lambda: node.receive_offer(sender, tampered)
        )


def honest(offer: control.OfferMessage) -> control.OfferMessage:
    """Carry an offer as it is."""
    return offer


class Relay:
    """Hands packets over, as TURN would."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self.is_up = True
        self.carried = 0

    def endpoint(self, name: str) -> Endpoint:
        """Return the relayed address of a node."""
        number = 50000 + list(self._mesh.nodes).index(name)
        return Endpoint("198.51.100.9", number, RELAY)

    def carry(self, sender: str, destination: Endpoint, data: bytes) -> None:
        """Bring a packet to whom the relayed address belongs."""
        network = self._mesh.network
        name = list(self._mesh.nodes)[destination.port - 50000]
        node = self._mesh.nodes[name]
        lost = any(network.random.random() < self._mesh.loss for _ in range(2))
        if self.is_up and not lost:
            self.carried += 1
            source = self.endpoint(sender)
            network.after(RELAY_DELAY, lambda: node.receive_relayed(data, source))


class StunServer:
    """Tells where a request came from."""

    def __init__(self) -> None:
        self._answers: list[Transmit] = []

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        transaction_id = stun.quick_binding(data)
        if transaction_id is not None:
            answer = stun.binding_response(transaction_id, source)
            self._answers.append(Transmit(source, [answer]))

    def datagrams_to_send(self) -> list[Transmit]:
        answers, self._answers = self._answers, []
        return answers

    def get_timer(self) -> float | None:
        return None

    def handle_timer(self, now: float) -> None:
        """There is nothing to do."""


@dataclass
class Contact:
    """What a node knows about, and heard from, one peer."""

    agent: PathAgent
    received: int = 0
    first_at: float | None = None
    changes: list[tuple[float, SelectionChanged]] = field(default_factory=list)
    rejections: Counter[Rejection] = field(default_factory=Counter)
    """Why candidates that the peer offered are not used."""
    pinging: float | None = None
    """Seconds between data packets to the peer, ``None`` to be silent."""
    next_ping: float = 0.0
    sequence: int = 0
    heard: list[float] = field(default_factory=list)
    """When each new packet of the peer came."""
    seen: set[int] = field(default_factory=set)

    @property
    def is_direct(self) -> bool:
        return bool(self.changes) and self.changes[-1][1].kind not in (
            None,
            CandidateKind.RELAYED,
        )

    @property
    def kind(self) -> CandidateKind | None:
        return self.changes[-1][1].kind if self.changes else None

    def direct_at(self) -> float | None:
        """Return when data went directly for the first time."""
        relayed = (None, CandidateKind.RELAYED)
        return next((at for at, one in self.changes if one.kind not in relayed), None)


class MeshNode:
    """A machine of the simulated internet with a path agent per peer."""

    def __init__(
        self, mesh: Mesh, host: Host, nat: NatTraits, birthday: bool = True
    ) -> None:
        self.mesh = mesh
        self.host = host
        self.name = host.name
        self.nat = nat
        self.key = PrivateKey.generate(mesh.network.random.randbytes)
        self.limiter = PunchLimiter(birthday)
        self._by_tag: dict[str, PathAgent] = {}
        self._by_route: dict[bytes, PathAgent] = {}
        self.contacts: dict[str, Contact] = {}
        self.reflexive: dict[Endpoint, Endpoint] = {}
        """How each STUN server saw the socket."""
        self.sent: Counter[str] = Counter()
        """Datagrams sent, by destination host."""
        self.sockets_opened = 0
        self.extra: list[Candidate] = []
        """More candidates to offer: lies, in some tests."""
        self._transmits: list[Transmit] = []
        self._next_link = FIRST_AUXILIARY
        self._next_stun = float("inf")
        self._stun: dict[bytes, Endpoint] = {}

    # Tests

    def meet(self, peer: "MeshNode") -> None:
        """Make an agent for a peer; nothing is sent before there is data."""
        keys = CheckKeys.derive(self.key, peer.key.public_bytes)
        assert keys is not None
        random = self.mesh.network.random.randbytes
        agent = PathAgent(keys, random=random, limiter=self.limiter)
        now = self.mesh.network.now
        self.contacts[peer.name] = Contact(agent)
        self._by_route[agent.checks.route] = agent
        for direction in (keys.incoming, keys.outgoing):
            self._by_tag[direction.tag] = agent
        agent.set_relay(self.mesh.relay.endpoint(peer.name), now)
        agent.set_stun_server(STUN[0])
        agent.confirm_hosts(peer.public_hosts())
        agent.set_local_candidates(self.candidates(), self.nat, now)
        self._drain(peer.name)

    def ping(self, peer: "MeshNode", interval: float | None) -> None:
        """Send data to a peer from now on, or stop to."""
        contact = self.contacts[peer.name]
        contact.pinging, contact.next_ping = interval, self.mesh.network.now
        self.handle_timer(self.mesh.network.now)
        self.host.drain()

    def contact(self, peer: "MeshNode") -> Contact:
        """Return what this node has to do with a peer."""
        return self.contacts[peer.name]

    def move(self, *addresses: str, behind: object = None) -> None:
        """Join another network, and notice."""
        self.host.move(*addresses, behind=behind)  # type: ignore[arg-type]
        now = self.mesh.network.now
        self.reflexive.clear()
        for contact in self.contacts.values():
            contact.agent.network_changed(now)
        self.discover(now)
        self._update_candidates(now)
        self.host.drain()

    def public_hosts(self) -> list[str]:
        """Return where the coordinator has seen this node: all its public addresses."""
        return [
            seen
            for interface in self.host.interfaces
            for seen in self._seen_as(interface.address)
        ]

    def candidates(self) -> list[Candidate]:
        """Return what this node offers."""
        port = self.host.sockets[UDP].port
        own = [
            Candidate(CandidateKind.HOST, address, port)
            for address in self.host.addresses
        ]
        per_host = {endpoint.host: endpoint for endpoint in self.reflexive.values()}
        seen = [
            Candidate(CandidateKind.REFLEXIVE, *one[:2]) for one in per_host.values()
        ]
        relayed = Candidate(
            CandidateKind.RELAYED, *self.mesh.relay.endpoint(self.name)[:2]
        )
        return [*own, *seen, relayed, *self.extra]

    def discover(self, now: float) -> None:
        """Ask the STUN server for the public address of the socket."""
        self._next_stun = now + STUN_INTERVAL
        self._stun.clear()
        for server in STUN:
            transaction_id = self.mesh.network.random.randbytes(12)
            self._stun[transaction_id] = server
            request = stun.binding_request(transaction_id)
            self._transmits.append(Transmit(server, [request]))
        if not self.reflexive:
            self._next_stun = now + STUN_TIMEOUT

    # The machine

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        if data.startswith(MARK):
            self._receive_data(data, source, now)
            return
        try:
            message = stun.parse(data)
        except InvalidMessage:
            return
        if message.transaction_id in self._stun:
            self._receive_own_address(message, now)
            return
        agent = self._agent_for(message)
        if agent is not None:
            agent.receive_stun(message, source, now)
            self._drain_all()

    def _agent_for(self, message: stun.Message) -> PathAgent | None:
        if message.cls is stun.Class.REQUEST:
            tag = message.attributes.get(stun.Attribute.USERNAME)
            return self._by_tag.get(str(tag))
        return self._by_route.get(message.transaction_id[:ROUTE_LENGTH])

    def datagrams_to_send(self) -> list[Transmit]:
        transmits, self._transmits = self._transmits, []
        direct = []
        for transmit in transmits:
            if transmit.destination.link == RELAY:
                for data in transmit.datagrams:
                    self.mesh.relay.carry(self.name, transmit.destination, data)
            elif transmit.destination.link in self.host.sockets:
                self.sent[transmit.destination.host] += len(transmit.datagrams)
                direct.append(transmit)
        return direct

    def get_timer(self) -> float | None:
        times = [self._next_stun]
        for contact in self.contacts.values():
            due = contact.agent.get_timer()
            if due is not None:
                times.append(due)
            if contact.pinging is not None:
                times.append(contact.next_ping)
        return min(times)

    def handle_timer(self, now: float) -> None:
        if now >= self._next_stun:
            self.discover(now)
        for name, contact in self.contacts.items():
            due = contact.agent.get_timer()
            if due is not None and due <= now:
                contact.agent.handle_timer(now)
            if contact.pinging is not None and contact.next_ping <= now:
                contact.next_ping = now + contact.pinging
                self._send_data(name, contact, now)
        self._drain_all()

    # From elsewhere

    def receive_offer(self, sender: str, offer: control.OfferMessage) -> None:
        contact = self.contacts.get(sender)
        if contact is not None:
            said, rejections = from_message(offer)
            contact.rejections.update(rejections)
            contact.agent.receive_offer(said, self.mesh.network.now)
            self._drain(sender)
            self.host.drain()

    def receive_relayed(self, data: bytes, source: Endpoint) -> None:
        self.receive(data, source, self.mesh.network.now)
        self.host.drain()

    # Inside

    def _send_data(self, name: str, contact: Contact, now: float) -> None:
        contact.agent.sent(now)
        contact.sequence += 1
        data = MARK + contact.sequence.to_bytes(4) + self.name.encode()
        for endpoint in contact.agent.endpoints:
            self._transmits.append(Transmit(endpoint, [data]))

    def _receive_data(self, data: bytes, source: Endpoint, now: float) -> None:
        sequence = int.from_bytes(data[len(MARK) : len(MARK) + 4])
        contact = self.contacts.get(data[len(MARK) + 4 :].decode())
        if contact is None:
            return
        contact.agent.authenticated(source, now)
        if sequence not in contact.seen:
            contact.seen.add(sequence)
            contact.received += 1
            contact.heard.append(now)
            if contact.first_at is None:
                contact.first_at = now
        self._drain_all()

    def _receive_own_address(self, message: stun.Message, now: float) -> None:
        server = self._stun.pop(message.transaction_id)
        self._next_stun = now + STUN_INTERVAL
        if message.mapped not in (None, self.reflexive.get(server)):
            self.reflexive[server] = message.mapped
            self._update_candidates(now)

    def _update_candidates(self, now: float) -> None:
        for contact in self.contacts.values():
            contact.agent.set_local_candidates(self.candidates(), self.nat, now)
        self._drain_all()

    def _drain_all(self) -> None:
        for name in self.contacts:
            self._drain(name)

    def _drain(self, name: str) -> None:
        contact = self.contacts[name]
        agent, now = contact.agent, self.mesh.network.now
        while True:
            self._transmits += agent.datagrams_to_send()
            event = agent.next_event()
            if event is None:
                return
            if isinstance(event, CandidatesOffered):
                key = format_key(self.mesh.nodes[name].key.public_bytes)
                message = to_message(event.offer, key)
                self.mesh.coordinator.carry(self.name, name, message)
            elif isinstance(event, AuxiliarySockets):
                self._open_and_close(agent, event, now)
            elif isinstance(event, CandidatesWanted):
                self.discover(now)
            else:
                contact.changes.append((now, event))

    def _open_and_close(
        self, agent: PathAgent, event: AuxiliarySockets, now: float
    ) -> None:
        for link in event.close:
            self.host.close(link)
        if event.wanted:
            links = range(self._next_link, self._next_link + event.wanted)
            for link in links:
                self.host.open(link=link)
            self._next_link += event.wanted
            self.sockets_opened += event.wanted
            agent.add_auxiliary_sockets(links, now)

    def _seen_as(self, address: str) -> list[str]:
        interface = next(i for i in self.host.interfaces if i.address == address)
        router, seen = interface.realm.gateway, [address]
        while router is not None:
            if router.translation is not None and not router.routes(address):
                seen = router.translation.addresses
            router = router.outside.gateway
        return seen
