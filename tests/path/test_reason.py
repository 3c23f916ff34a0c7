"""The sentence that tells a user why."""

from dataclasses import replace

import pytest

from meshwg.path.candidate import CandidateKind
from meshwg.path.carriage import Fault
from meshwg.path.events import Attempt, AttemptResult
from meshwg.path.path import Path
from meshwg.path.punch import PunchMethod
from meshwg.path.reason import Situation, explain
from meshwg.path.traits import NatTraits
from meshwg.transmit import Endpoint
from tests.path.test_punch import BLOCKED, CONE, HARD, STEPPING

RELAY = Endpoint("198.51.100.1", 50000, 1)
FAR = Endpoint("203.0.113.1", 1111)


@pytest.mark.parametrize(
    "kind", [kind for kind in CandidateKind if kind is not CandidateKind.RELAYED]
)
def test_every_kind_of_direct_path_has_a_sentence(kind: CandidateKind) -> None:
    sentence = explain(situation(selected=proven(kind)))
    assert sentence.endswith(".")
    assert "relay" not in sentence


def test_a_direct_path_in_doubt_is_said_to_be() -> None:
    path = proven(CandidateKind.REFLEXIVE)
    path.check_by(3.0)
    path.take_due(3.0)
    assert "does not answer" in explain(situation(selected=path, now=10.0))


def test_another_tunnel_is_named() -> None:
    path = proven(CandidateKind.HOST)
    path.is_tunnelled = True
    assert "another tunnel" in explain(situation(selected=path))


def test_a_path_that_was_never_tried_says_so() -> None:
    assert "no traffic yet" in explain(situation())


@pytest.mark.parametrize(
    ("own", "peer", "words"),
    [
        (HARD, HARD, "symmetric NATs"),
        (BLOCKED, CONE, "blocked on this side"),
        (CONE, BLOCKED, "blocked on the peer's side"),
    ],
)
def test_an_impossible_combination_is_explained(
    own: NatTraits, peer: NatTraits, words: str
) -> None:
    assert words in explain(situation(own=own, peer=peer))


def test_the_switch_that_prevents_a_direct_path_is_named() -> None:
    assert "switched off" in explain(situation(own=HARD, peer=CONE, birthday=False))
    failed = Attempt(1.0, "prediction", AttemptResult.FAILED, "nothing answered")
    sentence = explain(
        situation(own=STEPPING, peer=CONE, birthday=False, history=[failed])
    )
    assert "prediction" in sentence


def test_the_last_failure_is_told() -> None:
    history = [
        Attempt(1.0, "punch", AttemptResult.FAILED, "nothing answered"),
        Attempt(2.0, "birthday", AttemptResult.REFUSED, "the peer is busy"),
    ]
    sentence = explain(situation(history=history))
    assert sentence == "The last birthday attempt failed: the peer is busy."


@pytest.mark.parametrize("method", PunchMethod)
def test_what_is_being_tried_is_reported(method: PunchMethod) -> None:
    assert "is being opened" in explain(situation(method=method))
    assert "is being opened" in explain(situation(in_round=True))


def test_a_lossy_path_that_is_avoided_is_reported() -> None:
    path = proven(CandidateKind.REFLEXIVE)
    path.statistics.add_loss()
    assert "loses 50%" in explain(situation(avoided=path))


def test_a_direct_path_that_does_not_carry_the_tunnel_is_said_to_be_none() -> None:
    path = proven(CandidateKind.REFLEXIVE)
    path.carriage.accuse(Fault.DATA, 1.0)
    assert explain(situation(avoided=path)) == (
        "The direct path answers checks but does not carry the tunnel's packets."
    )
    path.carriage.fault = Fault.HANDSHAKES
    assert "the tunnel's handshakes" in explain(situation(avoided=path))
    path.carriage.fault, path.carriage.is_refused = None, True
    assert "packets from the peer" in explain(situation(avoided=path))


def test_what_happens_to_the_data_depends_on_whether_there_is_a_relay() -> None:
    path, relay = proven(CandidateKind.REFLEXIVE), Path(RELAY, CandidateKind.RELAYED)
    path.carriage.accuse(Fault.DATA, 1.0)
    assert explain(situation(selected=path)).endswith("and there is no relay.")
    unproven = explain(situation(selected=path, relay=relay))
    assert unproven.endswith("through the relay, which has not answered yet.")
    path.check_by(3.0)
    path.take_due(3.0)
    silent = situation(selected=path, now=10.0)
    assert explain(silent).endswith("and there is no relay.")
    assert "also goes through the relay" in explain(replace(silent, relay=relay))
    relay.answered(RELAY, 0.05, 1.0)
    relay.check_by(3.0)
    relay.take_due(3.0)
    assert "not even through the relay" in explain(replace(silent, relay=relay))


def test_without_a_relay_nothing_goes_through_it_while_a_path_is_opened() -> None:
    for opening in (situation(in_round=True), situation(method=PunchMethod.BIRTHDAY)):
        assert explain(opening).endswith("data goes through the relay.")
        alone = explain(replace(opening, selected=None))
        assert alone.startswith("A direct path is being opened")
        assert alone.endswith("there is no relay.")


def test_a_path_that_was_lost_was_no_attempt() -> None:
    lost = Attempt(1.0, "host", AttemptResult.LOST, "checks were not answered")
    sentence = explain(situation(history=[lost]))
    assert sentence == "The last direct path was lost: checks were not answered."


def test_a_missing_relay_is_reported() -> None:
    assert explain(replace(situation(), selected=None)).startswith("There is no relay.")


def situation(**changes: object) -> Situation:
    usual = Situation(
        now=5.0,
        selected=Path(RELAY, CandidateKind.RELAYED),
        method=None,
        in_round=False,
        own=CONE,
        peer=CONE,
        birthday=True,
        history=(),
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def proven(kind: CandidateKind) -> Path:
    path = Path(FAR, kind)
    path.answered(FAR, 0.05, 0.0)
    return path
