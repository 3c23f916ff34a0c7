"""The whole node as one machine without I/O.

A node is a WireGuard device, one path agent for each peer it talks to, a control
client, a pool of relays, and the search for its own whereabouts. This module wires them
together; each of them decides for itself.

What arrives by UDP is told apart by its first bytes: WireGuard goes to the device, STUN
to whoever asked for it, ChannelData to the relays, and what a relay unwraps goes the
same way again, as having come from the peer over the relay's link. What the device
sends goes to the endpoint that the peer's path agent chose; a second copy goes through
the relay while that endpoint is in doubt.

After every call in, drain :meth:`Node.datagrams_to_send`, :meth:`Node.packets_to_write`
and :meth:`Node.next_event`; call :meth:`Node.handle_timer` when :meth:`Node.get_timer`
says so.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from meshwg.control import events as control_events
from meshwg.control.client import ControlClient
from meshwg.errors import InvalidMessage
from meshwg.keys import PrivateKey, format_key, parse_key
from meshwg.packet.icmp import echo_request, parse_echo_reply
from meshwg.path import events as path_events
from meshwg.path.agent import PathAgent
from meshwg.path.candidate import Candidate, IPNetwork
from meshwg.path.limiter import PunchLimiter
from meshwg.peer import MeshPeer
from meshwg.relay import pool as relay_events
from meshwg.relay.pool import FIRST_LINK, RelayPool
from meshwg.relay.server import RelayServer
from meshwg.transmit import Endpoint, Random, Transmit
from meshwg.whereabouts import (
    CandidatesChanged,
    FreshSocketsWanted,
    SocketsUnused,
    Whereabouts,
)
from meshwg.wire import control, stun
from meshwg.wire.demux import Kind, runs
from meshwg.wire.stun import Attribute, Buffer, Class, Message
from meshwg.wireguard.device import Device
from meshwg.wireguard.peer import Peer as Tunnel
from meshwg.wireguard.peer import Steering

_ROUTE_LENGTH = 4
_ID_START = stun.HEADER_LENGTH - stun.TRANSACTION_ID_LENGTH


@dataclass(frozen=True, slots=True)
class InterfaceChanged:
    """The interface is to have these addresses, and routes to these networks."""

    addresses: tuple[str, ...]
    """With the prefix length of the whole mesh."""
    routes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServersChanged:
    """Resolve the names of these servers, then call :meth:`Node.set_servers`."""

    stun: tuple[str, ...]
    relays: tuple[control.Relay, ...]


@dataclass(frozen=True, slots=True)
class SocketsWanted:
    """Open auxiliary sockets, then call :meth:`Node.sockets_opened`."""

    request: int
    family: int
    count: int


@dataclass(frozen=True, slots=True)
class SocketsClosed:
    """Close these auxiliary sockets."""

    links: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NetmapChanged:
    """The netmap is worth saving again."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The coordinator has accepted the node; the auth key is not needed any more."""

    notice: str
    """What the user should know, or nothing."""


@dataclass(frozen=True, slots=True)
class Expelled:
    """The node is no member any more, or was refused for good."""

    reason: str
    forget: bool
    """Whether what is known about the mesh is void."""


@dataclass(frozen=True, slots=True)
class PathChanged:
    """For the user: the path to a peer is another one."""

    peer: MeshPeer
    event: path_events.PathChanged


@dataclass(frozen=True, slots=True)
class EchoReceived:
    """An echo reply came back through the tunnel."""

    identifier: int
    sequence: int


NodeEvent = (
    InterfaceChanged
    | ServersChanged
    | SocketsWanted
    | SocketsClosed
    | NetmapChanged
    | Joined
    | Expelled
    | PathChanged
    | EchoReceived
    | relay_events.OpenStream
    | relay_events.CloseStream
)


