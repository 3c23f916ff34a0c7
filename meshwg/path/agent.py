"""The path agent: finds the best way to one peer, and keeps it.

Theory of operation. Data goes through the relay from the first packet on. With that
packet a *round* begins (:mod:`meshwg.path.rounds`): the two nodes exchange candidates
through the coordinator, and check all of them at the same time, which opens the NATs
on both sides. A check that arrives is answered and checked back at once, wherever it
came from. Every answered check proves a *path*, and the best proven path carries the
data (:mod:`meshwg.path.table`). If none is proven, prediction or the birthday method
may follow (:mod:`meshwg.path.puncher`); if those cannot help either, the data stays on
the relay, and :meth:`PathAgent.status` says why.

While there is traffic, the path in use is checked every 3 s. When it was not answered
for 6.5 s, data goes through the relay too, and a new round begins. Without traffic one
check in 25 s keeps the path open for ten minutes; then the agent sleeps until it is
needed again. An agent without traffic never starts anything, so a thousand peers cost
nothing.

The parent calls the verbs below and drains :meth:`~PathAgent.datagrams_to_send` and
:meth:`~PathAgent.next_event` after each. Time is seconds on any steady clock.
"""

from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import count

from meshwg.path.activity import Activity
from meshwg.path.candidate import (
    Candidate,
    CandidateKind,
    is_private,
    is_usable_host,
)
from meshwg.path.check import Answered, Asked, CheckDrop, CheckKeys, Checks
from meshwg.path.checker import Checker
from meshwg.path.delivery import Delivery
from meshwg.path.dialer import Dialer
from meshwg.path.escalation import Escalation
from meshwg.path.events import (
    AuxiliarySockets,
    CandidatesWanted,
    Event,
    PathStatus,
    PeerStreams,
    RoutesReported,
)
from meshwg.path.holepunching import HolePunching
from meshwg.path.ledger import Ledger
from meshwg.path.limiter import PunchLimiter
from meshwg.path.offer import Offer
from meshwg.path.overlay import IPAddress
from meshwg.path.puncher import Puncher
from meshwg.path.rendezvous import Rendezvous
from meshwg.path.rounds import Trigger
from meshwg.path.routereport import RouteReport
from meshwg.path.silence import Silence, Step
from meshwg.path.sockets import SocketKeeper
from meshwg.path.sounding import Sounding, sound, soundings, tell
from meshwg.path.standing import Standing
from meshwg.path.streams import StreamKeeper
from meshwg.path.table import PathTable
from meshwg.path.tcp import TcpTraits
from meshwg.path.traits import NatTraits
from meshwg.path.tunnels import OwnTunnels, Tunnels
from meshwg.path.veil import Veil
from meshwg.transmit import FIRST_LINK, UDP, Endpoint, Random, Transmit
from meshwg.wire.stun import Message

SUSPICION = 5.0
"""Seconds between two complaints of the parent that have an effect."""


STREAM_BURST = (0.0, 1.0, 2.5)
"""Seconds after its opening at which a stream is checked: nothing gets lost on it."""


