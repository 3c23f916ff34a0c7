"""What goes on behind the packets: the coordinator, the relays, where this node is.

Nobody waits for these three machines, so they are not asked at every packet when they
want to be woken. Each call here ends with :meth:`Background.settle`: what they have to
tell is passed on at once, and their next deadline is noted.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from meshwg.control import events as control_events
from meshwg.control.client import ControlClient
from meshwg.node.events import (
    CoordinatorKeyChanged,
    CoordinatorsMoved,
    Expelled,
    Joined,
    NetmapChanged,
    NodeEvent,
    ServersChanged,
    SocketsClosed,
)
from meshwg.node.lookout import Lookout
from meshwg.node.members import Members
from meshwg.node.openers import Openers
from meshwg.node.paths import Paths
from meshwg.path.candidate import Candidate, CandidateKind, offerable
from meshwg.relay.pool import ChannelChanged, RelayChanged, RelayPool
from meshwg.relay.server import RelayServer
from meshwg.transmit import Endpoint
from meshwg.whereabouts import (
    CandidatesChanged,
    FreshSocketsWanted,
    PublicAddressChanged,
    SocketsUnused,
    Whereabouts,
)
from meshwg.wire import control
from meshwg.wire.routes import RouteTraits
from meshwg.wireguard.datapath import Datapath

PEERS_AT_ONCE = 24
"""Changes of peers that are dealt with in one go, before packets have their turn."""


class Background:
    """The machines of a node that no packet waits for.

    :param datapath: is told of the channels of relays.
    :param events: where requests to the runtime are put.
    """

    def __init__(
        self,
        client: ControlClient,
        relays: RelayPool,
        whereabouts: Whereabouts,
        paths: Paths,
        members: Members,
        lookout: Lookout,
        datapath: Datapath,
        events: deque[NodeEvent],
    ) -> None:
        self.drops: Counter[str] = Counter()
        self._control = client
        self._relays = relays
        self._whereabouts = whereabouts
        self._paths = paths
        self._members = members
        self._lookout = lookout
        self._datapath = datapath
        self._events = events
        self._machines = (client, relays, whereabouts)
        self._openers = Openers(client, paths)
        self._standby: Endpoint | None = None
        """Where peers reach this node if its relay dies; only the netmap has it."""
        self._due: float | None = None
        self._more_at: float | None = None
        """When to go on with what the client tells, ``None`` if that is all."""

    def recall(self, now: float) -> None:
        """Begin with what was known about the mesh when the node last ran."""
        registered = self._control.registered
        if registered is not None:
            self._members.set_mesh(registered)
            self._events.append(ServersChanged(registered.stun, registered.relays))
            self._members.policy_changed(now)
            self._members.change(self._control.peers.peers, (), now)
        self._due = now

    # What the runtime found out.

    def set_servers(
        self, servers: Iterable[Endpoint], relays: Iterable[RelayServer], now: float
    ) -> None:
        """Use these servers, whose names are resolved."""
        servers, relays = tuple(servers), tuple(relays)
        self._lookout.set_servers(servers, relays)
        self._whereabouts.set_stun_servers(servers, now)
        self._relays.set_servers(relays, now)
        self._paths.servers_changed(relay.address for relay in relays)
        self.settle(now)

    def offer_routes(
        self, routes: Sequence[str], traits: Sequence[RouteTraits], now: float
    ) -> None:
        """Offer these networks behind this node to the mesh, and no others."""
        self._control.offer_routes(routes, traits, now)
        self._members.update_interface()
        self.settle(now)

    def set_mapped(self, endpoint: Endpoint | None, now: float) -> None:
        """Take note of the port that the router forwards."""
        self._whereabouts.set_mapped(endpoint)
        self.settle(now)

    def set_ipv6(self, has_ipv6: bool, now: float) -> None:
        """Take note whether the node's own interface can have IPv6 addresses."""
        if has_ipv6 != self._members.has_ipv6:
            self._members.has_ipv6 = has_ipv6
            self._report(now)
            self.settle(now)

    def join(self, auth_key: str, coordinator_key: bytes, now: float) -> None:
        """Show the coordinator an auth key, at once.

        :param coordinator_key: by which it is known.
        """
        self._control.join(auth_key, now, coordinator_key)
        self.settle(now)

    def show_service_token(self, token: str, now: float, *, at_once: bool) -> None:
        """Show the coordinator what a cluster says of this node.

        :param at_once: on a new connection; else on the next one that there is.
        """
        self._control.show_service_token(token, now, at_once=at_once)
        self.settle(now)

    def look_again(self, now: float, *, at_once: bool = True) -> None:
        """Start NAT discovery again.

        :param at_once: also if one runs, or has just ended; what it found is void.
        """
        self._whereabouts.refresh(now, at_once=at_once)
        self.handle_timer(now)

    def network_changed(self, now: float) -> None:
        """Doubt what was known: addresses or routes changed, or the machine slept."""
        self._control.network_changed(now)
        self._relays.network_changed(now)
        self._whereabouts.refresh(now, at_once=True)
        self.settle(now)

    def stream_opened(self, link: int, now: float) -> None:
        """The connection to a relay is there."""
        self._relays.stream_opened(link, now)
        self.settle(now)

    def stream_closed(self, link: int, reason: str, now: float) -> None:
        """The connection to a relay is gone."""
        self._relays.stream_closed(link, reason, now)
        self.settle(now)

    def stop(self, now: float, *, for_good: bool = False) -> None:
        """Say goodbye to the coordinator and the relays.

        :param for_good: whether the node gives up its membership.
        """
        self._control.stop(now, for_good=for_good)
        self._relays.stop(now)

    # Time.

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is next wanted."""
        return self._due

    def handle_timer(self, now: float) -> None:
        """Run the machines that are due."""
        for machine in self._machines:
            due = machine.get_timer()
            if due is not None and due <= now:
                machine.handle_timer(now)
        self._openers.handle_timer(now)
        self._members.tell_flows(now)
        self.settle(now)

    def plan(self) -> None:
        """Note the next deadline of the machines, after one was given something."""
        times = [machine.get_timer() for machine in (*self._machines, self._openers)]
        times.append(self._more_at)
        self._due = min((each for each in times if each is not None), default=None)

    # What the machines tell.

    def settle(self, now: float) -> None:
        """Pass on what happened, after any of the machines was called."""
        self._drain_control(now)
        self._drain_relays(now)
        self._drain_whereabouts(now)
        self._openers.observe(now)
        self.plan()

    def _drain_control(self, now: float) -> None:
        """Pass on what the client tells, but of many peers only some at a time.

        Packets wait meanwhile. What is left is passed on at the next turn.
        """
        left = PEERS_AT_ONCE
        while left > 0 and (event := self._control.next_event()) is not None:
            left -= self._pass_on(event, now)
        self._more_at = now if self._control.has_events else None

    def _pass_on(self, event: control_events.ControlEvent, now: float) -> int:
        """Pass on what the client tells; return how many peers that is about."""
        match event:
            case control_events.Accepted(registered):
                self._members.accepted(registered, now)
                servers = ServersChanged(registered.stun, registered.relays)
                self._events.append(servers)
                self._events.append(Joined(registered.notice))
                self._events.append(NetmapChanged())
                self._paths.coordinator_returned(now)
                self._control.repeat_offers(now)
            case control_events.OfferRefused(key):
                if (refusing := self._members.peers.get(key)) is not None:
                    self._paths.offer_refused(refusing, now)
            case control_events.PeersChanged(changed, removed, is_ahead):
                self._members.change(changed, removed, now, is_ahead=is_ahead)
                self._events.append(NetmapChanged())
                return len(changed) + len(removed)
            case control_events.PolicyChanged():
                self._members.policy_changed(now)
                self._events.append(NetmapChanged())
            case control_events.SelfChanged():
                self._members.itself_changed(now)
                self._events.append(NetmapChanged())
            case control_events.RecordsChanged():
                self._events.append(NetmapChanged())
            case control_events.ApprovalsChanged():
                self._members.update_interface()
            case control_events.OfferReceived(offer):
                self._receive_offer(offer, now)
            case control_events.RelaysChanged(relays):
                if (known := self._control.registered) is not None:
                    self._events.append(ServersChanged(known.stun, relays))
            case (
                control_events.AuthorityChanged() | control_events.CoordinatorsChanged()
            ):
                self._events.append(_to_remember(event))
            case (
                control_events.LeaseAnswered()
                | control_events.MembershipRevoked()
                | control_events.Refused()
            ):
                self._events.append(_passed_on(event))
        return 0

    def _receive_offer(self, offer: control.OfferMessage, now: float) -> None:
        peer = self._members.peers.get(offer.sender or "")
        if peer is None:
            self.drops["offer-of-stranger"] += 1
        else:
            self._paths.receive_offer(peer, offer, now)

    def _drain_relays(self, now: float) -> None:
        while (event := self._relays.next_event()) is not None:
            match event:
                case RelayChanged(relayed, link, standby):
                    if relayed is not None:
                        # Whoever reaches a relay may reach the coordinator, too.
                        self._control.hasten(now)
                    if standby != self._standby:
                        self._standby = standby
                        self._report(now)
                    self._whereabouts.set_relayed(relayed)
                    self._paths.relay_changed(link, now)
                case ChannelChanged(peer, server, number):
                    self._datapath.set_channel(peer, server, number)
                case _:
                    self._events.append(event)

    def _drain_whereabouts(self, now: float) -> None:
        while (event := self._whereabouts.next_event()) is not None:
            match event:
                case CandidatesChanged():
                    self._report(now)
                    self._paths.whereabouts_changed(now)
                case PublicAddressChanged():
                    self._control.doubt(now)
                    self._relays.network_changed(now)
                case FreshSocketsWanted(family, count):
                    self._paths.want_sockets(family, family, count)
                case SocketsUnused(links):
                    self._events.append(SocketsClosed(links))

    def _report(self, now: float) -> None:
        """Tell the mesh where this node is now."""
        whereabouts = self._whereabouts
        ipv4, ipv6 = (
            None if nat is None else control.ReportedNat(**nat.to_json())
            for nat in (whereabouts.nat[4], whereabouts.nat[6])
        )
        candidates = list(whereabouts.candidates)
        if self._standby is not None:
            host, port = self._standby[:2]
            candidates.append(Candidate(CandidateKind.RELAYED, host, port))
        self._control.report(
            [candidate.to_message() for candidate in offerable(candidates)],
            control.NatReport(
                ipv4=ipv4,
                ipv6=ipv6,
                lacks_ipv6=None if self._members.has_ipv6 else True,
            ),
            now,
        )


def _to_remember(
    event: control_events.AuthorityChanged | control_events.CoordinatorsChanged,
) -> CoordinatorKeyChanged | CoordinatorsMoved:
    """Return what is kept of what was learnt of the coordinators."""
    if isinstance(event, control_events.AuthorityChanged):
        return CoordinatorKeyChanged(event.key, event.former)
    return CoordinatorsMoved(event.urls)


def _passed_on(
    event: control_events.LeaseAnswered
    | control_events.MembershipRevoked
    | control_events.Refused,
) -> NodeEvent:
    """Return what the runtime is told of something that concerns no other part."""
    match event:
        case control_events.MembershipRevoked(reason):
            return Expelled(reason, forget=True)
        case control_events.Refused(error):
            return Expelled(error.message, forget=False, code=error.code)
    return event
