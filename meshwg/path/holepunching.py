"""Opens a direct path: rounds of plain punching, and the methods that may follow.

A round is offered to the peer, or follows an offer of the peer; with the answer, both
sides check all candidates of each other. A round without a direct path is noted and
planned again (:mod:`meshwg.path.rounds`), and the controlling side goes on to
prediction or the birthday method (:mod:`meshwg.path.escalation`). A direct path that
is lost begins a new round.
"""

from collections import deque
from collections.abc import Mapping

from meshwg.path.activity import Activity
from meshwg.path.candidate import CandidateKind, is_private
from meshwg.path.checker import Checker
from meshwg.path.dialer import Dialer
from meshwg.path.escalation import Escalation
from meshwg.path.events import (
    Attempt,
    AttemptResult,
    AuxiliarySockets,
    CandidatesOffered,
    CandidatesWanted,
    Event,
    PeerStreams,
)
from meshwg.path.offer import Offer
from meshwg.path.openings import Openings, Turn
from meshwg.path.path import Path
from meshwg.path.punch import PunchMethod, plain_possible, roles
from meshwg.path.puncher import Puncher
from meshwg.path.rendezvous import Rendezvous
from meshwg.path.rounds import (
    ANSWERER_LEAD,
    FRESH_WINDOW,
    HOPELESS_WINDOW,
    OFFERER_LEAD,
    WINDOW,
    Rounds,
    Trigger,
)
from meshwg.path.table import PathTable
from meshwg.path.verdict import Outcome, Verdict
from meshwg.path.volley import OPENER_TTL

PACE = 0.005
"""Seconds between the checks of two candidates (RFC 8445 section 14)."""

OPENERS = 2
"""Low-TTL checks sent first: if one is lost, the peer's first check may come before
any that opens the way, and a sloppy router would take it for its own."""

OPENED_ADDRESSES = 4
"""Public addresses of a peer that openers go to before the peer is heard. They are
claims of the peer and the coordinator, and may be anybody's."""

CROSSING = 0.5
"""Seconds after an offer of the peer in which it may still wait for the answer to it,
and then answers no offer of ours: its candidates are known."""

PUNCH_RETRY = 5.0
"""Seconds after which to look again whether another attempt is over."""

HISTORY = 16
"""Attempts that are remembered."""


