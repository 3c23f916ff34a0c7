"""The path agents of a node, and what they need of the rest of it.

An agent is made when its peer is first needed, and its decisions are carried out here:
its checks are sent, its offers go to the coordinator, its tunnel is steered to where it
says, and it is woken when it wants to be.
"""

import heapq
from collections import Counter, deque
from collections.abc import Iterable

from meshwg.control.client import ControlClient
from meshwg.keys import PrivateKey
from meshwg.node.events import NodeEvent, PathChanged, SocketsClosed, SocketsWanted
from meshwg.path import events as path_events
from meshwg.path.agent import PathAgent
from meshwg.path.candidate import Candidate, CandidateKind, Rejection, admit_candidates
from meshwg.path.check import ROUTE_LENGTH
from meshwg.path.limiter import PunchLimiter
from meshwg.path.offer import Offer, from_message, to_message
from meshwg.path.overlay import Overlay
from meshwg.peer import MeshPeer
from meshwg.relay.pool import RelayPool
from meshwg.transmit import Endpoint, Random, Transmit
from meshwg.whereabouts import Whereabouts
from meshwg.wire import control
from meshwg.wire.stun import Attribute, Class, Message
from meshwg.wireguard.device import Device
from meshwg.wireguard.peer import Peer as Tunnel


