"""The path agents of a node, and what they need of the rest of it.

An agent is made when its peer is first needed, and its decisions are carried out here:
its checks are sent, its offers go to the coordinator, its tunnel is steered to where it
says, and it is woken when it wants to be. Nobody else touches an agent, and whatever is
told to one here is settled before the call returns.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice

from meshwg.agenda import Agenda
from meshwg.control.client import ControlClient
from meshwg.keys import PrivateKey
from meshwg.node.askers import Askers
from meshwg.node.events import NodeEvent, PathChanged, SocketsClosed, SocketsWanted
from meshwg.node.failover import Failover
from meshwg.node.hubs import Diversions
from meshwg.node.lookout import DialWanted, StreamsClosed
from meshwg.node.orphans import Orphans
from meshwg.node.relaying import Relaying
from meshwg.node.streams import Streams
from meshwg.path import events as path_events
from meshwg.path.agent import PathAgent
from meshwg.path.candidate import CandidateKind, admit_candidates
from meshwg.path.limiter import PunchLimiter
from meshwg.path.offer import Offer, from_message, to_message
from meshwg.path.overlay import Overlay
from meshwg.path.routereport import RouteReport
from meshwg.path.traits import NatTraits
from meshwg.path.tunnels import OwnTunnels
from meshwg.peer import MeshPeer
from meshwg.relay.pool import RelayPool
from meshwg.transmit import FIRST_LINK, UDP, Endpoint, Random, Transmit
from meshwg.whereabouts import Whereabouts
from meshwg.wire import control
from meshwg.wire.stun import Class, Message
from meshwg.wireguard.constants import DATA_OVERHEAD
from meshwg.wireguard.device import Device
from meshwg.wireguard.lane import Lane
from meshwg.wireguard.news import MessageKind


class Paths:
    """All path agents of one node.

    :param hubs: the way to peers that cannot be reached otherwise.
    :param overlay: what is reached through the mesh.
    :param events: where requests to the runtime are put.
    :param failover: which hears what comes from peers, and goes to them.
    :ivar has_asked: set when the control client, the relays or the whereabouts were
        given something to do, and may want to be woken earlier.
    """

    def __init__(
        self,
        private_key: PrivateKey,
        device: Device,
        client: ControlClient,
        relays: RelayPool,
        whereabouts: Whereabouts,
        hubs: Diversions,
        overlay: Overlay,
        streams: Streams,
        events: deque[NodeEvent],
        failover: Failover,
        *,
        random: Random,
        birthday: bool,
    ) -> None:
        self._drops: Counter[str] = Counter()
        self.has_asked = False
        self._private_key = private_key
        self._device = device
        self._control = client
        self._relaying = Relaying(relays, overlay)
        self._whereabouts = whereabouts
        self._hubs = hubs
        self._overlay = overlay
        self._streams = streams
        self._lookout = streams.lookout
        self._events = events
        self._random = random
        self._limiter = PunchLimiter(birthday)
        self._tunnels = OwnTunnels()
        self._by_lane: dict[Lane, MeshPeer] = {}
        self._begun: dict[MeshPeer, PathAgent] = {}
        self._askers = Askers(private_key)
        self._requests: dict[int, MeshPeer | int] = {}
        self._next_request = 0
        self._orphans = Orphans()
        self._failover = failover
        self._route_report: RouteReport | None = None
        self._transmits: list[Transmit] = []
        self._agenda: Agenda[MeshPeer] = Agenda()

    @property
    def drops(self) -> Counter[str]:
        """What was not taken from peers and the coordinator, by reason."""
        return self._drops + self._relaying.drops + self._streams.drops

    # Which peers.

    def add(self, peer: MeshPeer) -> None:
        """Take note of a new member, which needs no agent yet, or never one."""
        if peer.is_plain:
            return
        self._by_lane[peer.tunnel.lane] = peer
        self._askers.add(peer)
        self._relaying.follow(peer)

    def entry_changed(self, peer: MeshPeer, *, is_back: bool, now: float) -> None:
        """Take note of what the netmap says about a peer now.

        :param is_back: whether it has come back to the coordinator.
        """
        if peer.tunnel.lane in self._by_lane:
            self._relaying.follow(peer)
        if peer.agent is None:
            return
        self._tell_where(peer, peer.agent)
        self._find_relayed(peer, now)
        if is_back:
            # Perhaps from somewhere else, or without a memory of this node.
            peer.agent.suspect(now)
        self._settle(peer, now)

    def remove(self, peer: MeshPeer) -> None:
        """Forget a peer that is no longer a member."""
        if self._by_lane.pop(peer.tunnel.lane, None) is None:
            return
        self._askers.remove(peer)
        if self._begun.pop(peer, None) is not None:
            self._agenda.discard(peer)
            peer.agent = None
            links = self._streams.remove_all(peer)
            if links:
                self._events.append(StreamsClosed(links))
        self._relaying.close(peer)

    def begin(self, peer: MeshPeer, now: float) -> PathAgent | None:
        """Return the agent of a peer, a new one if needed."""
        if peer.agent is not None:
            return peer.agent
        agent = peer.begin(
            self._private_key,
            random=self._random,
            limiter=self._limiter,
            overlay=self._overlay,
            routes=self._askers.routes,
            links=self._streams.links,
            tunnels=self._tunnels,
            veil=self._askers.veil,
        )
        if agent is not None:
            # Checks have lengths that are multiples of four.
            agent.longest = (self._device.mtu + DATA_OVERHEAD) // 4 * 4
            agent.checks.routes = self._route_report
            self._begun[peer] = agent
            self._askers.begin(peer)
            agent.set_stun_server(self._whereabouts.stun_server())
            agent.set_tcp(self._lookout.traits)
            agent.set_local_candidates(
                self._whereabouts.candidates, self._whereabouts.report, now
            )
            self._tell_where(peer, agent)
            self._find_relayed(peer, now)
        return agent

    def _tell_where(self, peer: MeshPeer, agent: PathAgent) -> None:
        """Tell an agent where its peer is according to the netmap."""
        candidates, rejections = admit_candidates(peer.entry.candidates, self._overlay)
        self._drops.update({why.value: n for why, n in rejections.items()})
        nat = peer.entry.nat
        traits = NatTraits.from_message(nat.ipv4 if nat is not None else None)
        agent.set_reported(candidates, traits)

    # What the device tells.

    def heard(
        self,
        lane: Lane,
        endpoint: Endpoint,
        length: int,
        message: MessageKind,
        now: float,
    ) -> None:
        """Note that authentic messages of a peer came from an endpoint."""
        peer = self._by_lane.get(lane)
        if peer is None:
            self._hubs.plain.heard(lane, endpoint)
            return
        if endpoint.link < UDP and self._streams.owner(endpoint.link) is not peer:
            self._streams.may_hear(endpoint.link, peer)
            return
        self._failover.heard(peer, now, is_data=message is MessageKind.DATA)
        peer.count_heard(endpoint, length, message, now)
        if not peer.is_news(endpoint, now):
            return
        is_first = peer.agent is None
        agent = self.begin(peer, now)
        if agent is None:
            return
        if is_first:
            peer.count_heard(endpoint, length, message, now)
        if endpoint.link >= FIRST_LINK:
            self._learn_relayed(peer, endpoint, now)
        agent.authenticated(endpoint, now)
        self._settle(peer, now)

    def sent(self, lane: Lane, length: int, message: MessageKind, now: float) -> None:
        """Note that messages are on their way to a peer."""
        peer, to = self._by_lane.get(lane), lane.endpoint
        if peer is None or peer.agent is None or to is None:
            return
        self._failover.sent(peer, now)
        agent, is_copied = peer.agent, lane.second is not None
        if message is not MessageKind.DATA:
            is_initiation = message is MessageKind.INITIATION
            agent.handshake_sent(
                to, now, is_initiation=is_initiation, is_copied=is_copied
            )
        elif not is_copied:
            agent.data_sent(to, length)
        if peer.is_traffic_news(now):
            agent.sent(now)
            self._settle(peer, now)
        elif message is not MessageKind.DATA:
            self._settle(peer, now)

    def handshake_deferred(self, lane: Lane) -> None:
        """Note that a peer is too busy for a handshake, and has said so."""
        peer = self._by_lane.get(lane)
        if peer is not None and peer.agent is not None:
            peer.agent.handshake_deferred()

    def unanswered(self, lane: Lane, now: float) -> None:
        """Note that a peer has not answered data in time."""
        peer = self._by_lane.get(lane)
        if peer is not None and peer.agent is not None:
            peer.agent.data_unanswered(now)
            self._settle(peer, now)

    def wanted(self, lane: Lane, now: float) -> None:
        """Look for a way to a peer for which something waits, or divert it to a hub."""
        peer = self._by_lane.get(lane)
        if peer is None:
            return
        self._failover.sent(peer, now)
        agent = self.begin(peer, now)
        if agent is not None and peer.is_traffic_news(now):
            agent.sent(now)
        self._settle(peer, now)
        if peer.tunnel.endpoint is None and self._hubs.begin(peer, now):
            self._device.receive_packets(peer.tunnel.take_staged(), now)

    def session_unknown(self, endpoint: Endpoint, now: float) -> None:
        """Begin a session with a peer that still uses one this node has lost.

        Anybody can send what looks like that, so only a peer without any session
        counts. One that was not needed since this node started is checked first, where
        the netmap has it.
        """
        if not self._orphans.note(endpoint, now):
            return
        is_known = False
        for peer in self._begun:
            at = peer.tunnel.endpoint
            if at is None or at[:3] != endpoint[:3]:
                continue
            is_known = True
            if peer.agent is not None:
                peer.agent.strange_data(endpoint)
            if not peer.tunnel.current:
                self._device.renew_session(peer.tunnel, now)
        if not is_known:
            self._look_for_orphan(endpoint, now)

    def _look_for_orphan(self, endpoint: Endpoint, now: float) -> None:
        """Check whether the peer is there that is there according to the netmap."""
        for peer in self._by_lane.values():
            if peer.tunnel.current or not peer.is_reported_at(endpoint):
                continue
            agent = self.begin(peer, now)
            if agent is not None:
                agent.check_back(endpoint, now)
                self._settle(peer, now)

    # What arrives.

    def receive_check(self, message: Message, source: Endpoint, now: float) -> None:
        """Give a STUN message to the agent whose check or answer it is."""
        peer = self._askers.find(message)
        agent = self.begin(peer, now) if peer is not None else None
        if peer is None or agent is None:
            self._drops["unknown-check"] += 1
            return
        if source.link < UDP and not self._streams.may_hear(source.link, peer):
            return
        is_relayed = source.link == self._relaying.link
        if is_relayed and agent.checks.is_genuine(message, source):
            is_answer = message.cls is not Class.REQUEST
            self._learn_relayed(peer, source, now, is_answer=is_answer)
        is_authentic = agent.receive_stun(message, source, now)
        if is_authentic:
            self._failover.heard(peer, now, is_data=False)
            if source.link < UDP:
                self._streams.heard(source.link, peer)
        self._settle(peer, now)

    def receive_offer(
        self, peer: MeshPeer, offer: control.OfferMessage, now: float
    ) -> None:
        """Give an offer to the agent of its sender."""
        agent = None if peer.is_plain else self.begin(peer, now)
        if agent is None:
            return
        relayed = next((c for c in offer.candidates if c.kind == "relay"), None)
        if relayed is not None:
            self._relaying.set(peer, relayed.host, relayed.port, now)
            self._tell_relayed(peer, now)
        if offer.observed is not None:
            agent.confirm_hosts([offer.observed])
        said, rejections = from_message(offer, self._overlay)
        self._drops.update({why.value: n for why, n in rejections.items()})
        agent.receive_offer(said, now)
        self._settle(peer, now)
        if peer.tunnel.endpoint is None:
            self._hubs.expect(peer, now)
        if peer.has_restarted(said):
            # Its sessions ended with its former process.
            self._device.renew_session(peer.tunnel, now)

    def offer_refused(self, peer: MeshPeer, now: float) -> None:
        """Take note that the coordinator passed no offer on to a peer."""
        if peer.agent is not None:
            peer.agent.offer_lost(now)
            self._settle(peer, now)

    # Streams.

    def stream_opened(self, peer: MeshPeer, endpoint: Endpoint, now: float) -> None:
        """Tell the agent of a peer that a stream is open."""
        if peer.agent is not None:
            peer.agent.stream_opened(endpoint, now)
            self._settle(peer, now)

    def stream_closed(self, peer: MeshPeer, link: int, reason: str, now: float) -> None:
        """Tell the agent of a peer that a stream is gone."""
        if peer.agent is not None:
            peer.agent.stream_closed(link, reason, now)
            self._settle(peer, now)

    def tcp_changed(self) -> None:
        """Tell peers from now on where this node accepts streams now."""
        for agent in self._begun.values():
            agent.set_tcp(self._lookout.traits)

    def tcp_known(self, now: float) -> None:
        """Go on with attempts that waited to know how the NAT maps streams."""
        for peer, agent in list(self._begun.items()):
            agent.stream_nat_known(self._lookout.hole, now)
            self._settle(peer, now)

    def _carry_out(
        self,
        peer: MeshPeer,
        agent: PathAgent,
        wish: path_events.PeerStreams,
        now: float,
    ) -> None:
        """Open and close the streams of a peer."""
        for link in wish.close:
            self._streams.remove(link)
        if wish.close:
            self._events.append(StreamsClosed(wish.close))
        for endpoint, ttl in wish.wanted:
            if self._streams.dial(endpoint, peer):
                self._events.append(DialWanted(endpoint, wish.hole, ttl))
            else:
                agent.stream_closed(endpoint.link, "there are too many streams", now)
        if wish.looks:
            if self._lookout.look(now):
                agent.set_tcp(self._lookout.traits)
                agent.stream_nat_known(self._lookout.hole, now)
            self._events.extend(self._lookout.events)
            self._lookout.events.clear()

    # What changes for all.

    def send_openers(self, most: int, now: float) -> None:
        """Open this node's NATs for the checks of peers, those lately online first.

        :param most: how many peers.
        """
        known = [peer for peer in self._by_lane.values() if peer.entry.candidates]
        online = list(islice((peer for peer in known if peer.entry.online), most))
        others = (peer for peer in known if not peer.entry.online)
        for peer in (*online, *islice(others, most - len(online))):
            agent = self.begin(peer, now)
            if agent is not None:
                agent.send_openers(now)
                self._settle(peer, now)

    def set_tunnels(self, tunnels: Mapping[int, Sequence[str]]) -> None:
        """Know the interfaces that are other tunnels' ends, and their addresses."""
        self._tunnels.interfaces = frozenset(tunnels)
        self._tunnels.addresses = frozenset(chain(*tunnels.values()))

    def whereabouts_changed(self, now: float) -> None:
        """Offer this node's candidates of now to all peers that were told others."""
        whereabouts = self._whereabouts
        for peer, agent in self._begun.items():
            agent.set_local_candidates(whereabouts.candidates, whereabouts.report, now)
            self._settle(peer, now)

    def coordinator_returned(self, now: float) -> None:
        """Offer again what may have been lost with the connection before."""
        for peer, agent in self._begun.items():
            agent.coordinator_returned(now)
            self._settle(peer, now)

    def servers_changed(self, relays: Iterable[str] = ()) -> None:
        """See by another server which ports the NAT gives out.

        :param relays: the addresses of the mesh's relays.
        """
        self._relaying.set_hosts(relays)
        for agent in self._begun.values():
            agent.set_stun_server(self._whereabouts.stun_server())

    def tell_routes(self, report: RouteReport | None, now: float) -> list[MeshPeer]:
        """Tell peers how the networks behind this node are; return those told now."""
        self._route_report = report
        told = []
        for peer, agent in self._begun.items():
            if agent.tell_routes(report, now):
                told.append(peer)
            self._settle(peer, now)
        return told

    def network_changed(self, now: float) -> None:
        """Doubt all paths: addresses or routes changed, or the machine slept."""
        for peer, agent in self._begun.items():
            agent.network_changed(now)
            self._settle(peer, now)

    def endpoint_failed(self, endpoint: Endpoint, now: float) -> None:
        """Doubt the paths to an endpoint: the system could not send there."""
        for peer, agent in self._begun.items():
            at = peer.tunnel.endpoint
            if at is not None and at[:3] == endpoint[:3]:
                agent.suspect(now)
                self._settle(peer, now)

    # The relay.

    def relay_changed(self, link: int | None, now: float) -> None:
        """Reach peers through another relay of this node, or through none."""
        self._relaying.link = link
        for peer in self._begun:
            self._find_relayed(peer, now)
            self._settle(peer, now)

    def permit_relays(self, now: float) -> None:
        """Let the first packet of a peer in, whichever relay it comes through."""
        self._relaying.permit(now)
        self.has_asked = True

    def refusal_of(self, peer: MeshPeer) -> str | None:
        """Return why the relay does not carry to a peer, if it said so."""
        return self._relaying.refusal_of(peer)

    def _find_relayed(self, peer: MeshPeer, now: float) -> None:
        if self._relaying.offer(peer, now):
            self._tell_relayed(peer, now)

    def _learn_relayed(
        self, peer: MeshPeer, source: Endpoint, now: float, *, is_answer: bool = False
    ) -> None:
        if self._relaying.learn(peer, source, now, is_answer=is_answer):
            self._tell_relayed(peer, now)

    def _tell_relayed(self, peer: MeshPeer, now: float) -> None:
        """Tell an agent of the way to its peer through the relay."""
        self.has_asked = True
        if peer.agent is None:
            return
        peer.agent.set_relay(peer.relayed, now)
        doubtful = self._relaying.to_check(peer, now)
        if doubtful is not None:
            check = peer.agent.checks.ask(doubtful, CandidateKind.RELAYED, now)
            self._transmits.append(Transmit(doubtful, [check]))

    # What agents decide.

    def datagrams_to_send(self) -> list[Transmit]:
        """Return checks and answers to send."""
        transmits, self._transmits = self._transmits, []
        return transmits

    def _settle(self, peer: MeshPeer, now: float) -> None:
        """Carry out what an agent decided."""
        agent = peer.agent
        if agent is None:
            return
        self._transmits += agent.datagrams_to_send()
        overdue = False
        while (event := agent.next_event()) is not None:
            match event:
                case path_events.SelectionChanged():
                    self._events.append(PathChanged(peer, event))
                case path_events.CandidatesOffered(offer):
                    if not self._send_offer(peer, offer, now):
                        agent.offer_lost(now)
                        self._transmits += agent.datagrams_to_send()
                case path_events.CandidatesWanted():
                    self._whereabouts.refresh(now)
                    self._control.doubt(now)
                    self._relaying.doubt(now)
                    self.has_asked = True
                case path_events.AuxiliarySockets(wanted, close):
                    if wanted:
                        self.want_sockets(peer, 4, wanted)
                    if close:
                        self._events.append(SocketsClosed(close))
                case path_events.PeerStreams():
                    self._carry_out(peer, agent, event, now)
                    self._transmits += agent.datagrams_to_send()
                case path_events.HandshakeOverdue():
                    overdue = True
                case path_events.ProbeWanted(endpoint, handshake):
                    self._probe(peer, agent, endpoint, handshake, now)
                case path_events.RoutesReported(report):
                    self._failover.reported(peer, report, now)
        self._steer(peer, agent.endpoints, now)
        self._device.set_limit(peer.tunnel, agent.limit)
        if overdue:
            # It goes where the peer is now.
            self._device.repeat_handshake(peer.tunnel, now)
        self._agenda.schedule(peer, agent.get_timer())

    def _probe(
        self,
        peer: MeshPeer,
        agent: PathAgent,
        endpoint: Endpoint,
        handshake: bool,
        now: float,
    ) -> None:
        """Send one message of the tunnel to see whether it arrives there."""
        length = self._device.probe(peer.tunnel, endpoint, now, handshake=handshake)
        if length:
            agent.probe_sent(endpoint, length, is_handshake=handshake)

    def _steer(
        self, peer: MeshPeer, endpoints: tuple[Endpoint, ...], now: float
    ) -> None:
        """Send the peer's datagrams where its agent says."""
        first, second = (*endpoints, None, None)[:2]
        lane = peer.tunnel.lane
        before = lane.endpoint
        if (first, second) == (before, lane.second):
            return
        self._device.set_endpoint(peer.tunnel, first, second)
        if first is None:
            self._hubs.expect(peer, now)
        elif before is None:
            self._hubs.reached(peer)
            self._device.start_peer(peer.tunnel, now)
        is_orphan = first is not None and self._orphans.take(first, now)
        if is_orphan and not peer.tunnel.current:
            # It goes on with a session of this node's last run.
            self._device.renew_session(peer.tunnel, now)

    def want_sockets(self, wanted_by: MeshPeer | int, family: int, count: int) -> None:
        """Ask the runtime for sockets, for a peer or for a discovery's family."""
        self._next_request += 1
        self._requests[self._next_request] = wanted_by
        self._events.append(SocketsWanted(self._next_request, family, count))

    def sockets_opened(self, request: int, ports: dict[int, int], now: float) -> None:
        """Hand over the sockets that were asked for: local port by link, or none."""
        wanted_by = self._requests.pop(request, None)
        if isinstance(wanted_by, MeshPeer) and wanted_by.agent is not None:
            wanted_by.agent.add_auxiliary_sockets(list(ports), now)
            self._settle(wanted_by, now)
        elif isinstance(wanted_by, int):
            self._whereabouts.sockets_opened(wanted_by, ports, now)
        elif ports:
            self._events.append(SocketsClosed(tuple(ports)))

    def _send_offer(self, peer: MeshPeer, offer: Offer, now: float) -> bool:
        """Send an offer through the coordinator, if that can be reached."""
        self.has_asked = True
        return self._control.offer(to_message(offer, peer.key), now)

    def sound(self, peer: MeshPeer, now: float) -> None:
        """Check the paths to a peer, or to the hub that forwards to it, now."""
        beside = peer.via or peer
        if beside.agent is not None:
            beside.agent.sound(now)
            self._settle(beside, now)

    # Time.

    def get_timer(self) -> float | None:
        """Return when an agent next wants to be woken."""
        return self._agenda.get_timer()

    def handle_timer(self, now: float) -> None:
        """Wake the agents that are due."""
        for peer in self._agenda.take_due(now):
            if peer.agent is not None:
                peer.agent.handle_timer(now)
                self._settle(peer, now)
