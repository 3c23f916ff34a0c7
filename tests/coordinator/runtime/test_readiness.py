"""When a process says that it is well, and when it wants no more nodes."""

from coordinator.runtime.readiness import SILENCE, Readiness


def test_a_process_is_ready_once_it_hears_of_what_others_write() -> None:
    readiness = Readiness(0.0)
    assert readiness.ill(1.0, is_failing=False) is None
    assert "no notifications" in str(readiness.unready(1.0, is_failing=False))
    readiness.listening(True)
    assert readiness.unready(1.0, is_failing=False) is None


def test_a_database_that_says_nothing_is_away_without_anything_to_write() -> None:
    readiness = Readiness(0.0)
    readiness.listening(True)
    readiness.answered(5.0)
    assert readiness.ill(5.0 + SILENCE, is_failing=False) is None
    late = 5.1 + SILENCE
    assert readiness.ill(late, is_failing=False) == "the database does not answer"
    assert readiness.unready(late, is_failing=False) == "the database does not answer"
    readiness.answered(late)
    assert readiness.ill(late, is_failing=False) is None


def test_a_transaction_that_failed_shows_at_once() -> None:
    readiness = Readiness(0.0)
    readiness.listening(True)
    assert readiness.ill(0.0, is_failing=True) == "the database fails"
    assert readiness.unready(0.0, is_failing=True) == "the database fails"


def test_a_process_that_hears_nothing_is_well_and_not_ready() -> None:
    readiness = Readiness(0.0)
    readiness.listening(True)
    readiness.listening(False)
    assert readiness.ill(0.0, is_failing=False) is None
    assert readiness.unready(0.0, is_failing=False) is not None


def test_a_process_that_is_about_to_stop_is_well_and_not_ready() -> None:
    readiness = Readiness(0.0)
    readiness.listening(True)
    readiness.leave()
    assert readiness.ill(0.0, is_failing=False) is None
    assert "about to stop" in str(readiness.unready(0.0, is_failing=False))