class HolePunching:
    """Begins, carries out and ends the attempts to reach one peer directly.

    :param events: where offers and wishes are put.
    :param controlling: whether this side decides what follows plain punching.
    :ivar history: what was tried, the oldest first.
    """

    def __init__(
        self,
        table: PathTable,
        checker: Checker,
        rendezvous: Rendezvous,
        puncher: Puncher,
        escalation: Escalation,
        dialer: Dialer,
        activity: Activity,
        events: deque[Event],
        *,
        controlling: bool,
    ) -> None:
        self.history: deque[Attempt] = deque(maxlen=HISTORY)
        self._table = table
        self._checker = checker
        self._rendezvous = rendezvous
        self._puncher = puncher
        self._escalation = escalation
        self._dialer = dialer
        self._activity = activity
        self._events = events
        self._controlling = controlling
        self._rounds = Rounds()
        self._openings = Openings()
        self._opened: list[Path] = []
        """Where openers went to when this round was offered."""
        self._asked_at = float("-inf")
        """When the peer made its last offer that is no answer."""
        self._lost: Path | None = None

    @property
    def in_round(self) -> bool:
        """Whether plain punching is under way."""
        return self._rounds.current is not None

    @property
    def next_at(self) -> float | None:
        """When the next attempt is planned."""
        times = (self._rounds.next_at, self._escalation.next_at)
        return min((when for when in times if when is not None), default=None)

    # Beginnings

    def wake(self, now: float) -> None:
        """Begin a round if there is traffic again, no direct path, and it is time."""
        retry_due = self._rounds.next_at is None or now >= self._rounds.next_at
        if retry_due and not self.is_settled(now):
            self.begin(Trigger.TRAFFIC, now)

    def begin(self, trigger: Trigger, now: float) -> None:
        """Offer a round to the peer; checks begin with its answer."""
        if self._rounds.begin(trigger, now, awaits=True):
            self._offer(trouble=self._rounds.is_trouble_untold)
            # The peer answers and checks at once, and its answer may come later than
            # its checks do.
            self._opened = [
                path for path in self._public_paths(now) for _ in range(OPENERS)
            ]
            for path in self._opened:
                self._checker.check(path, now, ttl=OPENER_TTL)
            if now < self._asked_at + CROSSING:
                # The peer may take our offer for the answer to its own.
                self._burst(ANSWERER_LEAD, now)

    def coordinator_returned(self, now: float) -> None:
        """Offer again what the peer did not answer: the offer may have been lost.

        Where there is a path by now, the peer may still use one that is dead.
        """
        trigger = self._rounds.unanswered
        if trigger is None:
            return
        if self._rounds.is_trouble_untold or not self._table.has_trusted(now):
            self.begin(trigger, now)

    def follow(self, offer: Offer, now: float) -> None:
        """Begin to check because the peer does, or will when it gets our answer."""
        if offer.answer:
            self._rounds.unanswered = None
        else:
            self._asked_at = now
        if self._rounds.is_awaiting():
            # The answer, or an offer that crossed ours: the peer needs no answer.
            self._burst(OFFERER_LEAD, now)
        elif not offer.answer:
            self._answer(now)
        elif not self._table.has_trusted(now):
            self._burst(OFFERER_LEAD, now)

    def _answer(self, now: float) -> None:
        """Begin the round that the peer has asked for, or have it wait."""
        if self._rounds.begin(Trigger.OFFER, now, awaits=False):
            self._opened.clear()
            self._offer(answer=True)
            self._burst(ANSWERER_LEAD, now)

    def expect_no_answer(self, now: float) -> None:
        """Check what is known of the peer, because it will not get our offer."""
        if self._rounds.is_awaiting():
            self._burst(OFFERER_LEAD, now)

    def send_openers(self, now: float) -> None:
        """Keep this node's NAT open for the peer, while there is no direct path."""
        turn = self._openings.take_turn(now)
        if turn is Turn.REST or self._table.has_direct(now):
            return
        for path in self._public_paths(now):
            ttl = OPENER_TTL if turn is Turn.OPEN else None
            self._checker.check(path, now, ttl=ttl)

    def begin_if_lost(self, before: Path | None, now: float) -> None:
        """Begin a round if the direct path in use came into doubt.

        :param before: the path that was in use until now.
        """
        if before is None or before.is_relayed or before is self._lost:
            return
        if before.has_consent(now) and not before.is_doubted(now):
            return
        self._lost = before
        self._dialer.lost(before.endpoint.link, now)
        self._note(
            before.kind.value, AttemptResult.LOST, "checks were not answered", now
        )
        if not self._table.has_direct(now):
            self._events.append(CandidatesWanted())
            self.begin(Trigger.DOUBT, now)

    def stream_lost(self, link: int, reason: str, now: float) -> None:
        """Begin a round because the stream in use was closed."""
        self._dialer.lost(link, now)
        self._note("tcp", AttemptResult.LOST, reason, now)
        if self._activity.is_active(now) and not self._table.has_direct(now):
            self.begin(Trigger.DOUBT, now)

    # Ends

    def abandon(self, now: float) -> None:
        """Forget what was tried: the network is another one."""
        self._rounds.reset()
        self._puncher.abandon("the network changed", now)
        self._dialer.abandon()

    def succeed(self, path: Path, now: float, *, first: bool) -> None:
        """End everything because a direct path works.

        A stream ends only what could not find anything better, and another tunnel
        nothing at all.

        :param first: whether there was none before.
        """
        self._lost = None if self._lost is path else self._lost
        if path.is_tunnelled:
            return
        if path.kind is CandidateKind.TCP:
            self._dialer.succeed(path.endpoint, now)
            if self.is_settled(now):
                self._rounds.succeed()
            return
        self._puncher.succeed(path.endpoint, now)
        found = self._rounds.succeed() if first else None
        if found is not None:
            took = f"{path.endpoint} answered after {now - found.started_at:.2f} s"
            self._note(
                "punch", AttemptResult.OK, f"{took} ({found.trigger.value})", now
            )

    # Time

    def handle_timer(self, now: float) -> None:
        """Do what is due; only while there is traffic."""
        self._puncher.handle_timer(now)
        self._dialer.handle_timer(now)
        if self._activity.is_active(now):
            self._run_round(now)
            if _is_due(self._escalation.next_at, now):
                self._escalate(now)
            if _is_due(self._dialer.next_at, now):
                self._dialer.next_at = None
                if not self._table.has_direct(now):
                    self._dialer.begin(now, again=True)

    def get_timer(self, now: float) -> float | None:
        """Return when to call :meth:`handle_timer`."""
        times = [self._puncher.get_timer(), self._dialer.get_timer()]
        if self._activity.is_active(now):
            times += [
                self._rounds.get_timer(),
                self._escalation.next_at,
                self._dialer.next_at,
            ]
        return min((when for when in times if when is not None), default=None)

    def drain_puncher(self, now: float) -> None:
        """Pass on what the puncher wants; go on where its attempt has ended."""
        puncher = self._puncher
        while True:
            outcome, puncher.outcome = puncher.outcome, None
            self._checker.transmits += puncher.transmits
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

    def drain_dialer(self, now: float) -> None:
        """Pass on what the dialer wants, and note how its attempt ended."""
        dialer = self._dialer
        outcome, dialer.outcome = dialer.outcome, None
        steps, dialer.steps = dialer.steps, []
        for step in steps:
            self._offer(dial=step)
        if dialer.wanted or dialer.unwanted or dialer.looks:
            self._events.append(
                PeerStreams(
                    tuple(dialer.wanted),
                    tuple(dialer.unwanted),
                    dialer.hole,
                    dialer.looks,
                )
            )
            dialer.wanted, dialer.unwanted, dialer.looks = [], [], False
        if outcome is not None:
            self._note("tcp", outcome.result, outcome.detail, now)

    def is_settled(self, now: float) -> bool:
        """Tell whether nothing better than what there is can be opened."""
        if not self._table.has_direct(now):
            return False
        return self._table.has_datagram_path(now) or self._is_hopeless()

    # Rounds

    def _is_hopeless(self) -> bool:
        """Tell whether no datagram can get through, as far as is known."""
        own, peer = self._rendezvous.nat, self._rendezvous.peer.nat
        return not (
            plain_possible(own, peer) or any(roles(own, peer, m) for m in PunchMethod)
        )

    def _offer(
        self,
        *,
        answer: bool = False,
        trouble: bool = False,
        punch: Mapping[str, object] | None = None,
        dial: Mapping[str, object] | None = None,
    ) -> None:
        offer = self._rendezvous.make(
            answer=answer, trouble=trouble, punch=punch, dial=dial
        )
        self._events.append(CandidatesOffered(offer))

    def _public_paths(self, now: float) -> list[Path]:
        """Return the paths to the peer's first public addresses that never worked.

        Of those on its own interfaces there may be many.
        """
        targets = self._rendezvous.targets()
        public = [each for each in targets if not is_private(each.host)]
        public.sort(key=lambda each: each.kind is CandidateKind.HOST)
        added = [
            self._table.add(candidate.endpoint, candidate.kind)
            for candidate in public[:OPENED_ADDRESSES]
        ]
        return [path for path in added if not path.has_consent(now)]

    def _burst(self, lead: float, now: float) -> None:
        """Open the way for the peer's checks, then check all its candidates."""
        self._rounds.check(now, self._window(now))
        start = now + lead
        for candidate in self._rendezvous.targets():
            path = self._table.add(candidate.endpoint, candidate.kind)
            if path.is_trusted(now):
                continue
            is_open = is_private(candidate.host) or path in self._opened
            for _ in range(0 if is_open else OPENERS):
                self._checker.check(path, now, ttl=OPENER_TTL)
            path.burst(start)
            start += PACE
        if self._is_hopeless() and not self._table.has_answering(now):
            self._dialer.begin(now)

    def _window(self, now: float) -> float:
        """Return the seconds of checks after which something else is to be tried."""
        own, peer = self._rendezvous.nat, self._rendezvous.peer.nat
        if not plain_possible(own, peer):
            return HOPELESS_WINDOW
        is_early = self._controlling and self._escalation.has_fresh_sockets(now)
        return FRESH_WINDOW if is_early else WINDOW

    def _run_round(self, now: float) -> None:
        current, postponed = self._rounds.current, self._rounds.postponed
        if postponed is not None and now >= postponed.at:
            if postponed.trigger is Trigger.OFFER:
                self._answer(now)
            else:
                self.begin(postponed.trigger, now)
        elif current is None:
            if _is_due(self._rounds.next_at, now):
                self._retry(now)
        elif _is_due(current.waits_until, now):
            self._burst(OFFERER_LEAD, now)
        elif _is_due(current.ends_at, now):
            self._end_round(now)

    def _retry(self, now: float) -> None:
        if self.is_settled(now):
            self._rounds.next_at = None
        elif not self._escalation.is_idle:
            self._rounds.next_at = now + PUNCH_RETRY
        else:
            self.begin(Trigger.RETRY, now)

    def _end_round(self, now: float) -> None:
        """Note that plain punching failed, and try what may come next.

        A path that worked before the round, and has not answered since, is no success.
        """
        if self._is_answered(now):
            self._rounds.succeed()
            return
        detail = "the peer did not answer through the coordinator"
        if self._rendezvous.was_heard:
            count = len(self._rendezvous.peer.candidates)
            detail = f"none of the peer's {count} addresses answered"
        self._note("punch", AttemptResult.FAILED, detail, now)
        self._rounds.fail(now)
        self._escalate(now)

    def _is_answered(self, now: float) -> bool:
        """Tell whether nothing better is to be found than a path that answers."""
        return self.is_settled(now) and self._table.has_answering(now)

    # Methods

    def _end_attempt(self, outcome: Outcome, now: float) -> None:
        self._note(outcome.method.value, outcome.result, outcome.detail, now)
        if outcome.verdict is not Verdict.OK:
            self._escalate(now, after=outcome)

    def _escalate(self, now: float, after: Outcome | None = None) -> None:
        """Try what may help where plain punching, or another method, did not."""
        self._escalation.next_at = None
        if not self._controlling or self._is_answered(now):
            return
        if not self._activity.is_active(now) or not self._rendezvous.was_heard:
            return
        if after is None:
            self.history.extend(self._escalation.begin(now))
        else:
            self.history.extend(self._escalation.follow(after, now))
        if self._escalation.is_idle and not self._table.has_direct(now):
            self._dialer.begin(now)

    def _note(
        self, method: str, result: AttemptResult, detail: str, now: float
    ) -> None:
        self.history.append(Attempt(now, method, result, detail))


def _is_due(when: float | None, now: float) -> bool:
    return when is not None and now >= when
