"""Which method comes after plain punching, and when again."""

import random

import pytest

from meshwg.path.candidate import Candidate, CandidateKind
from meshwg.path.check import Checks
from meshwg.path.escalation import (
    BUSY_PAUSE,
    LATE_LIMIT,
    LATE_PAUSE,
    SLACK,
    Escalation,
)
from meshwg.path.events import AttemptResult
from meshwg.path.ledger import Ledger
from meshwg.path.limiter import ALLOWANCES, OFF, PunchLimiter
from meshwg.path.offer import Offer
from meshwg.path.punch import PunchMethod
from meshwg.path.puncher import Puncher
from meshwg.path.rendezvous import Rendezvous
from meshwg.path.traits import NatTraits
from meshwg.path.verdict import Outcome, Verdict
from tests.path.stage import HIGH, LOW, keys_of
from tests.path.test_punch import CONE, FIREWALL, HARD, HARD_LOOSE, OPEN, STEPPING

PUBLIC = Candidate(CandidateKind.REFLEXIVE, "203.0.113.2", 2222)


@pytest.mark.parametrize(
    ("own", "peer", "method"),
    [
        (STEPPING, CONE, PunchMethod.PREDICTION),
        (STEPPING, STEPPING, PunchMethod.PREDICTION),
        (HARD, FIREWALL, PunchMethod.BIRTHDAY),
        (HARD_LOOSE, STEPPING, PunchMethod.BIRTHDAY),
        (HARD, HARD, None),
        (CONE, CONE, PunchMethod.FRESH),
        (OPEN, HARD, None),
    ],
)
def test_the_cheapest_method_that_can_work_comes_first(
    own: NatTraits, peer: NatTraits, method: PunchMethod | None
) -> None:
    stage = Stage(own, peer)
    assert stage.escalation.begin(0.0) == []
    assert stage.puncher.method is method


def test_fresh_sockets_are_there_where_they_help_and_may_be_used_now() -> None:
    stage = Stage(CONE, CONE)
    assert stage.escalation.has_fresh_sockets(0.0)
    stage.limiter.record(stage.puncher.peer, PunchMethod.FRESH, 0.0)
    assert not stage.escalation.has_fresh_sockets(1.0), "there was an attempt just now"
    stage.puncher.peer_public = ()
    assert not stage.escalation.has_fresh_sockets(100.0), "there is nobody to aim at"
    assert not Stage(HARD, CONE).escalation.has_fresh_sockets(0.0)


def test_a_failed_method_gives_way_to_the_next_and_gets_another_turn() -> None:
    stage = Stage(STEPPING, CONE)
    stage.escalation.begin(0.0)
    stage.limiter.record(stage.puncher.peer, PunchMethod.PREDICTION, 0.0)
    stage.end(1.0)
    missed = Outcome(PunchMethod.PREDICTION, Verdict.MISSED, "")
    assert stage.escalation.follow(missed, 1.0) == []
    assert stage.puncher.method is PunchMethod.BIRTHDAY
    spacing = ALLOWANCES[PunchMethod.PREDICTION].spacing
    assert stage.escalation.next_at == spacing + SLACK


def test_a_method_that_was_refused_is_not_asked_for_again_at_once() -> None:
    stage = Stage(HARD, CONE)
    stage.escalation.begin(0.0)
    stage.end(0.1)
    refused = Outcome(PunchMethod.BIRTHDAY, Verdict.REFUSED, "")
    assert stage.escalation.follow(refused, 0.1) == []
    assert stage.escalation.is_idle
    assert stage.escalation.next_at is None


def test_what_was_not_answered_in_time_is_soon_repeated_but_not_for_ever() -> None:
    stage = Stage(HARD, CONE)
    late = Outcome(PunchMethod.BIRTHDAY, Verdict.LATE, "")
    for turn in range(LATE_LIMIT):
        now = 10.0 * turn
        assert stage.escalation.begin(now) == []
        stage.end(now + 1.0)
        assert stage.escalation.follow(late, now + 1.0) == []
        assert stage.escalation.next_at == now + 1.0 + LATE_PAUSE
    stage.escalation.begin(100.0)
    stage.end(101.0)
    assert stage.escalation.follow(late, 101.0) == []
    assert stage.escalation.next_at is None


def test_a_peer_that_does_not_know_fresh_sockets_is_not_asked_again() -> None:
    stage = Stage(CONE, CONE)
    stage.escalation.begin(0.0)
    stage.end(5.0)
    late = Outcome(PunchMethod.FRESH, Verdict.LATE, "")
    assert stage.escalation.follow(late, 5.0) == []
    assert stage.escalation.is_idle
    assert stage.escalation.next_at is None


def test_a_busy_peer_is_asked_again_after_a_pause() -> None:
    stage = Stage(HARD, CONE)
    stage.escalation.begin(0.0)
    stage.end(0.1)
    busy = Outcome(PunchMethod.BIRTHDAY, Verdict.BUSY, "")
    assert stage.escalation.follow(busy, 0.1) == []
    assert stage.escalation.is_idle
    assert stage.escalation.next_at is not None
    assert 0.5 * BUSY_PAUSE <= stage.escalation.next_at <= 1.5 * BUSY_PAUSE + 0.1


def test_a_busy_node_waits_for_its_turn() -> None:
    stage = Stage(HARD, CONE)
    stage.limiter.acquire("another peer", PunchMethod.BIRTHDAY, 0.0)
    assert stage.escalation.begin(0.0) == []
    assert stage.escalation.is_idle
    assert stage.escalation.next_at is not None


def test_a_method_that_this_node_may_not_use_is_recorded() -> None:
    stage = Stage(HARD, CONE, PunchLimiter(birthday=False))
    (attempt,) = stage.escalation.begin(3.0)
    assert (attempt.at, attempt.method) == (3.0, "birthday")
    assert (attempt.result, attempt.detail) == (AttemptResult.REFUSED, OFF)
    assert not stage.limiter.birthday


def test_an_attempt_under_way_is_not_disturbed() -> None:
    stage = Stage(HARD, CONE)
    stage.escalation.begin(0.0)
    messages = list(stage.puncher.messages)
    assert stage.escalation.begin(0.1) == []
    assert stage.puncher.messages == messages


class Stage:
    """The controlling side of two nodes with these NATs."""

    def __init__(
        self, own: NatTraits, peer: NatTraits, limiter: PunchLimiter | None = None
    ) -> None:
        source = random.Random(3).randbytes
        keys = [keys_of(LOW, HIGH), keys_of(HIGH, LOW)]
        controlling = next(one for one in keys if one.controlling)
        self.limiter = limiter or PunchLimiter()
        checks = Checks(controlling, source)
        self.puncher = Puncher(checks, Ledger(), self.limiter, source)
        rendezvous = Rendezvous([], source)
        rendezvous.nat = self.puncher.own_nat = own
        rendezvous.take(Offer(1, (PUBLIC,), peer))
        self.puncher.peer_public = rendezvous.peer_public()
        self.puncher.peer_hosts = (PUBLIC.host,)
        self.escalation = Escalation(self.puncher, self.limiter, rendezvous, source)

    def end(self, now: float) -> None:
        """Let the attempt under way be over."""
        self.puncher.abandon("test", now)
