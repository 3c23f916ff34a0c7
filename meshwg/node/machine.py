"""The node: a WireGuard device, path agents, relays and a control client in one.

This module wires them together; each of them decides for itself.

What arrives by UDP is told apart by its first bytes: WireGuard goes to the device, STUN
to whoever asked for it, ChannelData to the relays, and what a relay unwraps goes the
same way again, as having come from the peer over the relay's link. What the device
sends goes to the endpoint that the peer's path agent chose; a second copy goes through
the relay while that endpoint is in doubt.

After every call in, drain :meth:`Node.datagrams_to_send`, :meth:`Node.packets_to_write`
and :meth:`Node.next_event`; call :meth:`Node.handle_timer` when :meth:`Node.get_timer`
says so.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address, ip_network

from meshwg.control import events as control_events
from meshwg.control.client import ControlClient
from meshwg.errors import InvalidMessage
from meshwg.keys import PrivateKey, format_key, parse_key
from meshwg.node.events import (
    EchoReceived,
    Expelled,
    InterfaceChanged,
    Joined,
    NetmapChanged,
    NodeEvent,
    ServersChanged,
    SocketsClosed,
)
from meshwg.node.hubs import Diversions
from meshwg.node.paths import Paths
from meshwg.packet.icmp import echo_request, parse_echo_reply
from meshwg.peer import MeshPeer
from meshwg.relay.pool import FIRST_LINK, RelayChanged, RelayPool
from meshwg.relay.server import RelayServer
from meshwg.transmit import Endpoint, Random, Transmit
from meshwg.whereabouts import (
    CandidatesChanged,
    FreshSocketsWanted,
    SocketsUnused,
    Whereabouts,
)
from meshwg.wire import control, stun
from meshwg.wire.demux import DatagramKind, runs
from meshwg.wire.stun import Buffer
from meshwg.wireguard.device import Device
from meshwg.wireguard.peer import Peer as Tunnel
from meshwg.wireguard.peer import Steering

ECHO_PAYLOAD = 32


class Node(Steering):
    """A member of a mesh.

    :param client: to the coordinator, perhaps with a cached netmap.
    :param listen_port: of the node's own sockets.
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
        self._events: deque[NodeEvent] = deque()
        self._paths = Paths(
            private_key,
            self.device,
            client,
            self.relays,
            self.whereabouts,
            self._events,
            random=random,
            birthday=birthday,
        )
        self.public_key = format_key(private_key.public_bytes)
        self._random = random
        self._by_tunnel: dict[Tunnel, MeshPeer] = {}
        self._interface = InterfaceChanged((), (), ())
        self._echo_identifiers: set[int] = set()
        self._hubs = Diversions(self.device, self._by_tunnel)
        self._again: list[bytes] = []
        self._now = now
        self._background_at: float | None = now
        if client.registered is not None:
            self._learn_mesh(client.registered)
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
            if kind is DatagramKind.WIREGUARD:
                self.device.receive_datagrams(run, endpoint, now)
            elif kind is DatagramKind.STUN:
                for datagram in run:
                    self._receive_stun(datagram, endpoint, now)
            elif kind is DatagramKind.CHANNEL_DATA and self.relays.is_relay(endpoint):
                received = self.relays.receive_channel_data(run, endpoint, now)
                self._receive_relayed(received, now)
            else:
                self.drops["unknown-datagram"] += len(run)

    def seal_one(self, packet: bytes, now: float) -> tuple[Endpoint, bytes] | None:
        """Take a lone packet from the interface (:meth:`Device.seal_one`)."""
        if self._paths.is_doubling:
            return None
        self._now = now
        return self.device.seal_one(packet, now)

    def open_one(self, datagram: bytes, endpoint: Endpoint, now: float) -> bytes | None:
        """Take a lone datagram from a socket (:meth:`Device.open_one`)."""
        self._now = now
        packet = self.device.open_one(datagram, endpoint, now)
        if packet and self._echo_identifiers and self._is_echo(packet):
            return b""
        return packet

    def note(self) -> None:
        """Note what took the fast path (:meth:`Device.note`)."""
        self.device.note()

    def receive_stream(self, link: int, data: bytes, now: float) -> None:
        """Take bytes from the connection to a relay."""
        self._now = now
        self._receive_relayed(self.relays.receive_stream(link, data, now), now)
        self._background_at = now

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what has to go out: by UDP, or on the stream of a relay's link."""
        paths = self._paths
        for tunnel in paths.take_found():
            if (peer := self._by_tunnel.get(tunnel)) is not None:
                self._hubs.end(peer)
            self.device.start_peer(tunnel, self._now)
        if self._again:
            again, self._again = self._again, []
            self.device.receive_packets(again, self._now)
        ready: list[Transmit] = []
        for transmit in self.device.datagrams_to_send():
            self._route(transmit, ready)
            second = paths.second(transmit.destination)
            if second is not None:
                self._route(Transmit(second, transmit.datagrams), ready)
        if paths.transmits:
            checks, paths.transmits = paths.transmits, []
            for check in checks:
                self._route(check, ready)
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
                if kind is DatagramKind.WIREGUARD:
                    self.device.receive_datagrams(run, endpoint, now)
                elif kind is DatagramKind.STUN:
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
        self._paths.receive_check(message, endpoint, now)

    def _is_echo(self, packet: bytes) -> bool:
        """Keep the answers to this node's own echo requests from the system."""
        reply = parse_echo_reply(packet)
        if reply is None or reply[1] not in self._echo_identifiers:
            return False
        self._events.append(EchoReceived(reply[1], reply[2]))
        return True

    # What the device tells (Steering).

    def heard(self, tunnel: Tunnel, endpoint: Endpoint, now: float) -> None:
        """An authentic message of a peer came from an endpoint."""
        peer = self._by_tunnel.get(tunnel)
        if peer is None or not peer.is_news(endpoint, now):
            return
        agent = self._paths.begin(peer, now)
        if agent is None:
            return
        if endpoint.link >= FIRST_LINK:
            self._paths.learn_relayed(peer, endpoint, now)
        agent.authenticated(endpoint, now)
        self._paths.settle(peer, now)

    def sent(self, tunnel: Tunnel, now: float) -> None:
        """Messages are on their way to a peer."""
        peer = self._by_tunnel.get(tunnel)
        if peer is not None and peer.agent is not None and peer.is_traffic_news(now):
            peer.agent.sent(now)
            self._paths.settle(peer, now)

    def wanted(self, tunnel: Tunnel, now: float) -> None:
        """Something waits for a peer to which there is no path yet."""
        peer = self._by_tunnel.get(tunnel)
        if peer is not None:
            agent = self._paths.begin(peer, now)
            if agent is not None and peer.is_traffic_news(now):
                agent.sent(now)
            if (agent is None or agent.endpoint is None) and self._hubs.begin(
                peer, now
            ):
                self._again += peer.tunnel.take_staged()
            # The device is in the middle of a call: it goes on when that has ended.
            self._paths.schedule(peer, now)

    # What there is to know.

    @property
    def itself(self) -> control.PeerEntry | None:
        """This node as the others see it, once it has joined."""
        return self.control.peers.get(self.public_key)

    def own_addresses(self) -> tuple[str, ...]:
        """Return this node's addresses in the mesh."""
        if self.itself is not None:
            return self.itself.addresses
        registered = self.control.registered
        return registered.addresses if registered is not None else ()

    def find(self, name: str) -> MeshPeer | None:
        """Return the peer of a name, a mesh address or a public key."""
        for peer in self.peers.values():
            if name in (peer.entry.name, peer.key, *peer.entry.addresses):
                return peer
        return None

    def relay_refusal(self, peer: MeshPeer) -> str | None:
        """Return why the relay does not carry to a peer, if it said so."""
        return None if peer.relayed is None else self.relays.refusal_of(peer.relayed)

    def all_drops(self) -> Counter[str]:
        """Return what went no further, by reason, over all parts of the node."""
        drops = self.drops + self._paths.drops
        drops.update({drop.value: n for drop, n in self.device.drops.items()})
        drops.update({drop.value: n for drop, n in self.control.drops.items()})
        drops.update({drop.value: n for drop, n in self.relays.drops.items()})
        for peer in self.peers.values():
            if (agent := peer.agent) is not None:
                drops.update({drop.value: n for drop, n in agent.drops.items()})
        return drops

    # What happens outside.

    def set_hosts(
        self, addresses: Sequence[str], now: float, networks: Iterable[str] = ()
    ) -> None:
        """Take note of the host's own addresses, and of the networks they are in."""
        self._paths.overlay.set_own(networks)
        self._update_interface()
        usable = [address for address in addresses if not self._is_in_mesh(address)]
        self.whereabouts.set_hosts(usable, now)
        self._background_at = now

    def network_changed(self, now: float) -> None:
        """Addresses or routes changed, or the machine slept: doubt what was known."""
        self.control.network_changed(now)
        self.relays.network_changed(now)
        self.whereabouts.refresh(now, at_once=True)
        self.device.unpin_endpoints()
        for peer in self.peers.values():
            if peer.agent is not None:
                peer.agent.network_changed(now)
                self._paths.settle(peer, now)
        self._background_at = now

    def look_again(self, now: float) -> None:
        """Find out anew what NAT there is."""
        self.whereabouts.refresh(now, at_once=True)
        self._run_background(now)

    def endpoint_failed(self, endpoint: Endpoint, now: float) -> None:
        """The system could not send there from where it was to be sent."""
        self.device.unpin_endpoints(endpoint)
        for peer in self.peers.values():
            at = peer.tunnel.endpoint
            if peer.agent is not None and at is not None and at[:3] == endpoint[:3]:
                peer.agent.suspect(now)
                self._paths.settle(peer, now)

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
        self._paths.sockets_opened(request, ports, now)
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
        own = next((a for a in self.own_addresses() if ":" not in a), None)
        other = next((a for a in peer.entry.addresses if ":" not in a), None)
        if own is None or other is None:
            return False
        self._echo_identifiers.add(identifier)
        payload = self._random(ECHO_PAYLOAD)
        packet = echo_request(own, other, identifier, sequence, payload)
        self.receive_packets([packet], now)
        return True

    def end_ping(self, identifier: int) -> None:
        """Expect no more echo replies with this identifier."""
        self._echo_identifiers.discard(identifier)

    def stop(self, now: float) -> None:
        """Take leave of the coordinator and the relays."""
        self.control.stop(now)
        self.relays.stop(now)
        self.device.down(now)

    # Time and events.

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is next wanted, perhaps too early."""
        if self._paths.background_wanted:
            self._paths.background_wanted = False
            self._background_at = self._now
        times = (
            self.device.get_timer(),
            self._paths.get_timer(),
            self._background_at,
            self._hubs.get_timer(),
        )
        return min((when for when in times if when is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._now = now
        self.device.handle_timer(now)
        self._paths.handle_timer(now)
        self._hubs.handle_timer(now)
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
                case control_events.Accepted(registered):
                    self._learn_mesh(registered)
                    self._learn_servers(registered, registered.relays)
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
                    if (known := self.control.registered) is not None:
                        self._learn_servers(known, relays)
                case control_events.MembershipRevoked(reason):
                    self._events.append(Expelled(reason, forget=True))
                case control_events.Refused(error):
                    self._events.append(Expelled(error.message, forget=False))

    def _drain_relays(self, now: float) -> None:
        while (event := self.relays.next_event()) is not None:
            if isinstance(event, RelayChanged):
                self.whereabouts.set_relayed(event.relayed)
                self._paths.relay_changed(event.link, self.peers.values(), now)
            else:
                self._events.append(event)

    def _drain_whereabouts(self, now: float) -> None:
        while (event := self.whereabouts.next_event()) is not None:
            match event:
                case CandidatesChanged():
                    self._announce_candidates(now)
                case FreshSocketsWanted(family, count):
                    self._paths.want_sockets(family, family, count)
                case SocketsUnused(links):
                    self._events.append(SocketsClosed(links))

    def _announce_candidates(self, now: float) -> None:
        """Tell the mesh and the agents where this node is now."""
        whereabouts = self.whereabouts
        self.control.report(
            [candidate.to_message() for candidate in whereabouts.candidates],
            self._nat_report(),
            now,
        )
        for peer in self.peers.values():
            if peer.agent is not None:
                peer.agent.set_local_candidates(
                    whereabouts.candidates, whereabouts.report, now
                )
                self._paths.settle(peer, now)

    def _nat_report(self) -> control.NatReport:
        ipv4, ipv6 = (
            None if nat is None else control.ReportedNat(**nat.to_json())
            for nat in (self.whereabouts.nat[4], self.whereabouts.nat[6])
        )
        return control.NatReport(ipv4=ipv4, ipv6=ipv6)

    def _receive_offer(self, offer: control.OfferMessage, now: float) -> None:
        peer = self.peers.get(offer.sender or "")
        if peer is None:
            self.drops["offer-of-stranger"] += 1
        else:
            self._paths.receive_offer(peer, offer, now)

    # The mesh.

    def _learn_mesh(self, registered: control.Registered) -> None:
        self._paths.overlay.set_mesh(map(ip_network, registered.networks))
        self._update_interface()

    def _learn_servers(
        self, registered: control.Registered, relays: tuple[control.Relay, ...]
    ) -> None:
        self._events.append(ServersChanged(registered.stun, relays))

    def _learn_peers(
        self, changed: Iterable[control.PeerEntry], removed: Iterable[str], now: float
    ) -> None:
        for key in removed:
            self._forget_peer(key, now)
        for entry in changed:
            self._learn_peer(entry, now)
        self._paths.permit_relays(self.peers.values(), now)
        self._update_interface()

    def _learn_peer(self, entry: control.PeerEntry, now: float) -> None:
        peer = self.peers.get(entry.public_key)
        if peer is None:
            tunnel = self.device.add_peer(parse_key(entry.public_key), now)
            peer = self.peers[entry.public_key] = MeshPeer(entry, tunnel)
            self._by_tunnel[tunnel] = peer
        is_back = entry.online and not peer.entry.online
        peer.entry = entry
        self._hubs.peer_changed(peer)
        if peer.agent is not None:
            self._paths.offer_relay(peer, now)
            if is_back:
                # Perhaps from somewhere else, or without a memory of this node.
                peer.agent.suspect(now)
            self._paths.settle(peer, now)

    def _forget_peer(self, key: str, now: float) -> None:
        peer = self.peers.pop(key, None)
        if peer is not None:
            self._hubs.end_all(peer)
            self._paths.forget(peer)
            self.device.remove_peer(peer.tunnel.public_key, now)
            del self._by_tunnel[peer.tunnel]

    def _update_interface(self) -> None:
        """Say what addresses and routes the interface has to have."""
        overlay = self._paths.overlay
        overlay.announce(
            prefix for peer in self.peers.values() for prefix in peer.entry.routes
        )
        lengths = {network.version: network.prefixlen for network in overlay.mesh}
        addresses = tuple(
            f"{address}/{lengths.get(6 if ':' in address else 4, 128)}"
            for address in self.own_addresses()
        )
        change = InterfaceChanged(
            addresses,
            tuple(sorted(map(str, overlay.routes))),
            tuple(sorted(map(str, overlay.hidden))),
        )
        if change != self._interface:
            if self._interface in self._events:
                # Not even for a moment may a route be there that is not wanted.
                self._events.remove(self._interface)
            self._interface = change
            self._events.append(change)

    def _is_in_mesh(self, address: str) -> bool:
        """Tell whether an address belongs to the mesh: no tunnel through itself."""
        parsed = ip_address(address)
        return any(
            parsed.version == network.version and parsed in network
            for network in self._paths.overlay.mesh
        )