class PathAgent:
    """Finds and keeps the way to one peer.

    :param keys: of the checks between this node and the peer.
    :param limiter: shared by the agents of a node.
    :param overlay: what is reached through the mesh, which no candidate may be in.
    :param routes: by which the other agents of the node are found.
    :param links: numbers for streams, shared by the agents of a node.
    :param tunnels: that end at this machine; the same.
    :param veil: hides from bystanders whose checks these are; the same.
    """

    def __init__(
        self,
        keys: CheckKeys,
        *,
        random: Random,
        limiter: PunchLimiter | None = None,
        overlay: Container[IPAddress] = (),
        routes: Container[bytes] = (),
        links: Iterator[int] | None = None,
        tunnels: OwnTunnels | None = None,
        veil: Veil | None = None,
    ) -> None:
        self.checks = Checks(keys, random, routes, veil)
        limiter = limiter or PunchLimiter()
        known = Tunnels(tunnels)
        self._rendezvous = Rendezvous(overlay, random, known, self.checks.new_tags)
        self._ledger = Ledger()
        self._table = PathTable(known)
        self._events: deque[Event] = deque()
        self._delivery = Delivery(self._table, self._events, leads=keys.controlling)
        self._checker = Checker(self.checks, self._ledger, self._table, self._delivery)
        self._puncher = Puncher(self.checks, self._ledger, limiter, random)
        self._sockets = SocketKeeper(self._table, self._puncher)
        self._streams = StreamKeeper(self._table, controlling=keys.controlling)
        self._dialer = Dialer(
            self._ledger,
            links or count(-1, -1),
            random,
            controlling=keys.controlling,
        )
        self._activity = Activity()
        self._punching = HolePunching(
            self._table,
            self._checker,
            self._rendezvous,
            self._puncher,
            Escalation(self._puncher, limiter, self._rendezvous, random),
            self._dialer,
            self._activity,
            self._events,
            controlling=keys.controlling,
        )
        self._standing = Standing(
            self._table,
            self._delivery,
            self._punching,
            self._puncher,
            self._dialer,
            self._rendezvous,
            limiter,
        )
        self.longest = 0
        """Bytes of the longest datagram of the tunnel, 0 to let no path be tested."""
        self._silence = Silence()
        self._heard: Endpoint | None = None
        self._suspected_at = float("-inf")
        self._now = 0.0
        self._timer: float | None = None
        self._timer_is_stale = False
        self._endpoints: tuple[Endpoint, ...] = ()

    # What the parent asks

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where data goes now: one endpoint, two in doubt, none without any way.

        Call :meth:`sent` first, since the way may have gone stale meanwhile.
        """
        return self._endpoints

    @property
    def endpoint(self) -> Endpoint | None:
        """The first of :attr:`endpoints`."""
        return self._endpoints[0] if self._endpoints else None

    @property
    def limit(self) -> int | None:
        """Bytes of the longest datagram that gets through, if that is known."""
        selected = self._table.selected
        return selected.longest.limit if selected is not None else None

    @property
    def round_trip(self) -> float | None:
        """Seconds there and back on the path in use, if that was measured."""
        selected = self._table.selected
        return None if selected is None else selected.statistics.rtt

    @property
    def drops(self) -> Counter[CheckDrop]:
        """STUN messages that were ignored, by reason."""
        return self.checks.drops

    def status(self, now: float) -> PathStatus:
        """Return what is known about the path, and why it is this one."""
        return self._standing.status(self.endpoint, now)

    def soundings(self, since: float) -> tuple[Sounding, ...]:
        """Return which paths have answered checks since some time."""
        return soundings(self._table, since)

    def sound(self, now: float) -> None:
        """Check all paths now: somebody wants to know."""
        sound(self._table, now)
        self._settle(now)

    # In: what this node knows

    def tell_routes(self, report: RouteReport | None, now: float) -> bool:
        """Have checks say this of the networks behind this node, from now on.

        :returns: whether the peer is told at once, by a path that works.
        """
        is_news, self.checks.routes = report != self.checks.routes, report
        is_told = is_news and tell(self._table, now)
        if is_told:
            self._settle(now)
        return is_told

    def set_local_candidates(
        self, candidates: Iterable[Candidate], nat: NatTraits, now: float
    ) -> None:
        """Offer these from now on, at once if the peer knows of others."""
        changed = self._rendezvous.set_own(candidates, nat)
        self._puncher.own_nat = nat
        self._puncher.own_public = self._rendezvous.own_public()
        if changed and self._rendezvous.has_offered and self._activity.is_active(now):
            self._punching.begin(Trigger.CANDIDATES, now)
        self._settle(now)

    def set_reported(self, candidates: Iterable[Candidate], nat: NatTraits) -> None:
        """Take note of where the coordinator says that the peer is.

        What the peer itself offers counts more.
        """
        self._rendezvous.set_reported(candidates, nat)

    def set_relay(self, endpoint: Endpoint | None, now: float) -> None:
        """Use this way through a relay: the peer's relayed address, on its link."""
        self._table.set_relay(endpoint, now)
        if not self._activity.is_active(now) and self._table.relay is not None:
            self._table.relay.rest()
        self._settle(now)

    def set_tcp(self, tcp: TcpTraits | None) -> None:
        """Say where this node accepts streams, ``None`` for nowhere."""
        self._rendezvous.tcp = self._dialer.own = tcp

    def set_stun_server(self, server: Endpoint | None) -> None:
        """Use this server (IPv4) to see which ports the NAT gives out."""
        self._puncher.stun_server = server

    def confirm_hosts(self, hosts: Iterable[str]) -> None:
        """Trust that the peer is at these addresses: someone reliable saw it there.

        Without this, nothing that takes hundreds of packets is sent to an address
        before the peer answered from it.
        """
        hosts = tuple(host for host in hosts if is_usable_host(host))
        self._ledger.confirm(hosts)
        public = (host for host in hosts if ":" not in host and not is_private(host))
        self._rendezvous.peer_hosts = self._puncher.peer_hosts = tuple(public)

    def network_changed(self, now: float) -> None:
        """Local addresses or routes changed, or the machine was asleep."""
        self._punching.abandon(now)
        self._delivery.forget()
        self.checks.change_tag()
        self._table.distrust(now)
        if self._activity.is_active(now):
            self._punching.begin(Trigger.NETWORK, now)
        self._settle(now)

    # In: traffic

    def data_sent(self, to: Endpoint, length: int) -> None:
        """Count data messages that go to this endpoint only, in bytes."""
        self._delivery.tally.sent.add_data(to, length)

    def data_received(self, source: Endpoint, length: int) -> None:
        """Count authentic data messages, in bytes."""
        self._delivery.tally.received.add_data(source, length)

    def strange_data(self, source: Endpoint) -> None:
        """Note that data came under a session that this node does not have."""
        self._delivery.tally.note_strange(source)

    def handshake_sent(
        self, to: Endpoint, now: float, *, is_initiation: bool, is_copied: bool = False
    ) -> None:
        """Note a handshake message to the peer, perhaps with a copy elsewhere."""
        self._delivery.handshake_sent(to, is_initiation, is_copied, now)
        self._settle(now)

    def handshake_received(
        self, source: Endpoint, now: float, *, is_initiation: bool
    ) -> None:
        """Note an authentic handshake message of the peer."""
        counts = self._delivery.tally.received
        counts.add_handshake(source, is_initiation=is_initiation)
        if is_initiation:
            self._delivery.handshake_crossed(now)
        else:
            self._delivery.handshake_answered()

    def handshake_deferred(self) -> None:
        """Note that the peer is too busy for handshakes, and has said so."""
        self._delivery.handshake_answered()

    def probe_sent(self, to: Endpoint, length: int, *, is_handshake: bool) -> None:
        """Count the probe that was asked for."""
        if is_handshake:
            self._delivery.tally.sent.add_handshake(to, is_initiation=True)
        else:
            self._delivery.tally.sent.add_data(to, length)

    def data_unanswered(self, now: float) -> None:
        """WireGuard has waited 15 s for an answer to data."""
        self._delivery.unanswered(now)
        self._settle(now)

    def sent(self, now: float) -> None:
        """Data for the peer is about to be sent."""
        was_active = self._activity.is_active(now)
        self._activity.note(now)
        if self._relies_on_direct(now):
            self._silence.sent(now)
            self._timer_is_stale = True
        if not was_active:
            self._wake(now)

    def authenticated(self, source: Endpoint, now: float) -> None:
        """WireGuard accepted a packet that came from there."""
        was_active = self._activity.is_active(now)
        self._activity.note(now)
        self._silence.heard()
        before, self._heard = self._heard, source.unpinned()
        path = self._table.find(source)
        if path is None or not path.is_proven:
            self._learn(source, now)
        if not was_active:
            self._wake(now)
        elif path is None or not self._endpoints:
            self._settle(now)
        if self._heard != before:
            self._follow_peer(source, now)

    def check_back(self, source: Endpoint, now: float) -> None:
        """See whether the peer is where something came from that may be its."""
        self._learn(source, now)
        self._settle(now)

    def suspect(self, now: float) -> None:
        """The tunnel does not hear the peer, or the system refused to send there.

        What comes again within seconds is ignored: a system that refuses to send
        refuses every packet.
        """
        if now < self._suspected_at + SUSPICION:
            return
        if self._table.selected is not None:
            self._table.selected.distrust(now)
        self._look_for_another(now)

    def _look_for_another(self, now: float) -> None:
        """Begin a round because the path in use may be dead."""
        self._suspected_at = now
        if self._activity.is_active(now):
            self._events.append(CandidatesWanted())
            self._punching.begin(Trigger.DOUBT, now)
        self._settle(now)

    def _relies_on_direct(self, now: float) -> bool:
        selected = self._table.selected
        return (
            selected is not None
            and not selected.is_relayed
            and selected.is_trusted(now)
        )

    def _look_into_silence(self, now: float) -> None:
        """Check the path in use, or stop to rely on it, if no data is answered."""
        selected = self._table.selected
        rtt = selected.statistics.rtt if selected is not None else None
        step = self._silence.next_step(rtt, now)
        if step is None or selected is None or not self._relies_on_direct(now):
            return
        if step is Step.SUSPECT:
            self.suspect(now)
            return
        selected.check_by(now)
        if step is Step.DOUBT:
            self._events.append(CandidatesWanted())

    def _follow_peer(self, heard: Endpoint, now: float) -> None:
        """Doubt all other direct paths when the peer comes by one that is not in use.

        It may have roamed, and found its way back before it could say so. A peer that
        takes turns between two paths is not followed every time.
        """
        relay, selected = self._table.relay, self._table.selected
        now_at = self._table.find(heard)
        if selected is None or selected is relay or selected is now_at:
            return
        if heard.link >= FIRST_LINK or (now_at is not None and now_at is relay):
            return
        if self._table.is_tunnel(heard):
            return  # It may use one that this side does not prefer.
        if min(heard.link, selected.endpoint.link) < UDP:
            return  # The two sides need not choose the same of datagrams and stream.
        is_new = now_at is None or not now_at.is_proven
        if is_new or now >= self._suspected_at + SUSPICION:
            self._table.distrust(now, spare=now_at)
            self._look_for_another(now)

    # In: the peer

    def receive_offer(self, offer: Offer, now: float) -> None:
        """Take an offer of the peer."""
        session = self._rendezvous.peer.session
        if not self._rendezvous.take(offer):
            return
        self.checks.take_tags(offer.tags)
        if offer.session != session:
            self._puncher.peer_restarted(now)
            self._dialer.restarted()
        self._puncher.peer_public = self._rendezvous.peer_public()
        self._puncher.peer_nat = self._rendezvous.peer.nat
        tcp = offer.tcp
        self._dialer.peer = None if tcp is None else tcp.traits
        self._table.rename(offer.candidates)
        self._table.follow_tunnels()
        if not self._activity.is_active(now):
            self._check_known_paths(now)
        self._activity.note(now)
        if offer.trouble:
            self._table.distrust(now)
        if offer.punch is not None:
            self._puncher.receive(offer.punch, now)
        elif tcp is not None and tcp.step is not None:
            self._dialer.receive(tcp.step, now)
        else:
            self._punching.follow(offer, now)
        self._settle(now)

    def receive_stun(self, message: Message, source: Endpoint, now: float) -> bool:
        """Take a STUN message meant for this agent; return whether it was of use."""
        if self._puncher.receive_stun(message, source, now):
            self._settle(now)
            return True
        if source.link >= UDP and not self._sockets.may_use(source.link, now):
            self.drops[CheckDrop.LOSER] += 1
            return False
        outcome = self.checks.receive(
            message,
            source,
            now,
            lambda: self._delivery.report_on(source, answers=True),
        )
        if isinstance(outcome, CheckDrop):
            return False
        if not self._may_keep(source.link, now):
            return False
        if isinstance(outcome, Asked):
            self._checker.transmits.append(Transmit(source, [outcome.answer]))
            self._sockets.answered(source.link, now)
            self._learn(source, now)
            self._delivery.asked(source, outcome.report)
            if outcome.routes is not None:
                self._events.append(RoutesReported(outcome.routes))
        else:
            self._prove(outcome, now)
        self._settle(now)
        return True

    def stream_opened(self, endpoint: Endpoint, now: float) -> None:
        """A stream that was asked for is open: see whether the peer is there."""
        self._dialer.opened(endpoint.link)
        if self._may_keep(endpoint.link, now):
            path = self._table.add(endpoint, CandidateKind.TCP)
            path.burst(now, STREAM_BURST)
            if path.take_due(now):
                self._checker.check(path, now)
        self._settle(now)

    def stream_closed(self, link: int, reason: str, now: float) -> None:
        """A stream could not be opened, or is gone."""
        self._dialer.closed(link, now)
        selected = self._table.selected
        was_used = selected is not None and selected.endpoint.link == link
        self._streams.remove(link)
        if self._heard is not None and self._heard.link == link:
            self._heard = None
        if was_used:
            self._punching.stream_lost(link, reason, now)
        self._settle(now)

    def stream_nat_known(self, hole: int | None, now: float) -> None:
        """What there is to know of this node's NAT over TCP was told.

        :param hole: the local port that it is about, ``None`` for any.
        """
        self._dialer.looked(hole, now)
        self._settle(now)

    def offer_lost(self, now: float) -> None:
        """Take note that an offer could not be sent: nobody will answer it."""
        self._punching.expect_no_answer(now)
        self._settle(now)

    def coordinator_returned(self, now: float) -> None:
        """Take note that offers arrive again, of which some may have been lost."""
        if self._activity.is_active(now):
            self._punching.coordinator_returned(now)
        self._settle(now)

    def send_openers(self, now: float) -> None:
        """Check the peer's public addresses, so that its checks get in from there."""
        self._punching.send_openers(now)
        self._settle(now)

    def add_auxiliary_sockets(self, links: Sequence[int], now: float) -> None:
        """Use these sockets, which an :class:`AuxiliarySockets` event asked for.

        Fewer than wanted, or none, is also an answer.
        """
        self._sockets.add(links)
        self._puncher.add_sockets(links, now)
        self._settle(now)

    # Time

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._look_into_silence(now)
        self._delivery.handle_timer(now, self._activity.is_active(now))
        self._checker.handle_timer(now)
        self._punching.handle_timer(now)
        self._settle(now)

    def get_timer(self) -> float | None:
        """Return when to call :meth:`handle_timer`."""
        if self._timer_is_stale:
            self._timer_is_stale = False
            self._timer = self._find_timer()
        return self._timer

    # Out

    def datagrams_to_send(self) -> list[Transmit]:
        """Return checks and answers to send."""
        transmits, self._checker.transmits = self._checker.transmits, []
        return transmits

    def next_event(self) -> Event | None:
        """Return what happened, in order."""
        return self._events.popleft() if self._events else None

    # Paths

    def _wake(self, now: float) -> None:
        """There is traffic again: look whether the known paths still work."""
        self._check_known_paths(now)
        self._punching.wake(now)
        self._settle(now)

    def _check_known_paths(self, now: float) -> None:
        for path in list(self._table):
            if path.is_relayed or (path.is_proven and not path.is_trusted(now)):
                path.check_by(now)

    def _learn(self, source: Endpoint, now: float) -> None:
        kind = self._puncher.kind or CandidateKind.PEER_REFLEXIVE
        if source.link < UDP:
            kind = CandidateKind.TCP
        self._checker.learn(source, kind, now)

    def _may_keep(self, link: int, now: float) -> bool:
        """Tell whether a link that brought something authentic may carry more."""
        return link >= UDP or link in self._streams or self._streams.add(link, now)

    def _prove(self, outcome: Answered, now: float) -> None:
        """Take note of an answered check: the only thing that makes a path a choice."""
        first = not self._punching.is_settled(now)
        path = self._table.add(outcome.check.endpoint, outcome.check.kind)
        if not path.is_proven:
            self._delivery.proven(path, now)
        path.answered(outcome.endpoint, outcome.rtt, now)
        self._table.follow_tunnels()
        if outcome.check.size:
            path.longest.passed(outcome.check.size, now)
        if path is self._table.selected:
            self._silence.proven()
        self._delivery.answered(path, outcome, now)
        if not path.is_relayed:
            self._ledger.confirm([path.endpoint.host])
            self._punching.succeed(path, now, first=first)

    # After every call in

    def _settle(self, now: float) -> None:
        """Draw the conclusions: choose, plan, tell."""
        self._now = now
        # Traffic also moves the end of activity, but a timer that comes early is cheap.
        self._timer_is_stale = True
        active = self._activity.is_active(now)
        self._punching.drain_puncher(now)
        self._punching.drain_dialer(now)
        before = self._table.selected
        self._table.reselect(now, active)
        if self._table.selected is not before:
            self._delivery.moved(now)
        self._punching.history += self._delivery.notes
        self._delivery.notes.clear()
        if active:
            self._punching.begin_if_lost(before, now)
        if self._activity.is_dormant(now):
            self._table.rest()
        else:
            self._table.plan(now, active)
        self._measure(now, active)
        self._endpoints = self._table.endpoints(now)
        if not self._endpoints and self._heard is not None:
            # Without a relay the first answers go where the peer was heard.
            self._endpoints = (self._heard,)
        unused = self._sockets.take_unused(now)
        if unused:
            self._events.append(AuxiliarySockets(close=unused))
        superfluous = self._streams.take_unused(now)
        if superfluous:
            self._events.append(PeerStreams(close=superfluous))
        doubted = active and len(self._endpoints) > 1
        change = self._standing.change(doubted=doubted, now=now)
        if change is not None:
            self._events.append(change)

    def _measure(self, now: float, active: bool) -> None:
        """Find out what length passes the path in use, while it works."""
        selected = self._table.selected
        if active and self.longest and selected is not None:
            if selected.is_trusted(now):
                selected.longest.look(self.longest, now)
            self._checker.probe(selected, now)

    def _find_timer(self) -> float | None:
        times = [
            self.checks.get_timer(),
            self._table.get_timer(self._now),
            self._silence.get_timer(),
            self._delivery.get_timer(self._activity.is_active(self._now)),
            self._punching.get_timer(self._now),
            self._activity.get_timer(self._now),
            self._streams.get_timer(),
            self._sockets.get_timer(),
        ]
        return min((when for when in times if when is not None), default=None)
