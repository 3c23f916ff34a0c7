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
needed. An agent without traffic never starts anything, so a thousand peers cost
nothing.

The parent calls the verbs below and drains :meth:`~PathAgent.datagrams_to_send` and
:meth:`~PathAgent.next_event` after each. Time is seconds on any steady clock.
"""

from collections import Counter, deque
from collections.abc import Container, Iterable, Mapping, Sequence

from meshwg.path.candidate import (
    Candidate,
    Kind,
    is_private,
    is_usable_host,
)
from meshwg.path.check import Answered, Asked, CheckKeys, Checks, Drop
from meshwg.path.escalation import Escalation
from meshwg.path.events import (
    Attempt,
    AuxiliarySockets,
    CandidatesOffered,
    CandidatesWanted,
    Event,
    PathChanged,
    PathStatus,
    Result,
)
from meshwg.path.ledger import Ledger
from meshwg.path.limiter import PunchLimiter
from meshwg.path.offer import Offer
from meshwg.path.overlay import IPAddress
from meshwg.path.path import TRIGGERED_BURST, Path
from meshwg.path.punch import plain_possible
from meshwg.path.puncher import Outcome, Puncher, Verdict
from meshwg.path.reason import Situation, explain
from meshwg.path.rendezvous import Rendezvous
from meshwg.path.rounds import ANSWERER_LEAD, OFFERER_LEAD, Rounds, Trigger
from meshwg.path.sockets import SocketKeeper
from meshwg.path.table import PathTable
from meshwg.path.traits import NatTraits
from meshwg.path.volley import OPENER_TTL
from meshwg.transmit import UDP, Endpoint, Random, Transmit
from meshwg.wire.stun import Message

ACTIVE = 45.0
"""Seconds after the last packet for which a peer counts as active."""

DORMANT = 600.0
"""Seconds after the last packet from which nothing is kept open any more."""

PACE = 0.005
"""Seconds between the checks of two candidates (RFC 8445 section 14)."""

OPENERS = 2
"""Low-TTL checks sent first: if one is lost, the peer's first check may come before
any that opens the way, and a sloppy router would take it for its own."""

PUNCH_RETRY = 5.0
"""Seconds after which to look again whether another attempt is over."""

SUSPICION = 5.0
"""Seconds between two complaints of the parent that have an effect."""

HISTORY = 16
"""Attempts that are remembered."""


class PathAgent:
    """Finds and keeps the way to one peer.

    :param keys: of the checks between this node and the peer.
    :param limiter: shared by the agents of a node.
    :param overlay: what is reached through the mesh, which no candidate may be in.
    :param routes: by which the other agents of the node are found.
    """

    def __init__(
        self,
        keys: CheckKeys,
        *,
        random: Random,
        limiter: PunchLimiter | None = None,
        overlay: Container[IPAddress] = (),
        routes: Container[bytes] = (),
    ) -> None:
        self.checks = Checks(keys, random, routes)
        self._controlling = keys.controlling
        self._random = random
        self._rendezvous = Rendezvous(overlay, random)
        self._ledger = Ledger()
        self._table = PathTable()
        self._rounds = Rounds()
        limiter = limiter or PunchLimiter()
        self._puncher = Puncher(self.checks, self._ledger, limiter, random)
        self._escalation = Escalation(self._puncher, limiter, self._rendezvous, random)
        self._sockets = SocketKeeper(self._table, self._puncher)
        self._heard: Endpoint | None = None
        self._last_used = self._suspected_at = float("-inf")
        self._now = 0.0
        self._timer: float | None = None
        self._timer_is_stale = False
        self._endpoints: tuple[Endpoint, ...] = ()
        self._shown: PathChanged | None = None
        self._since: float | None = None
        self._lost: Path | None = None
        self._history: deque[Attempt] = deque(maxlen=HISTORY)
        self._transmits: list[Transmit] = []
        self._events: deque[Event] = deque()

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
    def drops(self) -> Counter[Drop]:
        """STUN messages that were ignored, by reason."""
        return self.checks.drops

    def status(self, now: float) -> PathStatus:
        """Return what is known about the path, and why it is this one."""
        selected, next_at = self._table.selected, self._next_attempt_at()
        if selected is None:
            kind, method = "none", None
        else:
            kind = "relay" if selected.is_relayed else "direct"
            method = selected.kind.value
        return PathStatus(
            kind=kind,
            method=method,
            remote=self.endpoint,
            rtt=selected.statistics.rtt if selected else None,
            loss=selected.statistics.loss if selected else 0.0,
            since=self._since,
            reason=self._reason(now),
            attempts=tuple(self._history),
            next_attempt_in=None if next_at is None else max(0.0, next_at - now),
        )

    # In: what this node knows

    def set_local_candidates(
        self, candidates: Iterable[Candidate], nat: NatTraits, now: float
    ) -> None:
        """Offer these from now on; the peer is told if it was told others before."""
        changed = self._rendezvous.set_own(candidates, nat)
        self._puncher.own_nat = nat
        if changed and self._rendezvous.has_offered and self._is_active(now):
            self._begin_round(Trigger.CANDIDATES, now)
        self._settle(now)

    def set_relay(self, endpoint: Endpoint | None, now: float) -> None:
        """Use this way through a relay: the peer's relayed address, on its link."""
        self._table.set_relay(endpoint, now)
        if not self._is_active(now) and self._table.relay is not None:
            self._table.relay.rest()
        self._settle(now)

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
        self._rounds.reset()
        self._puncher.abandon("the network changed", now)
        self._table.distrust(now)
        if self._is_active(now):
            self._begin_round(Trigger.NETWORK, now)
        self._settle(now)

    # In: traffic

    def sent(self, now: float) -> None:
        """Data for the peer is about to be sent."""
        was_active = self._is_active(now)
        self._last_used = now
        if not was_active:
            self._wake(now)

    def authenticated(self, source: Endpoint, now: float) -> None:
        """WireGuard accepted a packet that came from there."""
        was_active = self._is_active(now)
        self._last_used = now
        before, self._heard = self._heard, source.unpinned()
        path = self._table.find(source)
        if path is None or not path.is_proven:
            self._learn(source, now)
        if not was_active:
            self._wake(now)
        elif path is None or not self._endpoints:
            self._settle(now)
        if self._heard != before:
            self._follow_peer(self._heard, now)

    def suspect(self, now: float) -> None:
        """The tunnel does not hear the peer, or the system refused to send there.

        What comes again within seconds is ignored: a system that refuses to send
        refuses every packet.
        """
        if now < self._suspected_at + SUSPICION:
            return
        self._suspected_at = now
        selected = self._table.selected
        if selected is not None:
            selected.distrust(now)
        if self._is_active(now):
            self._events.append(CandidatesWanted())
            self._begin_round(Trigger.DOUBT, now)
        self._settle(now)

    def _follow_peer(self, heard: Endpoint, now: float) -> None:
        """Doubt the path in use when the peer comes by another direct one.

        It may have roamed, and found its way back before it could say so.
        """
        relay, selected = self._table.relay, self._table.selected
        if selected is None or selected is relay or selected is self._table.find(heard):
            return
        if relay is None or relay is not self._table.find(heard):
            self.suspect(now)

    # In: the peer

    def receive_offer(self, offer: Offer, now: float) -> None:
        """Take an offer of the peer."""
        session = self._rendezvous.peer.session
        if not self._rendezvous.take(offer):
            return
        if offer.session != session:
            self._puncher.peer_restarted(now)
        self._puncher.peer_public = self._rendezvous.peer_public()
        self._table.rename(offer.candidates)
        if not self._is_active(now):
            self._check_known_paths(now)
        self._last_used = now
        if offer.trouble:
            self._table.distrust(now)
        if offer.punch is not None:
            self._puncher.receive(offer.punch, now)
        else:
            self._follow(offer, now)
        self._settle(now)

    def receive_stun(self, message: Message, source: Endpoint, now: float) -> bool:
        """Take a STUN message meant for this agent; return whether it was of use."""
        if self._puncher.receive_stun(message, source, now):
            self._settle(now)
            return True
        if not self._sockets.may_use(source.link, now):
            self.drops[Drop.LOSER] += 1
            return False
        outcome = self.checks.receive(message, source, now)
        if isinstance(outcome, Drop):
            return False
        if isinstance(outcome, Asked):
            self._transmits.append(Transmit(source, [outcome.answer]))
            self._learn(source, now)
        else:
            self._prove(outcome, now)
        self._settle(now)
        return True

    def add_auxiliary_sockets(self, links: Sequence[int], now: float) -> None:
        """Use these sockets, which an :class:`AuxiliarySockets` event asked for.

        Fewer than wanted, or none, is an answer, too.
        """
        self._sockets.add(links)
        self._puncher.add_sockets(links, now)
        self._settle(now)

    # Time

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        for check in self.checks.expire(now):
            path = self._table.find(check.endpoint)
            if check.counts and path is not None:
                path.statistics.add_loss()
        for path in list(self._table):
            if path.take_due(now):
                self._check(path, now)
        self._puncher.handle_timer(now)
        self._run_round(now)
        if self._is_due(self._escalation.next_at, now):
            self._escalate(now)
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
        transmits, self._transmits = self._transmits, []
        return transmits

    def next_event(self) -> Event | None:
        """Return what happened, in order."""
        return self._events.popleft() if self._events else None

    # Rounds

    def _wake(self, now: float) -> None:
        """There is traffic again: look whether the known paths still work."""
        self._check_known_paths(now)
        retry_due = self._rounds.next_at is None or now >= self._rounds.next_at
        if retry_due and not self._table.has_direct(now):
            self._begin_round(Trigger.TRAFFIC, now)
        self._settle(now)

    def _check_known_paths(self, now: float) -> None:
        for path in list(self._table):
            if path.is_relayed or (path.is_proven and not path.is_trusted(now)):
                path.check_by(now)

    def _begin_round(self, trigger: Trigger, now: float) -> None:
        """Offer a round to the peer; checks begin with its answer."""
        if self._rounds.begin(trigger, now, awaits=True):
            self._offer(trouble=trigger in (Trigger.NETWORK, Trigger.DOUBT))

    def _follow(self, offer: Offer, now: float) -> None:
        """Begin to check because the peer does, or will when it gets our answer."""
        if self._rounds.is_awaiting():
            # The answer, or an offer that crossed ours: the peer needs no answer.
            self._burst(OFFERER_LEAD, now)
        elif not offer.answer:
            if self._rounds.begin(Trigger.OFFER, now, awaits=False):
                self._offer(answer=True)
                self._burst(ANSWERER_LEAD, now)
        elif not self._table.has_direct(now):
            self._burst(OFFERER_LEAD, now)

    def _offer(
        self,
        *,
        answer: bool = False,
        trouble: bool = False,
        punch: Mapping[str, object] | None = None,
    ) -> None:
        offer = self._rendezvous.make(answer=answer, trouble=trouble, punch=punch)
        self._events.append(CandidatesOffered(offer))

    def _burst(self, lead: float, now: float) -> None:
        """Open the way for the peer's checks, then check all its candidates."""
        possible = plain_possible(self._rendezvous.nat, self._rendezvous.peer.nat)
        self._rounds.check(now, hopeless=not possible)
        start = now + lead
        for candidate in self._rendezvous.targets():
            path = self._table.add(candidate.endpoint, candidate.kind)
            if path.is_trusted(now):
                continue
            for _ in range(0 if is_private(candidate.host) else OPENERS):
                self._check(path, now, ttl=OPENER_TTL)
            path.burst(start)
            start += PACE

    def _run_round(self, now: float) -> None:
        current, postponed = self._rounds.current, self._rounds.postponed
        if postponed is not None and self._is_due(postponed.at, now):
            self._begin_round(postponed.trigger, now)
        elif current is None:
            if self._is_due(self._rounds.next_at, now):
                self._retry(now)
        elif self._is_due(current.waits_until, now):
            self._burst(OFFERER_LEAD, now)
        elif self._is_due(current.ends_at, now):
            self._end_round(now)

    def _is_due(self, when: float | None, now: float) -> bool:
        return when is not None and now >= when and self._is_active(now)

    def _retry(self, now: float) -> None:
        if self._table.has_direct(now):
            self._rounds.next_at = None
        elif not self._escalation.is_idle:
            self._rounds.next_at = now + PUNCH_RETRY
        else:
            self._begin_round(Trigger.RETRY, now)

    def _end_round(self, now: float) -> None:
        """Note that plain punching failed, and try what may come next."""
        if self._table.has_direct(now):
            self._rounds.succeed()
            return
        detail = "the peer did not answer through the coordinator"
        if self._rendezvous.was_heard:
            count = len(self._rendezvous.peer.candidates)
            detail = f"none of the peer's {count} addresses answered"
        self._note("punch", Result.FAILED, detail, now)
        self._rounds.fail(now)
        self._escalate(now)

    def _escalate(self, now: float, after: Outcome | None = None) -> None:
        """Try what may help where plain punching, or another method, did not."""
        self._escalation.next_at = None
        if not self._controlling or self._table.has_direct(now):
            return
        if not self._is_active(now):
            return
        if after is None:
            self._history.extend(self._escalation.begin(now))
        else:
            self._history.extend(self._escalation.follow(after, now))

    # Paths

    def _check(self, path: Path, now: float, *, ttl: int | None = None) -> None:
        """Send one check, if the address deserves it."""
        endpoint = path.endpoint
        if not path.is_relayed and not self._ledger.charge(endpoint.host, now):
            self.drops[Drop.OVER_BUDGET] += 1
            path.rest()
            return
        counts = path.is_trusted(now)
        check = self.checks.ask(endpoint, path.kind, now, counts=counts)
        self._transmits.append(Transmit(endpoint, [check], ttl))

    def _learn(self, source: Endpoint, now: float) -> None:
        """Check back at once where an authentic packet came from (RFC 8445 7.3.1.4).

        A path that is known to work needs none. What comes from another address
        through the relay is the relay's business.
        """
        path, relay = self._table.find(source), self._table.relay
        if path is None:
            if relay is not None and source.link == relay.endpoint.link != UDP:
                return
            if not self._ledger.may_learn(now):
                self.drops[Drop.OVERLEARNT] += 1
                return
            kind = self._puncher.kind or Kind.PEER_REFLEXIVE
            path = self._table.add(source, kind)
        elif path.is_trusted(now):
            return
        if path.due is None:
            path.burst(now, TRIGGERED_BURST)
        else:
            path.check_by(now)
        if path.take_due(now):
            self._check(path, now)

    def _prove(self, outcome: Answered, now: float) -> None:
        """Take note of an answered check: the only thing that makes a path a choice."""
        had_direct = self._table.has_direct(now)
        path = self._table.add(outcome.check.endpoint, outcome.check.kind)
        path.answered(outcome.endpoint, outcome.rtt, now)
        if path.is_relayed:
            return
        self._ledger.confirm([path.endpoint.host])
        self._lost = None if self._lost is path else self._lost
        self._puncher.succeed(path.endpoint, now)
        found = None if had_direct else self._rounds.succeed()
        if found is not None:
            took = f"{path.endpoint} answered after {now - found.started_at:.2f} s"
            self._note("punch", Result.OK, f"{took} ({found.trigger.value})", now)

    # After every call in

    def _settle(self, now: float) -> None:
        """Draw the conclusions: choose, plan, tell."""
        self._now = now
        # Traffic moves the end of activity, too, but a timer that comes early is cheap.
        self._timer_is_stale = True
        active = self._is_active(now)
        self._drain_puncher(now)
        before = self._table.selected
        self._table.reselect(now, active)
        if active:
            self._note_loss(before, now)
        if now < self._last_used + DORMANT:
            self._table.plan(now, active)
        else:
            for path in self._table:
                path.rest()
        self._endpoints = self._table.endpoints(now)
        if not self._endpoints and self._heard is not None:
            # Without a relay the first answers go where the peer was heard.
            self._endpoints = (self._heard,)
        unused = self._sockets.take_unused()
        if unused:
            self._events.append(AuxiliarySockets(close=unused))
        self._tell(now)

    def _drain_puncher(self, now: float) -> None:
        puncher = self._puncher
        while True:
            outcome, puncher.outcome = puncher.outcome, None
            self._transmits += puncher.transmits
            puncher.transmits = []
            messages, puncher.messages = puncher.messages, []
            for message in messages:
                self._offer(punch=message)
            if puncher.sockets_wanted:
                self._events.append(AuxiliarySockets(wanted=puncher.sockets_wanted))
                puncher.sockets_wanted = 0
            if outcome is None:
                return
            self._end_attempt(outcome, now)

    def _end_attempt(self, outcome: Outcome, now: float) -> None:
        self._note(outcome.method.value, outcome.result, outcome.detail, now)
        if outcome.verdict is not Verdict.OK:
            self._escalate(now, after=outcome)

    def _note_loss(self, before: Path | None, now: float) -> None:
        """Begin a round when the direct path in use came into doubt."""
        if before is None or before.is_relayed or before is self._lost:
            return
        if before.has_consent(now) and not before.is_doubted(now):
            return
        self._lost = before
        self._note(before.kind.value, Result.LOST, "checks were not answered", now)
        if not self._table.has_direct(now):
            self._events.append(CandidatesWanted())
            self._begin_round(Trigger.DOUBT, now)

    def _find_timer(self) -> float | None:
        times = [
            self.checks.get_timer(),
            self._table.get_timer(self._now),
            self._puncher.get_timer(),
        ]
        if self._is_active(self._now):
            times += [self._rounds.get_timer(), self._escalation.next_at]
        turns = (self._last_used + ACTIVE, self._last_used + DORMANT)
        times += [when for when in turns if when > self._now]
        return min((when for when in times if when is not None), default=None)

    def _tell(self, now: float) -> None:
        selected = self._table.selected
        kind = selected.kind if selected else None
        endpoint = selected.endpoint if selected else None
        doubted = len(self._endpoints) > 1 and self._is_active(now)
        change = PathChanged(kind, endpoint, doubted)
        if change != self._shown:
            if self._shown is None or endpoint != self._shown.endpoint:
                self._since = now
            self._shown = change
            self._events.append(change)

    # Small questions

    def _is_active(self, now: float) -> bool:
        return now < self._last_used + ACTIVE

    def _next_attempt_at(self) -> float | None:
        times = (self._rounds.next_at, self._escalation.next_at)
        return min((when for when in times if when is not None), default=None)

    def _reason(self, now: float) -> str:
        return explain(
            Situation(
                now=now,
                selected=self._table.selected,
                method=self._puncher.method,
                in_round=self._rounds.current is not None,
                own=self._rendezvous.nat,
                peer=self._rendezvous.peer.nat,
                birthday=self._escalation.birthday_allowed,
                history=self._history,
                avoided=self._table.avoided(now),
            )
        )

    def _note(self, method: str, result: Result, detail: str, now: float) -> None:
        self._history.append(Attempt(now, method, result, detail))