class Paths:
    """All path agents of one node.

    :param events: where requests to the runtime are put.
    :ivar overlay: what is reached through the mesh, as far as it is known.
    :ivar transmits: checks to be sent.
    :ivar background_wanted: set when another machine was given something to do.
    """

    def __init__(
        self,
        private_key: PrivateKey,
        device: Device,
        client: ControlClient,
        relays: RelayPool,
        whereabouts: Whereabouts,
        events: deque[NodeEvent],
        *,
        random: Random,
        birthday: bool,
    ) -> None:
        self.overlay = Overlay()
        self.transmits: list[Transmit] = []
        self.background_wanted = False
        self.drops: Counter[str] = Counter()
        self._private_key = private_key
        self._device = device
        self._control = client
        self._relays = relays
        self._whereabouts = whereabouts
        self._events = events
        self._random = random
        self._limiter = PunchLimiter(birthday)
        self._by_tag: dict[str, MeshPeer] = {}
        self._by_route: dict[bytes, MeshPeer] = {}
        self._second: dict[Endpoint, Endpoint] = {}
        self._requests: dict[int, MeshPeer | int] = {}
        self._next_request = 0
        self._relay_link: int | None = None
        self._permitted: set[str] = set()
        self._found: list[Tunnel] = []
        self._agenda: list[tuple[float, int, MeshPeer]] = []
        self._entries = 0

    # Which agent.

    def begin(self, peer: MeshPeer, now: float) -> PathAgent | None:
        """Return the agent of a peer, a new one if needed."""
        if peer.agent is not None:
            return peer.agent
        agent = peer.begin(
            self._private_key,
            random=self._random,
            limiter=self._limiter,
            overlay=self.overlay,
            routes=self._by_route,
        )
        if agent is not None:
            self._by_tag[agent.checks.keys.incoming.tag] = peer
            self._by_route[agent.checks.route] = peer
            agent.set_stun_server(self._whereabouts.stun_server())
            agent.set_local_candidates(
                self._whereabouts.candidates, self._whereabouts.report, now
            )
            self.offer_relay(peer, now)
        return agent

    def forget(self, peer: MeshPeer) -> None:
        """Let go of a peer that is no member any more."""
        if peer.agent is not None:
            self._by_tag.pop(peer.agent.checks.keys.incoming.tag, None)
            self._by_route.pop(peer.agent.checks.route, None)
            peer.agent = None
        if peer.relayed is not None:
            self._relays.close(peer.relayed)
        if peer.tunnel.endpoint is not None:
            self._second.pop(peer.tunnel.endpoint, None)

    def receive_check(self, message: Message, source: Endpoint, now: float) -> None:
        """Give a STUN message to the agent whose check or answer it is."""
        peer = self._peer_of_check(message)
        if peer is None or peer.agent is None:
            self.drops["unknown-check"] += 1
            return
        if source.link == self._relay_link:
            self.learn_relayed(peer, source, now)
        peer.agent.receive_stun(message, source, now)
        self.settle(peer, now)

    def receive_offer(
        self, peer: MeshPeer, offer: control.OfferMessage, now: float
    ) -> None:
        """Give an offer to the agent of its sender."""
        agent = self.begin(peer, now)
        if agent is None:
            return
        relayed = next((c for c in offer.candidates if c.kind == "relay"), None)
        if relayed is not None:
            self._set_relayed(peer, relayed.host, relayed.port, now)
        if offer.observed is not None:
            agent.confirm_hosts([offer.observed])
        said, rejections = from_message(offer, self.overlay)
        self.drops.update({why.value: n for why, n in rejections.items()})
        agent.receive_offer(said, now)
        self.settle(peer, now)
        if peer.has_restarted(said):
            # Its sessions went with the process that it was.
            self._device.renew_session(peer.tunnel, now)

    def _peer_of_check(self, message: Message) -> MeshPeer | None:
        if message.cls is Class.REQUEST:
            tag = message.attributes.get(Attribute.USERNAME)
            return self._by_tag.get(tag) if isinstance(tag, str) else None
        return self._by_route.get(message.transaction_id[:ROUTE_LENGTH])

    # The relay.

    def relay_changed(
        self, link: int | None, peers: Iterable[MeshPeer], now: float
    ) -> None:
        """Reach peers through another relay of this node, or through none."""
        self._relay_link = link
        for peer in peers:
            if peer.agent is not None:
                self.offer_relay(peer, now)
                self.settle(peer, now)

    def offer_relay(self, peer: MeshPeer, now: float) -> None:
        """Give the agent the way through the relay, if both sides have one."""
        candidate = peer.relay_candidate()
        if candidate is not None:
            self._set_relayed(peer, candidate.host, candidate.port, now)
        elif peer.relayed is not None:
            self._set_relayed(peer, peer.relayed.host, peer.relayed.port, now)

    def learn_relayed(self, peer: MeshPeer, source: Endpoint, now: float) -> None:
        """Answer a peer over the relay at the address from which it spoke."""
        if peer.relayed is None or peer.relayed[:2] != source[:2]:
            self._set_relayed(peer, source.host, source.port, now)

    def permit_relays(self, peers: Iterable[MeshPeer], now: float) -> None:
        """Let the first packet of a peer in, whichever relay it comes through."""
        hosts = {
            candidate.host
            for peer in peers
            if (candidate := peer.relay_candidate()) is not None
        }
        hosts = {host for host in hosts if self._rejection(host) is None}
        for host in self._permitted - hosts:
            self._relays.forbid(host)
        for host in hosts - self._permitted:
            self._relays.permit(host, now)
        self._permitted = hosts

    def _set_relayed(self, peer: MeshPeer, host: str, port: int, now: float) -> None:
        link, rejection = self._relay_link, self._rejection(host)
        if rejection is not None:
            self.drops[rejection.value] += 1
            link = None
        endpoint = None if link is None else Endpoint(host, port, link)
        if peer.relayed is not None and peer.relayed != endpoint:
            self._relays.close(peer.relayed)
        if endpoint is not None and peer.relayed != endpoint:
            self._relays.open(endpoint, now)
        peer.relayed = endpoint
        if peer.agent is not None:
            peer.agent.set_relay(endpoint, now)
        self.background_wanted = True

    def _rejection(self, host: str) -> Rejection | None:
        """Return why no relay can be at an address that the coordinator named.

        What is on the relay of this node is good wherever that is.
        """
        own = self._relays.relayed
        if own is not None and own.host == host:
            return None
        claim = Candidate(CandidateKind.RELAYED, host, 1)
        _, rejections = admit_candidates([claim], self.overlay)
        return next(iter(rejections), None)

    # What agents decide.

    def settle(self, peer: MeshPeer, now: float) -> None:
        """Carry out what an agent decided."""
        agent = peer.agent
        if agent is None:
            return
        self.transmits += agent.datagrams_to_send()
        while (event := agent.next_event()) is not None:
            match event:
                case path_events.SelectionChanged():
                    self._events.append(PathChanged(peer, event))
                case path_events.CandidatesOffered(offer):
                    self._send_offer(peer, offer, now)
                case path_events.CandidatesWanted():
                    self._whereabouts.refresh(now)
                    self.background_wanted = True
                case path_events.AuxiliarySockets(wanted, close):
                    if wanted:
                        self.want_sockets(peer, 4, wanted)
                    if close:
                        self._events.append(SocketsClosed(close))
        self._steer(peer, agent.endpoints)
        self.schedule(peer, agent.get_timer())

    @property
    def is_doubling(self) -> bool:
        """Whether the datagrams of any peer go to two endpoints."""
        return bool(self._second)

    def second(self, endpoint: Endpoint) -> Endpoint | None:
        """Return where datagrams also go while this endpoint is in doubt."""
        return self._second.get(endpoint) if self._second else None

    def take_found(self) -> list[Tunnel]:
        """Return tunnels whose endpoint became known, to be started."""
        found, self._found = self._found, []
        return found

    def want_sockets(self, wanted_by: MeshPeer | int, family: int, count: int) -> None:
        """Ask the runtime for sockets, for a peer or for a discovery's family."""
        self._next_request += 1
        self._requests[self._next_request] = wanted_by
        self._events.append(SocketsWanted(self._next_request, family, count))

    def sockets_opened(self, request: int, ports: dict[int, int], now: float) -> None:
        """Hand sockets to whoever asked: local port by link, perhaps none."""
        wanted_by = self._requests.pop(request, None)
        if isinstance(wanted_by, MeshPeer) and wanted_by.agent is not None:
            wanted_by.agent.add_auxiliary_sockets(list(ports), now)
            self.settle(wanted_by, now)
        elif isinstance(wanted_by, int):
            self._whereabouts.sockets_opened(wanted_by, ports, now)
        elif ports:
            self._events.append(SocketsClosed(tuple(ports)))

    def _steer(self, peer: MeshPeer, endpoints: tuple[Endpoint, ...]) -> None:
        """Send the peer's datagrams where its agent says."""
        first = endpoints[0] if endpoints else None
        before = peer.tunnel.endpoint
        if before is not None:
            self._second.pop(before, None)
        if first is not None and len(endpoints) > 1:
            self._second[first] = endpoints[1]
        if first != before:
            self._device.set_endpoint(peer.tunnel, first)
            if before is None:
                # The device may be in the middle of a call for this very peer.
                self._found.append(peer.tunnel)

    def _send_offer(self, peer: MeshPeer, offer: Offer, now: float) -> None:
        self._control.offer(to_message(offer, peer.key), now)
        self.background_wanted = True

    # Time.

    def schedule(self, peer: MeshPeer, when: float | None) -> None:
        """Wake a peer's agent at ``when``, or earlier."""
        if when is not None and when < peer.scheduled_at:
            peer.scheduled_at = when
            self._entries += 1
            heapq.heappush(self._agenda, (when, self._entries, peer))

    def get_timer(self) -> float | None:
        agenda = self._agenda
        while agenda and agenda[0][0] != agenda[0][2].scheduled_at:
            heapq.heappop(agenda)
        return agenda[0][0] if agenda else None

    def handle_timer(self, now: float) -> None:
        """Wake the agents that are due."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= now:
            when, _, peer = heapq.heappop(agenda)
            if when != peer.scheduled_at:
                continue
            peer.scheduled_at = float("inf")
            if peer.agent is not None:
                peer.agent.handle_timer(now)
                self.settle(peer, now)
