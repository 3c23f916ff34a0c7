"""Rounds are begun, carried out, ended and followed by what may help."""

import random
from collections import deque
from itertools import count

from meshwg.path.activity import ACTIVE, Activity
from meshwg.path.candidate import Candidate, CandidateKind
from meshwg.path.check import Checks
from meshwg.path.checker import Checker
from meshwg.path.delivery import Delivery
from meshwg.path.dialer import Dialer
from meshwg.path.escalation import Escalation
from meshwg.path.events import AttemptResult, CandidatesOffered, CandidatesWanted, Event
from meshwg.path.holepunching import CROSSING, OPENERS, PUNCH_RETRY, HolePunching
from meshwg.path.ledger import Ledger
from meshwg.path.limiter import PunchLimiter
from meshwg.path.offer import Offer
from meshwg.path.path import CONSENT_LIFETIME, TRUST
from meshwg.path.punch import PunchMethod
from meshwg.path.puncher import Puncher
from meshwg.path.rendezvous import Rendezvous
from meshwg.path.rounds import ANSWER_TIMEOUT, FRESH_WINDOW, GAP, WINDOW, Trigger
from meshwg.path.table import PathTable
from meshwg.path.traits import NatTraits
from meshwg.path.volley import OPENER_TTL
from meshwg.transmit import Endpoint
from tests.path.stage import HIGH, LOW, keys_of
from tests.path.test_punch import CONE, HARD

NOW = 1000.0
FAR = Endpoint("203.0.113.2", 2222)
LAN = Endpoint("192.168.1.2", 2222)
CANDIDATES = (
    Candidate(CandidateKind.HOST, *LAN[:2]),
    Candidate(CandidateKind.REFLEXIVE, *FAR[:2]),
)


def test_a_round_waits_for_the_peers_answer_before_it_checks() -> None:
    stage = Stage()
    stage.punching.begin(Trigger.TRAFFIC, NOW)
    assert not stage.offers()[0].answer
    assert stage.punching.in_round
    assert stage.sent() == []
    stage.hear(Offer(1, CANDIDATES, answer=True))
    assert stage.sent() == [(FAR, OPENER_TTL)] * OPENERS
    assert stage.offers() == []


def test_an_offer_is_answered_and_followed_at_once() -> None:
    stage = Stage()
    stage.hear(Offer(1, CANDIDATES))
    assert stage.offers()[0].answer
    assert stage.sent() == [(FAR, OPENER_TTL)] * OPENERS


def test_trouble_is_reported_to_the_peer() -> None:
    for trigger in Trigger:
        stage = Stage()
        stage.punching.begin(trigger, NOW)
        trouble = trigger in (Trigger.NETWORK, Trigger.DOUBT)
        assert stage.offers()[0].trouble is trouble


def test_without_an_answer_the_known_candidates_are_checked() -> None:
    stage = Stage()
    stage.rendezvous.take(Offer(1, CANDIDATES))
    stage.punching.begin(Trigger.TRAFFIC, NOW)
    stage.punching.handle_timer(NOW + ANSWER_TIMEOUT)
    assert stage.sent() == [(FAR, OPENER_TTL)] * OPENERS


def test_an_offer_that_comes_too_soon_is_answered_a_moment_later() -> None:
    stage = Stage()
    stage.hear(Offer(1, CANDIDATES))
    stage.offers()
    stage.hear(Offer(2, CANDIDATES))
    assert stage.offers() == []
    stage.punching.handle_timer(NOW + GAP)
    (answer,) = stage.offers()
    assert answer.answer, "an offer instead would be awaited, and not answered"


def test_a_peer_that_has_just_made_an_offer_need_not_answer_ours() -> None:
    stage = Stage()
    stage.hear(Offer(1, CANDIDATES))
    stage.sent()
    stage.punching.begin(Trigger.DOUBT, NOW + GAP)
    assert stage.punching.get_timer(NOW + GAP) == NOW + GAP + WINDOW
    stage.punching.begin(Trigger.DOUBT, NOW + CROSSING)
    assert stage.punching.get_timer(NOW) == NOW + CROSSING + ANSWER_TIMEOUT


def test_where_fresh_sockets_may_help_they_come_after_the_first_checks() -> None:
    stage = Stage(own=CONE)
    stage.ledger.confirm([FAR.host])
    stage.hear(Offer(1, CANDIDATES, CONE))
    stage.puncher.stun_server = FAR
    stage.punching.handle_timer(NOW + FRESH_WINDOW)
    stage.punching.drain_puncher(NOW + FRESH_WINDOW)
    asked = [offer.punch for offer in stage.offers() if offer.punch is not None]
    assert [step["method"] for step in asked] == [PunchMethod.FRESH.value]


def test_a_path_that_no_longer_answers_is_no_success_of_a_round() -> None:
    for is_silent in (True, False):
        stage = Stage()
        path = stage.table.add(FAR, CandidateKind.REFLEXIVE)
        path.answered(FAR, 0.02, NOW - TRUST)
        if is_silent:
            path.burst(NOW)
            assert path.take_due(NOW)
        stage.hear(Offer(1, CANDIDATES))
        stage.punching.handle_timer(NOW + WINDOW - 0.1)
        stage.punching.handle_timer(NOW + WINDOW)
        assert (stage.punching.next_at is not None) is is_silent