class Node(Steering):
    """A member of a mesh.

    :param control: the client to the coordinator, perhaps with a cached netmap.
    :param birthday: whether the birthday method may be used.
    """

    def __init__(
        self,
        private_key: PrivateKey,
        client: ControlClient,
        *,
        random: Random,
        unix_time: Callable[[float], float],
        listen_port: int,
        now: float,
        birthday: bool = True,
    ) -> None:
        self.control = client
        self.device = Device(random=random, unix_time=unix_time, steering=self)
        self.device.set_private_key(private_key, now)
        self.device.up(now)
        self.peers: dict[str, MeshPeer] = {}
        self.relays = RelayPool(random=random)
        self.whereabouts = Whereabouts(random=random, listen_port=listen_port)
        self.drops: Counter[str] = Counter()
        self._private_key = private_key
        self._random = random
        self._limiter = PunchLimiter(birthday)
        self._mesh: tuple[IPNetwork, ...] = ()
        self._by_tunnel: dict[Tunnel, MeshPeer] = {}
        self._by_tag: dict[str, MeshPeer] = {}
        self._by_route: dict[bytes, MeshPeer] = {}
        self._second: dict[Endpoint, Endpoint] = {}
        self._requests: dict[int, MeshPeer | int] = {}
        self._next_request = 0
        self._permitted: set[str] = set()
        self._relay_link: int | None = None
        self._found: list[Tunnel] = []
        self._interface = InterfaceChanged((), ())
        self._agenda: list[tuple[float, int, MeshPeer]] = []
        self._entries = 0
        self._transmits: list[Transmit] = []
        self._events: deque[NodeEvent] = deque()
        self._echo_identifiers: set[int] = set()
        self._now = now
        self._background_at: float | None = now
        if client.registered is not None:
            self._learn_mesh(client.registered)
            self._learn_servers(client.registered)
            self._learn_peers(client.peers.peers, (), now)

    # The data plane, in the order in which packets are processed.

    def receive_packets(self, packets: Sequence[bytes], now: float) -> None:
        """Take IP packets from the interface."""
        self._now = now
        self.device.receive_packets(packets, now)

    def receive_datagrams(
        self, datagrams: Iterable[Buffer], endpoint: Endpoint, now: float
    ) -> None:
        """Take datagrams that arrived together on one socket from one endpoint."""
        self._now = now
        batch = datagrams if isinstance(datagrams, list) else list(datagrams)
        for kind, run in runs(batch):
            if kind is Kind.WIREGUARD:
                self.device.receive_datagrams(run, endpoint, now)
            elif kind is Kind.STUN:
                for datagram in run:
                    self._receive_stun(datagram, endpoint, now)
            elif kind is Kind.CHANNEL_DATA and self.relays.is_relay(endpoint):
                received = self.relays.receive_channel_data(run, endpoint, now)
                self._receive_relayed(received, now)
            else:
                self.drops["unknown-datagram"] += len(run)

    def receive_stream(self, link: int, data: bytes, now: float) -> None:
        """Take bytes from the connection to a relay."""
        self._now = now
        self._receive_relayed(self.relays.receive_stream(link, data, now), now)
        self._background_at = now

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what has to go out: by UDP, or on the stream of a relay's link."""
        ready: list[Transmit] = []
        if self._found:
            found, self._found = self._found, []
            for tunnel in found:
                self.device.start_peer(tunnel, self._now)
        for transmit in self.device.datagrams_to_send():
            self._route(transmit, ready)
            if self._second and transmit.destination in self._second:
                second = self._second[transmit.destination]
                self._route(Transmit(second, transmit.datagrams), ready)
        if self._transmits:
            transmits, self._transmits = self._transmits, []
            for transmit in transmits:
                self._route(transmit, ready)
        ready += self.whereabouts.datagrams_to_send()
        ready += self.relays.datagrams_to_send()
        return ready

    def packets_to_write(self) -> list[bytes]:
        """Return what has to go to the interface."""
        packets = self.device.packets_to_write()
        if self._echo_identifiers and packets:
            return [packet for packet in packets if not self._is_echo(packet)]
        return packets

    def _route(self, transmit: Transmit, ready: list[Transmit]) -> None:
        if transmit.destination.link >= FIRST_LINK:
            self.relays.send(transmit.destination, transmit.datagrams, self._now)
            self._background_at = self._now
        else:
            ready.append(transmit)

    def _receive_relayed(
        self, received: list[tuple[Endpoint, list[Buffer]]], now: float
    ) -> None:
        """Take what peers sent through a relay, as having come from them."""
        for endpoint, payloads in received:
            for kind, run in runs(payloads):
                if kind is Kind.WIREGUARD:
                    self.device.receive_datagrams(run, endpoint, now)
                elif kind is Kind.STUN:
                    for datagram in run:
                        self._receive_check(datagram, endpoint, now)
                else:
                    self.drops["unknown-datagram"] += len(run)

    def _receive_stun(self, datagram: Buffer, endpoint: Endpoint, now: float) -> None:
        """Give a STUN message to whoever it belongs to."""
        received = self.relays.receive_stun(datagram, endpoint, now)
        if received is not None:
            self._receive_relayed(received, now)
            self._background_at = now
        elif self.whereabouts.receive_stun(datagram, endpoint, now):
            self._background_at = now
        else:
            self._receive_check(datagram, endpoint, now)

    def _receive_check(self, datagram: Buffer, endpoint: Endpoint, now: float) -> None:
        try:
            message = stun.parse(datagram)
        except InvalidMessage:
            self.drops["invalid-stun"] += 1
            return
        peer = self._peer_of_check(message)
        if peer is None or peer.agent is None:
            self.drops["unknown-check"] += 1
            return
        if endpoint.link >= FIRST_LINK:
            self._learn_relayed(peer, endpoint, now)
        peer.agent.receive_stun(message, endpoint, now)
        self._settle_peer(peer, now)

    def _peer_of_check(self, message: Message) -> MeshPeer | None:
        if message.cls is Class.REQUEST:
            tag = message.attributes.get(Attribute.USERNAME)
            return self._by_tag.get(tag) if isinstance(tag, str) else None
        return self._by_route.get(message.transaction_id[:_ROUTE_LENGTH])

    # What the device tells (Steering).

    def heard(self, tunnel: Tunnel, endpoint: Endpoint, now: float) -> None:
        """An authentic message of a peer came from an endpoint."""
        peer = self._by_tunnel.get(tunnel)
        if peer is None or not peer.is_news(endpoint, now):
            return
        agent = self._begin_agent(peer, now)
        if agent is None:
            return
        if endpoint.link >= FIRST_LINK:
            self._learn_relayed(peer, endpoint, now)
        agent.authenticated(endpoint, now)
        self._settle_peer(peer, now)

    def sent(self, tunnel: Tunnel, now: float) -> None:
        """Messages are on their way to a peer."""
        peer = self._by_tunnel.get(tunnel)
        if peer is not None and peer.agent is not None and peer.is_traffic_news(now):
            peer.agent.sent(now)
            self._settle_peer(peer, now)

    def wanted(self, tunnel: Tunnel, now: float) -> None:
        """Something waits for a peer to which there is no path yet."""
        peer = self._by_tunnel.get(tunnel)
        if peer is not None:
            agent = self._begin_agent(peer, now)
            if agent is not None and peer.is_traffic_news(now):
                agent.sent(now)
            # The device is in the middle of a call: it goes on when that has ended.
            self._schedule(peer, now)

    # What happens outside.

    def set_hosts(self, addresses: Sequence[str], now: float) -> None:
        """Take note of the host's own addresses."""
        usable = [a for a in addresses if not self._is_own(a)]
        self.whereabouts.set_hosts(usable, now)
        self._background_at = now

    def network_changed(self, now: float) -> None:
        """Addresses or routes changed, or the machine slept: doubt what was known."""
        self.control.network_changed(now)
        self.relays.network_changed(now)
        self.whereabouts.refresh(now, at_once=True)
        for peer in self.peers.values():
            if peer.agent is not None:
                peer.agent.network_changed(now)
                self._settle_peer(peer, now)
        self.device.unpin_endpoints()
        self._background_at = now

    def endpoint_failed(self, endpoint: Endpoint, now: float) -> None:
        """The system could not send there from where it was to be sent."""
        self.device.unpin_endpoints(endpoint)
        for peer in self._by_tunnel.values():
            at = peer.tunnel.endpoint
            if peer.agent is not None and at is not None and at[:3] == endpoint[:3]:
                peer.agent.suspect(now)
                self._settle_peer(peer, now)

    def set_mapped(self, endpoint: Endpoint | None, now: float) -> None:
        """Take note of the port that the router forwards."""
        self.whereabouts.set_mapped(endpoint)
        self._background_at = now

    def set_servers(
        self, servers: Iterable[Endpoint], relays: Iterable[RelayServer], now: float
    ) -> None:
        """Use these servers, whose names are resolved."""
        self.whereabouts.set_stun_servers(servers, now)
        self.relays.set_servers(relays, now)
        for peer in self.peers.values():
            if peer.agent is not None:
                peer.agent.set_stun_server(self.whereabouts.stun_server())
        self._background_at = now

    def sockets_opened(self, request: int, ports: dict[int, int], now: float) -> None:
        """Use the sockets that were asked for: local port by link, perhaps none."""
        wanted_by = self._requests.pop(request, None)
        if isinstance(wanted_by, MeshPeer) and wanted_by.agent is not None:
            wanted_by.agent.add_auxiliary_sockets(list(ports), now)
            self._settle_peer(wanted_by, now)
        elif isinstance(wanted_by, int):
            self.whereabouts.sockets_opened(wanted_by, ports, now)
        elif ports:
            self._events.append(SocketsClosed(tuple(ports)))
        self._background_at = now

    def stream_opened(self, link: int, now: float) -> None:
        """The connection to a relay is there."""
        self.relays.stream_opened(link, now)
        self._background_at = now

    def stream_closed(self, link: int, reason: str, now: float) -> None:
        """The connection to a relay is gone."""
        self.relays.stream_closed(link, reason, now)
        self._background_at = now

    def control_changed(self, now: float) -> None:
        """The control client was given something by whoever carries its frames."""
        self._now = now
        self._background_at = now

    def ping(self, peer: MeshPeer, identifier: int, sequence: int, now: float) -> bool:
        """Send an echo request; :class:`EchoReceived` tells of its answer."""
        own = next((a for a in self._own_addresses() if ":" not in a), None)
        other = next((a for a in peer.entry.addresses if ":" not in a), None)
        if own is None or other is None:
            return False
        self._echo_identifiers.add(identifier)
        payload = self._random(32)
        packet = echo_request(own, other, identifier, sequence, payload)
        self.receive_packets([packet], now)
        return True

    def end_ping(self, identifier: int) -> None:
        """Expect no more echo replies with this identifier."""
        self._echo_identifiers.discard(identifier)

    def find(self, name: str) -> MeshPeer | None:
        """Return the peer of a name, a mesh address or a public key."""
        for peer in self.peers.values():
            if name in (peer.entry.name, peer.key, *peer.entry.addresses):
                return peer
        return None

    def stop(self, now: float) -> None:
        """Take leave of the coordinator and the relays."""
        self.control.stop(now)
        self.relays.stop(now)
        self.device.down(now)

    # Time and events.

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is next wanted, perhaps too early."""
        agenda = self._agenda
        while agenda and agenda[0][0] != agenda[0][2].scheduled_at:
            heapq.heappop(agenda)
        times = [self.device.get_timer(), self._background_at]
        if agenda:
            times.append(agenda[0][0])
        return min((when for when in times if when is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._now = now
        self.device.handle_timer(now)
        agenda = self._agenda
        while agenda and agenda[0][0] <= now:
            when, _, peer = heapq.heappop(agenda)
            if when != peer.scheduled_at:
                continue
            peer.scheduled_at = float("inf")
            if peer.agent is not None:
                peer.agent.handle_timer(now)
                self._settle_peer(peer, now)
        if self._background_at is not None and self._background_at <= now:
            self._run_background(now)

    def next_event(self) -> NodeEvent | None:
        """Return what the runtime has to do or to know."""
        return self._events.popleft() if self._events else None

    def _run_background(self, now: float) -> None:
        """Let the machines go on that no packet waits for."""
        machines = (self.control, self.relays, self.whereabouts)
        for machine in machines:
            due = machine.get_timer()
            if due is not None and due <= now:
                machine.handle_timer(now)
        self._drain_control(now)
        self._drain_relays(now)
        self._drain_whereabouts(now)
        times = [machine.get_timer() for machine in machines]
        self._background_at = min((t for t in times if t is not None), default=None)

    def _drain_control(self, now: float) -> None:
        while (event := self.control.next_event()) is not None:
            match event:
                case control_events.Joined(registered):
                    self._learn_mesh(registered)
                    self._learn_servers(registered)
                    self._events.append(Joined(registered.notice))
                    self._events.append(NetmapChanged())
                case control_events.PeersChanged(changed, removed):
                    self._learn_peers(changed, removed, now)
                    self._events.append(NetmapChanged())
                case control_events.SelfChanged():
                    self._update_interface()
                    self._events.append(NetmapChanged())
                case control_events.OfferReceived(offer):
                    self._receive_offer(offer, now)
                case control_events.RelaysChanged(relays):
                    known = self.control.registered
                    servers = known.stun if known is not None else ()
                    self._events.append(ServersChanged(servers, relays))
                case control_events.Revoked(reason):
                    self._events.append(Expelled(reason, forget=True))
                case control_events.Refused(error):
                    self._events.append(Expelled(error.message, forget=False))

    def _drain_relays(self, now: float) -> None:
        while (event := self.relays.next_event()) is not None:
            if isinstance(event, relay_events.RelayChanged):
                self._relay_link = event.link
                self.whereabouts.set_relayed(event.relayed)
                for peer in self.peers.values():
                    if peer.agent is not None:
                        self._offer_relay(peer, now)
                        self._settle_peer(peer, now)
            else:
                self._events.append(event)

    def _drain_whereabouts(self, now: float) -> None:
        while (event := self.whereabouts.next_event()) is not None:
            match event:
                case CandidatesChanged():
                    self._announce_candidates(now)
                case FreshSocketsWanted(family, count):
                    self._want_sockets(family, family, count)
                case SocketsUnused(links):
                    self._events.append(SocketsClosed(links))

    def _announce_candidates(self, now: float) -> None:
        """Tell the mesh and the agents where this node is now."""
        whereabouts = self.whereabouts
        self.control.report(
            [_to_wire(candidate) for candidate in whereabouts.candidates],
            self._nat_report(),
            now,
        )
        for peer in self.peers.values():
            if peer.agent is not None:
                peer.agent.set_local_candidates(
                    whereabouts.candidates, whereabouts.report, now
                )
                self._settle_peer(peer, now)

    def _nat_report(self) -> control.NatReport:
        ipv4, ipv6 = (
            None if nat is None else control.NatBehavior(**nat.to_json())
            for nat in (self.whereabouts.nat[4], self.whereabouts.nat[6])
        )
        return control.NatReport(ipv4=ipv4, ipv6=ipv6)

    def _want_sockets(self, wanted_by: MeshPeer | int, family: int, count: int) -> None:
        self._next_request += 1
        self._requests[self._next_request] = wanted_by
        self._events.append(SocketsWanted(self._next_request, family, count))

    # The mesh.

    def _learn_mesh(self, registered: control.Registered) -> None:
        self._mesh = tuple(ip_network(text) for text in registered.networks)
        self._update_interface()

    def _learn_servers(self, registered: control.Registered) -> None:
        self._events.append(ServersChanged(registered.stun, registered.relays))

    def _learn_peers(
        self, changed: Iterable[control.Peer], removed: Iterable[str], now: float
    ) -> None:
        for key in removed:
            self._forget_peer(key, now)
        for entry in changed:
            self._learn_peer(entry, now)
        self._permit_relays(now)
        self._update_interface()

    def _learn_peer(self, entry: control.Peer, now: float) -> None:
        peer = self.peers.get(entry.public_key)
        if peer is None:
            tunnel = self.device.add_peer(parse_key(entry.public_key), now)
            peer = self.peers[entry.public_key] = MeshPeer(entry, tunnel)
            self._by_tunnel[tunnel] = peer
        known = set(self.device.allowed_ips.of(peer.tunnel))
        peer.entry = entry
        networks = peer.networks()
        for network in known.difference(networks):
            self.device.allowed_ips.remove(network, peer.tunnel)
        for network in networks:
            if network not in known:
                self.device.allowed_ips.insert(network, peer.tunnel)
        if peer.agent is not None:
            peer.agent.confirm_hosts(c.host for c in entry.candidates)
            self._offer_relay(peer, now)
            self._settle_peer(peer, now)

    def _forget_peer(self, key: str, now: float) -> None:
        peer = self.peers.pop(key, None)
        if peer is None:
            return
        if peer.agent is not None:
            self._by_tag.pop(peer.agent.checks.keys.incoming.tag, None)
            self._by_route.pop(peer.agent.checks.route, None)
            peer.agent = None
        if peer.relayed is not None:
            self.relays.close(peer.relayed)
        self._second.pop(peer.tunnel.endpoint or Endpoint("", 0), None)
        self.device.remove_peer(peer.tunnel.public_key, now)
        del self._by_tunnel[peer.tunnel]

    def _update_interface(self) -> None:
        """Say what addresses and routes the interface has to have."""
        lengths = {network.version: network.prefixlen for network in self._mesh}
        addresses = tuple(
            f"{address}/{lengths.get(6 if ':' in address else 4, 128)}"
            for address in self._own_addresses()
        )
        routes = {
            prefix for peer in self.peers.values() for prefix in peer.entry.routes
        }
        change = InterfaceChanged(addresses, tuple(sorted(routes)))
        if change != self._interface:
            self._interface = change
            self._events.append(change)

    def _own_addresses(self) -> tuple[str, ...]:
        own_key = format_key(self._private_key.public_bytes)
        itself = self.control.peers.get(own_key)
        if itself is not None:
            return itself.addresses
        registered = self.control.registered
        return registered.addresses if registered is not None else ()

    def _is_own(self, address: str) -> bool:
        """Tell whether an address is inside the mesh: no tunnel through itself."""
        own = ip_network(address)
        return any(
            own.version == network.version and own.network_address in network
            for network in self._mesh
        )

    # Paths.

    def _begin_agent(self, peer: MeshPeer, now: float) -> PathAgent | None:
        if peer.agent is not None:
            return peer.agent
        agent = peer.begin(
            self._private_key,
            random=self._random,
            limiter=self._limiter,
            mesh=self._mesh,
        )
        if agent is not None:
            self._by_tag[agent.checks.keys.incoming.tag] = peer
            self._by_route[agent.checks.route] = peer
            agent.set_stun_server(self.whereabouts.stun_server())
            agent.confirm_hosts(c.host for c in peer.entry.candidates)
            agent.set_local_candidates(
                self.whereabouts.candidates, self.whereabouts.report, now
            )
            self._offer_relay(peer, now)
        return agent

    def _receive_offer(self, offer: control.Offer, now: float) -> None:
        peer = self.peers.get(offer.sender or "")
        if peer is None:
            self.drops["offer-of-stranger"] += 1
            return
        agent = self._begin_agent(peer, now)
        if agent is None:
            return
        relayed = next((c for c in offer.candidates if c.kind == "relay"), None)
        if relayed is not None:
            self._set_relayed(peer, relayed.host, relayed.port, now)
        agent.receive_offer(offer.model_dump(), now)
        self._settle_peer(peer, now)

    def _offer_relay(self, peer: MeshPeer, now: float) -> None:
        """Give the agent the way through the relay, if both sides have one."""
        candidate = peer.relay_candidate()
        if candidate is not None:
            self._set_relayed(peer, candidate.host, candidate.port, now)
        elif peer.relayed is not None:
            self._set_relayed(peer, peer.relayed.host, peer.relayed.port, now)

    def _learn_relayed(self, peer: MeshPeer, endpoint: Endpoint, now: float) -> None:
        """Answer a peer over the relay at the address from which it spoke."""
        if peer.relayed is None or peer.relayed[:2] != endpoint[:2]:
            self._set_relayed(peer, endpoint.host, endpoint.port, now)

    def _set_relayed(self, peer: MeshPeer, host: str, port: int, now: float) -> None:
        link = self._relay_link
        endpoint = None if link is None else Endpoint(host, port, link)
        if peer.relayed is not None and peer.relayed != endpoint:
            self.relays.close(peer.relayed)
        if endpoint is not None and peer.relayed != endpoint:
            self.relays.open(endpoint, now)
        peer.relayed = endpoint
        if peer.agent is not None:
            peer.agent.set_relay(endpoint, now)
        self._background_at = now

    def _permit_relays(self, now: float) -> None:
        """Let the first packet of a peer in, whichever relay it comes through."""
        hosts = {
            candidate.host
            for peer in self.peers.values()
            if (candidate := peer.relay_candidate()) is not None
        }
        for host in self._permitted - hosts:
            self.relays.forbid(host)
        for host in hosts - self._permitted:
            self.relays.permit(host, now)
        self._permitted = hosts

    def _settle_peer(self, peer: MeshPeer, now: float) -> None:
        """Carry out what an agent decided."""
        agent = peer.agent
        if agent is None:
            return
        self._transmits += agent.datagrams_to_send()
        while (event := agent.next_event()) is not None:
            match event:
                case path_events.PathChanged():
                    self._events.append(PathChanged(peer, event))
                case path_events.CandidatesOffered(offer):
                    self._send_offer(peer, offer, now)
                case path_events.CandidatesWanted():
                    self.whereabouts.refresh(now)
                    self._background_at = now
                case path_events.AuxiliarySockets(wanted, close):
                    if wanted:
                        self._want_sockets(peer, 4, wanted)
                    if close:
                        self._events.append(SocketsClosed(close))
        self._steer(peer, agent.endpoints, now)
        self._schedule(peer, agent.get_timer())

    def _steer(
        self, peer: MeshPeer, endpoints: tuple[Endpoint, ...], now: float
    ) -> None:
        """Send the peer's datagrams where its agent says."""
        first = endpoints[0] if endpoints else None
        before = peer.tunnel.endpoint
        if before is not None:
            self._second.pop(before, None)
        if first is not None and len(endpoints) > 1:
            self._second[first] = endpoints[1]
        if first != before:
            self.device.set_endpoint(peer.tunnel, first)
            if before is None:
                # The device may be in the middle of a call for this very peer.
                self._found.append(peer.tunnel)

    def _send_offer(self, peer: MeshPeer, offer: dict[str, object], now: float) -> None:
        message = control.Offer.model_validate({**offer, "to": peer.key})
        self.control.offer(
            peer.key,
            message.candidates,
            now,
            nat=message.nat,
            extension=message.extension,
        )
        self._background_at = now

    def _schedule(self, peer: MeshPeer, when: float | None) -> None:
        if when is not None and when < peer.scheduled_at:
            peer.scheduled_at = when
            self._entries += 1
            heapq.heappush(self._agenda, (when, self._entries, peer))

    def _is_echo(self, packet: bytes) -> bool:
        """Keep the answers to this node's own echo requests from the system."""
        reply = parse_echo_reply(packet)
        if reply is None or reply[1] not in self._echo_identifiers:
            return False
        self._events.append(EchoReceived(reply[1], reply[2]))
        return True


def _to_wire(candidate: Candidate) -> control.Candidate:
    return control.Candidate(
        kind=candidate.kind.value, host=candidate.host, port=candidate.port
    )
