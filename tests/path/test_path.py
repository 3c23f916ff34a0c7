"""When a path is checked, trusted, doubted and given up."""

import pytest

from meshwg.path.candidate import CandidateKind
from meshwg.path.path import (
    BURST,
    CONSENT_LIFETIME,
    DOUBT_AFTER,
    SILENT_AFTER,
    TRIGGERED_BURST,
    TRUST,
    Path,
)
from meshwg.transmit import Endpoint, Source

ENDPOINT = Endpoint("203.0.113.1", 1111)


def test_a_new_path_is_checked_by_one_burst_only() -> None:
    path = Path(ENDPOINT, CandidateKind.HOST)
    path.burst(10.0)
    assert checked_at(path, until=20.0) == pytest.approx([10 + one for one in BURST])
    assert path.due is None
    assert not path.is_proven


def test_an_answer_ends_the_burst() -> None:
    path = proven(at=10.0)
    assert path.due is None
    assert path.is_trusted(10.0)


def test_a_path_that_may_be_another_one_is_measured_anew() -> None:
    path = proven(at=10.0)
    path.longest.look(1452, 10.0)
    path.longest.passed(1452, 10.0)
    path.longest.look(1452, 11.0)
    assert path.longest.get_timer() is None
    path.distrust(12.0)
    path.longest.look(1452, 12.0)
    assert path.longest.get_timer() == 12.0


def test_a_late_check_does_not_cause_a_flood() -> None:
    path = Path(ENDPOINT, CandidateKind.HOST)
    path.burst(10.0)
    assert path.take_due(11.0)
    assert not path.take_due(11.0)
    assert path.due == pytest.approx(11.6)


def test_a_proven_path_that_stays_silent_is_checked_again_and_doubted() -> None:
    path = proven(at=10.0)
    path.check_by(13.0)
    times = checked_at(path, until=16.5)
    assert times == pytest.approx([13.0, 13.5, 14.0, 15.0, 16.0])
    assert not path.is_doubted(13.0 + DOUBT_AFTER - 0.01)
    assert path.is_doubted(13.0 + DOUBT_AFTER)
    assert pytest.approx(10.0 + TRUST) == 13.0 + DOUBT_AFTER


def test_an_answer_ends_doubt() -> None:
    path = proven(at=10.0)
    path.check_by(13.0)
    checked_at(path, until=20.0)
    assert path.is_doubted(20.0)
    path.answered(ENDPOINT, 0.05, 20.0)
    assert not path.is_doubted(30.0)


def test_an_unanswered_check_makes_a_path_silent_unless_it_is_trusted() -> None:
    path = proven(at=10.0)
    path.check_by(13.0)
    path.take_due(13.0)
    assert not path.is_silent(13.0 + SILENT_AFTER), "it answered 4 s ago"
    path.distrust(14.0)
    assert path.is_silent(14.0)
    path.answered(ENDPOINT, 0.05, 15.0)
    assert not path.is_silent(30.0)


def test_a_path_that_was_given_up_has_to_prove_itself_anew() -> None:
    path = proven(at=10.0)
    path.check_by(13.0)
    path.take_due(13.0)
    path.give_up(50.0)
    assert not path.is_proven
    assert path.due is None
    assert path.lost_at == 50.0
    path.answered(ENDPOINT, 0.05, 60.0)
    assert path.is_trusted(60.0)
    assert path.lost_at is None


def test_consent_lasts_thirty_seconds() -> None:
    path = proven(at=10.0)
    assert path.has_consent(10.0 + CONSENT_LIFETIME - 0.01)
    assert not path.has_consent(10.0 + CONSENT_LIFETIME)
    assert not Path(ENDPOINT, CandidateKind.HOST).has_consent(0.0)


def test_a_distrusted_path_is_checked_at_once_from_any_address() -> None:
    path = Path(ENDPOINT, CandidateKind.HOST)
    pinned = ENDPOINT._replace(source=Source("192.168.1.2", 2))
    path.answered(pinned, 0.05, 10.0)
    assert path.endpoint == pinned
    path.distrust(12.0)
    assert path.endpoint == ENDPOINT
    assert not path.is_trusted(12.0)
    assert path.has_consent(12.0)
    assert path.due == 12.0 + TRIGGERED_BURST[0]


def test_an_earlier_check_does_not_cancel_later_ones() -> None:
    path = Path(ENDPOINT, CandidateKind.HOST)
    path.burst(10.0)
    path.check_by(9.0)
    path.check_by(9.5)
    assert checked_at(path, until=10.0) == [9.0, 10.0]


def test_the_turning_points_are_when_something_changes_by_itself() -> None:
    path = proven(at=10.0)
    assert path.turning_points() == [10.0 + TRUST, 10.0 + CONSENT_LIFETIME]
    path.check_by(13.0)
    path.take_due(13.0)
    assert 13.0 + DOUBT_AFTER in path.turning_points()


def proven(at: float) -> Path:
    path = Path(ENDPOINT, CandidateKind.REFLEXIVE)
    path.burst(at - 0.05)
    path.take_due(at - 0.05)
    path.answered(ENDPOINT, 0.05, at)
    return path


def checked_at(path: Path, until: float) -> list[float]:
    times = []
    while path.due is not None and path.due <= until:
        times.append(path.due)
        assert path.take_due(path.due)
    return times