def test_a_failed_round_is_noted_and_planned_again() -> None:
    stage = Stage()
    stage.hear(Offer(1, CANDIDATES))
    stage.punching.handle_timer(NOW + WINDOW)
    (attempt,) = stage.punching.history
    assert attempt.result is AttemptResult.FAILED
    assert attempt.detail == "none of the peer's 2 addresses answered"
    assert not stage.punching.in_round
    assert stage.punching.next_at is not None
    assert stage.punching.next_at > NOW + WINDOW


def test_a_round_ends_with_the_first_direct_path() -> None:
    stage = Stage()
    stage.hear(Offer(1, CANDIDATES))
    path = stage.table.find(FAR)
    assert path is not None
    path.answered(FAR, 0.02, NOW + 0.1)
    stage.punching.succeed(path, NOW + 0.1, first=True)
    (attempt,) = stage.punching.history
    assert attempt.result is AttemptResult.OK
    assert attempt.detail == f"{FAR} answered after 0.10 s (the peer asked)"
    assert not stage.punching.in_round


def test_the_controlling_side_moves_on_to_a_method() -> None:
    for controlling in (True, False):
        stage = Stage(own=CONE, controlling=controlling)
        stage.ledger.confirm([FAR.host])
        stage.puncher.peer_hosts = (FAR.host,)
        stage.hear(Offer(1, CANDIDATES, HARD))
        stage.punching.handle_timer(NOW + WINDOW)
        stage.punching.drain_puncher(NOW + WINDOW)
        asked = [offer for offer in stage.offers() if offer.punch is not None]
        assert len(asked) == int(controlling)


def test_another_round_waits_for_a_method_that_is_under_way() -> None:
    stage = Stage(own=CONE)
    stage.ledger.confirm([FAR.host])
    stage.puncher.peer_hosts = (FAR.host,)
    stage.hear(Offer(1, CANDIDATES, HARD))
    stage.punching.handle_timer(NOW + WINDOW)
    due = stage.punching.next_at
    assert due is not None
    stage.activity.note(due)
    stage.puncher._deadline = due + 1.0
    stage.punching.handle_timer(due)
    assert stage.punching.next_at == due + PUNCH_RETRY
    assert not stage.punching.in_round


def test_a_lost_path_is_noted_once_and_begins_a_round() -> None:
    stage = Stage()
    path = stage.table.add(FAR, CandidateKind.REFLEXIVE)
    path.answered(FAR, 0.02, NOW - CONSENT_LIFETIME)
    for _ in range(2):
        stage.punching.begin_if_lost(path, NOW)
    (attempt,) = stage.punching.history
    assert attempt.result is AttemptResult.LOST
    assert isinstance(stage.events.popleft(), CandidatesWanted)
    assert stage.offers()[0].trouble


def test_nothing_is_started_without_traffic() -> None:
    stage = Stage()
    stage.hear(Offer(1, CANDIDATES))
    stage.offers()
    stage.punching.handle_timer(NOW + ACTIVE)
    assert stage.punching.get_timer(NOW + ACTIVE) is None
    assert stage.offers() == []
    assert list(stage.punching.history) == []


class Stage:
    """Hole punching with what it works on."""

    def __init__(
        self, *, own: NatTraits | None = None, controlling: bool = True
    ) -> None:
        randomness = random.Random(1).randbytes
        sides = keys_of(LOW, HIGH), keys_of(HIGH, LOW)
        keys = next(one for one in sides if one.controlling is controlling)
        checks = Checks(keys, randomness)
        limiter = PunchLimiter()
        self.table, self.ledger = PathTable(), Ledger()
        delivery = Delivery(self.table, deque())
        self.checker = Checker(checks, self.ledger, self.table, delivery)
        self.rendezvous = Rendezvous((), randomness)
        self.puncher = Puncher(checks, self.ledger, limiter, randomness)
        self.dialer = Dialer(
            self.ledger, count(-1, -1), randomness, controlling=controlling
        )
        self.activity = Activity()
        self.activity.note(NOW)
        self.events: deque[Event] = deque()
        self.punching = HolePunching(
            self.table,
            self.checker,
            self.rendezvous,
            self.puncher,
            Escalation(self.puncher, limiter, self.rendezvous, randomness),
            self.dialer,
            self.activity,
            self.events,
            controlling=controlling,
        )
        if own is not None:
            self.rendezvous.set_own([], own)
            self.puncher.own_nat = own

    def hear(self, offer: Offer) -> None:
        """Take an offer of the peer, and follow it."""
        self.rendezvous.take(offer)
        self.puncher.peer_public = self.rendezvous.peer_public()
        self.punching.follow(offer, NOW)

    def offers(self) -> list[Offer]:
        """Return the offers made, and forget all events."""
        offers = [e.offer for e in self.events if isinstance(e, CandidatesOffered)]
        self.events.clear()
        return offers

    def sent(self) -> list[tuple[Endpoint, int | None]]:
        """Return where checks went, and with which TTL; forget them."""
        transmits, self.checker.transmits = self.checker.transmits, []
        return [(each.destination, each.ttl) for each in transmits]
